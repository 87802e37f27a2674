"""Validation: real training of candidates, by the generated C on the host, on part of the labelled samples.

The samples are dealt into folds, each class evenly, so that every one is held out once a round. Candidates race: after each fold those that
are clearly behind stop. Then the best are tried at smaller learning rates.

What decides is the loss of the samples held out, each counted as at most what a guess would cost. A few dozen samples cannot tell accuracies
apart that differ by a sample or two, the loss can; uncapped it would be the loss of one odd sample. A smaller rate has to
be better by more than the noise: less confident results have smaller losses, whether they are right more often or not.
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
"""The fewest: training on two thirds."""
RATES = (1.0, 0.3, 0.1)
"""Learning rates tried, relative to the set's own."""
CHEAP = 2e8
"""MACs of one training below which a search can afford many."""
ENOUGH = 100
"""Held-out predictions to judge by: fewer samples are dealt anew."""
LEAST = 3
"""Candidates that are never given up."""
BEHIND = 2.0
"""Standard errors by which a candidate that is given up lags behind the best."""
Part = tuple[int, int, int]
"""(round, fold, number of folds)"""


@dataclass(frozen=True)
class Outcome:
    """What one training made of the samples held out, one entry each: capped loss, and whether the class was right."""

    losses: Array
    right: Array


@dataclass
class Trial:
    """A candidate with a learning rate, and its outcomes."""

    candidate: Candidate
    lr: float
    outcomes: dict[Part, Outcome] = field(default_factory=dict)

    @property
    def own_rate(self) -> bool:
        return self.lr == self.candidate.set.lr

    @property
    def accuracy(self) -> float:
        return float(np.concatenate([o.right for o in self.outcomes.values()]).mean())

    @property
    def loss(self) -> float:
        return float(np.concatenate([o.losses for o in self.outcomes.values()]).mean())

    @property
    def samples(self) -> int:
        return sum(len(o.right) for o in self.outcomes.values())

    def behind(self, other: Trial) -> float:
        """How much larger its loss is than another's on the parts that both have, in standard errors of the difference."""
        parts = [p for p in self.outcomes if p in other.outcomes]
        lag = np.concatenate([self.outcomes[p].losses - other.outcomes[p].losses for p in parts])
        return float(lag.mean() / max(lag.std() / np.sqrt(len(lag)), 1e-12))


@dataclass(frozen=True)
class Effort:
    """How long a race is. finalists: candidates trained at all. tuned: of them, at smaller rates. rounds: of dealing folds.

    folds: more of them train on more of the samples, which is nearer to what the device will do.
    """

    finalists: int
    tuned: int
    rounds: int
    folds: int = FOLDS

    @staticmethod
    def of(macs: float, samples: int) -> Effort:
        """For trainings of so many MACs."""
        if macs > CHEAP:
            return Effort(9, 1, 1)
        return Effort(12, 4, int(np.clip(np.ceil(ENOUGH / samples), 1, 3)), 5)

    @property
    def parts(self) -> list[Part]:
        return [(r, f, self.folds) for r in range(self.rounds) for f in range(self.folds)]


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

    def folds(self, round_: int, count: int) -> Array:
        """The fold of each sample: classes dealt evenly, so that folds differ by one sample at most."""
        rng, fold, dealt = np.random.Generator(np.random.PCG64([self.seed, round_])), np.empty(len(self.y), np.int64), 0
        for label in np.unique(self.y):
            rows = rng.permutation(np.flatnonzero(self.y == label))
            fold[rows] = (np.arange(len(rows)) + dealt) % count
            dealt += len(rows)
        return fold


class Trainer:
    """Trains candidates and remembers what came out, so that several budgets share the work."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.cap = float(np.log(task.model.graph.type(task.model.graph.outputs[0]).size))
        self._known: dict[tuple[str, float, Part], Outcome] = {}

    def run(self, trial: Trial, parts: Sequence[Part]) -> None:
        """Train a trial on each part that it has no outcome of."""
        missing = [part for part in parts if (trial.candidate.name, trial.lr, part) not in self._known]
        if missing:
            with self._opened(trial.candidate) as device:
                for part in missing:
                    self._known[trial.candidate.name, trial.lr, part] = self._trained(device, trial.lr, part)
        trial.outcomes |= {part: self._known[trial.candidate.name, trial.lr, part] for part in parts}

    @contextmanager
    def _opened(self, candidate: Candidate) -> Iterator[Device]:
        task = self.task
        with tempfile.TemporaryDirectory() as folder:
            made = build(
                task.model, Path(folder) / "build", method=candidate.methods, optimizer=SGD(),
                target=task.target, calibration=task.calibration, seed=task.seed, measure=False,
            )  # fmt: skip
            with made.open("host") as device:
                yield device

    def _trained(self, device: Device, lr: float, part: Part) -> Outcome:
        task, fold = self.task, self.task.folds(part[0], part[2])
        inside = fold != part[1]
        device.reset()
        device.fit(task.x[inside], task.y[inside], epochs=task.epochs, seed=task.seed, learning_rate=lr, decay="linear")
        reached = [device.evaluate(task.x[i : i + 1], task.y[i : i + 1]) for i in np.flatnonzero(~inside)]
        return Outcome(np.minimum([r["loss"] for r in reached], self.cap), np.array([r["accuracy"] for r in reached]))


def race(trainer: Trainer, candidates: Sequence[Candidate], effort: Effort, tick: Callable[[], None] = lambda: None) -> list[Trial]:
    """Every trial made, the winner first, those given up last."""
    trials = _to_the_end(trainer, [Trial(c, c.set.lr) for c in candidates], effort, tick)
    best = trials[0]
    slower = [Trial(t.candidate, t.lr * rate) for t in trials[: effort.tuned] for rate in RATES[1:]]
    kept = [best]
    for trial in slower:
        trainer.run(trial, effort.parts[: effort.folds])
        if best.behind(trial) > 0:
            trainer.run(trial, effort.parts)
        if len(trial.outcomes) == len(effort.parts) and best.behind(trial) > 1:
            kept.append(trial)
        tick()
    winner = min(kept, key=_order)
    return [winner, *(t for t in [*trials, *slower] if t is not winner)]


def _to_the_end(trainer: Trainer, trials: list[Trial], effort: Effort, tick: Callable[[], None]) -> list[Trial]:
    """Trials through all parts, best first; behind them those that were given up on the way, the last given up first."""
    given_up: list[Trial] = []
    for done in range(1, len(effort.parts) + 1):
        for trial in trials:
            trainer.run(trial, effort.parts[:done])
            tick()
        trials = sorted(trials, key=_order)
        clearly = [t for t in trials[LEAST:] if t.behind(trials[0]) > BEHIND]
        given_up = [*clearly, *given_up]
        trials = [t for t in trials if all(t is not c for c in clearly)]
    return [*trials, *given_up]


def _order(t: Trial) -> tuple[float, int, str, float]:
    return t.loss, t.candidate.bytes, t.candidate.name, -t.lr
