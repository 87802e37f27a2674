"""Heart beats of several patients: the recordings of KILOTUNE_DATA where they are, otherwise simulated ones.

The recordings are of the MIT-BIH Arrhythmia Database (Moody and Mark, 2001). A simulated beat is a sum of Gaussians, one a wave, P, Q, R, S and T,
after McSharry et al., "A dynamical model for generating synthetic electrocardiogram signals" (2003); every patient has amplitudes and widths of
their own. An ectopic beat starts in a ventricle: no P wave, a wide R, a deep S, and T the other way round.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).resolve().parents[1] / "personalise"))

from real_data import folder_with

Array = NDArray[Any]
SET, MODEL = "sets/ecg_mitbih.npz", "models/ecg_cnn_int8.tflite"
LENGTH, RATE = 128, 160
"""Values of a beat, and a second of them."""
BEATS, NOISE, ECTOPIC = 250, 0.15, 0.3
KNOWN, RECORD, MINUTES = (100, 105, 108, 114, 116, 121, 123), 106, 5
"""Records that the model was trained on, the new patient's, and minutes to learn from."""


@dataclass(frozen=True)
class Patient:
    """amplitudes and widths (seconds) of P, Q, R, S and T; times (seconds from R)."""

    amplitudes: tuple[float, ...] = (0.15, -0.12, 1.2, -0.25, 0.35)
    widths: tuple[float, ...] = (0.025, 0.012, 0.013, 0.014, 0.055)
    times: tuple[float, ...] = (-0.18, -0.03, 0.0, 0.03, 0.26)

    def beat(self, ectopic: bool, rng: np.random.Generator) -> Array:
        """One, with the wandering of the baseline and noise."""
        time = (np.arange(LENGTH) - LENGTH // 2) / RATE
        factors, broader = ((0.0, 0.5, 0.9, 2.5, -1.0), (1, 1.8, 2.4, 2.6, 1.3)) if ectopic else ((1,) * 5, (1,) * 5)
        found = NOISE * rng.normal(0, 1, LENGTH) + 0.1 * np.sin(2 * np.pi * 0.4 * time + rng.uniform(0, 6))
        for a, w, t, factor, broad in zip(self.amplitudes, self.widths, self.times, factors, broader, strict=True):
            height = a * factor * (1 + 0.1 * rng.normal())
            found = found + height * np.exp(-0.5 * ((time - t * (1 + 0.05 * rng.normal())) / (w * broad)) ** 2)
        return found


NEW = Patient((0.03, -0.05, 0.75, -0.5, 0.1), (0.03, 0.016, 0.026, 0.028, 0.07))
"""A bundle of the conduction is slow: the normal beats are broad and low, and look a little like ectopic ones."""


@dataclass(frozen=True)
class Heart:
    """A model, beats of patients that it knows, and those of a new one, in the order of time; 1 is ectopic."""

    source: str
    model: Path
    known: tuple[Array, Array]
    x: Array
    y: Array
    later: tuple[Array, Array]


def heart(folder: Path) -> Heart:
    """The recordings, or simulated patients with a model trained on them, written into a folder."""
    data = folder_with(SET, MODEL)
    if data is not None:
        d = np.load(data / SET)
        raw = d["x"].astype(np.float32)
        x = ((raw - np.median(raw, axis=1, keepdims=True)) / 200)[..., None, None]
        y, known, mine = d["y"].astype(np.int32), np.flatnonzero(np.isin(d["record"], KNOWN)), np.flatnonzero(d["record"] == RECORD)
        early = d["r_sample"][mine] < MINUTES * 60 * 360
        known = np.random.default_rng(5).permutation(known)
        first, rest = mine[early], mine[~early]
        return Heart(f"recordings, patient {RECORD}", data / MODEL, (x[known], y[known]), x[first], y[first], (x[rest], y[rest]))
    from base import write_model

    rng = np.random.default_rng(3)
    patients = [_another(rng) for _ in range(8)]
    parts = [_beats(patient, BEATS, rng) for patient in patients]
    known_x, known_y = (np.concatenate(part) for part in zip(*parts, strict=True))
    (x, y), later = _beats(NEW, BEATS, rng), _beats(NEW, 2 * BEATS, rng)
    return Heart("simulated patients", write_model(known_x, known_y, folder / "beats.tflite", "beats"), (known_x, known_y), x, y, later)


def _another(rng: np.random.Generator) -> Patient:
    usual = Patient()
    amplitudes = tuple(float(a * np.exp(0.25 * rng.normal())) for a in usual.amplitudes)
    return replace(usual, amplitudes=amplitudes, widths=tuple(float(w * np.exp(0.1 * rng.normal())) for w in usual.widths))


def _beats(patient: Patient, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Beats [N, 128], and which are ectopic [N]."""
    y = (rng.random(count) < ECTOPIC).astype(np.int32)
    return np.stack([patient.beat(bool(label), rng) for label in y]).astype(np.float32), y
