"""MUL of two int8 tensors: y = clamp(requantize((x - z_x) (other - z_other), s_x s_other / s_y) + z_y), rounded twice.

Source: TensorFlow Lite 8-bit quantisation specification, section "MUL".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Field
from ...ir.operator import Array, NodeTypes, register
from ..backward.elementwise_gradient import ProductGradient
from ._elementwise import Elementwise

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node


@register
@dataclass(frozen=True)
class Mul(Elementwise):
    mnemonic: ClassVar[str] = "mul"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding(
        {"MUL": 2, "SQUARE": 1}, "MulOptions", ("FusedActivationFunction",), others={"SQUARE": ("SquareOptions", ())}
    )
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Mul",))

    activation: str = "none"

    def multiplier(self, t: NodeTypes) -> tuple[int, int]:
        product = np.float64(t.type("x").scale) * np.float64(t.type("other").scale)
        return nm.quantize_multiplier(float(product / np.float64(t.result().scale)))

    def shifts(self, t: NodeTypes) -> tuple[int, ...]:
        return (self.multiplier(t)[1],)

    def compute(self, t: NodeTypes, x: Array, other: Array) -> Array:
        return nm.requantize(x * other, *self.multiplier(t)) + t.result().zero_point

    def fields(self, t: NodeTypes) -> dict[str, Field]:
        multiplier, shift = self.multiplier(t)
        return {
            "input_offset": (-t.type("x").zero_point, -t.type("other").zero_point),
            "output_offset": t.result().zero_point,
            "multiplier": multiplier,
            "shift": shift,
            "clamp": self.clamp(t),
        }

    def operand_gradient(self, b: GradientBuilder, node: Node, g: str, operand: str) -> str:
        """The gradient of the result times the other operand."""
        t, other = b.types(node), "other" if operand == "x" else "x"
        factor = node.inputs[other]
        return b.add(ProductGradient(t.type(operand).shape), {"g": g, "factor": factor}, f"{node.name}.d_{operand}")[0]

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        """SQUARE is the product of a tensor with itself: no interpreter has a kernel for it in int8."""
        if op.kind != "SQUARE":
            super().read_tflite(r, op)
            return
        name = r.name(op, "square")
        x = r.operand(op, 0, f"{name}.x")
        r.b.notes.append("SQUARE is computed as MUL of its input with itself; TensorFlow Lite has no kernel for it in int8")
        r.emit(op, cls(), {"x": x, "other": x}, name=name)
