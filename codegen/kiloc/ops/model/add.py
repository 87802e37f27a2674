"""ADD of two int8 tensors of one shape.

Both are brought to a common scale with 20 extra bits, added, and requantised once.
Source: TensorFlow Lite 8-bit quantisation specification, section "ADD".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from .._activation import clamp_range, far_apart
from ..backward.gradient_mask import masked

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...ir.graph import Node

LEFT_SHIFT = 20


@register
@dataclass(frozen=True)
class Add(Op):
    mnemonic: ClassVar[str] = "add"
    operands: ClassVar[tuple[str, ...]] = ("x", "other")
    in_place: ClassVar[str | None] = "x"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"ADD": 2}, "AddOptions", ("FusedActivationFunction",))
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Add",))

    activation: str = "none"

    def check(self, t: NodeTypes) -> str | None:
        if t.type("x").shape != t.type("other").shape or t.type("x").shape != t.result().shape:
            return f"adds {t.type('x').shape} and {t.type('other').shape}; only equal shapes are supported"
        return far_apart(*(shift for _, shift in self.multipliers(t)))

    def multipliers(self, t: NodeTypes) -> tuple[tuple[int, int], ...]:
        """(multiplier, shift) of x, of other and of the sum."""
        x, other = np.float64(t.type("x").scale), np.float64(t.type("other").scale)
        common = 2 * max(x, other)
        total = common / ((1 << LEFT_SHIFT) * np.float64(t.result().scale))
        return tuple(nm.quantize_multiplier(float(r)) for r in (x / common, other / common, total))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        first, second, last = self.multipliers(e)
        x = nm.requantize((e.wide("x") - e.type("x").zero_point) << LEFT_SHIFT, *first)
        other = nm.requantize((e.wide("other") - e.type("other").zero_point) << LEFT_SHIFT, *second)
        y = nm.requantize(x + other, *last) + e.result().zero_point
        return (np.clip(y, *clamp_range(self.activation, e.result())).astype(np.int8),)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        g = masked(b, node, dy, *clamp_range(self.activation, b.types(node).result()))
        return {"x": g, "other": g}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        first, second, last = self.multipliers(t)
        fields: dict[str, Field] = {
            "size": t.result().size,
            "input_offset": (-t.type("x").zero_point, -t.type("other").zero_point),
            "output_offset": t.result().zero_point,
            "multiplier": (first[0], second[0], last[0]),
            "shift": (first[1], second[1], last[1]),
            "clamp": clamp_range(self.activation, t.result()),
        }
        arguments = (Argument(n.inputs["x"]), Argument(n.inputs["other"]), Argument(n.outputs[0]))
        return KernelCall("kt_add_s8", "kt_add_params", fields, arguments, source="kernels/elementwise/add.c")
