"""A log repeated on this computer: equal bit for bit, or the first step that differs, and the first kernel in it."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from kiloc.emit import Written

from . import toolchain
from .devices.base import Device
from .devices.errors import DeviceError
from .devices.host import HostDevice
from .devices.manifest import Manifest
from .devices.recorder import UNCHECKED, of_kernel, plan_of
from .devices.training_log import Kind, Log, Record, Why, read_log
from .devices.training_ring import is_ring, read_ring

Opener = Callable[[], Device]


@dataclass(frozen=True)
class Difference:
    """Where a device first did something else than this computer does.

    step: of training, counted from 1, or the one before a call that differs. call: "train_step", "apply", "reset", "load_adapter", "infer", or
    "" where the state changed between two calls. kernel, node, phase: the first call of a kernel that gave other bits, "" where that is not
    known. what: a sentence for a person.
    """

    step: int
    call: str
    what: str
    node: str = ""
    kernel: str = ""
    phase: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReplayReport:
    """What a replay found. steps, updates: training steps and updates that were repeated, up to the difference. torn: what the log lacks."""

    log: str
    device: str
    model: str
    steps: int
    updates: int
    checked: int
    """States that were compared."""
    difference: Difference | None
    torn: str = ""
    notes: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether all that the log holds is what this computer gives."""
        return self.difference is None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"equal": self.equal}

    def text(self) -> str:
        """For a person."""
        lines = [f"{self.log}: {self.model} on {self.device}, {self.steps} training steps, {self.updates} updates, {self.checked} states compared"]
        lines += [f"note: {note}" for note in self.notes]
        if self.torn:
            lines.append(f"note: the log is not whole: {self.torn}; what stands before was repeated")
        lines.append("equal, bit for bit" if self.difference is None else f"differs at step {self.difference.step}: {self.difference.what}")
        return "\n".join(lines)


def replay(
    path: str | os.PathLike[str], build_dir: str | os.PathLike[str], device: Opener | None = None, samples: Mapping[bytes, bytes] | None = None
) -> ReplayReport:
    """Repeat the training of a log with a build on this computer. path: what `Device.record` wrote, or the flash of firmware's kt/recorder.h.

    device: opens another device, on which a step that differs is repeated kernel by kernel beside this computer, where the log holds no
    checksums of kernels. samples: SHA-256 -> bytes of inputs and target values, for a log without samples. DeviceError for a log of another
    model or build, or one whose samples are missing.
    """
    log, manifest = read_ring(path) if is_ring(path) else read_log(path), Manifest.load(build_dir)
    _check_belongs(log, manifest)
    host = HostDevice(manifest)
    with host:
        return _Run(log, host, device, samples or {}).all()


def _check_belongs(log: Log, manifest: Manifest) -> None:
    where, of = str(log.path), log.header
    expected = {
        "base_hash": manifest.base_hash.hex(), "state_layout": manifest.state_layout, "state_bytes": manifest.state_bytes,
        "input_bytes": manifest.input_bytes, "target_values": manifest.target_values,
    }  # fmt: skip
    for name, value in expected.items():
        if of.get(name) != value:
            what = f"the log is of another build ({of.get('model')}): its {name} is {of.get(name)}, that of {manifest.directory} {value}"
            raise DeviceError(where, what, "pass the build directory that the device's firmware was made of")
    if not manifest.training:
        raise DeviceError(where, f"{manifest.directory} was built without training", "pass the build that the device trains with")
    if manifest.signed:
        what = "the build has a public key, so that no state can be given to it"
        raise DeviceError(where, what, "replay with a build of the same options without the key: its bits are the same")


@dataclass(frozen=True)
class _Step:
    """A step that was repeated: from which state, on what, and the device's checksums of its kernels."""

    number: int
    before: bytes
    asked: tuple[bytes, int, bytes]
    kernels: list[int]


@dataclass
class _Run:
    """How far a replay is."""

    log: Log
    host: HostDevice
    other: Opener | None
    given: Mapping[bytes, bytes]
    samples: list[tuple[bytes, bytes]] = field(default_factory=list)
    """SHA-256 and bytes; no bytes where nobody has them."""
    steps: int = 0
    updates: int = 0
    checked: int = 0
    open: list[_Step] = field(default_factory=list)
    """Steps since a state was last compared."""

    def all(self) -> ReplayReport:
        difference: Difference | None = None
        for record in self.log.records:
            try:
                difference = self.one(record)
            except (struct.error, IndexError):
                raise DeviceError(str(self.log.path), f"a record of kind {record.kind.name} is too short", "record the training again") from None
            if difference is not None:
                break
        of = self.log.header
        return ReplayReport(
            str(self.log.path),
            str(of.get("device")),
            str(of.get("model")),
            self.steps,
            self.updates,
            self.checked,
            difference,
            self.log.torn,
            self.notes(),
        )

    def notes(self) -> tuple[str, ...]:
        of, found = self.log.header, []
        if "build" in of and of["build"] != toolchain.build_identity(self.host.manifest).hex():
            found.append(f"the firmware was of other sources (kilotune {of.get('kilotune')}, {of.get('target')}) than this build; bits are the same")
        if not any(r.kind == Kind.STATE for r in self.log.records):
            found.append("the log holds no state: nothing was repeated")
        return tuple(found)

    def one(self, record: Record) -> Difference | None:
        """Repeat a record. What differs, or None."""
        content = record.content
        match record.kind:
            case Kind.STATE:
                return self.state(Why(content[0]), content[1:])
            case Kind.SAMPLE:
                self.samples.append((content[:32], content[32:] or self.given.get(content[:32], b"")))
                return None
            case Kind.STEP:
                number, label, loss, crc = struct.unpack_from("<IifI", content)
                return self.step(number, label, loss, crc, np.frombuffer(content[16:], "<u4").tolist())
            case Kind.APPLY:
                self.updates += 1
                return self.called("apply", self.host._apply, content)
            case Kind.RATE:
                self.host._set_learning_rate(*struct.unpack("<f", content))
                return None
            case Kind.RESET:
                more = "the device starts from other values: its firmware is of another seed or of other options"
                return self.called("reset", self.host._reset, content, more)
            case Kind.ADAPTER:
                return self.called("load_adapter", lambda: self.host._load_adapter(content[4:]), content)
            case Kind.INFER:
                sample = self.sample(struct.unpack_from("<I", content)[0])
                return self.called("infer", lambda: self.host._infer(sample), content[4:])
            case Kind.REMEMBER:
                number, label, crc = struct.unpack_from("<IiI", content)
                inputs, values = self.parts(number)
                return self.called("remember", lambda: self.host._remember(inputs, label, values), struct.pack("<I", crc))
            case Kind.REPLAY:
                return self.replayed(*struct.unpack_from("<fI", content))
            case Kind.CLASS:
                number, label, crc = struct.unpack_from("<IiI", content)
                return self.called("add_class", lambda: self.host._add_class(self.parts(number)[0]), struct.pack("<I", crc))
        return None

    def state(self, why: Why, state: bytes) -> Difference | None:
        if why != Why.CHANGED:
            self.open.clear()
            self.host.set_state(state)
            return None
        before = self.host._read_state()
        self.checked += 1
        if state == before:
            return None
        places = differing(before, state, self.host.manifest)
        what = f"the state changed behind step {self.steps} without a call that trains: {', '.join(places)}"
        return Difference(self.steps, "", what, values=tuple(places))

    def called(self, name: str, call: Callable[[], Any], content: bytes, more: str = "") -> Difference | None:
        call()
        (crc,) = struct.unpack_from("<I", content)
        self.checked += 1
        if crc == zlib.crc32(self.host._read_state()):
            self.open.clear()
            return None
        if name in ("reset", "load_adapter"):  # whatever was trained before
            self.open.clear()
        return self.first_kernel(name, f"{name} behind it left another state{f': {more}' if more else ''}")

    def sample(self, number: int) -> bytes:
        digest, found = self.samples[number]
        if not found:
            what = f"the log holds hashes of samples alone, and sample {number} ({digest.hex()[:12]}) is in none of those that were given"
            raise DeviceError(str(self.log.path), what, "pass the samples that the device was trained on: --data")
        m = self.host.manifest
        if len(found) not in (m.input_bytes, m.input_bytes + 4 * m.target_values):
            raise DeviceError(str(self.log.path), f"sample {number} has {len(found)} bytes, the model takes {m.input_bytes}", "record it again")
        return found

    def parts(self, number: int) -> tuple[bytes, bytes]:
        """Inputs of a sample, and the values of its target."""
        sample, size = self.sample(number), self.host.manifest.input_bytes
        return sample[:size], sample[size:]

    def replayed(self, loss: float, crc: int) -> Difference | None:
        """A step on a sample of the replay buffer."""
        try:
            got = self.host._replay_step()
        except DeviceError:
            layout = self.host.manifest.replay
            if layout is None or not layout.slow:
                raise
            what = "a replayed step goes back to a sample that slow memory held when the log began; no state has it"
            raise DeviceError(
                str(self.log.path), what, 'begin a log before the first remember(x, y), or build with kt.Replay(memory="state")'
            ) from None
        self.steps += 1
        if np.float32(got).tobytes() != np.float32(loss).tobytes():
            return self.first_kernel("replay_step", f"the loss of a replayed step is {loss!r}, here {got!r}")
        if crc == UNCHECKED:
            return None
        return self.called("replay_step", lambda: None, struct.pack("<I", crc))

    def step(self, number: int, label: int, loss: float, crc: int, kernels: list[int]) -> Difference | None:
        inputs, values = self.parts(number)
        asked = inputs, label, values
        before = self.host._read_state()
        got = self.host._train_step(*asked)
        self.steps += 1
        same_loss = np.float32(got).tobytes() == np.float32(loss).tobytes()
        if crc != UNCHECKED:
            self.checked += 1
        self.open.append(_Step(self.steps, before, asked, kernels))
        if same_loss and crc in (UNCHECKED, zlib.crc32(self.host._read_state())):
            if crc != UNCHECKED:
                self.open.clear()
            return None
        found = f"its loss is {loss!r}, here {got!r}" if not same_loss else "its loss is equal, the state behind it is another"
        return self.first_kernel("train_step", found)

    # ---- The kernel ----

    def first_kernel(self, call: str, found: str) -> Difference:
        """The first kernel that differs in the steps since a state was last compared; found: what a call behind them showed."""
        steps, device = self.host.manifest.steps, None
        try:
            for step in self.open if steps else []:
                named = self.by_checksums(step, found)
                if named is None and not step.kernels and self.other is not None:
                    device = device or self.other()
                    named = self.beside(device, step, found)
                if named is not None:
                    return named
        finally:
            if device is not None:
                device.close()
        return Difference(self.steps, call, f"{found}{self.why_no_kernel()}")

    def why_no_kernel(self) -> str:
        """Behind what was found: why no kernel is named."""
        if not self.open:
            return ""
        if not self.host.manifest.steps:
            return "; a build with slice_instructions names the kernel"
        if any(step.kernels for step in self.open):
            if self.log.header.get("plan") == plan_of(self.host):
                return ", though all kernels wrote the same: the state was changed behind the last of them"
            return "; the firmware's kernels are in another order than this build's: replay with the build that it was made of"
        if self.other is None:
            return (
                "; the log holds no checksums of kernels: record with kernels=True, or replay with --device to repeat the step beside another device"
            )
        return ", but the other device gives the bits of this computer: the fault is the recorded device's"

    def by_checksums(self, step: _Step, found: str) -> Difference | None:
        """By the checksums of kernels in the log, where they are of this build's."""
        if not step.kernels or self.log.header.get("plan") != plan_of(self.host):
            return None
        self.host._write_state(step.before)
        for i, one in enumerate(self.host.manifest.steps):
            self.host._train_slice(*step.asked, 1)
            if i < len(step.kernels) and of_kernel(self.host, one.writes) != step.kernels[i]:
                return self.named(step, i, found, ())
        return None

    def beside(self, device: Device, step: _Step, found: str) -> Difference | None:
        """By repeating the step on another device too, kernel by kernel."""
        for each in (self.host, device):
            each._write_state(step.before)
        for i, one in enumerate(self.host.manifest.steps):
            for each in (self.host, device):
                each._train_slice(*step.asked, 1)
            if self.host._checksums(one.writes) != device._checksums(one.writes):
                places = tuple(place for w in one.writes if (place := first_of(w, self.host, device)))
                return self.named(step, i, f"{found}; so it does on {device.name}", places)
        return None

    def named(self, of: _Step, i: int, found: str, places: tuple[str, ...]) -> Difference:
        steps = self.host.manifest.steps
        step = steps[i]
        what = f"{found}. The first kernel that differs is {step.kernel}, {step.name}, {i + 1} of {len(steps)} ({step.phase})"
        what += f": {'; '.join(places)}" if places else ""
        return Difference(of.number, "train_step", what, step.name, step.kernel, step.phase, places)


def differing(ours: bytes, theirs: bytes, manifest: Manifest) -> list[str]:
    """What of two states differs, member by member, with the first byte of each."""
    found = []
    for member in manifest.state_members or (Written("the state", "state", 0, len(ours)),):
        a, b = (np.frombuffer(s[member.offset : member.offset + member.bytes], np.uint8) for s in (ours, theirs))
        where = np.flatnonzero(a != b)
        if len(where):
            at = int(where[0])
            bits = bin(int(a[at] ^ b[at])).count("1")
            found.append(f"{member.value}, byte {at} is {int(b[at]):#04x} in place of {int(a[at]):#04x} ({bits} bit{'s' if bits > 1 else ''})" + (
                f" and {len(where) - 1} more" if len(where) > 1 else ""
            ))  # fmt: skip
    return found or ["its header"]


def first_of(w: Written, host: Device, device: Device) -> str:
    """The first byte of a value that two devices have differently; "" where they agree."""
    ours, theirs = (d._read_arena(w.offset, w.bytes) if w.area == "arena" else d._read_state()[w.offset : w.offset + w.bytes] for d in (host, device))
    where = np.flatnonzero(np.frombuffer(ours, np.uint8) != np.frombuffer(theirs, np.uint8))
    if not len(where):
        return ""
    at = int(where[0])
    return f"{w.value} differs in {len(where)} of {w.bytes} bytes, first at {at}: {theirs[at]:#04x} in place of {ours[at]:#04x}"
