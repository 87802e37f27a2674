"""A small autoencoder of what a healthy bearing sounds like: trained in float by scikit-learn, quantised to INT8."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bearing import ORIGINAL, RATE, Features, Signal, features, vibration
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "digits"))

from make_model import POINT, Layer, quantise

from kiloc.export import tflite
from kiloc.ir.types import activation

HIDDEN, EPOCHS, SEED = (32, 8, 32), 120, 1
TRAINED, RECORDINGS = 60, 12
"""Windows of a recording of the original machine, and recordings."""
RANGE = 10.0
"""Of the inputs, in standard deviations of the original machine."""
ROOM = 1.5
"""The results have so many times the range that the original machine needs."""


@dataclass(frozen=True)
class Scaling:
    """What brings features to the model's inputs."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    rate: int = RATE

    def of(self, windows: NDArray[np.float64]) -> Features:
        return np.clip((features(windows, self.rate) - self.mean) / self.deviation, -RANGE, RANGE).astype(np.float32)


def write_model(path: Path, windows: Signal | None = None, rate: int = RATE) -> tuple[Scaling, Features]:
    """Train on a healthy machine and write a .tflite file. Returns the scaling, and the samples it was trained on. windows [N, WINDOW]: of the
    machine; None: of a simulated bearing."""
    if windows is None:
        windows = np.concatenate([vibration(ORIGINAL, TRAINED, 100 + n) for n in range(RECORDINGS)])
    known = features(windows, rate)
    scaling = Scaling(known.mean(0).astype(np.float64), known.std(0).astype(np.float64), rate)
    x = scaling.of(windows)
    network = MLPRegressor(hidden_layer_sizes=HIDDEN, alpha=1e-4, max_iter=EPOCHS, random_state=SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it need not be perfect
        network.fit(x, x)
    layers = [
        Layer(f"dense_{n + 1}", "fc", POINT, np.asarray(w.T, np.float64), np.asarray(b, np.float64), relu=n < len(HIDDEN))
        for n, (w, b) in enumerate(zip(network.coefs_, network.intercepts_, strict=True))
    ]
    inputs = activation((1, x.shape[1]), RANGE / 128, 0)
    path.write_bytes(tflite.write(quantise(layers, ROOM * x.astype(np.float64), inputs, "bearing", softmax=False)))
    return scaling, x
