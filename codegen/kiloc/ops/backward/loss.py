"""Losses: from the dequantised int8 result to an int8 gradient with a power of two of its own.

The exponent is found for each sample (O(classes)): it carries the thousandfold change between right and wrong samples,
so that all other gradients keep constant shifts. All arithmetic is strict float32 in the order of the C loop.
Results, targets and weights are bounded (`LARGEST_VALUE`, checked before the sample is used), so no loss is ever infinite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType, gradient, scalar
from ..update._update import pointers
from ._gradient import Real

SMALLEST = 2.0**-20
"""Gradients below this share one exponent: rounding them to zero is right."""

LARGEST_VALUE = 1.0e15
"""Largest magnitude of results and targets: (2e15)^2 * 2^24 elements stay below the largest float32."""


@dataclass(frozen=True)
class LossOperator(Op):
    """Results: gradient int8, exponent int32, loss float32."""

    role: ClassVar[str] = "backward"
    in_place: ClassVar[str | None] = "y"
    target_range: ClassVar[tuple[float, float]] = (-LARGEST_VALUE, LARGEST_VALUE)
    """Of targets that are values."""

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        y = t.type("y")
        return gradient(y.shape, 1.0), scalar("int32"), scalar("float32")

    def check(self, t: NodeTypes) -> str | None:
        y = t.type("y")
        if 255 * y.scale > LARGEST_VALUE or y.size > 2**24:
            return f"a result of {y.size} values with scale {y.scale:g}: a float32 loss may overflow"
        return None

    def real(self, e: Environment) -> tuple[nm.Floats, nm.Floats]:
        """(gradient [N, classes], loss [N]) in float32."""
        raise NotImplementedError

    def dequantized(self, e: Environment, operand: str = "y") -> nm.Floats:
        q = e.wide(operand).reshape(e.array(operand).shape[0], -1) - e.type(operand).zero_point
        return np.asarray(q.astype(np.float32) * np.float32(e.type(operand).scale))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        g, loss = self.real(e)
        largest = np.maximum(np.abs(g).max(1), np.float32(SMALLEST))
        exponent = nm.exponent_for(largest, 127.0)
        codes = self.rounded(e, g * nm.power_of_two(-exponent)[:, None])
        return nm.saturate8(codes).astype(np.int8).reshape(e.array("y").shape), exponent.astype(np.int32), loss

    def rounded(self, e: Environment, scaled: nm.Floats) -> nm.Ints:
        """Whole numbers of a gradient in units of its exponent [N, values]."""
        return nm.round_half_up(scaled)

    def evaluate_real(self, e: Environment) -> tuple[Real, Any, Any]:
        g, loss = self.real(e)
        return g.astype(np.float64).reshape(e.array("y").shape), np.zeros(len(loss), np.int32), loss

    def fields(self, t: NodeTypes, operand: str = "y") -> dict[str, Field]:
        kind = t.type(operand)
        return {"size": kind.size, "zero_point": kind.zero_point, "scale": kind.scale}

    def arguments(self, n: Names, target: str) -> tuple[Argument | str, ...]:
        return (*pointers(n, "y", target), *(Argument(o) for o in n.outputs))


def in_order(x: nm.Floats) -> nm.Floats:
    """Sums of the rows, one addition after the other."""
    return np.asarray(np.add.accumulate(x, axis=1, dtype=np.float32)[:, -1])


def _table(name: str, factors: tuple[float, ...]) -> Field:
    """Factors as a constant of the generated code; no factors are a null pointer."""
    return Table(name, "float", np.array(factors, np.float32)) if factors else "NULL"


@register
@dataclass(frozen=True)
class SoftmaxCrossEntropy(LossOperator):
    """loss = -w[label] sum_i q_i log softmax(y)_i; q = (1 - smoothing) onehot(label) + smoothing / classes; label int32 in [0, classes).

    The gradient of the label is minus the sum of the others, not p - 1: it loses no digits where p is near 1.
    weights: a factor for each class, empty for 1.
    Source of the smoothing: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2016).
    """

    mnemonic: ClassVar[str] = "softmax_cross_entropy"
    operands: ClassVar[tuple[str, ...]] = ("y", "label")

    smoothing: float = 0.0
    weights: tuple[float, ...] = ()

    def real(self, e: Environment) -> tuple[nm.Floats, nm.Floats]:
        z = self.dequantized(e)
        z = z - z.max(1, keepdims=True)
        p = nm.exp(z)
        total = in_order(p)
        label = e.array("label").reshape(-1)
        rows, classes = np.arange(len(label)), z.shape[1]
        smoothing, share = np.float32(self.smoothing), np.float32(self.smoothing) / np.float32(classes)
        weight = np.array(self.weights, np.float32)[label] if self.weights else np.ones(len(label), np.float32)
        aim = (np.float32(1) - smoothing) * z[rows, label] + share * in_order(z)
        loss = weight * (nm.log(total) - aim)
        g = p / total[:, None] - share
        p[rows, label] = 0
        g[rows, label] = (smoothing - share) - in_order(p) / total
        return weight[:, None] * g, loss

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields = {**self.fields(t), "smoothing": self.smoothing, "weights": _table("class_weights", self.weights)}
        struct, source = "kt_cross_entropy_params", "loss/softmax_cross_entropy.c"
        return KernelCall("kt_softmax_cross_entropy", struct, fields, self.arguments(n, "label"), source=source)


@register
@dataclass(frozen=True)
class OpenCrossEntropy(LossOperator):
    """loss = -log softmax(y)[label] over the classes that are open; label int32, of an open one. Closed classes have no gradient.

    bias: of the layer that gives y. Class c is closed where c >= known and bias[c] <= closed[c - known].
    """

    mnemonic: ClassVar[str] = "open_cross_entropy"
    operands: ClassVar[tuple[str, ...]] = ("y", "label", "bias")

    closed: tuple[int, ...] = ()

    def known(self, t: NodeTypes) -> int:
        """Classes that are never closed."""
        return t.type("y").size - len(self.closed)

    def check(self, t: NodeTypes) -> str | None:
        if t.type("bias").size != t.type("y").size or not 0 < len(self.closed) < t.type("y").size:
            return f"{t.type('bias').size} biases and {len(self.closed)} classes that may be closed, of {t.type('y').size}"
        return super().check(t)

    def real(self, e: Environment) -> tuple[nm.Floats, nm.Floats]:
        z = self.dequantized(e)
        bias = e.array("bias").reshape(-1)
        shut = np.concatenate([np.zeros(z.shape[1] - len(self.closed), np.bool_), bias[-len(self.closed) :] <= np.array(self.closed)])
        z = z - np.where(shut, np.float32(-np.inf), z).max(1, keepdims=True)
        p = np.where(shut, np.float32(0), nm.exp(z))
        total = in_order(p)
        label = e.array("label").reshape(-1)
        rows = np.arange(len(label))
        g = p / total[:, None]
        p[rows, label] = 0
        g[rows, label] = -(in_order(p) / total)
        return g, nm.log(total) - z[rows, label]

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields = {**self.fields(t), "known": self.known(t), "closed": Table("closed", "int32_t", np.array(self.closed, np.int32))}
        arguments = (*pointers(n, *self.operands), *(Argument(o) for o in n.outputs))
        return KernelCall("kt_open_cross_entropy", "kt_open_cross_entropy_params", fields, arguments, source="loss/open_cross_entropy.c")


@register
@dataclass(frozen=True)
class SoftCrossEntropy(LossOperator):
    """loss = -w sum_i q_i log softmax(y)_i; q = (1 - smoothing) target + smoothing / classes; target float32 [classes], a distribution.

    w = sum_i weights[i] target[i]; weights: a factor for each class, empty for 1. Both terms count the target's own sum in place of 1, so that
    the gradient is the loss's for targets that sum to nearly 1, too: it sums to 0, and at the likeliest class it is minus the sum of the others,
    which loses no digits where p is near the target.
    """

    mnemonic: ClassVar[str] = "soft_cross_entropy"
    operands: ClassVar[tuple[str, ...]] = ("y", "target")
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    smoothing: float = 0.0
    weights: tuple[float, ...] = ()

    def real(self, e: Environment) -> tuple[nm.Floats, nm.Floats]:
        z = self.dequantized(e)
        z = z - z.max(1, keepdims=True)
        p = nm.exp(z)
        total = in_order(p)
        target = e.array("target").astype(np.float32).reshape(z.shape)
        mass = in_order(target)
        smoothing, share = np.float32(self.smoothing), np.float32(self.smoothing) / np.float32(z.shape[1])
        q = (np.float32(1) - smoothing) * target + (share * mass)[:, None]
        weight = in_order(np.array(self.weights, np.float32) * target) if self.weights else np.ones(len(z), np.float32)
        loss = weight * (mass * nm.log(total) - in_order(q * z))
        g = mass[:, None] * (p / total[:, None]) - q
        rows, likeliest = np.arange(len(z)), target.argmax(1)
        g[rows, likeliest] = 0
        g[rows, likeliest] = -in_order(g)
        return weight[:, None] * g, loss

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields = {**self.fields(t), "smoothing": self.smoothing, "weights": _table("class_weights", self.weights)}
        struct, source = "kt_cross_entropy_params", "loss/soft_cross_entropy.c"
        return KernelCall("kt_soft_cross_entropy", struct, fields, self.arguments(n, "target"), source=source)


@register
@dataclass(frozen=True)
class BinaryCrossEntropy(LossOperator):
    """loss = mean over the elements of -w t log s(y) - (1 - t) log(1 - s(y)), s the logistic function; target float32 in [0, 1].

    t = (1 - smoothing) target + smoothing / 2. positive_weights: a factor w for each element, on the part that is there, empty for 1. Computed
    as max(y, 0) - y t + log(1 + exp(-|y|)); the gradient is (s(y) - t) / size. A weight adds (w - 1) t (max(-y, 0) + log(1 + exp(-|y|))) to the
    loss and takes (w - 1) t s(-y) / size from the gradient.
    """

    mnemonic: ClassVar[str] = "binary_cross_entropy"
    operands: ClassVar[tuple[str, ...]] = ("y", "target")
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    smoothing: float = 0.0
    positive_weights: tuple[float, ...] = ()

    def real(self, e: Environment) -> tuple[nm.Floats, nm.Floats]:
        y, zero, one = self.dequantized(e), np.float32(0), np.float32(1)
        smoothing = np.float32(self.smoothing)
        target = (one - smoothing) * e.array("target").astype(np.float32).reshape(y.shape) + smoothing * np.float32(0.5)
        count = np.float32(y.shape[1])
        small = nm.exp(-np.abs(y))
        log = nm.log(one + small)
        part = np.maximum(y, zero) - y * target + log
        g = np.where(y >= 0, one, small) / (one + small) - target
        if self.positive_weights:
            more = (np.array(self.positive_weights, np.float32) - one) * target
            part = part + more * (np.maximum(-y, zero) + log)
            g = g - more * (np.where(y >= 0, small, one) / (one + small))
        return g * (one / count), in_order(part) / count

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields = {**self.fields(t), "smoothing": self.smoothing, "weights": _table("positive_weights", self.positive_weights)}
        struct, source = "kt_binary_cross_entropy_params", "loss/binary_cross_entropy.c"
        return KernelCall("kt_binary_cross_entropy", struct, fields, self.arguments(n, "target"), source=source)


@register
@dataclass(frozen=True)
class Huber(LossOperator):
    """loss = mean over the elements of d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d = y - target; target: float32 in real units.

    Computed as c (d - c / 2), c = d clamped to [-delta, delta]; the gradient is c / size.
    Source: Huber, "Robust Estimation of a Location Parameter" (1964).
    """

    mnemonic: ClassVar[str] = "huber"
    operands: ClassVar[tuple[str, ...]] = ("y", "target")

    delta: float = 1.0

    def real(self, e: Environment) -> tuple[nm.Floats, nm.Floats]:
        y, delta = self.dequantized(e), np.float32(self.delta)
        difference = y - e.array("target").astype(np.float32).reshape(y.shape)
        clamped = np.minimum(np.maximum(difference, -delta), delta)
        count = np.float32(y.shape[1])
        return clamped * (np.float32(1) / count), in_order(clamped * (difference - np.float32(0.5) * clamped)) / count

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields = {**self.fields(t), "delta": self.delta}
        return KernelCall("kt_huber", "kt_huber_params", fields, self.arguments(n, "target"), source="loss/huber.c")


@dataclass(frozen=True)
class SquaredError(LossOperator):
    """loss = mean (y - target)^2 over the elements."""

    def target(self, e: Environment) -> nm.Floats:
        """float32 [N, elements] in real units."""
        raise NotImplementedError

    def real(self, e: Environment) -> tuple[nm.Floats, nm.Floats]:
        y = self.dequantized(e)
        difference = y - self.target(e).reshape(y.shape)
        count = np.float32(y.shape[1])
        return difference * (np.float32(2) / count), in_order(difference * difference) / count


@register
@dataclass(frozen=True)
class MeanSquaredError(SquaredError):
    """loss = mean over the elements of (y - target)^2; target: float32 in the result's real units."""

    mnemonic: ClassVar[str] = "mean_squared_error"
    operands: ClassVar[tuple[str, ...]] = ("y", "target")

    def target(self, e: Environment) -> nm.Floats:
        return e.array("target").astype(np.float32)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        source = "loss/mean_squared_error.c"
        return KernelCall("kt_mean_squared_error", "kt_loss_params", self.fields(t), self.arguments(n, "target"), source=source)


@register
@dataclass(frozen=True)
class ReconstructionError(SquaredError):
    """loss = mean of (y - x)^2: the target is the model's int8 input x, dequantised where it is read, so an autoencoder needs no target."""

    mnemonic: ClassVar[str] = "reconstruction_error"
    operands: ClassVar[tuple[str, ...]] = ("y", "x")

    def check(self, t: NodeTypes) -> str | None:
        if t.type("x").size != t.type("y").size:
            return f"the result has {t.type('y').size} values, the input {t.type('x').size}"
        return super().check(t) or (f"an input with scale {t.type('x').scale:g}" if 255 * t.type("x").scale > LARGEST_VALUE else None)

    def target(self, e: Environment) -> nm.Floats:
        return self.dequantized(e, "x")

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        x = t.type("x")
        fields = {**self.fields(t), "target_zero_point": x.zero_point, "target_scale": x.scale}
        struct, source = "kt_reconstruction_params", "loss/reconstruction_error.c"
        return KernelCall("kt_reconstruction_error", struct, fields, self.arguments(n, "x"), source=source)


OFFSET = 40503
"""2^16 by the golden ratio: parts of 2^16 by which offsets of rows differ, so that those of any rows in sequence are spread evenly."""


@register
@dataclass(frozen=True)
class NextToken(LossOperator):
    """loss = mean over i < rows - 1 of -log softmax(y[i])[x[i + 1]]: row i of y are the logits of the token behind token i of the input x.

    The last row has no target, and a gradient of 0. Of the target's gradient digits are kept as by `SoftmaxCrossEntropy`. The exponential of a
    difference of n codes is that of n * scale, rounded once.

    Most tokens have a probability far below half a unit of the gradient: rounded to nearest, nothing would ever make them less likely. So what
    rounding leaves over of a value is added to the next one of its row, and rows begin with an offset of their own, which are spread evenly:
    over the rows each token gets its share.
    """

    mnemonic: ClassVar[str] = "next_token"
    operands: ClassVar[tuple[str, ...]] = ("y", "x")

    def check(self, t: NodeTypes) -> str | None:
        y, x = t.type("y"), t.type("x")
        if x.size < 2 or y.size != x.size * y.shape[-1]:
            return f"logits {y.shape} of tokens {x.shape}"
        return super().check(t)

    def real(self, e: Environment) -> tuple[nm.Floats, nm.Floats]:
        count, rows, size = len(e.array("x")), e.type("x").size, e.type("y").shape[-1]
        one, scale = np.float32(1), np.float32(e.type("y").scale)
        codes = e.wide("y").reshape(count, rows, size)[:, :-1].reshape(-1, size)
        target = (e.wide("x").reshape(count, rows)[:, 1:] - e.type("x").zero_point).reshape(-1)
        top = codes.max(1, keepdims=True)
        p = nm.exp((codes - top).astype(np.float32) * scale)
        total, at = in_order(p), np.arange(len(codes))
        z = [(q - e.type("y").zero_point).astype(np.float32) * scale for q in (codes[at, target], top[:, 0])]
        share = one / np.float32(rows - 1)
        loss = in_order((nm.log(total) - (z[0] - z[1])).reshape(count, rows - 1)) * share
        p[at, target] = 0
        p[at, target] = -in_order(p)
        g = np.zeros((count, rows, size), np.float32)
        g[:, :-1] = (p / total[:, None] * share).reshape(count, rows - 1, size)
        return g.reshape(count, -1), loss

    def rounded(self, e: Environment, scaled: nm.Floats) -> nm.Ints:
        rows, size = e.type("x").size, e.type("y").shape[-1]
        values = scaled.reshape(-1, rows, size)
        codes = np.zeros(values.shape, np.int64)
        offsets = (np.arange(rows) * OFFSET % 2**16).astype(np.float32) * np.float32(2.0**-16) - np.float32(0.5)
        carry = np.broadcast_to(offsets, values.shape[:2])
        for i in range(size):
            value = carry + values[:, :, i]
            codes[:, :, i] = nm.round_half_up(value)
            carry = value - codes[:, :, i].astype(np.float32)
        codes[:, -1] = 0
        return codes.reshape(scaled.shape)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        y, x = t.type("y"), t.type("x")
        fields: dict[str, Field] = {
            "size": y.shape[-1], "rows": x.size, "zero_point": y.zero_point, "scale": y.scale, "token_offset": -x.zero_point
        }  # fmt: skip
        arguments = (*self.arguments(n, "x"), Scratch())
        return KernelCall("kt_next_token_cross_entropy", "kt_next_token_params", fields, arguments, scratch=1024, source="loss/next_token.c")


MEMORY_LEAST = 2.0**-24
"""A mean probability below this counts as this, so that its logarithm is finite."""


@register
@dataclass(frozen=True)
class InformationMaximisation(LossOperator):
    """loss = sum_i p_i (diversity (log m_i - log prior_i) - log p_i), p = softmax(y), m the running mean of the predictions: no target.

    With diversity 1 the mean over samples is minus the mutual information of inputs and answers: each prediction shall be sure, all of them together
    spread over the classes as the prior says (evenly where it is empty). `deviation` float32 [classes] is state, m - 1 / classes, which starts at 0;
    each sample first moves m by `rate` of the way to its p: deviation += rate ((p - 1 / classes) - deviation). m is no part of the gradient:
    g_i = p_i (loss - (diversity (log m_i - log prior_i) - log p_i)), the gradient of a mean over samples whose own mean prediction is m.
    Sources: Krause, Perona and Gomes, "Discriminative Clustering by Regularized Information Maximization" (2010); Liang, Hu and Feng, "Do We Really
    Need to Access the Source Data? Source Hypothesis Transfer for Unsupervised Domain Adaptation" (2020).
    """

    mnemonic: ClassVar[str] = "information_maximisation"
    operands: ClassVar[tuple[str, ...]] = ("y", "deviation")

    diversity: float = 1.0
    rate: float = 1 / 64
    prior: tuple[float, ...] = ()

    def check(self, t: NodeTypes) -> str | None:
        if t.type("deviation").shape != (t.type("y").size,):
            return f"a mean of {t.type('deviation').size} predictions for {t.type('y').size} classes"
        return super().check(t)

    def parts(self, e: Environment) -> tuple[nm.Floats, nm.Floats, nm.Floats]:
        """p and log p of each sample [N, classes], and what the deviation becomes by it."""
        z = self.dequantized(e)
        z = z - z.max(1, keepdims=True)
        p = nm.exp(z)
        total = in_order(p)
        p = p / total[:, None]
        old, even = e.array("deviation").astype(np.float32), np.float32(1) / np.float32(z.shape[1])
        return p, z - nm.log(total)[:, None], old + np.float32(self.rate) * ((p - even) - old)

    def real(self, e: Environment) -> tuple[nm.Floats, nm.Floats]:
        p, log_p, deviation = self.parts(e)
        mean = np.maximum(deviation + np.float32(1) / np.float32(p.shape[1]), np.float32(MEMORY_LEAST))
        crowding = nm.log(mean)
        if self.prior:
            crowding = crowding - self._log_prior()
        surplus = np.float32(self.diversity) * crowding - log_p
        loss = in_order(p * surplus)
        return p * (surplus - loss[:, None]), loss

    def _log_prior(self) -> nm.Floats:
        return np.log(np.array(self.prior, np.float64)).astype(np.float32)

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        return {"deviation": self.parts(e)[2].reshape(e.array("deviation").shape)}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        log_prior = Table("log_prior", "float", self._log_prior()) if self.prior else "NULL"
        fields = {**self.fields(t), "diversity": self.diversity, "rate": self.rate, "log_prior": log_prior}
        struct, source = "kt_information_params", "loss/information_maximisation.c"
        return KernelCall("kt_information_maximisation", struct, fields, self.arguments(n, "deviation"), source=source)
