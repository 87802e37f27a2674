"""Validation: real training of candidates, by the generated C on the host, on part of the labelled samples.

The samples are dealt into folds, each class evenly, so that every one is held out once a round. Candidates race: after each fold those that
are clearly behind stop. The best are then tried at other learning rates.

What decides is the penalty of the samples held out: the loss, in units of what a guess costs and at most that, and 1 where the class
is wrong. The loss alone prefers confident results, the errors alone are too few to tell candidates apart.

A few dozen samples cannot rank twenty candidates, and the best of many scores is the luckiest. So the choice is measured against
an anchor, what one would train without a search: another candidate has to be better by what all of them together let expect.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc import BinaryCrossEntropy, Huber, Loss, SoftCrossEntropy, ir
from kiloc.ir import total_macs

from ..building import build
from ..devices import Device
from ..model import Model
from .candidates import Candidate
from .noise import beliefs
from .prefix import after, before, last_cut
from .setting import Data, Setting

Array = NDArray[Any]
FOLDS = 5
RATES = (3.0, 0.3, 0.1)
"""Learning rates tried beside the usual one, relative to it."""
WORK = 1e11
"""MACs that the candidates' trainings may take, about: a minute on one core."""
MOST, FEWEST = 14, 6
"""Candidates trained at all."""
TUNED = 4
"""Of them, tried at other rates."""
ENOUGH = 100
"""Held-out predictions to judge by: fewer samples are dealt anew, up to MOST_ROUNDS times."""
MOST_ROUNDS = 2
BEHIND = 2.0
"""Standard errors by which a candidate that is given up lags behind the best."""
CAUTION = 1.0
"""Standard errors by which one candidate has to be better than another, beyond a"""
TOLERANCE = 0.01
"""difference of penalty that means nothing: where every candidate is right, the least of the tiny losses says little."""
CHANCE = 0.1
"""Of one that is taken being no better than the anchor, at most, by what the race says of all of them."""
Tick = Callable[[int], None]
Part = tuple[int, int, int]
"""(round, fold, number of folds)"""


@dataclass(frozen=True)
class Outcome:
    """What one training made of the samples held out, one entry each.

    rows: which they are. losses: at most what a guess costs. right: whether the class was, None where there are no classes. guess:
    its loss.
    """

    rows: Array
    losses: Array
    right: Array | None
    guess: float

    @property
    def penalties(self) -> Array:
        share = self.losses / self.guess
        return share if self.right is None else share + 1.0 - self.right


@dataclass(eq=False)
class Trial:
    """A candidate with a learning rate, and its outcomes. anchor: what the others are measured against.

    expected, chance: how much smaller its penalty is than the anchor's, and the chance that it is no smaller, by what the race says of all trials;
    None before it has ended.
    """

    candidate: Candidate
    lr: float
    outcomes: dict[Part, Outcome] = field(default_factory=dict)
    anchor: bool = False
    expected: float | None = None
    chance: float | None = None

    @property
    def name(self) -> str:
        """The set, and the rate where it is not the usual one."""
        return self.candidate.name if self.lr == self.candidate.lr else f"{self.candidate.name} at lr {self.lr:.2g}"

    @property
    def accuracy(self) -> float | None:
        right = [o.right for o in self.outcomes.values() if o.right is not None]
        return float(np.concatenate(right).mean()) if right else None

    @property
    def loss(self) -> float:
        return float(np.concatenate([o.losses for o in self.outcomes.values()]).mean())

    @property
    def samples(self) -> int:
        return sum(len(o.losses) for o in self.outcomes.values())

    def lag(self, other: Trial) -> tuple[float, float]:
        """How much larger its penalty is than another's on the parts that both have, and the standard error of that.

        A sample that was held out more than once counts once, with its mean.
        """
        _, means = self._differences(other)
        return float(means.mean()), float(means.std() / np.sqrt(len(means)))

    def gains(self, anchor: Trial, samples: int) -> Array:
        """By sample, how much smaller its penalty is than the anchor's; 0 for those that it was not judged by."""
        rows, means = self._differences(anchor)
        found = np.zeros(samples)
        found[rows] = -means
        return found

    def _differences(self, other: Trial) -> tuple[Array, Array]:
        """Samples, and their penalties minus those of another one."""
        parts = [p for p in self.outcomes if p in other.outcomes]
        rows = np.concatenate([self.outcomes[p].rows for p in parts])
        difference = np.concatenate([self.outcomes[p].penalties - other.outcomes[p].penalties for p in parts])
        held = np.bincount(rows) > 0
        return np.flatnonzero(held), np.bincount(rows, difference)[held] / np.bincount(rows)[held]


@dataclass(frozen=True)
class Effort:
    """How long a race is. most: candidates trained at all. tuned: of them, at other rates. rounds: of dealing folds."""

    most: int
    tuned: int
    rounds: int
    folds: int

    @staticmethod
    def of(works: Sequence[float], samples: int) -> Effort:
        """For candidates of which one training takes so many MACs, the first ones first."""
        total = np.cumsum(works) * (FOLDS - 1)
        affordable = int((total <= WORK).sum())
        rounds = int(np.clip(ENOUGH // samples, 1, MOST_ROUNDS)) if 2 * total[-1] <= WORK else 1
        return Effort(max(affordable, FEWEST), TUNED if affordable == len(works) else min(TUNED, 2), rounds, FOLDS)

    def trainings(self, candidates: int) -> int:
        """The most that a race of so many candidates makes."""
        return len(self.parts) * (candidates + min(self.tuned, candidates) * len(RATES) + 1)

    @property
    def parts(self) -> list[Part]:
        return [(r, f, self.folds) for r in range(self.rounds) for f in range(self.folds)]


@dataclass(frozen=True)
class Task:
    """What candidates are trained for. calibration: of the original domain, as `kt.build` takes it."""

    model: Model
    data: Data
    setting: Setting
    calibration: Data

    def folds(self, round_: int, count: int) -> Array:
        """The fold of each sample: classes dealt evenly, so that folds differ by one sample at most."""
        labels = np.zeros(len(self.data), np.int32) if self.data.labels is None else self.data.labels
        rng, fold, dealt = np.random.Generator(np.random.PCG64([self.setting.seed, round_])), np.empty(len(labels), np.int64), 0
        for label in np.unique(labels):
            rows = rng.permutation(np.flatnonzero(labels == label))
            fold[rows] = (np.arange(len(rows)) + dealt) % count
            dealt += len(rows)
        return fold

    @cached_property
    def guess(self) -> float:
        """The loss of a guess: even odds for each class or result, or the targets' mean."""
        if self.data.labels is not None:
            return float(np.log(self.model.graph.type(self.model.graph.outputs[0]).size))
        if isinstance(self.setting.loss, BinaryCrossEntropy):
            return float(np.log(2))
        if isinstance(self.setting.loss, SoftCrossEntropy):
            return float(np.log(self.model.graph.type(self.model.graph.outputs[0]).size))
        if self.data.targets is not None:
            return _loss_of_means(self.setting.loss, self.data.targets - self.data.targets.mean(0))
        t = self.model.graph.type(self.model.graph.inputs[0])
        return float(np.mean(((self.data.inputs[0] - self.data.inputs[0].mean(0)) * t.scale) ** 2))

    def rest(self, layers: Collection[str]) -> Task:
        """The same task without the frozen part before the first of these layers, whose results take the place of the inputs."""
        cut = self._cut(layers)
        if cut is None:
            return self
        if cut not in self._rests:
            model = replace(self.model, graph=after(self.model.graph, cut))
            self._rests[cut] = replace(self, model=model, data=self._at(cut, self.data), calibration=self._at(cut, self.calibration))
        return self._rests[cut]

    def _cut(self, layers: Collection[str]) -> str | None:
        graph = self.model.graph
        if len(graph.inputs) > 1 or self.data.targets is None:  # a reconstruction reads the input
            return None
        cut = last_cut(graph, layers)
        return None if cut in graph.inputs else cut

    def work(self, candidate: Candidate) -> float:
        """MACs of training a candidate on all samples."""
        graph, cut = self.model.graph, self._cut({p.layer for p in candidate.set.pieces})
        skipped = 0 if cut is None else total_macs(graph, before(graph, cut))
        return float(candidate.macs - skipped) * len(self.data) * self.setting.epochs

    def _at(self, cut: str, data: Data) -> Data:
        return replace(data, inputs=(ir.run(self.model.graph, data.named(self.model.graph))[cut],))

    @cached_property
    def _rests(self) -> dict[str, Task]:
        return {}


def _loss_of_means(loss: Loss, difference: Array) -> float:
    """The mean loss of targets that are values, where the answer is off by so much."""
    if isinstance(loss, Huber):
        clamped = np.clip(difference, -loss.delta, loss.delta)
        return float(np.mean(clamped * (difference - clamped / 2)))
    return float(np.mean(difference**2))


class Trainer:
    """Trains candidates and remembers what came out, so that several budgets share the work."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._known: dict[tuple[str, float, Part], Outcome] = {}
        self._devices: dict[str, Device] = {}

    def run(self, trial: Trial, parts: Sequence[Part]) -> None:
        """Train a trial on each part that it has no outcome of."""
        for part in parts:
            key = (trial.candidate.name, trial.lr, part)
            if key not in self._known:
                self._known[key] = self._trained(self.device(trial.candidate), self.rest(trial.candidate).data, trial.lr, part)
            trial.outcomes[part] = self._known[key]

    def run_all(self, trials: Sequence[Trial], parts: Sequence[Part], tick: Tick) -> None:
        """The same of several, on all processors: the generated C runs beside Python. What comes out depends on no order."""
        for candidate in {t.candidate.name: t.candidate for t in trials}.values():
            self.rest(candidate)  # shared: not to be made by two at once
        turns: dict[str, list[Trial]] = {}
        for trial in trials:  # a candidate has one device
            turns.setdefault(trial.candidate.name, []).append(trial)

        def together(group: list[Trial]) -> None:
            for trial in group:
                self.run(trial, parts)
                tick(1)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(together, turns.values()))

    def untrained(self, candidate: Candidate) -> tuple[float | None, float]:
        """Accuracy, None where there are no classes, and mean loss of the model as it is, which every candidate starts from."""
        device, data = self.device(candidate), self.rest(candidate).data
        device.reset()
        outcome = _evaluated(device, data, np.arange(len(data)), self.task.guess)
        return None if outcome.right is None else float(outcome.right.mean()), float(outcome.losses.mean())

    def close(self) -> None:
        """Forget the devices, not the outcomes."""
        for device in self._devices.values():
            device.close()
        self._devices.clear()

    def rest(self, candidate: Candidate) -> Task:
        """What its device is trained for: the task without the frozen part before its first layer."""
        return self.task.rest({p.layer for p in candidate.set.pieces})

    def device(self, candidate: Candidate) -> Device:
        """The candidate on the host, built once."""
        if candidate.name not in self._devices:
            self._devices[candidate.name] = _opened(self.rest(candidate), candidate)
        return self._devices[candidate.name]

    def _trained(self, device: Device, data: Data, lr: float, part: Part) -> Outcome:
        setting, fold = self.task.setting, self.task.folds(part[0], part[2])
        inside, outside = data.taken(fold != part[1]), np.flatnonzero(fold == part[1])
        device.reset()
        device.fit(inside.x, inside.targets, epochs=setting.epochs, seed=setting.seed, learning_rate=lr, decay="linear", hold_out=0.0)
        return _evaluated(device, data, outside, self.task.guess)


def _evaluated(device: Device, data: Data, rows: Array, guess: float) -> Outcome:
    reached = []
    for i in rows:
        one = data.taken(slice(i, i + 1))
        reached.append(device.evaluate(one.x, one.targets))
    right = np.array([r["accuracy"] for r in reached]) if "accuracy" in reached[0] else None
    return Outcome(rows, np.minimum([r["loss"] for r in reached], guess), right, guess)


def _opened(task: Task, candidate: Candidate) -> Device:
    setting, calibration = task.setting, task.calibration
    with tempfile.TemporaryDirectory() as folder:
        made = build(
            task.model, Path(folder) / "build", method=candidate.methods, optimizer=setting.optimizer, loss=setting.loss, storage=setting.storage,
            accumulate=setting.accumulate, target=setting.target, seed=setting.seed, measure=False,
            calibration=calibration.x if calibration.targets is None else (calibration.x, calibration.targets),
        )  # fmt: skip
        return made.open("host")


def race(trainer: Trainer, candidates: Sequence[Candidate], effort: Effort, tick: Tick = lambda count: None) -> list[Trial]:
    """Every trial made, the winner first, those given up last. The first candidate is the anchor.

    tick: called with a number of trainings done, or spared by giving a candidate up.
    """
    anchor = Trial(candidates[0], candidates[0].lr, anchor=True)
    trials = _to_the_end(trainer, anchor, [anchor, *(Trial(c, c.lr) for c in candidates[1:])], effort, tick)
    best = [t for t in trials if len(t.outcomes) == len(effort.parts)][: effort.tuned]
    if anchor not in best:
        best[-1:] = [anchor]
    tuned = [Trial(t.candidate, t.lr * rate) for t in best for rate in RATES]
    others = _to_the_end(trainer, anchor, [anchor, *tuned], effort, tick)
    every = _ranked([*trials, *(t for t in others if t is not anchor)], anchor)
    better = [t for t in _better(every, anchor) if len(t.outcomes) == len(effort.parts)]
    winner = max(better, key=lambda t: t.expected or 0.0, default=anchor)
    return [winner, *(t for t in every if t is not winner)]


def _better(trials: Sequence[Trial], anchor: Trial) -> list[Trial]:
    """Those that are to be expected to be better than the anchor, in their order; notes what is to be expected of each.

    Those that were given up count among the many: which ones they are was decided by the same samples.
    """
    others = [t for t in trials if t is not anchor]
    if not others:
        return []
    samples = 1 + max(int(o.rows.max()) for o in anchor.outcomes.values())
    found = []
    for trial, belief in zip(others, beliefs([t.gains(anchor, samples) for t in others]), strict=True):
        trial.expected, trial.chance = belief.expected, belief.chance
        if belief.chance <= CHANCE and belief.expected > TOLERANCE:
            found.append(trial)
    return found


def _surplus(trial: Trial, than: Trial) -> float:
    """How far it is from being better than another one beyond noise; below 0 it is."""
    lag, error = trial.lag(than)
    return lag + CAUTION * error + TOLERANCE


def _to_the_end(trainer: Trainer, anchor: Trial, trials: list[Trial], effort: Effort, tick: Tick) -> list[Trial]:
    """Trials through all parts, best first; behind them those that were given up on the way, the last given up first."""
    running = list(trials)
    for done in range(1, len(effort.parts) + 1):
        trainer.run_all(running, effort.parts[:done], tick)
        best = _ranked(running, anchor)[0]
        kept = [t for t in running if t is anchor or t is best or not _clearly_behind(t, best)]
        tick((len(running) - len(kept)) * (len(effort.parts) - done))
        running = kept
    return _ranked(trials, anchor)


def _clearly_behind(trial: Trial, best: Trial) -> bool:
    lag, error = trial.lag(best)
    return lag > BEHIND * error and lag > 0


def _ranked(trials: Sequence[Trial], anchor: Trial) -> list[Trial]:
    """Those that ran longest first; among them the surest gain over the anchor first, of equal ones the smaller."""

    def order(t: Trial) -> tuple[int, float, bool, int, str, float]:
        surplus = 0.0 if t is anchor else _surplus(t, anchor)
        return -len(t.outcomes), surplus, t is not anchor, t.candidate.bytes, t.candidate.name, t.lr

    return sorted(trials, key=order)
