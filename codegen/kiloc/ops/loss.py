"""Losses: from the dequantised int8 result to an int8 gradient with a power of two of its own.

The exponent is found for each sample (O(classes)): it carries the thousandfold change between right and wrong samples,
so that all other gradients keep constant shifts. All arithmetic is strict float32 in the order of the C loop.
A loss that is not finite is reported and nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import numerics as nm
from ..ir.types import TensorType, gradient, scalar
from ._gradient import Real
from .kernel import Argument, KernelCall
from .registry import Array, Environment, Names, NodeTypes, Op, register

SMALLEST = 2.0**-20
"""Gradients below this share one exponent: rounding them to zero is right."""


@dataclass(frozen=True)
class Loss(Op):
    """Results: gradient int8, exponent int32, loss float32."""

    role: ClassVar[str] = "backward"

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        y = t.type("y")
        return gradient(y.shape, 1.0), scalar("int32"), scalar("float32")

    def real(self, e: Environment) -> tuple[nm.Floats, nm.Floats]:
        """(gradient [N, classes], loss [N]) in float32."""
        raise NotImplementedError

    def dequantized(self, e: Environment) -> nm.Floats:
        y = e.wide("y").reshape(e.array("y").shape[0], -1) - e.type("y").zero_point
        return np.asarray(y.astype(np.float32) * np.float32(e.type("y").scale))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        g, loss = self.real(e)
        largest = np.maximum(np.abs(g).max(1), np.float32(SMALLEST))
        exponent = nm.exponent_for(largest, 127.0)
        scaled = nm.round_half_up(g * nm.power_of_two(-exponent)[:, None])
        return nm.saturate8(scaled).astype(np.int8).reshape(e.array("y").shape), exponent.astype(np.int32), loss

    def evaluate_real(self, e: Environment) -> tuple[Real, Any, Any]:
        g, loss = self.real(e)
        return g.astype(np.float64).reshape(e.array("y").shape), np.zeros(len(loss), np.int32), loss

    def _call(self, t: NodeTypes, n: Names, symbol: str, target: str) -> KernelCall:
        fields = {"size": t.type("y").size, "zero_point": t.type("y").zero_point, "scale": t.type("y").scale}
        arguments = (Argument(n.inputs["y"]), Argument(n.inputs[target]), *(Argument(o) for o in n.outputs))
        return KernelCall(symbol, "kt_loss_params", fields, arguments, source=f"loss/{symbol[3:]}.c")


@register
@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """loss = -log softmax(y)[label]; label int32 in [0, classes).

    The gradient of the label is minus the sum of the others, not p - 1: it loses no digits where p is near 1.
    """

    mnemonic: ClassVar[str] = "softmax_cross_entropy"
    operands: ClassVar[tuple[str, ...]] = ("y", "label")

    def real(self, e: Environment) -> tuple[nm.Floats, nm.Floats]:
        z = self.dequantized(e)
        z = z - z.max(1, keepdims=True)
        p = nm.exp(z)
        total = np.add.accumulate(p, axis=1, dtype=np.float32)[:, -1]
        label = e.array("label").reshape(-1)
        rows = np.arange(len(label))
        loss = nm.log(total) - z[rows, label]
        g = p / total[:, None]
        p[rows, label] = 0
        g[rows, label] = -np.add.accumulate(p, axis=1, dtype=np.float32)[:, -1] / total
        return g, loss

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        return self._call(t, n, "kt_softmax_cross_entropy", "label")


@register
@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """loss = mean (y - target)^2 over the elements; target float32 in the result's real units."""

    mnemonic: ClassVar[str] = "mean_squared_error"
    operands: ClassVar[tuple[str, ...]] = ("y", "target")

    def real(self, e: Environment) -> tuple[nm.Floats, nm.Floats]:
        y = self.dequantized(e)
        difference = y - e.array("target").astype(np.float32).reshape(y.shape)
        squares = np.add.accumulate(difference * difference, axis=1, dtype=np.float32)[:, -1]
        count = np.float32(y.shape[1])
        return difference * (np.float32(2) / count), squares / count

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        return self._call(t, n, "kt_mean_squared_error", "target")
