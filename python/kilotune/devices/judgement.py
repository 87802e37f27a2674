"""How good outputs are: the loss of each sample, and which are right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import dequantize
from .manifest import Tensor


@dataclass(frozen=True)
class Judgement:
    """losses: float64 [N]. right: share of each sample's answers that are right [N], or None where no answer is right or wrong."""

    losses: NDArray[np.float64]
    right: NDArray[Any] | None

    def means(self) -> dict[str, float]:
        """{"accuracy", "loss"} over the samples, as `Device.evaluate` returns them."""
        found = {} if self.right is None else {"accuracy": float(np.mean(self.right))}
        return found | {"loss": float(self.losses.mean())}


def of_labels(outputs: NDArray[Any], labels: NDArray[np.int32], tensor: Tensor) -> Judgement:
    """Cross-entropy of outputs [N, classes]."""
    real = dequantize(outputs, tensor).astype(np.float64)
    rows = np.arange(len(labels))
    if tensor.softmax:  # probabilities, of which the smallest the output can tell from 0 is half a step
        chosen = np.maximum(real[rows, labels], tensor.scale / 2)
        losses = -np.log(np.minimum(chosen, 1.0))
    else:
        shifted = real - real.max(axis=1, keepdims=True)
        losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, labels]
    return Judgement(losses, outputs.argmax(axis=1) == labels)


def of_bits(outputs: NDArray[np.float32], targets: NDArray[np.float32]) -> Judgement:
    """Binary cross-entropy of logits [N, outputs]."""
    logits = outputs.astype(np.float64)
    losses = np.maximum(logits, 0) - logits * targets + np.log1p(np.exp(-np.abs(logits)))
    return Judgement(losses.mean(axis=1), ((logits > 0) == (targets > 0.5)).mean(axis=1))


def of_values(outputs: NDArray[np.float32], targets: NDArray[np.float32]) -> Judgement:
    """Mean square difference of values [N, n]."""
    return Judgement(np.mean((outputs - targets).astype(np.float64) ** 2, axis=1), None)
