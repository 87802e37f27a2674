"""How good outputs are: the loss of each sample, which are right, and what else is usually said of such outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import dequantize
from .manifest import Tensor

Reals = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Nearness:
    """What is near enough: answers at most `within` from the target, around a circle of `period` where there is one."""

    within: float
    period: float | None = None

    def __post_init__(self) -> None:
        for name, value, least in (("within", self.within, 0), ("period", self.period, None)):
            number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool) and np.isfinite(value)
            if value is not None and not (number and (value >= 0 if least == 0 else value > 0)):
                raise ValueError(f"{name} is {value!r}: it must be a number {'of at least' if least == 0 else 'above'} 0")

    def share(self, answers: Reals, targets: Reals) -> float:
        """Share of the samples [N, n] all of whose answers are near enough."""
        distance = np.abs(answers.astype(np.float64) - targets)
        if self.period is not None:
            distance = distance % self.period
            distance = np.minimum(distance, self.period - distance)
        return float((distance <= self.within).reshape(len(distance), -1).all(axis=1).mean())


@dataclass(frozen=True)
class Judgement:
    """losses: float64 [N]. right: share of each sample's answers that are right [N], or None where no answer is right or wrong.

    more: measures of all samples together, by name.
    """

    losses: NDArray[np.float64]
    right: NDArray[Any] | None
    more: Mapping[str, float] = field(default_factory=dict)

    def means(self) -> dict[str, float]:
        """{"accuracy", "loss", ...} over the samples, as `Device.evaluate` returns them."""
        found = {} if self.right is None else {"accuracy": float(np.mean(self.right))}
        return found | {"loss": float(self.losses.mean())} | dict(self.more)


def of_labels(outputs: NDArray[Any], labels: NDArray[np.int32], tensor: Tensor, near: Nearness | None = None) -> Judgement:
    """Cross-entropy of outputs [N, classes]."""
    losses = -_log_probabilities(outputs, tensor)[np.arange(len(labels)), labels]
    return _of_classes(losses, outputs.argmax(axis=1), labels, near)


def of_tokens(outputs: NDArray[Any], tokens: NDArray[np.int64], tensor: Tensor) -> Judgement:
    """Cross-entropy of outputs [N, rows * logits] for the next of the tokens [N, rows], a mean over the rows that have one."""
    count, rows = tokens.shape
    flat, target = outputs.reshape(count, rows, -1)[:, :-1].reshape(count * (rows - 1), -1), tokens[:, 1:].ravel()
    losses = -_log_probabilities(flat, tensor)[np.arange(len(target)), target]
    right = flat.argmax(axis=1) == target
    return Judgement(losses.reshape(count, -1).mean(axis=1), right.reshape(count, -1).mean(axis=1))


def of_predictions(outputs: NDArray[Any], tensor: Tensor, diversity: float = 1.0, prior: Sequence[float] = ()) -> Judgement:
    """Without labels: what information maximisation makes small, with the mean over these outputs [N, classes]; see kt.InformationMaximisation."""
    logs = _log_probabilities(outputs, tensor)
    p = np.exp(logs)
    crowding = np.log(np.maximum(p.mean(axis=0), np.finfo(np.float64).tiny)) - (np.log(prior) if len(prior) else 0.0)
    return Judgement((p * (diversity * crowding - logs)).sum(axis=1), None)


def of_distributions(outputs: NDArray[Any], targets: NDArray[np.float32], tensor: Tensor, near: Nearness | None = None) -> Judgement:
    """Cross-entropy of outputs [N, classes] against probabilities; right is an output whose likeliest class is the target's."""
    losses = -(targets * _log_probabilities(outputs, tensor)).sum(axis=1)
    return _of_classes(losses, outputs.argmax(axis=1), targets.argmax(axis=1), near)


def of_bits(outputs: NDArray[np.float32], targets: NDArray[np.float32], tensor: Tensor) -> Judgement:
    """Binary cross-entropy of outputs [N, n]; "exact_match": samples all of whose answers are right, "f1": over all answers, 1 of none."""
    real = outputs.astype(np.float64)
    if tensor.logistic:  # probabilities, told from 0 and 1 by half a step
        p = np.clip(real, tensor.scale / 2, 1 - tensor.scale / 2)
        losses, answers = -targets * np.log(p) - (1 - targets) * np.log1p(-p), real > 0.5
    else:
        losses, answers = np.maximum(real, 0) - real * targets + np.log1p(np.exp(-np.abs(real))), real > 0
    expected = targets > 0.5
    found, said, there = (int(np.count_nonzero(b)) for b in (answers & expected, answers, expected))
    more = {"exact_match": float((answers == expected).all(axis=1).mean()), "f1": 2 * found / (said + there) if said + there else 1.0}
    return Judgement(losses.mean(axis=1), (answers == expected).mean(axis=1), more)


def of_values(outputs: NDArray[np.float32], targets: NDArray[np.float32], near: Nearness | None = None, delta: float | None = None) -> Judgement:
    """Mean square difference of values [N, n], or with a delta Huber's loss; "mae" and "rmse": mean absolute, root mean square difference."""
    difference = (outputs - targets).astype(np.float64)
    squares = np.mean(difference**2, axis=1)
    more = {"mae": float(np.abs(difference).mean()), "rmse": float(np.sqrt(squares.mean()))}
    if near is not None:
        more["within"] = near.share(outputs, targets)
    if delta is None:
        return Judgement(squares, None, more)
    clamped = np.clip(difference, -delta, delta)
    return Judgement(np.mean(clamped * (difference - clamped / 2), axis=1), None, more)


def _of_classes(losses: NDArray[np.float64], answers: NDArray[Any], expected: NDArray[Any], near: Nearness | None) -> Judgement:
    return Judgement(losses, answers == expected, {} if near is None else {"within": near.share(answers, expected)})


def _log_probabilities(outputs: NDArray[Any], tensor: Tensor) -> NDArray[np.float64]:
    """Logarithms of the probabilities of outputs [N, classes]."""
    real = dequantize(outputs, tensor).astype(np.float64)
    if tensor.softmax:  # probabilities, of which the smallest the output can tell from 0 is half a step
        return np.log(np.clip(real, tensor.scale / 2, 1.0))
    shifted = real - real.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
