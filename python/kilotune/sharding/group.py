"""A group: training with the optimizer's state in parts, one on each device, as one device would train."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiloc.ops import LARGEST_SUM

from ..adapters import Adapter
from ..devices import Device, DeviceError, open_device
from ..devices import data as samples_of
from ..devices.data import Samples
from .parts import check_together, common_ranges, composed, part_of

T = TypeVar("T")
Batch = tuple[NDArray[Any], NDArray[np.int32], NDArray[np.float32]]
"""Samples [n, ...], labels [n] and values [n, m] of one update; of labels and values one means something."""
Spare = Callable[[int], Device]


@dataclass
class Traffic:
    """Bytes between the computer and the devices, all together, without frames; `updates` is what they were for.

    gradients: sums from devices; sums: of the whole group, to devices; steps: from and to devices; kept: what the computer keeps of devices, to
    go on without one.
    """

    updates: int = 0
    gradients: int = 0
    sums: int = 0
    steps: int = 0
    kept: int = 0


class Lost(Exception):
    """A device did not answer. index: which."""

    def __init__(self, index: int, error: DeviceError) -> None:
        super().__init__(str(error))
        self.index, self.error = index, error


class Group:
    """Devices that learn one task together. A context manager that closes them.

    devices: one for each build of `kt.sharded`, in any order, of any kind. spare: opens the device that takes over part `index` where one is lost;
    None: the host runs its build. keep_every: updates from one copy of the state to the next, which the computer keeps: a lost device's part is
    restored from it, and the updates since are made again. A device that failed is in `events`, with what became of its part.
    """

    def __init__(self, devices: Sequence[Device], spare: Spare | None = None, keep_every: int = 1) -> None:
        if not devices:
            raise DeviceError("group", "there is no device in it", "pass one for each build of kt.sharded")
        if isinstance(keep_every, bool) or not isinstance(keep_every, int) or keep_every < 1:
            raise ValueError(f"keep_every is {keep_every!r}: it must be a number of updates of at least 1")
        self.devices = sorted(devices, key=lambda d: part_of(d.manifest).index)
        self.parts = [part_of(d.manifest) for d in self.devices]
        check_together([d.manifest for d in self.devices])
        self.traffic, self.events = Traffic(), list[str]()
        self._spare = spare or (lambda index: open_device(self.devices[index].manifest.directory, "host"))
        self._keep_every, self._since = keep_every, list[Batch]()
        self._pool = ThreadPoolExecutor(len(devices))
        first = self.devices[0]
        for i, device in enumerate(self.devices):
            if i and self._common(i) != self._common(0):
                what = f"its trained values are not those of {first.name}"
                raise DeviceError(device.name, what, "reset() all devices, or load one adapter into all, before they become a group")
        self._keep()

    # ---- Training ----

    def step(self, x: Samples, y: ArrayLike | None = None) -> float:
        """One update by N samples, which the devices share among each other; returns their mean loss."""
        samples = samples_of.prepare_inputs(x, self.devices[0].manifest)
        if len(samples) == 0:
            raise ValueError("x holds no samples")
        return self._step((samples, *self.devices[0]._targets(y, len(samples))))

    def fit(
        self,
        x: Samples,
        y: ArrayLike | None = None,
        epochs: int = 1,
        seed: int = 0,
        accumulate: int | None = None,
        learning_rate: float | None = None,
    ) -> list[float]:
        """Train on N samples; the mean loss of each epoch. The order is that of `Device.fit` with the same seed, hold_out=0 and decay="constant",
        and so are the bits.

        accumulate: samples an update, of all devices together; None for the build's.
        """
        manifest = self.devices[0].manifest
        samples = samples_of.prepare_inputs(x, manifest)
        labels, values = self.devices[0]._targets(y, len(samples))
        each = manifest.accumulate if accumulate is None else accumulate
        if len(samples) == 0 or epochs < 0 or each < 1:
            raise ValueError(f"there are {len(samples)} samples, {epochs} epochs and {each} samples an update: all must be at least 1")
        if learning_rate is not None:
            self.set_learning_rate(learning_rate)
        generator, losses = np.random.Generator(np.random.PCG64(seed)), list[float]()
        for _ in range(epochs):
            order, total = generator.permutation(len(samples)), 0.0
            for start in range(0, len(order), each):
                rows = order[start : start + each]
                total += self._step((samples[rows], labels[rows], values[rows])) * len(rows)
            losses.append(total / len(samples))
        return losses

    def set_learning_rate(self, learning_rate: float) -> None:
        """Learning rate of the updates that follow."""
        for device in self.devices:
            device.set_learning_rate(learning_rate)
        self._keep()

    def export_adapter(self) -> Adapter:
        """What all devices have learned."""
        return self.devices[0].export_adapter()

    def evaluate(self, x: Samples, y: ArrayLike | None = None) -> dict[str, float]:
        """As `Device.evaluate`, on one of the devices, which are all alike."""
        return self.devices[0].evaluate(x, y)

    # ---- One update ----

    def _step(self, batch: Batch) -> float:
        while True:
            try:
                loss = self._update(batch)
                self._since.append(batch)
                if len(self._since) >= self._keep_every:
                    self._keep()
                self.traffic.updates += 1
                return loss
            except Lost as lost:
                if self._since and self._since[-1] is batch:
                    self._since.pop()
                self._replace(lost)

    def _update(self, batch: Batch) -> float:
        """Samples, sums, steps: see examples/agent/README.md. Devices end as they began, or the sums are refused, or one is lost."""
        samples, labels, values = batch
        count = len(self.devices)

        def train(i: int, device: Device) -> float:
            rows = range(i, len(samples), count)
            return math.fsum(device._train_step(samples[r].tobytes(), int(labels[r]), values[r].tobytes()) for r in rows)

        losses = self._all(train)
        if count > 1:
            self._exchange(len(samples))
        self._all(lambda i, device: device._apply())
        return math.fsum(losses) / len(samples)

    def _exchange(self, samples: int) -> None:
        part = self.parts[0]
        size, marks = 4 + 4 * part.elements, part.flags[1]

        def summed(i: int, device: Device) -> bytes:
            own = self.parts[i]
            return device._read_part(own.at, size) + (device._read_part(*own.flags) if marks else b"")

        read = self._all(summed)
        held = [np.frombuffer(d[:size], "<i4").astype(np.int64) for d in read]
        flags = np.bitwise_or.reduce([np.frombuffer(d[size:], np.uint8) for d in read]).tobytes()
        total = np.sum(held, axis=0)
        assert total[0] == samples, f"the devices counted {total[0]} samples, not {samples}"
        if max(np.abs(h[1:]).max() for h in (*held, total)) >= LARGEST_SUM:
            self._restore(range(len(self.devices)))
            hint = "accumulate fewer samples, or scale the targets of the loss down"
            raise DeviceError("group", "a sum of gradients is too large for 32 bits", hint)
        words = total.astype("<i4")

        def own_steps(i: int, device: Device) -> bytes:
            own, (first, end) = self.parts[i], self.parts[i].sums
            device._write_sums(0, words[:1].tobytes())
            device._write_sums(4 + 4 * first, words[1 + first : 1 + end].tobytes())
            device._apply()
            return device._read_part(own.at + 4 + 4 * own.own[0], 4 * (own.own[1] - own.own[0]))

        steps = b"".join(self._all(own_steps))

        def take_others(i: int, device: Device) -> None:
            first, end = self.parts[i].own
            for a, b in ((0, first), (end, part.elements)):
                if a < b:
                    device._write_sums(4 + 4 * a, steps[4 * a : 4 * b])
            if any(flags):
                device._write_sums(self.parts[i].flags[0] - self.parts[i].at, flags)

        self._all(take_others)
        self.traffic.gradients += (size + marks) * len(self.parts)
        self.traffic.sums += sum(4 + 4 * (p.sums[1] - p.sums[0]) for p in self.parts)
        self.traffic.steps += len(self.parts) * (len(steps) + (marks if any(flags) else 0))

    def _all(self, call: Callable[[int, Device], T]) -> list[T]:
        """What a call returns of each device, all at once. Raises Lost for the first that failed, once all have ended."""
        futures = [self._pool.submit(call, i, device) for i, device in enumerate(self.devices)]
        found, lost = list[T](), None
        for i, future in enumerate(futures):
            try:
                found.append(future.result())
            except DeviceError as error:
                lost = lost or Lost(i, error)
        if lost is not None:
            raise lost
        return found

    # ---- What is kept, and devices that are lost ----

    def _common(self, index: int) -> bytes:
        return b"".join(self.devices[index]._read_part(at, size) for at, size in common_ranges(self.parts[index]))

    def _moments(self, index: int, device: Device) -> list[bytes]:
        return [device._read_part(at, size) for at, size in self.parts[index].moments]

    def _keep(self) -> None:
        """A copy of what the devices hold together, from which any of them can be made again."""
        moments = self._all(self._moments)
        try:
            common = self._common(0)
        except DeviceError as error:
            raise Lost(0, error) from error
        self._kept, self._since = (common, moments), []
        self.traffic.kept += len(common) + sum(len(m) for part in moments for m in part)

    def _restore(self, indices: Sequence[int]) -> None:
        common, moments = self._kept
        for i in indices:
            self.devices[i].set_state(composed(self.devices[i].manifest, common, moments[i]))

    def _replace(self, lost: Lost) -> None:
        """Another device for each that is lost; all go back to the copy and make the updates since once more."""
        pending = lost
        for _ in range(2 * len(self.devices)):
            old = self.devices[pending.index]
            with suppress(DeviceError, OSError):
                old.close()
            spare = self._spare(pending.index)
            if (spare.manifest.base_hash, spare.manifest.shard) != (old.manifest.base_hash, old.manifest.shard):
                raise DeviceError(spare.name, f"does not hold part {pending.index} of this group", "open the build of the lost part") from lost
            self.devices[pending.index] = spare
            self.events.append(f"part {pending.index}: {old.name} was lost ({pending.error}); {spare.name} goes on with the copy of its state")
            try:
                self._all(lambda i, device: self._restore([i]))
                for batch in self._since:
                    self._update(batch)
                return
            except Lost as again:
                pending = again
        raise pending.error

    # ---- Context manager ----

    def close(self) -> None:
        """Close all devices."""
        self._pool.shutdown()
        for device in self.devices:
            device.close()

    def __enter__(self) -> Group:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
