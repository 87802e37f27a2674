"""Continual learning: batches of a drifting sensor, speakers and classes that come one after another.

    make bench-field-continual

Each stage is trained on when it comes and never again; accuracy on all of them is taken behind each stage. Naive fine-tuning, replay buffers of
several sizes and both policies, and joint training (all stages at once) start from the same model with the same method. Rates are chosen by
--choose on draws that the page does not report. Writes docs/field/continual.md and the picture beside it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scenarios import DATA

import kilotune as kt
from kiloc.peft import Method

Array = NDArray[Any]
DRAWS = (0, 1, 2)
CHOSEN_ON = (10, 11)
"""Draws on which rates were chosen."""


@dataclass(frozen=True)
class Stage:
    """What comes at one time: samples to train on, and others of the same kind to judge by."""

    name: str
    x: Array
    y: Array
    judge_x: Array
    judge_y: Array


@dataclass(frozen=True)
class Task:
    """Stages in their order. original: what the model knew, judged too; seeds: samples of it that fill the buffer at first, at most."""

    name: str
    model: str
    methods: Sequence[Method]
    epochs: int
    calibration: tuple[Array, Array]
    seeds: tuple[Array, Array]
    original: Stage | None
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Way:
    """How the stages are learned: one after another with a buffer of so many samples (0: naive), or "joint"."""

    samples: int = 0
    policy: str = "reservoir"
    joint: bool = False

    @property
    def name(self) -> str:
        if self.joint:
            return "joint"
        return f"{self.policy.replace('_', ' ')} {self.samples}" if self.samples else "naive"


WAYS = (
    Way(),
    *(Way(samples, policy) for policy in ("reservoir", "class_balanced") for samples in (12, 30, 60, 120)),
    Way(joint=True),
)


def gas(draw: int) -> Task:
    """Gas sensors that drift: batches 3 to 6 behind a model of batches 1 and 2, five samples of each class that is there."""
    d = np.load(DATA / "sets" / "gas_drift.npz")
    x, y, rng = d["x"].astype(np.float32), d["y"].astype(np.int32), np.random.default_rng(draw)
    stages = []
    for number in (3, 4, 5, 6):
        batch = np.flatnonzero(d["batch"] == number)
        chosen = np.concatenate([rng.permutation(batch[y[batch] == c])[:5] for c in range(6)])
        rest = np.setdiff1d(batch, chosen)
        stages.append(Stage(f"batch {number}", x[chosen], y[chosen], x[rest], y[rest]))
    train, test = rng.permutation(d["base_train_idx"]), d["base_test_idx"]
    original = Stage("base", x[:0], y[:0], x[test], y[test])
    methods = [kt.LoRA(rank=4, layers="all"), kt.BiasOnly()]
    return Task("gas", "gas_mlp_int8.tflite", methods, 20, (x[train[:256]], y[train[:256]]), (x[train], y[train]), original, tuple(stages))


def speakers(draw: int) -> Task:
    """Spoken digits by four people in turn, learned through a new head by a model of other words: five takes of each digit and speaker."""
    d = np.load(DATA / "sets" / "fsdd_mfcc.npz")
    x, y, rng = d["x"].astype(np.float32)[..., None], d["y"].astype(np.int32), np.random.default_rng(draw)
    stages = []
    for name in np.unique(d["speaker"]):
        mine = d["speaker"] == name
        chosen = np.concatenate([rng.choice(np.flatnonzero(mine & (y == c) & (d["take"] >= 25)), 5, replace=False) for c in range(10)])
        judges = mine & (d["take"] < 25)
        stages.append(Stage(str(name), x[chosen], y[chosen], x[judges], y[judges]))
    first = stages[0]
    return Task("speakers", "kws_dscnn_int8.tflite", [kt.Head(classes=10)], 20, (first.x, first.y), (x[:0], y[:0]), None, tuple(stages))


TASKS: dict[str, Callable[[int], Task]] = {"gas": gas, "speakers": speakers}


@dataclass(frozen=True)
class Course:
    """accuracy [stages, kinds]: on what the model knew (where that is judged) and on each stage, behind each stage."""

    accuracy: Array
    bytes: int

    def mean(self) -> float:
        """Over everything that is judged, behind the last stage."""
        return float(self.accuracy[-1].mean())

    def forgotten(self, original: bool) -> float:
        """Mean fall of each stage since it was learned, the last apart, where there is nothing to forget; joint training has none."""
        first = int(original)
        falls = [self.accuracy[i, first + i] - self.accuracy[-1, first + i] for i in range(len(self.accuracy))]
        return float(np.mean(falls)) if len(falls) > 1 else 0.0


class Builds:
    """Builds of a task, one for each buffer, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, task: Task, draw: int, way: Way) -> kt.Build:
        replay = kt.Replay(way.samples, policy=way.policy) if way.samples else None
        path = self.folder / f"{task.name}-{draw}-{way.name.replace(' ', '-')}"
        if path.exists():
            return kt.open_build(path)
        model = kt.load(DATA / "models" / task.model)
        return kt.build(model, path, method=list(task.methods), calibration=task.calibration, replay=replay, measure=False)


def course(task: Task, build: kt.Build, way: Way, rate: float | None, draw: int) -> Course:
    """Learn the stages on the host."""
    judged = (*([task.original] if task.original else []), *task.stages)
    options: dict[str, Any] = {"epochs": task.epochs, "hold_out": 0.0, "decay": "constant", "learning_rate": rate, "seed": draw}
    rows = []
    with build.open() as device:
        if way.joint:
            old = [(task.seeds[0][:120], task.seeds[1][:120])] if task.original else []
            x, y = (np.concatenate(part) for part in zip(*((s.x, s.y) for s in task.stages), *old, strict=True))
            device.fit(x, y, **options)
            rows.append([device.evaluate(s.judge_x, s.judge_y)["accuracy"] for s in judged])
        else:
            if way.samples and len(task.seeds[0]):
                device.remember(task.seeds[0][: way.samples], task.seeds[1][: way.samples])
            for stage in task.stages:
                device.fit(stage.x, stage.y, replay=int(way.samples > 0), **options)
                rows.append([device.evaluate(s.judge_x, s.judge_y)["accuracy"] for s in judged])
    return Course(np.array(rows), build.report["replay"]["total"] if way.samples else 0)


if __name__ == "__main__":
    import sys

    name, rates = sys.argv[1], [None if r == "default" else float(r) for r in sys.argv[2].split(",")]
    with tempfile.TemporaryDirectory() as folder:
        builds = Builds(Path(folder))
        for way in (Way(), Way(30), Way(60), Way(60, "class_balanced"), Way(joint=True)):
            for rate in rates:
                found = []
                for draw in CHOSEN_ON:
                    task = TASKS[name](draw)
                    found.append(course(task, builds.of(task, draw, way), way, rate, draw))
                original = task.original is not None
                accuracy = np.mean([c.accuracy[-1] for c in found], 0).round(3)
                print(
                    way.name,
                    rate,
                    "mean %.3f" % np.mean([c.mean() for c in found]),
                    "forgotten %.3f" % np.mean([c.forgotten(original) for c in found]),
                    accuracy,
                    found[0].bytes,
                    flush=True,
                )
