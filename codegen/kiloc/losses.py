"""Losses as plain data: which operator compares the model's first result, and with what.

"cross_entropy", "soft_cross_entropy", "bce", "mse", "huber", "next_token" and "information_maximisation" stand for the losses with their defaults.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .errors import CompileError
from .heads import Head, head_of
from .ir.graph import OPEN_HEAD, Graph, Value
from .ir.types import TensorType
from .ops.backward import loss as operators
from .ops.model.embedding import tokens_of

MOST_TARGETS = 32
"""Random targets are drawn for so many samples at once, so that fewer samples get the first of the same ones."""


@dataclass(frozen=True)
class Attached:
    """A loss on a graph. inputs: operand -> value. target: the value that a training sample brings, None for none.

    kept: state that the loss changes with each sample, one of the inputs.
    """

    operator: operators.LossOperator
    inputs: dict[str, str]
    target: Value | None
    kept: Value | None = None


class Loss:
    """Base of all losses."""

    name: ClassVar[str] = ""
    target_range: ClassVar[tuple[float, float]] = (-operators.LARGEST_VALUE, operators.LARGEST_VALUE)
    """Of targets that are values."""
    rate_share: ClassVar[float] = 1.0
    """Of the usual learning rates, what suits this loss."""

    def attach(self, graph: Graph) -> Attached:
        """Raises CompileError where the model does not fit."""
        raise NotImplementedError

    def targets(self, y: TensorType, given: NDArray[Any] | None, count: int) -> NDArray[Any] | None:
        """Targets of `count` calibration samples, checked where given, else random; None where the loss takes none."""
        raise NotImplementedError

    def describe(self) -> str:
        """One line for reports."""
        return self.name

    def problem(self, values: NDArray[Any]) -> str:
        """What keeps finite values [N, n] from being targets of this loss; "" where they are."""
        low, high = self.target_range
        outside = values[(values < low) | (values > high)]
        return f"hold {outside[0]:g}: those of {self.name} are numbers from {low:g} to {high:g}" if outside.size else ""

    def checked(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Calibration targets [N, ...] that this loss takes. Raises CompileError."""
        problem = self.problem(values.reshape(len(values), -1))
        if problem:
            raise CompileError("calibration targets", problem, "pass a vector of such numbers a sample")
        return values


@dataclass(frozen=True)
class ClassLoss(Loss):
    """Base of the losses of a softmax."""

    label_smoothing: float = 0.0
    class_weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        _check_smoothing(self, self.label_smoothing)
        if self.class_weights is not None:
            object.__setattr__(self, "class_weights", _checked_factors(f"{self._title}(class_weights=...)", self.class_weights, "each class"))

    @property
    def _title(self) -> str:
        return type(self).__name__

    def describe(self) -> str:
        smoothing = f" label_smoothing={self.label_smoothing:g}" if self.label_smoothing else ""
        return f"{self.name}{smoothing}{' weighted' if self.class_weights else ''}"

    def _logits(self, graph: Graph) -> str:
        """The logits that the model ends in, or makes a softmax of. Raises CompileError where they do not fit."""
        logits = _class_logits(graph)
        classes = graph.type(logits).size
        if self.class_weights and len(self.class_weights) != classes:
            what = f"has {len(self.class_weights)} weights, {graph.name} has {classes} classes"
            raise CompileError(f"{self._title}(class_weights=...)", what, "pass one for each class")
        return logits


@dataclass(frozen=True)
class CrossEntropy(ClassLoss):
    """Softmax cross-entropy of class numbers; a softmax at the model's end is part of it and not trained through.

    label_smoothing: the part of the target that is spread evenly over all classes, in [0, 1). class_weights: a factor for
    each class on the loss of its samples. The mean over an update's samples divides by their number, not by their weights.

    Source of the smoothing: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2016).
    """

    name: ClassVar[str] = "cross_entropy"

    def attach(self, graph: Graph) -> Attached:
        logits = self._logits(graph)
        head = next((p for p in graph.parameters if p.method == OPEN_HEAD and p.storage == "int32"), None)
        if head is not None:
            return self._open(graph, logits, head.values["value"])
        operator = operators.SoftmaxCrossEntropy(float(self.label_smoothing), tuple(self.class_weights or ()))
        target = Value("label", TensorType((1,), "int32"), "input")
        return Attached(operator, {"y": logits, "label": target.name}, target)

    def _open(self, graph: Graph, logits: str, bias: str) -> Attached:
        """Over the classes that are open, of a head with room for more."""
        if self.label_smoothing or self.class_weights:
            what = "spreads or weighs over classes that are not there yet"
            raise CompileError("Head(extra_classes=...)", f"CrossEntropy(...) {what}", "leave label_smoothing and class_weights out")
        closed = closed_biases(graph, bias)
        target = Value("label", TensorType((1,), "int32"), "input")
        return Attached(operators.OpenCrossEntropy(closed), {"y": logits, "label": target.name, "bias": bias}, target)

    def targets(self, y: TensorType, given: NDArray[Any] | None, count: int) -> NDArray[Any]:
        labels = np.asarray(_generator().integers(0, y.size, MOST_TARGETS)[:count] if given is None else given).reshape(-1)
        if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= y.size or len(labels) != count:
            raise CompileError("calibration labels", f"are not class numbers below {y.size}, one for each sample", "pass integers")
        return labels.astype(np.int32)


@dataclass(frozen=True)
class SoftCrossEntropy(ClassLoss):
    """Softmax cross-entropy of distributions: a target is a probability for each class; see `kt.circular_labels` and `kt.Rehearsal`.

    The number of a class stands for the distribution of it alone.

    label_smoothing as of CrossEntropy. class_weights: the loss of a sample counts the mean of its classes' weights under its target, so that a
    distribution of one class gives what its number gives.
    """

    name: ClassVar[str] = "soft_cross_entropy"
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def attach(self, graph: Graph) -> Attached:
        logits = self._logits(graph)
        return _with_values(operators.SoftCrossEntropy(float(self.label_smoothing), tuple(self.class_weights or ())), graph, logits)

    def targets(self, y: TensorType, given: NDArray[Any] | None, count: int) -> NDArray[Any]:
        if given is None:
            labels = _generator().integers(0, y.size, MOST_TARGETS)[:count]
            return np.eye(y.size, dtype=np.float32)[labels].reshape(count, *y.shape[1:])
        if np.ndim(given) == 1 and np.asarray(given).dtype.kind in "iu":
            given = np.eye(y.size, dtype=np.float32)[CrossEntropy().targets(y, given, count)]
        return self.checked(_values(y, given, count))

    def problem(self, values: NDArray[Any]) -> str:
        outside = super().problem(values)
        off = np.abs(values.astype(np.float64).sum(1) - 1)
        wrong = np.flatnonzero(off > DISTRIBUTION_ERROR)
        if outside or not wrong.size:
            return outside
        return f"hold {values[wrong[0]].sum():g} in all for sample {wrong[0]}: those of {self.name} are distributions, whose sum is 1"


DISTRIBUTION_ERROR = 1e-3
"""That the sum of a target distribution may differ from 1."""


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """Cross-entropy of each result as a logit of its own; targets are vectors of numbers in [0, 1], several may be 1.

    A logistic function at the model's end is part of it and not trained through. label_smoothing: the part of each target that is one half
    instead, in [0, 1). positive_weights: a factor for each result on the loss of what is there, for results that are rarely 1; one number is for
    all results.
    """

    name: ClassVar[str] = "bce"
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    label_smoothing: float = 0.0
    positive_weights: Sequence[float] | float | None = None

    def __post_init__(self) -> None:
        _check_smoothing(self, self.label_smoothing)
        given = self.positive_weights
        if given is not None:
            one = np.ndim(given) == 0
            checked = _checked_factors("BinaryCrossEntropy(positive_weights=...)", [given] if one else given, "each result, or one for all")
            object.__setattr__(self, "positive_weights", checked[0] if one else checked)

    def attach(self, graph: Graph) -> Attached:
        head = head_of(graph, graph.outputs[0])
        if head.kind == "softmax":
            raise CompileError(graph.origin, "binary cross-entropy reads logits, the model ends in a softmax", 'use loss="cross_entropy"')
        _check_reach(graph, head, "binary cross-entropy")
        weights, size = self.positive_weights, graph.type(head.logits).size
        factors = () if weights is None else (float(weights),) * size if isinstance(weights, int | float) else tuple(weights)
        if factors and len(factors) != size:
            what = f"has {len(factors)} weights, {graph.name} has {size} results"
            raise CompileError("BinaryCrossEntropy(positive_weights=...)", what, "pass one for each result, or one for all")
        return _with_values(operators.BinaryCrossEntropy(float(self.label_smoothing), factors), graph, head.logits)

    def targets(self, y: TensorType, given: NDArray[Any] | None, count: int) -> NDArray[Any]:
        if given is None:
            return _generator().integers(0, 2, (MOST_TARGETS, *y.shape[1:]))[:count].astype(np.float32)
        return self.checked(_values(y, given, count))

    def describe(self) -> str:
        smoothing = f" label_smoothing={self.label_smoothing:g}" if self.label_smoothing else ""
        return f"{self.name}{smoothing}{' weighted' if self.positive_weights else ''}"


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
        return _real_targets(y, given, count)

    def describe(self) -> str:
        return self.name if self.target == "given" else "mse to the input"


@dataclass(frozen=True)
class Huber(Loss):
    """Huber's loss of values in the result's real units: half the squared difference up to `delta`, from there on a straight line.

    A few targets that are far off move the model less than by the squared error.

    Source: Huber, "Robust Estimation of a Location Parameter" (1964).
    """

    name: ClassVar[str] = "huber"

    delta: float = 1.0

    def __post_init__(self) -> None:
        where, delta = "Huber(delta=...)", self.delta
        number = isinstance(delta, int | float | np.number) and not isinstance(delta, bool)
        if not number or not 0 < float(delta) <= operators.LARGEST_VALUE:
            what = f"{delta!r} is not a positive number up to {operators.LARGEST_VALUE:g}"
            raise CompileError(where, what, "pass the difference from which on a target counts as an outlier")
        object.__setattr__(self, "delta", float(delta))

    def attach(self, graph: Graph) -> Attached:
        size = graph.type(graph.outputs[0]).size
        if self.delta / size < operators.SMALLEST:
            what = f"leaves no gradient that int8 can hold: it is at most delta over {size} results, and what is below 2^-20 is rounded to zero"
            raise CompileError(f"Huber(delta={self.delta:g})", what, f"pass at least {operators.SMALLEST * size:.1e}")
        return _with_values(operators.Huber(self.delta), graph, graph.outputs[0])

    def targets(self, y: TensorType, given: NDArray[Any] | None, count: int) -> NDArray[Any]:
        return _real_targets(y, given, count)

    def describe(self) -> str:
        return f"{self.name} delta={self.delta:g}"


@dataclass(frozen=True)
class NextToken(Loss):
    """Cross-entropy of the next token at every position, of models that read tokens and end in a row of logits for each: language models.

    The targets are the input's own tokens, one further: a sample of n tokens has n - 1, and training takes no labels. A softmax at the model's
    end is part of the loss and not trained through. The model must not see a token before it answers for it: this is not checked.
    """

    name: ClassVar[str] = "next_token"

    def attach(self, graph: Graph) -> Attached:
        source, tables = graph.inputs[0], tokens_of(graph)
        where = f'loss="{self.name}"'
        if source not in tables:
            what = "the targets are the tokens that the model reads, and its first input chooses no rows of a table"
            raise CompileError(where, what, "export the model with its embedding: Gather of a constant table by the input")
        head = head_of(graph, graph.outputs[0])
        _check_reach(graph, head, "cross-entropy")
        logits, count, rows = graph.type(head.logits), graph.type(source).size, tables[source].type.shape[0]
        if head.kind == "logistic" or logits.shape[-2:] != (count, logits.shape[-1]) or logits.size != count * logits.shape[-1]:
            what = f"the model gives {logits.shape[1:]} for {count} tokens, not a row of logits for each"
            raise CompileError(where, what, 'use loss="cross_entropy" where it gives one answer')
        if logits.shape[-1] < rows:
            raise CompileError(where, f"{logits.shape[-1]} logits cannot tell {rows} tokens apart", "export a head with a logit for each token")
        if count < 2:
            raise CompileError(where, "a sequence of one token has none behind it", "export the model for sequences of two tokens or more")
        return Attached(operators.NextToken(), {"y": head.logits, "x": source}, None)

    def targets(self, y: TensorType, given: NDArray[Any] | None, count: int) -> NDArray[Any] | None:
        return None


MOST_DIVERSITY, MOST_MEMORY = 100.0, 2**20
"""Of information maximisation: far beyond what is of use, and within what float32 holds."""


@dataclass(frozen=True)
class InformationMaximisation(Loss):
    """Learning without labels: each prediction shall be sure, and all together spread over the classes. Samples bring no target.

    The mean over samples is the entropy of a prediction less `diversity` times the entropy of the mean prediction, which is kept in the state.
    memory: samples that this mean goes back. prior: how often each class is to be expected, None for all alike; where a device meets a few of many
    classes, that is wrong, and a smaller diversity or a prior is better. It wants small steps, each by the mean of several samples: the usual
    rate is a tenth, and accumulate=16 is better than 1. What is learned can be wrong all the same: let some labels judge it, `Device.gate`.

    Source: Liang, Hu and Feng, "Do We Really Need to Access the Source Data? Source Hypothesis Transfer for Unsupervised Domain Adaptation" (2020).
    """

    name: ClassVar[str] = "information_maximisation"
    rate_share: ClassVar[float] = 0.1

    diversity: float = 1.0
    memory: int = 64
    prior: Sequence[float] | None = None

    def __post_init__(self) -> None:
        diversity, memory = self.diversity, self.memory
        number = isinstance(diversity, int | float | np.number) and not isinstance(diversity, bool)
        if not number or not 0 <= float(diversity) <= MOST_DIVERSITY:
            what = f"{diversity!r} is not a number from 0 to {MOST_DIVERSITY:g}"
            raise CompileError(
                f"{type(self).__name__}(diversity=...)", what, "1 weighs both entropies alike; 0 makes each prediction sure and nothing else"
            )
        if not isinstance(memory, int | np.integer) or isinstance(memory, bool) or not 1 <= memory <= MOST_MEMORY:
            what = f"{memory!r} is not a number of samples from 1 to {MOST_MEMORY}"
            raise CompileError(
                f"{type(self).__name__}(memory=...)", what, "a few samples a class are enough, about as many as there are to learn from"
            )
        if self.prior is not None:
            shares = _checked_factors(f"{type(self).__name__}(prior=...)", self.prior, "each class")
            object.__setattr__(self, "prior", tuple(share / sum(shares) for share in shares))

    def attach(self, graph: Graph) -> Attached:
        logits = _class_logits(graph)
        classes = graph.type(logits).size
        if self.prior is not None and len(self.prior) != classes:
            what = f"has {len(self.prior)} shares, {graph.name} has {classes} classes"
            raise CompileError(f"{type(self).__name__}(prior=...)", what, "pass one for each class")
        operator = operators.InformationMaximisation(float(self.diversity), 1 / self.memory, tuple(self.prior or ()))
        kept = Value("loss.deviation", TensorType((classes,), "float32"), "optimizer", np.zeros(classes, np.float32))
        return Attached(operator, {"y": logits, "deviation": kept.name}, None, kept)

    def targets(self, y: TensorType, given: NDArray[Any] | None, count: int) -> NDArray[Any] | None:
        return None

    def describe(self) -> str:
        diversity = f" diversity={self.diversity:g}" if self.diversity != 1 else ""
        return f"{self.name}{diversity} memory={self.memory}{' prior' if self.prior else ''}"


KINDS = (CrossEntropy, SoftCrossEntropy, BinaryCrossEntropy, MeanSquaredError, Huber, NextToken, InformationMaximisation)
LOSSES: dict[str, type[Loss]] = {kind.name: kind for kind in KINDS}


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


def _check_smoothing(loss: Loss, smoothing: Any) -> None:
    if isinstance(smoothing, bool) or not isinstance(smoothing, int | float | np.number) or not 0 <= float(smoothing) < 1:
        where = f"{type(loss).__name__}(label_smoothing=...)"
        raise CompileError(where, f"{smoothing!r} is not a number in [0, 1)", "0.1 is usual, 0 is none")


def _checked_factors(where: str, given: Any, of: str) -> tuple[float, ...]:
    hint = f"pass one positive number for {of}"
    try:
        weights = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise CompileError(where, "are not a list of numbers", hint) from None
    if weights.ndim != 1 or not (np.isfinite(weights) & (weights > 0) & (weights <= 1e6)).all():
        raise CompileError(where, "are not a list of positive numbers up to 1e6", hint)
    return tuple(float(w) for w in weights)


def _class_logits(graph: Graph) -> str:
    """The logits of one softmax of two classes or more. Raises CompileError where a model ends in something else."""
    head = head_of(graph, graph.outputs[0])
    if head.kind == "logistic":
        what = "cross-entropy is of classes of which one is right, the model ends in a logistic function: each result is a yes or no of its own"
        raise CompileError(graph.origin, what, 'use loss="bce", whose targets are vectors of 0 and 1')
    if head.rows > 1:
        classes = graph.type(head.logits).shape[-1]
        what = f"cross-entropy is of one softmax, the model ends in one for each of {head.rows} rows of {classes} values"
        raise CompileError(graph.origin, what, 'use loss="mse" with the probabilities as targets, or export a model with one row')
    _check_reach(graph, head, "cross-entropy")
    classes = graph.type(head.logits).size
    if classes < 2:
        raise CompileError(graph.origin, "cross-entropy needs at least two classes", 'use loss="bce" or loss="mse"')
    return head.logits


def _check_reach(graph: Graph, head: Head, loss: str) -> None:
    """Raises CompileError where a loss would take probabilities for logits."""
    if head.beside:
        kinds = " and ".join(head.beside)
        what = f"{loss} reads logits, the model ends in {head.behind.upper()} of what a {kinds} has made of them"
        raise CompileError(graph.origin, what, 'use loss="mse" with the probabilities as targets, or export the model with its logits as result')


def _real_targets(y: TensorType, given: NDArray[Any] | None, count: int) -> NDArray[Any]:
    """Targets in the result's real units; random ones are all that it can be."""
    if given is None:
        codes = _generator().integers(-128, 128, (MOST_TARGETS, *y.shape[1:]))[:count]
        return np.asarray(((codes - y.zero_point) * y.scale).astype(np.float32))
    return _values(y, given, count)


def closed_biases(graph: Graph, bias: str) -> tuple[int, ...]:
    """Biases of the classes that a head with room for more begins without: those of its last rows, which are zero."""
    layer = next(n for n in graph.phase("forward") if n.inputs.get("bias") == bias)
    weights, values = graph.values[layer.inputs["weights"]].data, graph.values[bias].data
    assert weights is not None and values is not None
    used = np.flatnonzero(weights.reshape(len(weights), -1).any(1) | (values.reshape(-1) != values.reshape(-1)[-1]))
    return tuple(int(b) for b in values.reshape(-1)[used[-1] + 1 :])
