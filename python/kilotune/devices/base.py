"""Device: one model on the host, in an emulator or on a board, with one interface.

A device implements the methods that start with an underscore and move bytes; checking, quantising, the training loop
and evaluation are here, so that every device sees the same samples in the same order.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..adapters import Adapter
from . import data, recipe
from .data import Samples
from .errors import DeviceError, check_status
from .manifest import Manifest
from .stored_adapters import StoredAdapters, Update

Results = NDArray[np.int8] | list[NDArray[np.int8]]
"""int8 [N, ...], or a list of them for a model of several outputs."""


@dataclass
class History:
    """What `fit` did. One entry an epoch in `losses` and, where asked for, in `validation`."""

    losses: list[float] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)
    updates: int = 0
    learning_rates: list[float] = field(default_factory=list)
    """Of each update; empty when the device kept its own."""

    best_epoch: int | None = None
    """With keep_best or hold_out: the epoch whose state was kept, 0 for the one before training."""


class Device(ABC):
    """A model that runs somewhere. A context manager; `close` may be called more than once."""

    def __init__(self, manifest: Manifest, name: str) -> None:
        self.manifest = manifest
        self.name = name

    # ---- What a device implements ----

    @abstractmethod
    def _reset(self) -> None: ...

    @abstractmethod
    def _infer(self, sample: bytes) -> bytes: ...

    @abstractmethod
    def _train_step(self, sample: bytes, label: int, values: bytes) -> float: ...

    @abstractmethod
    def _apply(self) -> None: ...

    @abstractmethod
    def _set_learning_rate(self, learning_rate: float) -> None: ...

    @abstractmethod
    def _read_state(self) -> bytes: ...

    @abstractmethod
    def _write_state(self, state: bytes) -> None: ...

    @abstractmethod
    def _export_adapter(self) -> bytes: ...

    @abstractmethod
    def _load_adapter(self, adapter: bytes) -> None: ...

    @abstractmethod
    def _stats(self) -> dict[str, Any]: ...

    @abstractmethod
    def close(self) -> None:
        """Release the device."""

    # ---- Inference ----

    def infer(self, x: Samples) -> Results:
        """Outputs of N samples as int8 [N, ...]. float32 and float64 are quantised, int8 is taken as is."""
        return self._split(self._infer_all(data.prepare_inputs(x, self.manifest)))

    def predict(self, x: Samples) -> NDArray[np.int64]:
        """Class numbers [N]: the largest value of the first output."""
        outputs = self._infer_all(data.prepare_inputs(x, self.manifest))
        return np.asarray(outputs[:, : self.manifest.outputs[0].size].argmax(axis=1), np.int64)

    def evaluate(self, x: Samples, y: ArrayLike | None = None, progress: bool = False) -> dict[str, float]:
        """{"loss", "accuracy"} over N samples; "accuracy" where targets are labels, or with "bce" of each output.

        The loss is computed here from the first output, dequantised: cross-entropy for labels (without smoothing and
        weights), binary cross-entropy, else the mean square difference to y, or to x where the loss reads the input.
        Where that output is a softmax, its int8 probabilities bound the loss from above.
        """
        samples = data.prepare_inputs(x, self.manifest)
        if len(samples) == 0:
            raise ValueError("x holds no samples")
        tensor = self.manifest.outputs[0]
        if self.manifest.targets == "input":
            self._no_target(y)
            y = data.dequantize(samples[:, : self.manifest.inputs[0].size], self.manifest.inputs[0])
        elif y is None:
            raise ValueError("y is missing: this model's loss takes targets")
        if self._labelled(y):
            labels = data.prepare_labels(y, len(samples), self.manifest.classes or tensor.size)
            return self._cross_entropy(self._infer_all(samples, progress)[:, : tensor.size], labels)
        values = data.prepare_values(y, len(samples), tensor)
        outputs = data.dequantize(self._infer_all(samples, progress)[:, : tensor.size], tensor)
        if self.manifest.loss == "bce":
            return _binary_cross_entropy(outputs.astype(np.float64), values)
        return {"loss": float(np.mean((outputs - values).astype(np.float64) ** 2))}

    # ---- Training ----

    def train_step(self, x: Samples, y: ArrayLike | None = None) -> float:
        """Loss of one sample, with or without the batch axis; its gradient is accumulated until apply().

        A build with accumulate=1 updates here already, at the learning rate of now; apply() then has nothing left to do.
        y: None where the loss reads the input, else a label or values.
        """
        self._check_training()
        sample = data.prepare_inputs(data.with_batch_axis(x, self.manifest), self.manifest)
        if len(sample) != 1:
            raise ValueError(f"x holds {len(sample)} samples: train_step takes one")
        labels, values = self._targets(None if y is None else data.one_target(y, self.manifest), 1)
        return self._train_step(sample[0].tobytes(), int(labels[0]), values[0].tobytes())

    def apply(self) -> None:
        """Update the model by the gradients accumulated since the last update."""
        self._check_training()
        self._apply()

    def set_learning_rate(self, learning_rate: float) -> None:
        """Learning rate of the updates that follow."""
        self._check_training()
        if not (math.isfinite(learning_rate) and 0 <= learning_rate < 3e38):
            raise ValueError(f"learning_rate is {learning_rate}: it must be a number of at least 0")
        self._set_learning_rate(float(learning_rate))

    def fit(
        self,
        x: Samples,
        y: ArrayLike | None = None,
        epochs: int | None = None,
        seed: int = 0,
        accumulate: int | None = None,
        learning_rate: float | None = None,
        decay: str | None = None,
        shuffle: bool = True,
        validation: tuple[Samples, ArrayLike | None] | None = None,
        keep_best: bool = False,
        hold_out: float | None = None,
        progress: bool = False,
    ) -> History:
        """Train on N samples. The same seed gives the same order, hence the same bits, on every device.

        epochs: None for the default recipe: about 1000 samples' worth, a rate that falls linearly, and a fifth of the samples held out
        where there are 100 with labels or more, no class is rare and the head is not new; `devices/recipe.py` has the numbers and reasons.
        accumulate: samples an update, None for the build's; what is left at an epoch's end makes an update too.
        learning_rate: None keeps the device's; a schedule of the build comes on top. decay: "linear", it falls from there to 0 over all updates,
        and is set back at the end; "constant", or None with epochs given, it stays. validation: (x, y) to evaluate after every epoch.
        keep_best: end with the state that had the lowest validation loss, the one before training included. After an epoch that did not
        lower it training goes on from that state at a third of the rate, so a rate that is too high, or an overfitted sample, does no harm.
        hold_out: share of the samples, class by class, that serves as validation with keep_best instead of being trained on.
        A build with a public key takes no state, so it has neither.
        Ctrl-C ends it between two samples or in the middle of one; the device can be used afterwards.
        """
        self._check_training()
        samples = data.prepare_inputs(x, self.manifest)
        targets = self._targets(y, len(samples))
        per_update = self._samples_an_update(accumulate)
        _check_fit(len(samples), epochs, keep_best and validation is None)
        held = self._held_out(targets[0], hold_out, epochs is None and validation is None and not self.manifest.signed, seed)
        if held.any():
            if validation is not None:
                raise ValueError("hold_out makes its own validation samples: leave validation out")
            validation, keep_best = (data.rows(x, held, self.manifest), None if y is None else np.asarray(y)[held]), True
        rows = np.flatnonzero(~held)
        if epochs is None:
            epochs, decay = recipe.default_epochs(len(samples)), decay or self._default_decay(learning_rate)
        schedule = self._schedule(learning_rate, decay, epochs * math.ceil(len(rows) / per_update))

        generator = np.random.Generator(np.random.PCG64(seed))
        history = History()
        try:
            best = self._best(validation) if keep_best and validation is not None else None
            with _bar("training", epochs * len(rows), progress) as advance:
                for _ in range(epochs):
                    order = rows[generator.permutation(len(rows))] if shuffle else rows
                    self._epoch(samples[order], (targets[0][order], targets[1][order]), per_update, history, schedule, advance)
                    if validation is not None:
                        history.validation.append(self.evaluate(*validation))
                    if best is not None:
                        best.consider(history.validation[-1]["loss"], schedule)
            history.best_epoch = best.epoch if best else None
        finally:
            if schedule.base is not None and (schedule.decays or schedule.share < 1) and history.learning_rates:
                self._set_learning_rate(schedule.base)
        return history

    def _epoch(
        self,
        samples: NDArray[np.int8],
        targets: tuple[NDArray[np.int32], NDArray[np.float32]],
        per_update: int,
        history: History,
        schedule: recipe.Schedule,
        advance: Callable[[], None],
    ) -> None:
        """Train on samples in their order; notes the mean loss."""
        total = 0.0
        for done, (sample, label, values) in enumerate(zip(samples, *targets, strict=True), start=1):
            if (done - 1) % per_update == 0:
                self._begin_update(history, schedule)
            total += self._train_step(sample.tobytes(), int(label), values.tobytes())
            if done % per_update == 0 or done == len(samples):
                self._apply()
                history.updates += 1
            advance()
        history.losses.append(total / len(samples))

    def _begin_update(self, history: History, schedule: recipe.Schedule) -> None:
        """Before the samples of an update: a build that updates after each sample reads the rate with the sample."""
        rate = schedule.rate(history.updates)
        if rate is not None:
            if not history.learning_rates or history.learning_rates[-1] != rate:
                self._set_learning_rate(rate)
            history.learning_rates.append(rate)

    def _samples_an_update(self, accumulate: int | None) -> int:
        count = self.manifest.accumulate if accumulate is None else accumulate
        if count < 1:
            raise ValueError(f"accumulate must be at least 1, not {count}")
        if self.manifest.accumulate == 1 and count > 1:
            raise ValueError(f"accumulate is {count}, but this build updates after each sample: build with accumulate={count}")
        return count

    def _held_out(self, labels: NDArray[np.int32], share: float | None, default: bool, seed: int) -> recipe.Mask:
        """Which samples are held out: the share asked for, or where None by `default` what the recipe says."""
        count = len(labels)
        known = labels if self.manifest.targets == "labels" else None
        if share is None:
            share = recipe.default_share(known, count) if default and not self.manifest.new_head else 0.0
        if not 0 <= share < 1 or (share > 0 and max(1, round(share * count)) >= count):
            raise ValueError(f"hold_out is {share}: it must be at least 0 and leave a sample of {count} to train on")
        return recipe.held_out(known, count, share, seed) if share else np.zeros(count, np.bool_)

    def _best(self, validation: tuple[Samples, ArrayLike | None]) -> recipe.Best:
        self._check_takes_state()
        return recipe.Best(lambda: self.evaluate(*validation)["loss"], self.state, self.set_state)

    def _default_decay(self, learning_rate: float | None) -> str:
        """Linear, unless the device knows no rate to start from or has a schedule of its own."""
        known = learning_rate is not None or self.manifest.learning_rate is not None
        return "linear" if known and self.manifest.schedule is None else "constant"

    def _schedule(self, learning_rate: float | None, decay: str | None, updates: int) -> recipe.Schedule:
        if decay not in (None, "linear", "constant"):
            raise ValueError(f'decay is {decay!r}: it must be None, "linear" or "constant"')
        if learning_rate is not None and not (math.isfinite(learning_rate) and 0 <= learning_rate < 3e38):
            raise ValueError(f"learning_rate is {learning_rate}: it must be a number of at least 0")
        if decay != "linear":
            return recipe.Schedule(None if learning_rate is None else float(learning_rate), updates, False)
        base = self.manifest.learning_rate if learning_rate is None else learning_rate
        if base is None:
            raise ValueError("decay needs a learning_rate: the build does not name one")
        return recipe.Schedule(float(base), updates, True)

    # ---- State, adapter, statistics ----

    def reset(self) -> None:
        """Back to the model as built: training and statistics are forgotten."""
        self._reset()

    def state(self) -> bytes:
        """The persistent state: equal bytes on two devices mean equal models."""
        return self._read_state()

    def set_state(self, state: bytes) -> None:
        """Take over a state of this build; DeviceError, and the old state, if it is another's."""
        if len(state) != self.manifest.state_bytes:
            raise ValueError(f"state has {len(state)} bytes, this build's has {self.manifest.state_bytes}")
        self._check_adapters()
        self._check_takes_state()
        before = self._read_state()
        try:
            self._write_state(bytes(state))
        except DeviceError:
            self._write_state(before)
            raise

    def export_adapter(self) -> Adapter:
        """What training changed, as a file of a few kilobytes."""
        self._check_adapters()
        try:
            return Adapter(self._export_adapter()).with_digest()
        except ValueError as error:
            raise DeviceError(self.name, f"the device exported no valid adapter: {error}", "rebuild the model") from error

    def load_adapter(self, adapter: Adapter) -> None:
        """Take over an adapter of the same base model; nothing changes if it is another's or does not fit."""
        self._check_adapter(adapter)
        self._load_adapter(adapter.data)

    def _check_adapter(self, adapter: Adapter) -> None:
        self._check_adapters()
        if adapter.base_hash != self.manifest.base_hash.hex():
            raise DeviceError(
                self.name,
                f"the adapter belongs to base model {adapter.base_hash}, this is {self.manifest.base_hash.hex()}",
                "load it into the model it was trained on",
            )
        if len(adapter) > self.manifest.adapter_bytes:
            raise DeviceError(
                self.name,
                f"the adapter has {len(adapter)} bytes, this build's have {self.manifest.adapter_bytes}",
                "build with the method, rank and layers that the adapter was trained with",
            )

    # ---- Stored adapters ----

    def store_adapter(self, adapter: Adapter, name: str | None = None) -> None:
        """Keep an adapter in the device's memory, by its own or another name; the active one stays. The build plans the room: resident=."""
        stored = self._stored()
        self._check_adapter(adapter)
        if not (name or adapter.name):
            raise ValueError("the adapter has no name: pass one")
        self._write_adapter(adapter.data)
        stored.store(len(adapter), name)

    def select_adapter(self, name: str | None) -> None:
        """Make a stored adapter the active one; None: the base model. A training build copies it, and forgets accumulators and moments."""
        self._stored().select(name)

    def remove_adapter(self, name: str) -> None:
        """Forget a stored adapter that is not active."""
        self._stored().remove(name)

    def stored_adapters(self) -> tuple[list[str], str | None]:
        """Names of the stored adapters, and which is active."""
        return self._stored().names()

    def update_adapter(self, adapter: Adapter) -> Update:
        """Replace the adapter in flash over the air; what an update that was cut off has left there is not sent again.

        DeviceError, and the adapter before stays, where it is refused: damaged, of another base, not signed, older, or worse on the self test.
        """
        if not self.manifest.adapter_slots:
            raise DeviceError(self.name, "the build has no slots for updates", "build with train=False and kt.AdapterOptions(slots=True)")
        stored = self._stored()
        self._check_adapter(adapter)
        begun = stored.begin(adapter.data)
        sent = stored.write(adapter.data, begun.kept)
        stored.install()
        return Update(sent, begun.kept)

    def abandon_update(self) -> None:
        """Give up the update under way, if there is one; the next one goes on with what has arrived, or begins anew."""
        self._stored().abandon()

    def reboot(self) -> None:
        """As after a reset of the board: what is in flash is left."""
        self._stored().reboot()

    def _stored(self) -> StoredAdapters:
        self._check_adapters()
        raise DeviceError(self.name, "this device keeps no adapters", "open agent:host or a board")

    def _write_adapter(self, adapter: bytes) -> None:
        raise NotImplementedError

    def stats(self) -> dict[str, Any]:
        """Cost of the last infer, train_step or apply, and memory.

        "call", "instructions", "cycles", "nanoseconds" (what the device cannot count is None), "stack_bytes" (None if
        unknown), "stack_size", "arena_bytes", "state_bytes".
        """
        return self._stats()

    # ---- Context manager ----

    def __enter__(self) -> Device:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # ---- Helpers ----

    def _check_training(self) -> None:
        if not self.manifest.training:
            raise DeviceError(self.name, "the model was built without training", "build it with a method, such as kt.LoRA(rank=4)")

    def _check_takes_state(self) -> None:
        if self.manifest.signed:
            check_status(19, self.name)

    def _check_adapters(self) -> None:
        if self.manifest.adapter_bytes == 0:
            raise DeviceError(self.name, "the model was built without a method: it takes no adapter", "build it with a method and train=False")

    def _infer_all(self, samples: NDArray[np.int8], progress: bool = False) -> NDArray[np.int8]:
        outputs = np.empty((len(samples), self.manifest.output_bytes), np.int8)
        with _bar("inference", len(samples), progress) as advance:
            for i, sample in enumerate(samples):
                outputs[i] = np.frombuffer(self._infer(sample.tobytes()), np.int8)
                advance()
        return outputs

    def _split(self, outputs: NDArray[np.int8]) -> Results:
        ends = np.cumsum([t.size for t in self.manifest.outputs])
        parts = zip(np.split(outputs, ends[:-1], axis=1), self.manifest.outputs, strict=True)
        shaped = [np.ascontiguousarray(p).reshape(len(p), *t.sample_shape) for p, t in parts]
        return shaped[0] if len(shaped) == 1 else shaped

    def _labelled(self, y: ArrayLike) -> bool:
        if self.manifest.targets is None:
            return np.asarray(y).dtype.kind in "iu"
        return self.manifest.targets == "labels"

    def _no_target(self, y: ArrayLike | None) -> None:
        if y is not None:
            raise ValueError("y is given, but this model's loss reads its input: leave y out")

    def _targets(self, y: ArrayLike | None, count: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        if self.manifest.targets == "input":
            self._no_target(y)
            return np.zeros(count, np.int32), np.zeros((count, 0), np.float32)
        if y is None:
            raise ValueError("y is missing: this model's loss takes targets")
        if self.manifest.targets == "labels":
            labels = data.prepare_labels(y, count, self.manifest.classes or 0)
            return labels, np.zeros((count, 0), np.float32)
        values = data.prepare_values(y, count, self.manifest.outputs[0])
        if self.manifest.loss == "bce" and ((values < 0) | (values > 1)).any():
            raise ValueError("y holds values outside [0, 1]: binary cross-entropy takes 0 or 1 for each output")
        return np.zeros(count, np.int32), values

    def _cross_entropy(self, outputs: NDArray[np.int8], labels: NDArray[np.int32]) -> dict[str, float]:
        tensor = self.manifest.outputs[0]
        real = data.dequantize(outputs, tensor).astype(np.float64)
        rows = np.arange(len(labels))
        if tensor.softmax:  # probabilities, of which the smallest the output can tell from 0 is half a step
            chosen = np.maximum(real[rows, labels], tensor.scale / 2)
            losses = -np.log(np.minimum(chosen, 1.0))
        else:
            shifted = real - real.max(axis=1, keepdims=True)
            losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, labels]
        return {"accuracy": float(np.mean(outputs.argmax(axis=1) == labels)), "loss": float(losses.mean())}


def _binary_cross_entropy(logits: NDArray[np.float64], targets: NDArray[np.float32]) -> dict[str, float]:
    losses = np.maximum(logits, 0) - logits * targets + np.log1p(np.exp(-np.abs(logits)))
    return {"accuracy": float(np.mean((logits > 0) == (targets > 0.5))), "loss": float(losses.mean())}


def _check_fit(samples: int, epochs: int | None, blind: bool) -> None:
    """blind: the best state is asked for, but there is nothing to judge by."""
    if samples == 0:
        raise ValueError("x holds no samples")
    if epochs is not None and epochs < 0:
        raise ValueError(f"epochs must be at least 0, not {epochs}")
    if blind:
        raise ValueError("keep_best needs validation=(x, y)")


@contextmanager
def _bar(title: str, total: int, show: bool) -> Iterator[Any]:
    """A progress bar, or nothing; yields the function to call after each step."""
    if not show:
        yield lambda: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.advance(task)
