"""What comes one after another in the pages about continual learning: batches of gas sensors, speakers, digits and patients, in any order."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scenarios import DATA

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "digits"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "personalise"))

import base
import data

import kilotune as kt
from kiloc.peft import Method

Array = NDArray[Any]
KNOWN = 6
"""Digits that the network of the digits has seen."""
SPEAKERS: dict[str, tuple[float, float]] = {"nicolas": (0, 0), "george": (-7.5, 2.2), "jackson": (5.0, -3.0), "lucas": (-3.0, 6.0)}
"""Speakers in their order, and what a microphone adds to two of their cepstral coefficients."""


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
    """Stages in their order. original: what the model knew, judged too; seeds: samples of it that fill a share of the buffer at first.

    grows: each stage is a class that the model does not know, opened by its first sample. replayed: samples of the buffer for each new one.
    """

    name: str
    model: Path
    methods: Sequence[Method]
    epochs: int
    calibration: tuple[Array, Array]
    seeds: tuple[Array, Array]
    original: Stage
    stages: tuple[Stage, ...]
    grows: bool = False
    replayed: int = 1
    share: float = 0.5
    keep: str = "latent"
    decay: str = "constant"


def gas(draw: int, batches: Sequence[int] = (3, 4, 5, 6)) -> Task:
    """Gas sensors that drift: batches 3 to 6 behind a model of batches 1 and 2, five samples of each class that is there."""
    d = np.load(DATA / "sets" / "gas_drift.npz")
    x, y, rng = d["x"].astype(np.float32), d["y"].astype(np.int32), np.random.default_rng(draw)
    stages = []
    for number in batches:
        batch = np.flatnonzero(d["batch"] == number)
        chosen = np.concatenate([rng.permutation(batch[y[batch] == c])[:5] for c in range(6)])
        rest = np.setdiff1d(batch, chosen)
        stages.append(Stage(f"batch {number}", x[chosen], y[chosen], x[rest], y[rest]))
    train, test = rng.permutation(d["base_train_idx"]), d["base_test_idx"]
    original = Stage("base", x[:0], y[:0], x[test], y[test])
    methods, calibration = [kt.LoRA(rank=8, layers="all"), kt.BiasOnly()], (x[train[:256]], y[train[:256]])
    model = DATA / "models" / "gas_mlp_int8.tflite"
    return Task("gas", model, methods, 20, calibration, (x[train], y[train]), original, tuple(stages), replayed=2, decay="linear")


def speakers(draw: int, order: Sequence[str] = tuple(SPEAKERS)) -> Task:
    """Spoken digits of a new speaker, then of those whom the model knows through a microphone that muffles: five takes of each digit."""
    d = np.load(DATA / "sets" / "fsdd_mfcc.npz")
    x, y, rng = d["x"].astype(np.float32)[..., None], d["y"].astype(np.int32), np.random.default_rng(draw)
    stages = []
    for name in order:
        mine = d["speaker"] == name
        offsets = np.zeros((x.shape[2], 1), np.float32)
        offsets[1], offsets[2] = SPEAKERS[name]
        chosen = np.concatenate([rng.choice(np.flatnonzero(mine & (y == c) & (d["take"] >= 25)), 5, replace=False) for c in range(10)])
        judges = mine & (d["take"] < 25) & (d["take"] % 5 == 0)
        stages.append(Stage(name, x[chosen] + offsets, y[chosen], x[judges] + offsets, y[judges]))
    known = d["speaker"] != "nicolas"
    train, test = rng.permutation(np.flatnonzero(known & (d["take"] >= 25))), np.flatnonzero(known & (d["take"] < 25) & (d["take"] % 5 == 1))
    original = Stage("known speakers", x[:0], y[:0], x[test], y[test])
    methods, model = [kt.LoRA(rank=4, layers="last:2"), kt.BiasOnly(layers="last:2")], DATA / "models" / "fsdd_dscnn_int8.tflite"
    return Task("speakers", model, methods, 10, (x[train[:256]], y[train[:256]]), (x[train], y[train]), original, tuple(stages), keep="input")


def digits(draw: int, order: tuple[int, ...] = tuple(range(10))) -> Task:
    """Handwritten digits, one after the other, behind a dense network that has seen the first six of an order: twenty samples of each."""
    (x, y), (test, test_y) = drawn_digits(order)
    rng = np.random.default_rng(draw)
    known = np.flatnonzero(y < KNOWN)
    stages = []
    for c in range(KNOWN, 10):
        chosen = rng.permutation(np.flatnonzero(y == c))[:20]
        stages.append(Stage(f"digit {order[c]}", x[chosen], y[chosen], test[test_y == c], test_y[test_y == c]))
    seeds = rng.permutation(known)
    original = Stage("known digits", x[:0], y[:0], test[test_y < KNOWN], test_y[test_y < KNOWN])
    methods = [kt.Head(extra_classes=10 - KNOWN)]
    return Task("digits", known_digits(order), methods, 8, (x[known[:200]], y[known[:200]]), (x[seeds], y[seeds]), original, tuple(stages), True, 3)


@cache
def drawn_digits(order: tuple[int, ...]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Samples to learn from and samples to judge by: pixels [N, 64] of 0 to 16, and the places of their digits in an order."""
    rows, places = data.digits(), np.argsort(order).astype(np.int32)
    x, test = ((part.x.reshape(-1, 64).astype(np.float32) - data.ZERO_POINT) * np.float32(data.SCALE) for part in (rows.base, rows.test))
    return (x, places[rows.base.y]), (test, places[rows.test.y])


@cache
def known_digits(order: tuple[int, ...]) -> Path:
    """A dense network of the first six digits of an order."""
    (x, y), _ = drawn_digits(order)
    return base.write_model(x[y < KNOWN], y[y < KNOWN], Path(tempfile.mkdtemp()) / "known_digits.tflite")


PATIENTS: dict[int, tuple[float, float]] = {106: (1, 1), 116: (-1, 1), 105: (1, 0.5), 114: (1, 2)}
"""Patients in their order: the sign of their electrodes and the gain of their recording."""


def patients(draw: int, order: Sequence[int] = tuple(PATIENTS)) -> Task:
    """Heart beats of a patient whom the model never saw, then of those whom it knows under other electrodes: ten labelled beats of each kind. As
    many ectopic beats as others judge."""
    d = np.load(DATA / "sets" / "ecg_mitbih.npz")
    raw, y, rng = d["x"].astype(np.float32), d["y"].astype(np.int32), np.random.default_rng(draw)
    x = ((raw - np.median(raw, axis=1, keepdims=True)) / 200)[..., None, None]

    def drawn(rows: Array) -> tuple[Array, Array]:
        """Ten of each kind to train on, and as many of one as of the other to judge by, 200 at most."""
        kinds = [rng.permutation(rows[y[rows] == c]) for c in (0, 1)]
        least = min(100, min(len(kind) for kind in kinds) - 10)
        return rng.permutation(np.concatenate([kind[:10] for kind in kinds])), np.concatenate([kind[10 : 10 + least] for kind in kinds])

    stages = []
    for record in order:
        (sign, gain), (chosen, judges) = PATIENTS[record], drawn(np.flatnonzero(d["record"] == record))
        stages.append(Stage(f"patient {record}", sign * gain * x[chosen], y[chosen], sign * gain * x[judges], y[judges]))
    known = np.flatnonzero(np.isin(d["record"], [105, 108, 114, 116]))
    seeds, judges = rng.permutation(known), drawn(known)[1]
    balanced = np.concatenate([pair for pair in zip(seeds[y[seeds] == 1], seeds[y[seeds] == 0], strict=False)])
    original = Stage("known patients", x[:0], y[:0], x[judges], y[judges])
    methods, model = [kt.LoRA(rank=4, layers="all"), kt.BiasOnly()], DATA / "models" / "ecg_cnn_int8.tflite"
    return Task("patients", model, methods, 10, (x[balanced], y[balanced]), (x[balanced], y[balanced]), original, tuple(stages), keep="input")
