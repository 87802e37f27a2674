"""Losses as plain data: which operator compares the model's first result, and with what.

"cross_entropy", "bce" and "mse" stand for the losses with their defaults.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .errors import CompileError
from .ir.graph import Graph, Value
from .ir.types import TensorType
from .ops.backward import loss as operators
from .ops.model.softmax import Softmax

MOST_TARGETS = 32
"""Random targets are drawn for so many samples at once, so that fewer samples get the first of the same ones."""


@dataclass(frozen=True)
class Attached:
    """A loss on a graph. inputs: operand -> value. target: the value that a training sample brings, None for none."""

    operator: operators.LossOperator
    inputs: dict[str, str]
    target: Value | None


class Loss:
    """Base of all losses."""

    name: ClassVar[str] = ""

    def attach(self, graph: Graph) -> Attached:
        """Raises CompileError where the model does not fit."""
        raise NotImplementedError

    def targets(self, y: TensorType, given: NDArray[Any] | None, count: int) -> NDArray[Any] | None:
        """Targets of `count` calibration samples, checked where given, else random; None where the loss takes none."""
        raise NotImplementedError

    def describe(self) -> str:
        """One line for reports."""
        return self.name


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Softmax cross-entropy of class numbers; a softmax at the model's end is part of it and not trained through.

    label_smoothing: the part of the target that is spread evenly over all classes, in [0, 1). class_weights: a factor for
    each class on the loss of its samples. The mean over an update's samples divides by their number, not by their weights.

    Source of the smoothing: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2016).
    """

    name: ClassVar[str] = "cross_entropy"

    label_smoothing: float = 0.0
    class_weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        smoothing = self.label_smoothing
        if isinstance(smoothing, bool) or not isinstance(smoothing, int | float | np.number) or not 0 <= float(smoothing) < 1:
            raise CompileError("CrossEntropy(label_smoothing=...)", f"{smoothing!r} is not a number in [0, 1)", "0.1 is usual, 0 is none")
        if self.class_weights is None:
            return
        where, hint = "CrossEntropy(class_weights=...)", "pass one positive number for each class"
        try:
            weights = np.asarray(self.class_weights, np.float64)
        except (TypeError, ValueError):
            raise CompileError(where, "are not a list of numbers", hint) from None
        if weights.ndim != 1 or not (np.isfinite(weights) & (weights > 0) & (weights <= 1e6)).all():
            raise CompileError(where, "are not a list of positive numbers up to 1e6", hint)
        object.__setattr__(self, "class_weights", tuple(float(w) for w in weights))

    def attach(self, graph: Graph) -> Attached:
        result = graph.outputs[0]
        producer = graph.producers().get(_root(graph, result))
        if producer is not None and isinstance(producer.op, Softmax):
            result = producer.inputs["x"]
        classes = graph.type(result).size
        if classes < 2:
            raise CompileError(graph.origin, "cross-entropy needs at least two classes", 'use loss="bce" or loss="mse"')
        weights = tuple(self.class_weights or ())
        if weights and len(weights) != classes:
            where = "CrossEntropy(class_weights=...)"
            raise CompileError(where, f"has {len(weights)} weights, {graph.name} has {classes} classes", "pass one for each class")
        operator = operators.SoftmaxCrossEntropy(float(self.label_smoothing), weights)
        target = Value("label", TensorType((1,), "int32"), "input")
        return Attached(operator, {"y": result, "label": target.name}, target)

    def targets(self, y: TensorType, given: NDArray[Any] | None, count: int) -> NDArray[Any]:
        labels = np.asarray(_generator().integers(0, y.size, MOST_TARGETS)[:count] if given is None else given).reshape(-1)
        if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= y.size or len(labels) != count:
            raise CompileError("calibration labels", f"are not class numbers below {y.size}, one for each sample", "pass integers")
        return labels.astype(np.int32)

    def describe(self) -> str:
        smoothing = f" label_smoothing={self.label_smoothing:g}" if self.label_smoothing else ""
        return f"{self.name}{smoothing}{' weighted' if self.class_weights else ''}"


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """Cross-entropy of each result as a logit of its own; targets are vectors of numbers in [0, 1], several may be 1."""

    name: ClassVar[str] = "bce"

    def attach(self, graph: Graph) -> Attached:
        result = graph.outputs[0]
        producer = graph.producers().get(_root(graph, result))
        if producer is not None and isinstance(producer.op, Softmax):
            raise CompileError(graph.origin, "binary cross-entropy reads logits, the model ends in a softmax", 'use loss="cross_entropy"')
        return _with_values(operators.BinaryCrossEntropy(), graph, result)

    def targets(self, y: TensorType, given: NDArray[Any] | None, count: int) -> NDArray[Any]:
        if given is None:
            return _generator().integers(0, 2, (MOST_TARGETS, *y.shape[1:]))[:count].astype(np.float32)
        values = _values(y, given, count)
        if values.min() < 0 or values.max() > 1:
            what = "of binary cross-entropy are numbers from 0 to 1, one for each result"
            raise CompileError("calibration targets", what, "pass a vector of 0 and 1 a sample")
        return values


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """Mean squared difference to a target in the result's real units.

    target: "given" with each sample, or "input": an autoencoder's, which needs no target and no copy of the input.
    """

    name: ClassVar[str] = "mse"

    target: str = "given"

    def __post_init__(self) -> None:
        if self.target not in ("given", "input"):
            raise CompileError("MeanSquaredError(target=...)", f'{self.target!r} is neither "given" nor "input"', '"input" is for autoencoders')

    def attach(self, graph: Graph) -> Attached:
        result, source = graph.outputs[0], graph.inputs[0]
        if self.target == "given":
            return _with_values(operators.MeanSquaredError(), graph, result)
        sizes = graph.type(result).size, graph.type(source).size
        if sizes[0] != sizes[1]:
            where = 'MeanSquaredError(target="input")'
            raise CompileError(where, f"the result has {sizes[0]} values, the input {sizes[1]}", "it is for autoencoders; pass targets instead")
        return Attached(operators.ReconstructionError(), {"y": result, "x": source}, None)

    def targets(self, y: TensorType, given: NDArray[Any] | None, count: int) -> NDArray[Any] | None:
        if self.target == "input":
            return None
        if given is None:
            codes = _generator().integers(-128, 128, (MOST_TARGETS, *y.shape[1:]))[:count]
            return np.asarray(((codes - y.zero_point) * y.scale).astype(np.float32))
        return _values(y, given, count)

    def describe(self) -> str:
        return self.name if self.target == "given" else "mse to the input"


LOSSES: dict[str, type[Loss]] = {kind.name: kind for kind in (CrossEntropy, BinaryCrossEntropy, MeanSquaredError)}


def as_loss(loss: Loss | str) -> Loss:
    """The loss that a name stands for. Raises CompileError."""
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str) or loss not in LOSSES:
        near = difflib.get_close_matches(str(loss), LOSSES, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise CompileError(f"loss={loss!r}", "unknown loss", f"{hint}losses are {', '.join(LOSSES)}")
    return LOSSES[loss]()


def _generator() -> np.random.Generator:
    return np.random.Generator(np.random.Philox(2))


def _values(y: TensorType, given: NDArray[Any], count: int) -> NDArray[np.float32]:
    if given.dtype.kind not in "fiu" or given.size != count * y.size:
        shape = ", ".join(map(str, ("N", *y.shape[1:])))
        raise CompileError("calibration targets", f"have shape {list(given.shape)}, the loss takes numbers [{shape}]", "labels are for cross-entropy")
    with np.errstate(over="ignore"):
        values = given.astype(np.float32).reshape(count, *y.shape[1:])
    if not (np.abs(values) <= operators.LARGEST_VALUE).all():
        raise CompileError("calibration targets", f"are not all finite numbers up to {operators.LARGEST_VALUE:g}", "check them")
    return values


def _with_values(operator: operators.LossOperator, graph: Graph, result: str) -> Attached:
    target = Value("target", TensorType(graph.type(result).shape, "float32"), "input")
    return Attached(operator, {"y": result, "target": target.name}, target)


def _root(graph: Graph, name: str) -> str:
    producers = graph.producers()
    while name in producers and producers[name].op.view:
        name = producers[name].inputs["x"]
    return name
