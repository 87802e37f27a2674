"""How `Device.fit` trains: for how long, at which rate, and on which samples it judges the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS, FEWEST_EPOCHS = 1000, 3
"""Training steps of the default recipe: enough for five samples a class and for 300 of a few classes (docs/methods.md)."""

HELD_OUT = 0.2
ENOUGH_SAMPLES, SMALLEST_CLASS = 100, 0.25
"""What holding out asks for: of fewer samples a fifth is missed more than an early stop gains; and each class that occurs has this share of an
equal share or more, because the held-out loss says nothing of a class of which it has seen none. And a head that is not new: one that starts from
nothing learns from the samples that are missing more than it could forget without a stop."""

MOST_JUDGED = 200
"""Of the samples that are trained on, so many judge each epoch where none are held out: on their own loss a training that went wrong shows."""

STEP_BACK = 1 / 3
"""Factor of the learning rate after an epoch that made the loss it is judged by worse."""

HIGHEST_RATE = 1e18
"""Of what a model takes (set_learning_rate of the generated header): above it a step overflows float32."""

PATIENCE = 4
"""Epochs undone in a row after which training ends: the rate has fallen to a hundredth by then."""

PACE = 25
"""Samples of an epoch, where none are held out: one of fewer counts for less, and lowers the rate by less. Ends of 16 steps would be too early."""

FEW, DOUBTS = 20, 2.0
"""Held-out samples, as many as the recipe holds out at least. Of fewer, one decides the mean loss: an epoch counts as worse where the paired
difference is above so many of its standard errors. Without this, holding out a fifth of 25 samples loses far more than the samples."""

Mask = NDArray[np.bool_]
Losses = NDArray[np.float64]


def default_epochs(samples: int) -> int:
    return max(FEWEST_EPOCHS, math.ceil(STEPS / samples))


def default_share(labels: NDArray[np.int32] | None, samples: int) -> float:
    """Share of the samples that the default recipe holds out: none where there are too few, in all or of a class, or no labels."""
    if labels is None or samples < ENOUGH_SAMPLES:
        return 0.0
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    return HELD_OUT if counts.min() >= SMALLEST_CLASS * samples / counts.size else 0.0


def held_out(labels: NDArray[np.int32] | None, samples: int, share: float, seed: int) -> Mask:
    """Which samples are held out: `share` of them, at least one, and of each class in proportion."""
    generator = np.random.Generator(np.random.PCG64([seed, 1]))
    places = np.empty(samples)
    classes = np.zeros(samples, np.int32) if labels is None else labels
    for c in np.unique(classes):
        rows = generator.permutation(np.flatnonzero(classes == c))
        places[rows] = (np.arange(len(rows)) + generator.random(len(rows))) / len(rows)
    mask = np.zeros(samples, np.bool_)
    mask[np.argsort(places)[: max(1, round(share * samples))]] = True
    return mask


def judged(samples: int) -> NDArray[np.int64]:
    """Which of the samples that are trained on judge each epoch, where none are held out."""
    return np.unique(np.linspace(0, samples - 1, min(samples, MOST_JUDGED)).round().astype(np.int64))


def checked_rate(learning_rate: float) -> float:
    """A learning rate as the device takes it. ValueError for anything else."""
    number = isinstance(learning_rate, int | float | np.integer | np.floating) and not isinstance(learning_rate, bool)
    with np.errstate(over="ignore"):
        if not number or not (math.isfinite(learning_rate) and 0 <= np.float32(learning_rate) < np.float32(HIGHEST_RATE)):
            raise ValueError(f"learning_rate is {learning_rate}: it must be a number of at least 0 and below {HIGHEST_RATE:g}; 0.01 is usual")
    return float(learning_rate)


@dataclass
class Schedule:
    """The learning rate of each update; base None: the device keeps its own. share falls with every step back."""

    base: Any
    updates: int
    decays: bool
    share: float = 1.0

    def rate(self, update: int) -> float | None:
        if self.base is None:
            return None
        base = self.base * self.share
        return float(base * (1 - update / self.updates)) if self.decays else float(base)


class Best:
    """The state with the lowest validation loss so far. After an epoch that is worse training goes on from it, more slowly."""

    def __init__(self, losses: Losses, read: Callable[[], bytes], write: Callable[[bytes], None], doubts: float, pace: float = 1.0) -> None:
        """losses: of each validation sample with the state before training. doubts: standard errors within which a loss is not worse.

        pace: what an epoch counts for, 1 for a whole one.
        """
        self.read, self.write, self.doubts, self.pace = read, write, doubts, pace
        self.epochs, self.undone = 0, 0
        self.losses, self.state, self.epoch = losses, read(), 0
        self.kept, self.kept_epoch = self.state, 0

    def consider(self, losses: Losses, schedule: Schedule) -> bool:
        """Keep the state of the device after an epoch with its losses, or undo the epoch. Whether going on is in vain."""
        self.epochs += 1
        change = losses - self.losses
        better = change.mean() < 0
        margin = self.doubts * _standard_error(change) if self.doubts else 0.0
        if better or change.mean() < margin:
            self.kept, self.kept_epoch = self.read(), self.epochs
            if better:
                self.losses, self.state, self.epoch, self.undone = losses, self.kept, self.epochs, 0
        else:
            self.kept, self.kept_epoch = self.state, self.epoch
            self.write(self.state)
            schedule.share *= STEP_BACK**self.pace
            self.undone += 1
        return self.undone * self.pace >= PATIENCE

    def to_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {name: getattr(self, name) for name in ("epochs", "undone", "losses", "state", "epoch", "kept", "kept_epoch")}

    def restore(self, found: Mapping[str, Any]) -> None:
        """Know what `to_dict` has returned."""
        for name, value in found.items():
            setattr(self, name, value)

    def keep(self) -> None:
        """Give up what was trained since the last epoch; in the first one nothing is known, and what it learned stays."""
        if self.epochs:
            self.write(self.kept)


def doubts(held_out: int) -> float:
    """How many standard errors the mean loss of so many held-out samples may rise before an epoch counts as worse."""
    return DOUBTS if held_out < FEW else 0.0


def pace(samples: int) -> float:
    """What an epoch of so many samples, which judge it themselves, counts for."""
    return min(1.0, samples / PACE)


def _standard_error(change: Losses) -> float:
    return float(change.std(ddof=1)) / math.sqrt(change.size) if change.size > 1 else math.inf
