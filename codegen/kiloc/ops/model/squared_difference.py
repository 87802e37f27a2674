"""SQUARED_DIFFERENCE of two int8 tensors: both are brought to a common scale with 7 extra bits, and the square is requantised once.

Source: TensorFlow Lite Micro; every requantisation rounds twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Field
from ...ir.operator import Array, NodeTypes, register
from ..backward.elementwise_gradient import DifferenceGradient
from ._elementwise import Elementwise

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.onnx import OnnxWriter
    from ...ir.graph import Node

LEFT_SHIFT = 7


@register
@dataclass(frozen=True)
class SquaredDifference(Elementwise):
    mnemonic: ClassVar[str] = "squared_difference"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"SQUARED_DIFFERENCE": 2}, "SquaredDifferenceOptions")
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(also=("Sub", "Mul", "Pow"))

    def multipliers(self, t: NodeTypes) -> tuple[tuple[int, int], ...]:
        """(multiplier, shift) of x, of other and of the square."""
        x, other = np.float64(t.type("x").scale), np.float64(t.type("other").scale)
        common = 2 * max(x, other)
        with np.errstate(over="ignore"):
            denominator = np.float32(1 << 2 * LEFT_SHIFT) * np.float32(t.result().scale)
        return tuple(nm.quantize_multiplier(float(r)) for r in (x / common, other / common, common * common / np.float64(denominator)))

    def check(self, t: NodeTypes) -> str | None:
        if self.multipliers(t)[2][1] > 0:
            return "a difference of less than a step of the operands saturates the result, where TensorFlow Lite Micro leaves int32"
        return super().check(t)

    def shifts(self, t: NodeTypes) -> tuple[int, ...]:
        return tuple(shift for _, shift in self.multipliers(t))

    def compute(self, t: NodeTypes, x: Array, other: Array) -> Array:
        first, second, last = self.multipliers(t)
        difference = nm.requantize(x << LEFT_SHIFT, *first) - nm.requantize(other << LEFT_SHIFT, *second)
        return nm.requantize(difference * difference, *last) + t.result().zero_point

    def fields(self, t: NodeTypes) -> dict[str, Field]:
        first, second, last = self.multipliers(t)
        return {
            "input_offset": (-t.type("x").zero_point, -t.type("other").zero_point),
            "output_offset": t.result().zero_point,
            "multiplier": (first[0], second[0], last[0]),
            "shift": (first[1], second[1], last[1]),
        }

    def operand_gradient(self, b: GradientBuilder, node: Node, g: str, operand: str) -> str:
        """Twice the gradient of the result times how much larger this operand is."""
        own, other = node.inputs[operand], node.inputs["other" if operand == "x" else "x"]
        op = DifferenceGradient(b.types(node).type(operand).shape)
        return b.add(op, {"g": g, "own": own, "other": other}, f"{node.name}.d_{operand}")[0]

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        """Sub, and Mul of its result with itself."""
        reals = [w.real(node, node.inputs[o], w.operand_or_constant(node, o)) for o in self.operands]
        difference = w.emit("Sub", reals, f"{node.name}/difference")
        w.result(node, w.emit("Mul", [difference, difference], f"{node.name}/square"), "last")
