"""The training loop of `Device.fit`: the same samples in the same order on every device."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import data, history, plausible, recipe
from .data import Samples
from .errors import DeviceError
from .history import History, TrainingInterrupted
from .progress import bar

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


def fit(device: Device, x: Samples, y: ArrayLike | None, asked: Asked, progress: bool | None) -> History:
    """Train; see `Device.fit`."""
    samples = data.prepare_inputs(x, device.manifest)
    targets = device._targets(y, len(samples))
    per_update = _samples_an_update(device, asked.accumulate)
    _check(len(samples), asked)
    plausible.warn_of_inputs(x, device.manifest)
    if device.manifest.targets == "labels":
        plausible.warn_of_labels(targets[0], device.manifest.classes or 0)
    held = _held_out(device, targets[0], asked)
    judged: tuple[NDArray[Any], ArrayLike | None] | None = None
    if held.any():
        if asked.validation is not None:
            raise ValueError("hold_out makes its own validation samples: leave validation out")
        judged = samples[held], None if y is None else np.asarray(y)[held]
    elif asked.validation is not None:
        judged = data.prepare_inputs(asked.validation[0], device.manifest), asked.validation[1]
    rows = np.flatnonzero(~held)
    epochs = recipe.default_epochs(len(samples)) if asked.epochs is None else asked.epochs
    schedule = _schedule(device, asked, epochs * math.ceil(len(rows) / per_update))
    done = History(epochs=epochs, samples=len(rows), held_out=int(held.sum()))
    loop = _Loop(device, samples, targets, per_update, done, schedule)
    best: recipe.Best | None = None
    try:
        if judged is not None:
            before = device._judge(*judged, progress=False)
            done.before = before.means()
            if asked.keep_best or held.any():
                device._check_takes_state()
                best = recipe.Best(before.losses, device.state, device.set_state, recipe.doubts(done.held_out) if held.any() else 0.0)
        generator = np.random.Generator(np.random.PCG64(asked.seed))
        with bar("training", epochs * len(rows), progress) as advance:
            for _ in range(epochs):
                loop.epoch(rows[generator.permutation(len(rows))] if asked.shuffle else rows, advance)
                if judged is None:
                    continue
                found = device._judge(*judged, progress=False)
                done.validation.append(found.means())
                if best is not None and best.consider(found.losses, schedule):
                    done.ended = history.NO_BETTER
                    break
        done.ended = done.ended or history.ALL_EPOCHS
    except KeyboardInterrupt:
        done.ended = history.INTERRUPTED
        with suppress(DeviceError):  # a board that does not answer now keeps what it has
            if best is not None:
                best.keep()
        raise TrainingInterrupted(done) from None
    finally:
        done.best_epoch = best.kept_epoch if best and best.epochs else None
        if schedule.base is not None and (schedule.decays or schedule.share < 1) and done.learning_rates:
            device._set_learning_rate(schedule.base)
    return done


@dataclass
class _Loop:
    """What stays the same from epoch to epoch."""

    device: Device
    samples: NDArray[Any]
    targets: Targets
    per_update: int
    done: History
    schedule: recipe.Schedule

    def epoch(self, order: NDArray[np.int64], advance: Callable[[], None]) -> None:
        """Train on samples in their order; notes the mean loss."""
        total = 0.0
        for number, row in enumerate(order, start=1):
            if (number - 1) % self.per_update == 0:
                self._begin_update()
            total += self.device._train_step(self.samples[row].tobytes(), int(self.targets[0][row]), self.targets[1][row].tobytes())
            if number % self.per_update == 0 or number == len(order):
                self.device._apply()
                self.done.updates += 1
            advance()
        self.done.losses.append(total / len(order))

    def _begin_update(self) -> None:
        """Before the samples of an update: a build that updates after each sample reads the rate with the sample."""
        rate = self.schedule.rate(self.done.updates)
        if rate is not None:
            rates = self.done.learning_rates
            if not rates or rates[-1] != rate:
                self.device._set_learning_rate(rate)
            rates.append(rate)


def _check(samples: int, asked: Asked) -> None:
    if samples == 0:
        raise ValueError("x holds no samples")
    if asked.epochs is not None and asked.epochs < 0:
        raise ValueError(f"epochs must be at least 0, not {asked.epochs}")
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
        share = 0.0 if judged else recipe.default_share(known, count)
    if not 0 <= share < 1 or (share > 0 and max(1, round(share * count)) >= count):
        raise ValueError(f"hold_out is {share}: it must be at least 0 and leave a sample of {count} to train on")
    return recipe.held_out(known, count, share, asked.seed) if share else np.zeros(count, np.bool_)


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
