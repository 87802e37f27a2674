"""The training loop of `Device.fit`: the same samples in the same order on every device."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import checkpoint, data, history, plausible, recipe
from .data import Samples
from .errors import DeviceError
from .history import History, TrainingInterrupted
from .progress import bar
from .rehearsal import Rehearsal, Turn

if TYPE_CHECKING:
    from .base import Device

Targets = tuple[NDArray[np.int32], NDArray[np.float32]]
"""Labels [N] and values [N, n] of samples; one of the two means something."""


@dataclass(frozen=True)
class Asked:
    """The arguments of `Device.fit` beside samples and targets; None: what the recipe says."""

    epochs: int | None
    seed: int
    accumulate: int | None
    learning_rate: float | None
    decay: str | None
    shuffle: bool
    validation: tuple[Samples, ArrayLike | None] | None
    keep_best: bool
    hold_out: float | None
    replay: int
    checkpoint: str | os.PathLike[str] | None
    resume: bool
    rehearsal: Rehearsal | None = None


def fit(device: Device, x: Samples, y: ArrayLike | None, asked: Asked, progress: bool | None) -> History:
    """Train; see `Device.fit`."""
    samples = data.prepare_inputs(x, device.manifest)
    targets = device._targets(y, len(samples))
    per_update = _samples_an_update(device, asked.accumulate)
    _check(len(samples), asked)
    plausible.warn_of_inputs(x, device.manifest)
    if device.manifest.targets == "labels" and not asked.replay:  # the buffer has the others
        plausible.warn_of_labels(targets[0], device.manifest.classes or 0)
    held = _held_out(device, targets[0], asked)
    judged: tuple[NDArray[Any], ArrayLike | None] | None = None
    if held.any():
        if asked.validation is not None:
            raise ValueError("hold_out makes its own validation samples: leave validation out")
        judged = samples[held], None if y is None else np.asarray(y)[held]
    elif asked.validation is not None:
        judged = data.prepare_inputs(asked.validation[0], device.manifest), asked.validation[1]
    own = judged is None and _judges_by_its_own(device, asked)
    if own:
        rows = recipe.judged(len(samples))
        judged = samples[rows], None if y is None else np.asarray(y)[rows]
    rows = np.flatnonzero(~held)
    turn = None
    if asked.rehearsal is not None:
        known, answers = asked.rehearsal.prepared(device, progress)
        turn = Turn(len(samples), len(known), asked.rehearsal.ratio, asked.seed)
        samples = np.concatenate([samples, known])
        targets = np.concatenate([targets[0], np.zeros(len(known), np.int32)]), np.concatenate([targets[1], answers])
    each = len(rows) + (turn.size(len(rows)) if turn else 0)
    epochs = recipe.default_epochs(len(held)) if asked.epochs is None else asked.epochs
    schedule = _schedule(device, asked, epochs * math.ceil(each / per_update))
    done = History(epochs=epochs, samples=len(rows), held_out=int(held.sum()), judged_by_its_own=own, rehearsed=each - len(rows))
    keeper = _keeper(device, asked, samples, targets, judged, schedule, epochs)
    replay = asked.replay if asked.replay > 0 and device.replay_buffer().held else 0
    loop = _Loop(device, samples, targets, per_update, done, schedule, turn, keeper, replay)
    try:
        if not loop.resumed(asked.resume) and judged is not None:
            device.restart()
            before = device._judge(judged[0], judged[1], progress)
            done.before = before.means()
            if asked.keep_best or held.any() or own:
                device._check_takes_state()
                loop.best = loop.judge_of(before.losses)
        loop.epochs(rows, judged, asked, progress)
        done.ended = done.ended or history.ALL_EPOCHS
    except KeyboardInterrupt:
        done.ended = history.INTERRUPTED
        with suppress(DeviceError):  # a board that does not answer now keeps what it has
            if loop.best is not None:
                loop.best.keep()
        raise TrainingInterrupted(done) from None
    finally:
        done.best_epoch = loop.best.kept_epoch if loop.best and loop.best.epochs else None
        if schedule.base is not None and (schedule.decays or schedule.share < 1) and done.learning_rates:
            device._set_learning_rate(schedule.base)
    loop.keep()
    if asked.replay:  # behind the checkpoint: who goes on from that one does this again
        for row in rows:
            device._remember(samples[row].tobytes(), int(targets[0][row]), targets[1][row].tobytes())
    return done


@dataclass
class _Loop:
    """What stays the same from epoch to epoch, and how far the training is."""

    device: Device
    samples: NDArray[Any]
    targets: Targets
    per_update: int
    done: History
    schedule: recipe.Schedule
    turn: Turn | None
    keeper: checkpoint.Keeper | None
    replay: int = 0
    best: recipe.Best | None = None
    place: checkpoint.Place = field(default_factory=checkpoint.Place)
    told: float | None = None
    """The learning rate that the device was given last."""

    def resumed(self, asked: bool) -> bool:
        """Go on from the checkpoint, where that is asked for and there is one."""
        found = self.keeper.read() if asked and self.keeper is not None else None
        if found is None:
            return False
        self.device.set_state(found.state)
        for name, value in vars(found.history).items():
            setattr(self.done, name, value)
        self.place, self.schedule.share = found.place, found.place.share
        if found.best is not None:
            self.best = self.judge_of(np.zeros(0))
            self.best.restore(found.best)
        return True

    def judge_of(self, losses: recipe.Losses) -> recipe.Best:
        """Who keeps the best state. losses: of each sample that judges, before training."""
        doubts = recipe.doubts(self.done.held_out) if self.done.held_out else 0.0
        pace = recipe.pace(self.done.samples) if self.done.judged_by_its_own else 1.0
        return recipe.Best(losses, self.device.state, self.device.set_state, doubts, pace)

    def keep(self) -> None:
        """Write a checkpoint, where one was asked for; only where no sample is under way."""
        if self.keeper is not None:
            self.place.share = self.schedule.share
            known = self.best.to_dict() if self.best else None
            self.keeper.write(checkpoint.Checkpoint(self.device.state(), self.done, self.place, known))

    def epochs(self, rows: NDArray[np.int64], judged: Any, asked: Asked, progress: bool | None) -> None:
        """All epochs that are left, judged after each where there are samples for that."""
        count, each = self.done.epochs, len(rows) + self.done.rehearsed + (len(judged[0]) if judged is not None else 0)
        generator = np.random.Generator(np.random.PCG64(asked.seed))
        with bar("training", count * each, progress) as advance:
            for number in range(count):
                order = rows[generator.permutation(len(rows))] if asked.shuffle and not self.device.manifest.kept else rows
                order = self.turn.among(order) if self.turn else order
                if number < len(self.done.losses) or self.done.ended:  # done before it was cut off
                    continue
                self.epoch(order, advance)
                if judged is not None:
                    self.device.restart()
                    found = self.device._judge(judged[0], judged[1], advance)
                    self.done.validation.append(found.means())
                    if self.best is not None and self.best.consider(found.losses, self.schedule):
                        self.done.ended = history.NO_LOWER if self.done.judged_by_its_own else history.NO_BETTER
                        return
                if number + 1 < count:
                    self.keep()

    def epoch(self, order: NDArray[np.int64], advance: Callable[[], None]) -> None:
        """Train on samples in their order, from the place on; notes the mean loss."""
        if self.place.position == 0:
            self.device.restart()
        for number, row in enumerate(order[self.place.position :], start=self.place.position + 1):
            if (number - 1) % self.per_update == 0:
                self._begin_update()
            loss = self.device._train_step(self.samples[row].tobytes(), int(self.targets[0][row]), self.targets[1][row].tobytes())
            for _ in range(self.replay):
                self.device._replay_step()
            self.place.total += loss
            self.place.position = number
            if number % self.per_update == 0 or number == len(order):
                self.device._apply()
                self.done.updates += 1
                if number < len(order) and self.keeper is not None and self.keeper.due():
                    self.keep()
            advance()
        self.done.losses.append(self.place.total / len(order))
        self.place = checkpoint.Place()

    def _begin_update(self) -> None:
        """Before the samples of an update: a build that updates after each sample reads the rate with the sample."""
        rate = self.schedule.rate(self.done.updates)
        if rate is not None:
            if self.told != rate:
                self.device._set_learning_rate(rate)
                self.told = rate
            self.done.learning_rates.append(rate)


def _keeper(
    device: Device, asked: Asked, samples: NDArray[np.int8], targets: Targets, judged: Any, schedule: recipe.Schedule, epochs: int
) -> checkpoint.Keeper | None:
    """Who writes the checkpoints, and knows which training it is."""
    if asked.checkpoint is None:
        if asked.resume:
            raise ValueError("resume needs checkpoint=: the file to go on from")
        return None
    device._check_takes_state()
    manifest, of = device.manifest, checkpoint.fingerprint
    judges = () if judged is None else (judged[0], np.asarray(judged[1]))
    rehearsal = () if asked.rehearsal is None else (asked.rehearsal.ratio,)
    replay = (asked.replay,) if asked.replay else ()
    arguments = (epochs, asked.seed, asked.accumulate, schedule.base, schedule.decays, asked.shuffle, asked.keep_best, *replay, *rehearsal)
    what = {
        "the model or its build": of(manifest.base_hash, manifest.state_layout, manifest.loss, manifest.accumulate),
        "the samples": of(samples, *targets, *judges),
        "the options": of(arguments),
    }
    return checkpoint.Keeper(asked.checkpoint, what)


def _check(samples: int, asked: Asked) -> None:
    if samples == 0:
        raise ValueError("x holds no samples")
    if asked.epochs is not None and asked.epochs < 0:
        raise ValueError(f"epochs must be at least 0, not {asked.epochs}")
    if isinstance(asked.replay, bool) or not isinstance(asked.replay, int | np.integer) or asked.replay < 0:
        raise ValueError(f"replay must be a whole number of steps, not {asked.replay!r}")
    if asked.keep_best and asked.validation is None and not asked.hold_out:
        raise ValueError("keep_best needs validation=(x, y)")


def _samples_an_update(device: Device, accumulate: int | None) -> int:
    count = device.manifest.accumulate if accumulate is None else accumulate
    if count < 1:
        raise ValueError(f"accumulate must be at least 1, not {count}")
    if device.manifest.accumulate == 1 and count > 1:
        raise ValueError(f"accumulate is {count}, but this build updates after each sample: build with accumulate={count}")
    return count


def _held_out(device: Device, labels: NDArray[np.int32], asked: Asked) -> recipe.Mask:
    """Which samples are held out: the share asked for, or where None what the recipe says."""
    count, share, manifest = len(labels), asked.hold_out, device.manifest
    known = labels if manifest.targets == "labels" else None
    if share is None:
        judged = asked.validation is not None or manifest.signed or manifest.new_head or asked.epochs == 0
        share = 0.0 if judged or manifest.kept else recipe.default_share(known, count)
    if share and manifest.kept:
        raise ValueError("hold_out takes samples out of their order, on which this model depends: pass slices of other recordings as validation")
    if not 0 <= share < 1 or (share > 0 and max(1, round(share * count)) >= count):
        raise ValueError(f"hold_out is {share}: it must be at least 0 and leave a sample of {count} to train on")
    return recipe.held_out(known, count, share, asked.seed) if share else np.zeros(count, np.bool_)


def _judges_by_its_own(device: Device, asked: Asked) -> bool:
    """Whether the samples that are trained on judge each epoch: where the recipe holds none out, and a state can be put back."""
    return asked.hold_out is None and asked.validation is None and asked.epochs != 0 and not device.manifest.signed


def _schedule(device: Device, asked: Asked, updates: int) -> recipe.Schedule:
    decay, manifest = asked.decay, device.manifest
    if decay not in (None, "linear", "constant"):
        raise ValueError(f'decay is {decay!r}: it must be None, "linear" or "constant"')
    rate = None if asked.learning_rate is None else recipe.checked_rate(asked.learning_rate)
    base = manifest.learning_rate if rate is None else rate
    if decay is None:  # unless the device knows no rate to start from or has a schedule of its own
        decay = "linear" if base is not None and manifest.schedule is None else "constant"
    if decay == "constant":
        return recipe.Schedule(rate, updates, False)
    if base is None:
        raise ValueError("decay needs a learning_rate: the build does not name one")
    return recipe.Schedule(base, updates, True)
