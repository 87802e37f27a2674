"""Who writes down what a device trains: it stands between `Device` and the calls that move bytes."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kiloc.emit import Written

from .. import toolchain
from .._version import __version__
from .training_log import Kind, Why, Writer

if TYPE_CHECKING:
    from .base import Device

UNCHECKED = 0
WRAPPED = (
    "_reset",
    "_infer",
    "_train_step",
    "_train_slice",
    "_apply",
    "_set_learning_rate",
    "_write_state",
    "_load_adapter",
    "_remember",
    "_replay_step",
    "_replay_slice",
    "_add_class",
)


def plan_of(device: Device) -> str:
    """What names the order of kernels in a training step: logs with checksums of kernels are compared where it is equal."""
    return hashlib.sha256(repr(device.manifest.steps).encode()).hexdigest()[:16]


class Recorder:
    """Writes the log of a device while it is entered; see `Device.record`."""

    def __init__(self, device: Device, path: str | os.PathLike[str], every: int, kernels: bool, samples: bool) -> None:
        m = device.manifest
        self.device, self.every, self.kernels, self.samples = device, every, kernels, samples
        header = {
            "kilotune": __version__,
            "model": m.name,
            "device": device.name,
            "base_hash": m.base_hash.hex(),
            "state_layout": m.state_layout,
            "build": toolchain.build_identity(m).hex(),
            "target": m.target,
            "state_bytes": m.state_bytes,
            "input_bytes": m.input_bytes,
            "target_values": m.target_values,
            "every": every,
            "kernels": kernels,
            "samples": samples,
            "plan": plan_of(device),
        }
        self._writer = Writer(path, header)
        self._whole = [Written("state", "state", 0, m.state_bytes)]
        self._known: dict[bytes, int] = {}
        self._steps = 0
        self._expected = UNCHECKED
        """CRC of the state as the last record left it."""
        self._inside = False

    def __enter__(self) -> Recorder:
        self._state(Why.START, self.device._read_state())
        for name in WRAPPED:
            setattr(self.device, name, getattr(self, name)(getattr(self.device, name)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for name in WRAPPED:
            delattr(self.device, name)
        self._writer.close()

    # ---- Records ----

    def _crc(self) -> int:
        return self.device._checksums(self._whole)[0]

    def _state(self, why: Why, state: bytes) -> None:
        self._writer.add(Kind.STATE, bytes([why]) + state)
        self._expected = zlib.crc32(state)

    def _unchanged(self) -> None:
        """Where the state is not as the last record left it, something beside the recorded calls has changed it."""
        if self._expected != UNCHECKED and self._crc() != self._expected:
            self._state(Why.CHANGED, self.device._read_state())

    def _sample(self, sample: bytes, values: bytes) -> int:
        digest = hashlib.sha256(sample + values).digest()
        if digest not in self._known:
            self._known[digest] = len(self._known)
            self._writer.add(Kind.SAMPLE, digest + (sample + values if self.samples else b""))
        return self._known[digest]

    def _step(self, sample: bytes, label: int, values: bytes, loss: float, kernels: list[int]) -> None:
        self._steps += 1
        self._expected = self._crc() if self._steps % self.every == 0 else UNCHECKED
        number = self._sample(sample, values)
        self._writer.add(Kind.STEP, struct.pack("<IifI", number, label, loss, self._expected) + struct.pack(f"<{len(kernels)}I", *kernels))

    def _replayed(self, loss: float) -> None:
        self._steps += 1
        self._expected = self._crc() if self._steps % self.every == 0 else UNCHECKED
        self._writer.add(Kind.REPLAY, struct.pack("<fI", loss, self._expected))

    # ---- Calls ----

    def _train_step(self, call: Any) -> Any:
        def train_step(sample: bytes, label: int, values: bytes) -> float:
            self._unchanged()
            if not self.kernels:
                loss, found = float(call(sample, label, values)), list[int]()
            else:
                loss, found = self._by_kernel(sample, label, values)
            self._step(sample, label, values, loss, found)
            return loss

        return train_step

    def _by_kernel(self, sample: bytes, label: int, values: bytes) -> tuple[float, list[int]]:
        """A step kernel by kernel, with a checksum of what each has written."""
        found: list[int] = []
        loss: float | None = None
        self._inside = True
        try:
            for step in self.device.manifest.steps:
                loss = self.device._train_slice(sample, label, values, 1)
                found.append(of_kernel(self.device, step.writes))
        finally:
            self._inside = False
        assert loss is not None, "the step has as many kernels as the manifest says"
        return loss, found

    def _train_slice(self, call: Any) -> Any:
        def train_slice(sample: bytes, label: int, values: bytes, instructions: int) -> float | None:
            loss: float | None = call(sample, label, values, instructions)
            if loss is not None and not self._inside:
                self._step(sample, label, values, loss, [])
            return loss

        return train_slice

    def _apply(self, call: Any) -> Any:
        def apply() -> None:
            self._unchanged()
            call()
            self._expected = self._crc()
            self._writer.add(Kind.APPLY, struct.pack("<I", self._expected))

        return apply

    def _set_learning_rate(self, call: Any) -> Any:
        def set_learning_rate(rate: float) -> None:
            self._unchanged()
            call(rate)
            self._writer.add(Kind.RATE, struct.pack("<f", rate))
            self._expected = self._crc()

        return set_learning_rate

    def _reset(self, call: Any) -> Any:
        def reset() -> None:
            call()
            self._expected = self._crc()
            self._writer.add(Kind.RESET, struct.pack("<I", self._expected))

        return reset

    def _write_state(self, call: Any) -> Any:
        def write_state(state: bytes) -> None:
            call(state)
            self._state(Why.SET, state)

        return write_state

    def _load_adapter(self, call: Any) -> Any:
        def load_adapter(adapter: bytes) -> None:
            self._unchanged()
            call(adapter)
            self._expected = self._crc()
            self._writer.add(Kind.ADAPTER, struct.pack("<I", self._expected) + adapter)

        return load_adapter

    def _remember(self, call: Any) -> Any:
        def remember(sample: bytes, label: int, values: bytes) -> None:
            self._unchanged()
            call(sample, label, values)
            self._expected = self._crc()
            number = self._sample(sample, values)
            self._writer.add(Kind.REMEMBER, struct.pack("<IiI", number, label, self._expected))

        return remember

    def _replay_step(self, call: Any) -> Any:
        def replay_step() -> float:
            self._unchanged()
            loss = float(call())
            self._replayed(loss)
            return loss

        return replay_step

    def _replay_slice(self, call: Any) -> Any:
        def replay_slice(instructions: int) -> float | None:
            loss: float | None = call(instructions)
            if loss is not None:
                self._replayed(loss)
            return loss

        return replay_slice

    def _add_class(self, call: Any) -> Any:
        def add_class(sample: bytes) -> int:
            self._unchanged()
            label = int(call(sample))
            self._expected = self._crc()
            self._writer.add(Kind.CLASS, struct.pack("<IiI", self._sample(sample, b""), label, self._expected))
            return label

        return add_class

    def _infer(self, call: Any) -> Any:
        def infer(sample: bytes) -> bytes:
            output: bytes = call(sample)
            if self.device.manifest.kept:  # only then does it change anything
                self._expected = self._crc()
                self._writer.add(Kind.INFER, struct.pack("<II", self._sample(sample, b""), self._expected))
            return output

        return infer


def of_kernel(device: Device, writes: tuple[Written, ...]) -> int:
    """A checksum of all that a kernel has written: of the CRCs of its values."""
    return zlib.crc32(struct.pack(f"<{len(writes)}I", *device._checksums(writes)))
