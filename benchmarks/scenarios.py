"""Adaptation scenarios on real data: where a deployed model meets another speaker, a drifted sensor, another patient.

A draw chooses which samples the device gets to train on; evaluation rows never overlap them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
DATA = Path(os.environ.get("KILOTUNE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
DRAWS = 5


@dataclass(frozen=True)
class Scenario:
    """model: file under models/. metric: "accuracy", or "f1" of class 1. epochs: passes over the adaptation samples."""

    name: str
    model: str
    metric: str
    epochs: int
    original: Array
    original_labels: Array
    adapt: Array
    adapt_labels: Array
    evaluate: Array
    evaluate_labels: Array
    new_classes: int | None = None
    """The model gets a new head for so many classes; what it told apart before does not matter."""

    @property
    def path(self) -> Path:
        """Of the model."""
        return DATA / "models" / self.model

    @property
    def calibration(self) -> tuple[Array, Array]:
        """Some of the original domain; a new head's labels are any."""
        labels = self.original_labels[:256]
        return self.original[:256], labels % self.new_classes if self.new_classes else labels

    def score(self, predicted: Array) -> float:
        y = self.evaluate_labels
        if self.metric == "accuracy":
            return float((predicted == y).mean())
        hits = int(((predicted == 1) & (y == 1)).sum())
        return 2 * hits / max(1, int((predicted == 1).sum() + (y == 1).sum()))


def _set(name: str) -> Any:
    return np.load(DATA / "sets" / name)


def fsdd(draw: int) -> Scenario:
    """Spoken digits, new speaker nicolas: five takes a digit from takes 25-49 to train on, takes 0-24 to evaluate."""
    d = _set("fsdd_mfcc.npz")
    x, y = d["x"].astype(np.float32)[..., None], d["y"].astype(np.int32)
    mine = d["speaker"] == "nicolas"
    rng = np.random.default_rng(draw)
    chosen = np.concatenate([rng.choice(np.flatnonzero(mine & (y == c) & (d["take"] >= 25)), 5, replace=False) for c in range(10)])
    evaluate = mine & (d["take"] < 25)
    return Scenario(
        "fsdd_dscnn, speaker nicolas", "fsdd_dscnn_int8.tflite", "accuracy", 20, x[~mine], y[~mine], x[chosen], y[chosen], x[evaluate], y[evaluate]
    )


def gas(draw: int, number: int = 4) -> Scenario:
    """Gas sensors after drift, one batch: five samples a class to train on, the rest of the batch to evaluate."""
    d = _set("gas_drift.npz")
    x, y = d["x"].astype(np.float32), d["y"].astype(np.int32)
    batch = np.flatnonzero(d["batch"] == number)
    rng = np.random.default_rng(draw)
    classes = [batch[y[batch] == c] for c in range(6)]
    chosen = np.concatenate([rng.choice(rows, min(5, len(rows)), replace=False) for rows in classes if len(rows)])
    rest = np.setdiff1d(batch, chosen)
    base = d["base_train_idx"]
    return Scenario(f"gas_mlp, batch {number}", "gas_mlp_int8.tflite", "accuracy", 40, x[base], y[base], x[chosen], y[chosen], x[rest], y[rest])


def ecg(draw: int) -> Scenario:
    """Heart beats of patient 106: five minutes, starting at minute 0, 5, 10, 15 or 20, to train on; the others to evaluate."""
    d = _set("ecg_mitbih.npz")
    raw = d["x"].astype(np.float32)
    x = ((raw - np.median(raw, axis=1, keepdims=True)) / 200)[..., None, None]
    y, record = d["y"].astype(np.int32), d["record"]
    mine = np.flatnonzero(record == 106)
    minute = d["r_sample"][mine] / (360 * 60)
    inside = (minute >= 5 * draw) & (minute < 5 * draw + 5)
    base = np.isin(record, [100, 105, 108, 114, 116, 121, 123])
    return Scenario(
        "ecg_cnn, patient 106", "ecg_cnn_int8.tflite", "f1", 5, x[base], y[base], x[mine[inside]], y[mine[inside]], x[mine[~inside]], y[mine[~inside]]
    )


def kws(draw: int, variant: str = "snr10") -> Scenario:
    """Twelve words under 10 dB of noise, or through a band-limited microphone: 120 clips to train on, 480 to evaluate."""
    d = _set("kws01_mfcc_int8.npz")
    x, y = d[f"x_{variant}"].reshape(-1, 49, 10, 1), d["y"].astype(np.int32)
    order = np.random.default_rng(draw).permutation(len(y))
    chosen, rest = order[:120], order[120:]
    title = {"snr10": "noise 10 dB", "bandpass": "band-limited"}[variant]
    base = d["x"].reshape(-1, 49, 10, 1)
    return Scenario(f"kws_dscnn, {title}", "kws_dscnn_int8.tflite", "accuracy", 10, base, y, x[chosen], y[chosen], x[rest], y[rest])


def transformer(draw: int) -> Scenario:
    """`fsdd`, of a small transformer: its spectra are normalised, the last slice is there twice."""
    d, scenario = _set("fsdd_mfcc.npz"), fsdd(draw)
    mean, std = d["tinytx_mean"], d["tinytx_std"]

    def prepared(x: Array) -> Array:
        whole = np.concatenate([x[..., 0], x[:, -1:, :, 0]], 1)
        return np.clip((whole - mean) / std / 4, -1, 1).astype(np.float32)

    parts = {name: prepared(getattr(scenario, name)) for name in ("original", "adapt", "evaluate")}
    return replace(scenario, name="fsdd_tinytx, speaker nicolas", model="fsdd_tinytx_int8.tflite", **parts)


def voices(draw: int) -> Scenario:
    """Twelve words in synthetic voices: 120 clips to train on, 400 to evaluate."""
    d, base = _set("espeak_kws_mfcc_int8.npz"), _set("kws01_mfcc_int8.npz")
    x, y = d["x"].reshape(-1, 49, 10, 1), d["y"].astype(np.int32)
    order = np.random.default_rng(draw).permutation(len(y))
    chosen, rest = order[:120], order[120:]
    original, labels = base["x"].reshape(-1, 49, 10, 1), base["y"].astype(np.int32)
    return Scenario("kws_dscnn, synthetic voices", "kws_dscnn_int8.tflite", "accuracy", 10, original, labels, x[chosen], y[chosen], x[rest], y[rest])


def usps(draw: int) -> Scenario:
    """Digits of MNIST, then of USPS: 100 to train on, 900 to evaluate."""
    d = _set("mnist_usps.npz")

    def prepared(images: Array) -> Array:
        return ((images.astype(np.float32) / 255 - 0.1307) / 0.3081)[..., None]

    y = d["usps_y"].astype(np.int32)
    order = np.random.default_rng(draw).permutation(len(y))
    chosen, rest = order[:100], order[100:]
    x, base, labels = prepared(d["usps_x"]), prepared(d["mnist_x"]), d["mnist_y"].astype(np.int32)
    return Scenario("lenet300, USPS", "lenet300_mnist_ptq.tflite", "accuracy", 10, base, labels, x[chosen], y[chosen], x[rest], y[rest])


def wuw(draw: int) -> Scenario:
    """Five new words through a new head: said once each by five speakers to train on, by all others to evaluate."""
    d = _set("wuw_mfcc.npz")
    x, y = d["x"].astype(np.float32)[..., None], d["y"].astype(np.int32)
    chosen = np.isin(d["session"], np.random.default_rng(draw).choice(np.unique(d["session"]), 5, replace=False))
    base = _set("kws01_mfcc_int8.npz")
    original, labels = base["x"].reshape(-1, 49, 10, 1), base["y"].astype(np.int32)
    return Scenario(
        "kws_dscnn, five new words", "kws_dscnn_int8.tflite", "accuracy", 40, original, labels, x[chosen], y[chosen], x[~chosen], y[~chosen], 5
    )


def _digits(draw: int, title: str, model: str, prepared: Callable[[Array], Array]) -> Scenario:
    """A model of other images gets a new head for the digits of USPS: ten a digit to train on, 300 others to evaluate.

    prepared: its inputs, unsigned bytes, of images [N, 28, 28].
    """
    d = _set("mnist_usps.npz")
    x, y = (prepared(d["usps_x"]).astype(np.int16) - 128).astype(np.int8), d["usps_y"].astype(np.int32)
    rng = np.random.default_rng(draw)
    chosen = np.concatenate([rng.choice(np.flatnonzero(y == c), 10, replace=False) for c in range(10)])
    rest = rng.permutation(np.setdiff1d(np.arange(len(y)), chosen))[:300]
    return Scenario(title, model, "accuracy", 10, x, y, x[chosen], y[chosen], x[rest], y[rest], 10)


def residual(draw: int) -> Scenario:
    """A residual network of CIFAR-10 and digits."""
    return _digits(
        draw, "resnet8 of CIFAR-10, USPS digits", "ic_resnet8_int8.tflite", lambda x: np.pad(x, ((0, 0), (2, 2), (2, 2)))[..., None].repeat(3, 3)
    )


def deep(draw: int) -> Scenario:
    """A network of 28 layers that detects persons, and digits three times as large."""

    def enlarged(x: Array) -> Array:
        return np.pad(x.repeat(3, 1).repeat(3, 2), ((0, 0), (6, 6), (6, 6)))[..., None]

    return _digits(draw, "person_detect, USPS digits", "person_detect_int8.tflite", enlarged)


SCENARIOS: dict[str, Callable[[int], Scenario]] = {
    "fsdd": fsdd,
    "gas": gas,
    "ecg": ecg,
    "gas3": partial(gas, number=3),
    "gas5": partial(gas, number=5),
    "gas6": partial(gas, number=6),
    "kws": kws,
    "kws-band": partial(kws, variant="bandpass"),
    "voices": voices,
    "transformer": transformer,
    "usps": usps,
    "wuw": wuw,
    "residual": residual,
    "deep": deep,
}
MAIN = ("fsdd", "gas", "ecg")
"""The scenarios that the README shows."""


def scenario_of(name: str, draw: int) -> Scenario:
    """One of SCENARIOS, with the rows of the original domain in random order, so that any prefix is a fair sample."""
    scenario = SCENARIOS[name](draw)
    order = np.random.default_rng(5).permutation(len(scenario.original))
    return replace(scenario, original=scenario.original[order], original_labels=scenario.original_labels[order])
