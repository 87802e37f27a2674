"""MEAN over neighbouring axes: sum, then one requantisation with 1/count folded into the multiplier.

The tensor is seen as [outer, count, inner]. Source: TensorFlow Lite reference kernel QuantizedMeanOrSum.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType, gradient
from .._activation import far_apart
from ..backward._gradient import Real
from ..backward.gradient_mask import masked

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...ir.graph import Node


@register
@dataclass(frozen=True)
class Mean(Op):
    """axes: increasing, without gaps, never the batch axis."""

    mnemonic: ClassVar[str] = "mean"

    axes: tuple[int, ...] = (1,)

    def check(self, t: NodeTypes) -> str | None:
        outer, _, inner = self.split(t.type("x").shape)
        if self.axes != tuple(range(self.axes[0], self.axes[-1] + 1)) or self.axes[0] < 1:
            return f"reduces axes {self.axes}; only neighbouring axes after the batch are supported"
        return far_apart(self.multiplier(t)[1]) if t.result().size == outer * inner else f"result is {t.result().shape}"

    def split(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        first, last = self.axes[0], self.axes[-1]
        return prod(shape[:first]), prod(shape[first : last + 1]), prod(shape[last + 1 :])

    def multiplier(self, t: NodeTypes) -> tuple[int, int]:
        count = self.split(t.type("x").shape)[1]
        multiplier, shift = nm.quantize_multiplier(float(np.float64(t.type("x").scale) / np.float64(t.result().scale)))
        extra = min(count.bit_length() - 1, 32, 31 + shift)
        return (multiplier << extra) // count, shift - extra

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        outer, count, inner = self.split(e.type("x").shape)
        total = e.wide("x").reshape(-1, outer, count, inner).sum(2) - count * e.type("x").zero_point
        y = nm.requantize(total, *self.multiplier(e)) + e.result().zero_point
        return (np.clip(y, -128, 127).astype(np.int8).reshape(-1, *e.result().shape[1:]),)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        shape = b.types(node).type("x").shape
        g = masked(b, node, dy, -128, 127)
        return {"x": b.add(MeanGradient(shape, self.split(shape)), {"g": g}, f"{node.name}.dx")[0]}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        multiplier, shift = self.multiplier(t)
        fields: dict[str, Field] = {
            "extent": self.split(t.type("x").shape),
            "input_offset": -t.type("x").zero_point,
            "output_offset": t.result().zero_point,
            "multiplier": multiplier,
            "shift": shift,
        }
        return KernelCall("kt_mean_s8", "kt_mean_params", fields, (Argument(n.inputs["x"]), Argument(n.outputs[0])), source="kernels/pool/mean.c")


@register
@dataclass(frozen=True)
class MeanGradient(Op):
    """Every element of the reduced axes takes g; the scale absorbs 1 / count, so nothing is rounded."""

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "mean_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g",)

    x_shape: tuple[int, ...] = ()
    extent: tuple[int, int, int] = (1, 1, 1)

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (gradient(self.x_shape, t.type("g").scale / self.extent[1]),)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        outer, count, inner = self.extent
        g = e.array("g").reshape(-1, outer, 1, inner)
        return (np.repeat(g, count, axis=2).reshape(-1, *self.x_shape[1:]),)

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        return (self.evaluate(e)[0] / self.extent[1],)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {"extent": self.extent, "input_offset": 0, "output_offset": 0, "multiplier": 0, "shift": 0}
        arguments = (Argument(n.inputs["g"]), Argument(n.outputs[0]))
        return KernelCall("kt_mean_gradient_s8", "kt_mean_params", fields, arguments, source="kernels/pool/mean_gradient.c")
