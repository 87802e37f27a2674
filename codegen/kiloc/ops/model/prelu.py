"""PRELU: x, or x times a slope where x is negative; slopes are an int8 tensor that stretches to x, mostly one a channel.

Source: TensorFlow Lite reference kernel; each side is requantised with a multiplier of its own, rounded twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Field
from ...ir.operator import Array, NodeTypes, NoGradient, register
from ..backward.elementwise_gradient import SlopeGradient
from ._elementwise import Elementwise

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...ir.graph import Node


@register
@dataclass(frozen=True)
class Prelu(Elementwise):
    """other: the slopes."""

    mnemonic: ClassVar[str] = "prelu"
    commutes: ClassVar[bool] = False
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"PRELU": 1})
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("PRelu",))

    def check(self, t: NodeTypes) -> str | None:
        return super().check(t) if t.type("x").shape == t.result().shape else f"stretches {t.type('x').shape} to {t.result().shape}"

    def multipliers(self, t: NodeTypes) -> tuple[tuple[int, int], tuple[int, int]]:
        """(multiplier, shift) of values from zero on, and of products with slopes."""
        x, slope, y = (np.float64(q.scale) for q in (t.type("x"), t.type("other"), t.result()))
        return nm.quantize_multiplier(float(x / y)), nm.quantize_multiplier(float(x * slope / y))

    def shifts(self, t: NodeTypes) -> tuple[int, ...]:
        return tuple(shift for _, shift in self.multipliers(t))

    def compute(self, t: NodeTypes, x: Array, other: Array) -> Array:
        same, sloped = self.multipliers(t)
        return np.where(x >= 0, nm.requantize(x, *same), nm.requantize(x * other, *sloped)) + t.result().zero_point

    def fields(self, t: NodeTypes) -> dict[str, Field]:
        same, sloped = self.multipliers(t)
        return {
            "input_offset": (-t.type("x").zero_point, -t.type("other").zero_point),
            "output_offset": t.result().zero_point,
            "multiplier": (same[0], sloped[0]),
            "shift": (same[1], sloped[1]),
        }

    def operand_gradient(self, b: GradientBuilder, node: Node, g: str, operand: str) -> str:
        if operand != "x":
            raise NoGradient("its slopes are computed by layers; only constant slopes can be trained through")
        inputs = {"g": g, "own": node.inputs["x"], "other": node.inputs["other"]}
        return b.add(SlopeGradient(b.types(node).type("x").shape), inputs, f"{node.name}.d_x")[0]
