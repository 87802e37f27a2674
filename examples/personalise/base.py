"""The model of voices that are made on this computer: a dense network, trained in float by scikit-learn and quantised to INT8."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "digits"))

from make_model import POINT, Layer, quantise

from kiloc.export import tflite
from kiloc.ir.types import activation

HIDDEN, EPOCHS, SEED = (48, 32), 60, 1


def write_model(x: NDArray[np.float32], y: NDArray[np.int32], path: Path, title: str = "words") -> Path:
    """Train on samples [N, features] and write a .tflite file. title: what the model is called."""
    middle, spread = float(x.mean()), float(x.std())
    network = MLPClassifier(HIDDEN, alpha=1e-3, max_iter=EPOCHS, random_state=SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it need not be perfect
        network.fit((x - middle) / spread, y)
    layers = []
    for number, (weights, bias) in enumerate(zip(network.coefs_, network.intercepts_, strict=True)):
        w, b = np.asarray(weights.T, np.float64), np.asarray(bias, np.float64)
        if number == len(HIDDEN) and len(b) == 1:  # of two classes scikit-learn gives the difference of the logits
            w, b = np.concatenate([-w, w]) / 2, np.concatenate([-b, b]) / 2
        if number == 0:  # features come as they are: the network scales them
            b, w = b - w.sum(axis=1) * middle / spread, w / spread
        layers.append(Layer(f"dense_{number + 1}", "fc", POINT, w, b, relu=number < len(HIDDEN)))
    low, high = float(x.min()), float(x.max())
    scale = float(np.float32((high - low) / 255))
    features = activation((1, x.shape[1]), scale, int(np.clip(round(-128 - low / scale), -128, 127)))
    path.write_bytes(tflite.write(quantise(layers, x.astype(np.float64), features, title)))
    return path
