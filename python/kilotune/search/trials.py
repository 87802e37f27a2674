"""Validation: real training of candidates, by the generated C on the host, on part of the labelled samples.

The samples are dealt into folds, each class evenly, so that every one is held out once a round. Candidates race: first each at
its own learning rate on one fold, then the best at smaller rates too, then only the best of those on the other folds.

What wins: of the trials whose accuracy is within one standard error of the best, that of the smallest held-out loss. A few dozen
samples cannot tell accuracies apart that differ by a sample or two; the loss still can.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc.optim import SGD

from ..building import Samples, build
from ..devices import Device
from ..model import Model
from .candidates import Candidate

Array = NDArray[Any]
FOLDS = 3
RATES = (1.0, 0.3, 0.1)
"""Learning rates tried, relative to the set's own."""
CHEAP = 2e8
"""MACs of one training below which a search can afford many."""
ENOUGH = 120
"""Held-out predictions that make an accuracy worth comparing: fewer samples are dealt anew."""
FIRST = (0, 0)


@dataclass(frozen=True)
class Outcome:
    """What one training reached on the samples held out."""

    accuracy: float
    loss: float
    samples: int


@dataclass
class Trial:
    """A candidate with a learning rate, and its outcomes by (round, fold)."""

    candidate: Candidate
    lr: float
    outcomes: dict[tuple[int, int], Outcome] = field(default_factory=dict)

    def _mean(self, values: list[float]) -> float:
        return float(np.average(values, weights=[o.samples for o in self.outcomes.values()]))

    @property
    def accuracy(self) -> float:
        return self._mean([o.accuracy for o in self.outcomes.values()])

    @property
    def loss(self) -> float:
        return self._mean([o.loss for o in self.outcomes.values()])

    @property
    def samples(self) -> int:
        return sum(o.samples for o in self.outcomes.values())


@dataclass(frozen=True)
class Effort:
    """How long a race is. finalists: candidates trained at all. tuned: of them, at every rate. kept: to the last fold. rounds."""

    finalists: int
    tuned: int
    kept: int
    rounds: int

    @staticmethod
    def of(macs: float, samples: int) -> Effort:
        """For trainings of so many MACs."""
        if macs > CHEAP:
            return Effort(8, 3, 4, 1)
        return Effort(12, 12, 8, int(np.clip(np.ceil(ENOUGH / samples), 1, 4)))


@dataclass(frozen=True)
class Task:
    """What candidates are trained for: labelled samples of the new domain, and how long."""

    model: Model
    x: NDArray[np.int8]
    y: NDArray[np.int32]
    calibration: Samples
    epochs: int
    target: str
    seed: int

    def folds(self, round_: int) -> Array:
        """The fold of each sample: classes dealt evenly, so that folds differ by one sample at most."""
        rng, fold, dealt = np.random.Generator(np.random.PCG64([self.seed, round_])), np.empty(len(self.y), np.int64), 0
        for label in np.unique(self.y):
            rows = rng.permutation(np.flatnonzero(self.y == label))
            fold[rows] = (np.arange(len(rows)) + dealt) % FOLDS
            dealt += len(rows)
        return fold


class Trainer:
    """Trains candidates and remembers what came out, so that several budgets share the work."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._known: dict[tuple[str, float, tuple[int, int]], Outcome] = {}

    def run(self, trials: Sequence[Trial], parts: Sequence[tuple[int, int]], tick: Callable[[], None]) -> None:
        """Train each trial on each part that it has no outcome of."""
        for trial in trials:
            keys = {part: (trial.candidate.name, trial.lr, part) for part in parts}
            missing = [part for part in parts if keys[part] not in self._known]
            if missing:
                with self._opened(trial.candidate) as device:
                    for part in missing:
                        self._known[keys[part]] = self._trained(device, trial.lr, part)
            trial.outcomes |= {part: self._known[keys[part]] for part in parts}
            tick()

    @contextmanager
    def _opened(self, candidate: Candidate) -> Iterator[Device]:
        task = self.task
        with tempfile.TemporaryDirectory() as folder:
            made = build(
                task.model, Path(folder) / "build",
                method=candidate.methods, optimizer=SGD(), target=task.target, calibration=task.calibration, seed=task.seed, measure=False,
            )  # fmt: skip
            with made.open("host") as device:
                yield device

    def _trained(self, device: Device, lr: float, part: tuple[int, int]) -> Outcome:
        task, fold = self.task, self.task.folds(part[0])
        inside, outside = fold != part[1], fold == part[1]
        device.reset()
        device.fit(task.x[inside], task.y[inside], epochs=task.epochs, seed=task.seed, learning_rate=lr, decay="linear")
        reached = device.evaluate(task.x[outside], task.y[outside])
        return Outcome(reached["accuracy"], reached["loss"], int(outside.sum()))


def race(trainer: Trainer, candidates: Sequence[Candidate], effort: Effort, tick: Callable[[], None] = lambda: None) -> list[Trial]:
    """Every trial made, the winner first."""
    trials = [Trial(c, c.set.lr) for c in candidates]
    trainer.run(trials, [FIRST], tick)
    for trial in ranked(trials)[: effort.tuned]:
        slower = [Trial(trial.candidate, trial.lr * rate) for rate in RATES[1:]]
        trainer.run(slower, [FIRST], tick)
        trials += slower
    kept = ranked(trials)[: effort.kept]
    trainer.run(kept, [(r, f) for r in range(effort.rounds) for f in range(FOLDS)], tick)
    return [*ranked(kept), *(t for t in ranked(trials) if all(t is not k for k in kept))]


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Best first; see the head of this file."""
    if not trials:
        return []
    best = max(t.accuracy for t in trials)
    error = np.sqrt(max(best * (1 - best), 0.0) / max(t.samples for t in trials))

    def key(t: Trial) -> tuple[bool, float, float, int, str, float]:
        behind = t.accuracy < best - error - 1e-9
        return behind, -t.accuracy if behind else 0.0, t.loss, t.candidate.bytes, t.candidate.name, t.lr

    return sorted(trials, key=key)
