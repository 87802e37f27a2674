"""An array of gas sensors that drifts: the recordings of KILOTUNE_DATA where they are, otherwise a simulated array.

The recordings are batches of the Gas Sensor Array Drift data set (Vergara et al., "Chemical gas sensor drift compensation using classifier
ensembles", 2012). The simulation has its kind of features: 16 metal-oxide sensors, whose resistance falls with a power of the concentration (Clifford
and Tuma, "Characteristics of semiconductor gas sensors", 1983), each with a steady level and three transients. With age every sensor loses
sensitivity and shifts its baseline, each by its own amount.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "personalise"))

from real_data import folder_with

Array = NDArray[Any]
SET, MODEL = "sets/gas_drift.npz", "models/gas_mlp_int8.tflite"
GASES, SENSORS, TRANSIENTS = 5, 16, 3
TRAINED, LATER = 800, 500
NOISE = 0.6
DRIFT = 1.0
"""Deviation of what a sensor's logarithm loses in sensitivity and shifts in baseline, as a share of the spread between gases."""
BATCH = 6
"""Of the recordings: months after those that the model was trained on."""


@dataclass(frozen=True)
class Drift:
    """A model, samples of the time it was trained on, and samples of now with what they were of."""

    source: str
    model: Path
    known: tuple[Array, Array]
    x: Array
    y: Array


def drift(folder: Path) -> Drift:
    """The recordings, or the simulation with a model trained on it, written into a folder."""
    data = folder_with(SET, MODEL)
    if data is not None:
        d = np.load(data / SET)
        x, y, base = d["x"].astype(np.float32), d["y"].astype(np.int32), d["base_train_idx"]
        now = np.random.default_rng(0).permutation(np.flatnonzero(d["batch"] == BATCH))
        return Drift(f"recordings, batch {BATCH}", data / MODEL, (x[base], y[base]), x[now], y[now])
    from base import write_model

    rng = np.random.default_rng(7)
    array = _Array.of(rng)
    known, later = array.samples(TRAINED, rng), array.aged(rng).samples(LATER, rng)
    path = write_model(*known, folder / "gases.tflite", "gases")
    return Drift("a simulated array of sensors", path, known, *later)


@dataclass(frozen=True)
class _Array:
    """Sensitivity [gases, sensors] and speed [gases, sensors, transients] of sensors, in logarithms; what age has added to each feature, and
    taken."""

    level: Array
    speed: Array
    gain: Array
    shift: Array

    @classmethod
    def of(cls, rng: np.random.Generator) -> _Array:
        shape = (SENSORS, 1 + TRANSIENTS)
        return cls(rng.normal(0, 1, (GASES, SENSORS)), rng.normal(0, 0.6, (GASES, SENSORS, TRANSIENTS)), np.ones(shape), np.zeros(shape))

    def aged(self, rng: np.random.Generator) -> _Array:
        gain = np.exp(-np.abs(rng.normal(0, DRIFT, (SENSORS, 1)))) * np.ones_like(self.gain)
        return _Array(self.level, self.speed, gain, rng.normal(0, DRIFT, self.shift.shape))

    def samples(self, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Features [N, 64] and gases [N]."""
        y = rng.integers(0, GASES, count).astype(np.int32)
        strength = rng.normal(0, 0.5, (count, 1))  # logarithm of the concentration
        level = self.level[y] + 0.7 * strength
        x = np.concatenate([level[..., None], 0.5 * level[..., None] + self.speed[y]], axis=2)
        x = x * self.gain + self.shift + rng.normal(0, NOISE, x.shape)
        return x.reshape(count, -1).astype(np.float32), y
