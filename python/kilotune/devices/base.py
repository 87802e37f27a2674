"""Device: one model on the host, in an emulator or on a board, with one interface.

What a device implements is in `interface.py`; quantising, the training loop and evaluation are here, so that every device sees the same samples
in the same order.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..adapters import Adapter
from ..adapters.limits import moved_channel
from . import data, judgement, plausible, recipe, renormalise, training
from .calls import one_at_a_time
from .data import Samples
from .errors import DeviceError
from .gate import Gate
from .history import History
from .judgement import Judgement, Nearness
from .private_updates import PrivateUpdates
from .progress import bar
from .recorder import Recorder
from .recordings import next_inputs
from .rehearsal import Rehearsal
from .replay import ReplayContent, content_of
from .stored_adapters import StoredAdapters, Update

Results = NDArray[Any] | list[NDArray[Any]]
"""Outputs [N, ...] of the model's type, mostly int8, or a list of them for a model of several outputs."""

Progress = bool | Callable[[], None] | None
"""Of a step of something longer: whether to show a bar of its own, or what to call after each sample."""


@one_at_a_time
class Device(PrivateUpdates):
    """A model that runs somewhere. A context manager; `close` may be called more than once, everything else raises DeviceError after it.

    Threads may share a device: whole calls follow each other, so that results are those of one thread.
    """

    # ---- Inference ----

    def infer(self, x: Samples, progress: bool | None = None) -> Results:
        """Outputs of N samples [N, ...], of the type that the model gives. float32 and float64 are quantised, the model's own type is taken as is."""
        return self._split(self._infer_all(self._inputs(x), progress))

    def predict(self, x: Samples, progress: bool | None = None) -> NDArray[np.int64]:
        """Class numbers [N]: the largest value of the first output."""
        outputs = self._infer_all(self._inputs(x), progress)
        return np.asarray(outputs[:, : self.manifest.outputs[0].size].argmax(axis=1), np.int64)

    def evaluate(
        self, x: Samples, y: ArrayLike | None = None, progress: bool | None = None, within: float | None = None, period: float | None = None
    ) -> dict[str, float]:
        """How good the first output is over N samples: {"loss", ...}.

        "accuracy": where targets are labels or distributions the share of samples whose largest value is at the target's class, with "bce" of
        all answers; "exact_match" and "f1" with "bce"; "mae" and "rmse" where targets are values. "within", where it is given: share of the
        samples whose class, or each of whose values, is at most so far from the target, around a circle of `period`, such as 100 classes.

        The loss is computed here from that output, dequantised: cross-entropy for labels and distributions (without smoothing and
        weights, as binary cross-entropy), else the mean square difference to y, or to x where the loss reads the input, or Huber's
        loss. With "next_token" it is the mean over all tokens of x but the first, "accuracy" the share that was thought likeliest.
        With "information_maximisation" y may be left out: then it is minus the mutual information of samples and answers.
        Where that output is a softmax or a logistic function, its int8 probabilities bound the loss from above.
        """
        samples = self._inputs(x)
        if len(samples) == 0:
            raise ValueError("x holds no samples")
        if within is None and period is not None:
            raise ValueError("period is given without within: pass the distance that is near enough")
        plausible.warn_of_inputs(x, self.manifest)
        near = None if within is None else Nearness(within, period)
        return self._judge(samples, y, progress, near).means()

    def losses(self, x: Samples, y: ArrayLike | None = None, progress: bool | None = None) -> NDArray[np.float32]:
        """The loss of each of N samples, as `evaluate` takes their mean: of an autoencoder how far each is from what the model knows."""
        samples = self._inputs(x)
        if len(samples) == 0:
            raise ValueError("x holds no samples")
        return self._judge(samples, y, progress).losses.astype(np.float32)

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

    def train_slice(self, x: Samples, y: ArrayLike | None = None, instructions: int | None = None) -> float | None:
        """A slice of a training step: None while there is more to do, then the loss. With the same sample until then; the model infers meanwhile.

        instructions: at most about so many, but one kernel at least; None: as the build was asked for. The bits are those of train_step. A
        build without slice_instructions has no slices. reset, set_state and load_adapter give up a step that was left.
        """
        self._check_training()
        budget = self._slice(instructions)
        sample = data.prepare_inputs(data.with_batch_axis(x, self.manifest), self.manifest)
        if len(sample) != 1:
            raise ValueError(f"x holds {len(sample)} samples: train_slice takes one")
        labels, values = self._targets(None if y is None else data.one_target(y, self.manifest), 1)
        asked = sample[0].tobytes(), int(labels[0]), values[0].tobytes()
        if self._left not in (None, asked):
            raise ValueError("a step on another sample was left: go on with that one until its loss is there, or call reset() or set_state()")
        loss = self._train_slice(*asked, budget)
        self._left = asked if loss is None else None
        return loss

    def remember(self, x: Samples, y: ArrayLike | None = None) -> None:
        """Offer N samples [N, ...], in this order, to the replay buffer, which keeps or drops each of them; nothing is trained."""
        self._check_replay()
        samples = self._inputs(x)
        labels, values = self._targets(y, len(samples))
        for i, sample in enumerate(samples):
            self._remember(sample.tobytes(), int(labels[i]), values[i].tobytes())

    def replay_step(self) -> float:
        """train_step on a sample that is drawn from the replay buffer; its loss."""
        self._check_replay()
        return self._replay_step()

    def replay_slice(self, instructions: int | None = None) -> float | None:
        """A slice of a replay_step, as train_slice: None while there is more to do, then the loss. Until then no other step can be begun."""
        self._check_replay()
        return self._replay_slice(self._slice(instructions))

    def replay_buffer(self) -> ReplayContent:
        """What the replay buffer holds."""
        return content_of(self.state(), self._check_replay())

    def add_class(self, x: Samples) -> int:
        """Open a class of a head with room (kt.Head(extra_classes=)) by its first sample, with or without the batch axis; its number.

        The model then takes this sample for the new class by a hair, and for the one that it took it for before nearly as much: training on
        samples of both does the rest.
        """
        self._check_new_classes()
        sample = data.prepare_inputs(data.with_batch_axis(x, self.manifest), self.manifest)
        if len(sample) != 1:
            raise ValueError(f"x holds {len(sample)} samples: add_class takes the first one of its class")
        return self._add_class(sample[0].tobytes())

    def open_classes(self) -> list[int]:
        """Numbers of the classes that the model can give: those that it was made for, and those that were added."""
        return self._check_new_classes().open(self.state())

    def apply(self) -> None:
        """Update the model by the gradients accumulated since the last update."""
        self._check_training()
        self._check_alone()
        self._apply()

    def set_learning_rate(self, learning_rate: float) -> None:
        """Learning rate of the updates that follow."""
        self._check_training()
        self._set_learning_rate(recipe.checked_rate(learning_rate))

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
        replay: int = 0,
        progress: bool | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        rehearsal: Rehearsal | None = None,
    ) -> History:
        """Train on N samples. The same seed gives the same order, hence the same bits, on every device.

        epochs: None for about 1000 samples' worth, at least 3. What else the recipe does, it does with any number of epochs: the rate falls
        linearly, and a fifth of the samples is held out where there are 100 with labels or more, no class is rare and the head is not new.
        `devices/recipe.py` has the numbers and reasons.
        accumulate: samples an update, None for the build's; what is left at an epoch's end makes an update too.
        learning_rate: None for the device's; a schedule of the build comes on top. decay: "linear", the rate falls to 0 over all updates, and
        is set back at the end; "constant", it stays, also None where the build has a schedule or no rate. validation: (x, y) to evaluate
        after every epoch. keep_best: end with the state that was best on it, the one before training included. An epoch that made it worse is
        undone, and training goes on at a third of the rate; after four such in a row it ends.
        hold_out: share of the samples, class by class, that serves as validation with keep_best instead of being trained on; 0 for none.
        Where it is None and nothing is held out or given, at most 200 of the samples that are trained on judge each epoch in the same way.
        A build with a public key takes no state, so it has none of this.
        replay: steps on samples of the replay buffer behind each step on a new one, as far as it holds any; what was trained on is then offered to
        the buffer once, in its order, behind the last epoch. 0 leaves the buffer alone.
        progress: a bar on standard error, lines where that is no terminal; None for them where it takes more than a few seconds.
        checkpoint: a file that holds, after every epoch and every half a minute, all that is needed to go on after Ctrl-C or a power cut.
        A model that keeps a state from slice to slice takes the samples in their order, whatever shuffle says, after a restart() before each
        epoch; none of them is held out.
        resume: go on from it, where it is there: with the same arguments the result has the bits of a training that was never cut off.
        rehearsal: samples of what the model was made for, kt.Rehearsal(samples), trained on between the others so that it forgets less. They
        count in the mean loss of an epoch, not in what is held out or judges.

        Warns (DataWarning) of samples far from the input's range and of labels of one class. Ctrl-C, between two samples or in the middle of
        one, raises TrainingInterrupted, a KeyboardInterrupt with the history so far; the device keeps what it learned and can be used.
        """
        self._check_training()
        self._check_alone()
        asked = training.Asked(
            epochs, seed, accumulate, learning_rate, decay, shuffle, validation, keep_best, hold_out, replay, checkpoint, resume, rehearsal
        )
        return training.fit(self, x, y, asked, progress)

    def record(self, path: str | os.PathLike[str], every: int = 1, kernels: bool = False, samples: bool = True) -> AbstractContextManager[Any]:
        """Write down what is trained inside of a `with` block, for `kilotune replay`: start, samples, rates, losses, checksums of the state.

        every: steps from one checksum of the state to the next. kernels: a checksum of what each kernel writes, too, for builds with
        slice_instructions: slower, and a replay then names the kernel that differs. samples: False leaves their bytes out and keeps hashes.
        """
        self._check_training()
        if every < 1:
            raise ValueError(f"every is {every}: it must be at least 1")
        if kernels and not self.manifest.steps:
            raise DeviceError(
                self.name, "a training step of this build is done in one", "build with slice_instructions=100_000, or leave kernels out"
            )
        return Recorder(self, path, every, kernels, samples)

    def gate(self, x: Samples, y: ArrayLike, more: int = 1) -> Gate:
        """Let labelled samples judge a change: `with device.gate(x, y) as gate: device.fit(unlabelled)`.

        At the end of the block the change is kept where at least `more` of the N samples more are answered right than before it; otherwise, and
        where the block raises, the device goes back to the state before. gate.kept, gate.before and gate.after say what came of it. A build with
        a public key takes no state, so it has no gate.
        """
        self._check_adapters()
        self._check_takes_state()
        return Gate(self, x, y, more)

    def renormalise(self, x: Samples, passes: int = 3, prior: float = 64, progress: bool | None = None) -> None:
        """Set gains and biases by N samples [N, ...] without labels, so that each layer but the last gives what it gave in the original domain.

        For builds with kt.ScaleShift() and moments=True, whose calibration samples were of that domain. Each of `passes` runs all samples and then
        corrects every layer: later layers see what earlier ones have become. prior: samples that the original domain counts for: with N of the
        new one, N / (N + prior) of the difference is taken out. Nothing tells whether it helps: see `gate`. Moments of the optimizer start anew.
        """
        self._check_training()
        self._check_takes_state()
        renormalise.check(self, passes, prior)
        samples = self._inputs(x)
        if len(samples) == 0:
            raise ValueError("x holds no samples")
        plausible.warn_of_inputs(x, self.manifest)
        rate = self.manifest.learning_rate
        if self.manifest.accumulate == 1:  # each step is an update, which must not move anything
            self._set_learning_rate(0.0)
        try:
            with bar("moments", passes * len(self.manifest.moments) * len(samples), progress) as advance:
                renormalise.renormalise(self, samples, passes, float(prior), advance)
        finally:
            if rate is not None:
                self._set_learning_rate(rate)

    # ---- State, adapter, statistics ----

    def reset(self) -> None:
        """Back to the model as built: training, what a streaming model has kept, and statistics are forgotten."""
        self._left = None
        self._reset()

    def restart(self) -> None:
        """Forget the slices so far, and nothing that was trained: for a recording that is not the continuation of the last.

        Of a model that keeps nothing from call to call it does nothing.
        """
        if self.manifest.kept:
            state = bytearray(self.state())
            for at, first in self.manifest.kept:
                state[at : at + len(first)] = first
            self.set_state(bytes(state))

    def state(self) -> bytes:
        """The persistent state: equal bytes on two devices mean equal models."""
        return self._read_state()

    def set_state(self, state: bytes) -> None:
        """Take over a state of this build; DeviceError, and the old state, if it is another's."""
        if not isinstance(state, bytes | bytearray | memoryview):
            raise ValueError(f"state is of type {type(state).__name__}, not bytes: pass what state() has returned")
        if len(state) != self.manifest.state_bytes:
            raise ValueError(f"state has {len(state)} bytes, this build's has {self.manifest.state_bytes}")
        if self.manifest.state_bytes == 0:
            self._check_adapters()
        self._check_takes_state()
        given, expected = int.from_bytes(state[:4], "little"), self.manifest.state_layout
        if expected is not None and given != expected:
            what = f"the state is of another model, other options or another version: its layout is {given:#010x}, this build's {expected:#010x}"
            raise DeviceError(self.name, what, "only a state of this very build can be set; adapters (export_adapter) go on to other builds")
        self._left, before = None, self._read_state()
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
        self._left = None

    def _check_adapter(self, adapter: Adapter) -> None:
        self._check_adapters()
        if not isinstance(adapter, Adapter):
            raise ValueError(f"adapter is of type {type(adapter).__name__}, not a kt.Adapter: read a file by kt.Adapter.load(path)")
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
        moved = moved_channel(adapter, self.manifest.channel_limits)
        if moved is not None:
            limit, channel = moved
            raise DeviceError(
                self.name,
                f"the adapter moves channel {channel} of layer '{limit.layer}' (by {limit.value}), which is constant in the model and which "
                "this build computes without",
                'build with constant_channels="frozen", which keeps the channels of trained layers',
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
        self._left = None

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
        self._left = None

    def _stored(self) -> StoredAdapters:
        self._check_adapters()
        raise DeviceError(self.name, "this device keeps no adapters", "open agent:host or a board")

    def _write_adapter(self, adapter: bytes) -> None:
        raise NotImplementedError

    def stats(self) -> dict[str, Any]:
        """Cost of the last call of the model, and memory.

        "call" ("infer", "train_step", "apply"; of boards "resume", "adapter_export" and "adapter_load" too), "instructions", "cycles",
        "nanoseconds" (what the device cannot count is None), "stack_bytes" (None if unknown), "stack_size", "arena_bytes", "state_bytes".
        """
        return self._stats()

    # ---- Context manager ----

    def close(self) -> None:
        """Release the device, once the call of another thread has ended."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._release()

    def __enter__(self) -> Device:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # ---- Helpers ----

    def _inputs(self, x: Samples) -> NDArray[Any]:
        return data.prepare_inputs(next_inputs(self, x), self.manifest)

    def _infer_all(self, samples: NDArray[Any], progress: Progress = None) -> NDArray[Any]:
        """All outputs of each sample in one buffer, whose first values are those of the first output: see `data.packed`."""
        outputs = np.empty((len(samples), self.manifest.output_bytes), np.uint8)
        if len(samples) == 1 and progress is None:  # done before a bar would appear, which takes longer than a small model
            self._infer_each(samples, outputs, lambda: None)
            return outputs.view(self.manifest.outputs[0].dtype)
        with bar("inference", len(samples), progress) if not callable(progress) else nullcontext(progress) as advance:
            self._infer_each(samples, outputs, advance)
        return outputs.view(self.manifest.outputs[0].dtype)

    def _infer_each(self, samples: NDArray[Any], outputs: NDArray[np.uint8], advance: Callable[[], None]) -> None:
        """The bytes of all outputs [N, output_bytes] of samples [N, ...]; advance: called after each."""
        for i, sample in enumerate(samples):
            outputs[i] = np.frombuffer(self._infer(sample.tobytes()), np.uint8)
            advance()

    def _split(self, outputs: NDArray[Any]) -> Results:
        shaped = data.unpacked(outputs, self.manifest.outputs)
        return shaped[0] if len(shaped) == 1 else shaped

    def _judge(self, samples: NDArray[Any], y: ArrayLike | None, progress: Progress, near: Nearness | None = None) -> Judgement:
        """The loss of each sample of [N, input_bytes], and which are right; see `evaluate`."""
        tensor, loss = self.manifest.outputs[0], self.manifest.loss
        if loss == "information_maximisation":
            if y is None:
                codes = self._infer_all(samples, progress)[:, : tensor.size]
                return judgement.of_predictions(codes, tensor, self.manifest.diversity, self.manifest.prior)
        elif self.manifest.targets == "input":
            self._no_target(y)
            if loss == "next_token":
                tokens = samples[:, : self.manifest.inputs[0].size] - np.int64(self.manifest.inputs[0].zero_point)
                return judgement.of_tokens(self._infer_all(samples, progress)[:, : tensor.size], tokens, tensor)
            y = data.dequantize(samples[:, : self.manifest.inputs[0].size], self.manifest.inputs[0])
        elif y is None:
            raise ValueError("y is missing: this model's loss takes targets")
        if self._labelled(y):
            labels = data.prepare_labels(y, len(samples), self.manifest.classes or tensor.size)
            return judgement.of_labels(self._infer_all(samples, progress)[:, : tensor.size], labels, tensor, near)
        values = data.prepare_values(y, len(samples), tensor, loss)
        if loss in ("bce", "soft_cross_entropy"):
            data.check_probabilities(values, loss)
        if loss == "bce" and near is not None:
            raise ValueError("within is given, but each output is a yes or no: leave it out")
        codes = self._infer_all(samples, progress)[:, : tensor.size]
        if loss == "soft_cross_entropy":
            return judgement.of_distributions(codes, values, tensor, near)
        outputs = data.dequantize(codes, tensor)
        if loss == "bce":
            return judgement.of_bits(outputs, values, tensor)
        return judgement.of_values(outputs, values, near, self.manifest.huber_delta)
