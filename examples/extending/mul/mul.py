"""MUL of two int8 tensors of one shape: an operator that lives outside of kilotune, in place of its own, with a kernel of its own.

    kilotune --plugin examples/extending/mul/mul.py build MODEL -o DIR

y = clamp(requantize((x - z_x) (other - z_other), s_x s_other / s_y) + z_y), rounded twice.
Source: TensorFlow Lite 8-bit quantisation specification, section "MUL"; rounding as TensorFlow Lite Micro.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kiloc import numerics as nm
from kiloc.ir.binding import OnnxBinding, TFLiteBinding
from kiloc.ir.kernel_call import Argument, Field, KernelCall, KernelPackage
from kiloc.ir.operator import Array, Environment, Names, NodeTypes, Op, register
from kiloc.ops import RequantizedGradient, batch, clamp_range, far_apart, masked

if TYPE_CHECKING:
    from kiloc.autodiff import GradientBuilder
    from kiloc.ir.graph import Node

PACKAGE = KernelPackage("extending", Path(__file__).parent)
"""mul.c and mul.h, which lie beside this file."""


@register
@dataclass(frozen=True)
class Mul(Op):
    mnemonic: ClassVar[str] = "mul"
    replaces: ClassVar[str] = "mul"
    operands: ClassVar[tuple[str, ...]] = ("x", "other")
    in_place: ClassVar[str | None] = "x"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"MUL": 2}, "MulOptions", ("FusedActivationFunction",))
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Mul",))

    activation: str = "none"

    def check(self, t: NodeTypes) -> str | None:
        if t.type("x").shape != t.type("other").shape or t.type("x").shape != t.result().shape:
            return f"multiplies {t.type('x').shape} and {t.type('other').shape}; only equal shapes are supported"
        return far_apart(self.multiplier(t)[1])

    def multiplier(self, t: NodeTypes) -> tuple[int, int]:
        product = np.float64(t.type("x").scale) * np.float64(t.type("other").scale)
        return nm.quantize_multiplier(float(product / np.float64(t.result().scale)))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        product = (e.wide("x") - e.type("x").zero_point) * (e.wide("other") - e.type("other").zero_point)
        y = nm.requantize(product, *self.multiplier(e)) + e.result().zero_point
        return (np.clip(y, *clamp_range(self.activation, e.result())).astype(np.int8),)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        """Of each operand the gradient of the result times the other operand, where the clamp did not hold the result."""
        g = masked(b, node, dy, *clamp_range(self.activation, b.types(node).result()))
        found = {}
        for operand, other in (("x", "other"), ("other", "x")):
            inputs = {"g": g, "other": node.inputs[other]}
            found[operand] = b.add(MulGradient(b.types(node).type(other).zero_point), inputs, f"{node.name}.d_{operand}")[0]
        return found

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        multiplier, shift = self.multiplier(t)
        fields: dict[str, Field] = {
            "size": t.result().size,
            "input_offset": (-t.type("x").zero_point, -t.type("other").zero_point),
            "output_offset": t.result().zero_point,
            "multiplier": multiplier,
            "shift": shift,
            "clamp": clamp_range(self.activation, t.result()),
        }
        arguments = (Argument(n.inputs["x"]), Argument(n.inputs["other"]), Argument(n.outputs[0]))
        return KernelCall("extending_mul_s8", "extending_mul_params", fields, arguments, source="mul.c", package=PACKAGE)


@register
@dataclass(frozen=True)
class MulGradient(RequantizedGradient):
    """acc = g (other - z_other), |acc| < 2^15."""

    mnemonic: ClassVar[str] = "mul_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "other")
    in_place: ClassVar[str | None] = "g"

    zero_point: int = 0

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        return t.type("g").shape

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale * t.type("other").scale

    def accumulator(self, e: Environment) -> Any:
        return batch(e, "g", *self.shape(e)[1:]) * (batch(e, "other", *self.shape(e)[1:]) - self.zero_point)

    def evaluate_real(self, e: Environment) -> tuple[Any]:
        """In real values: g is real already, the other operand is what the forward pass left, in int8."""
        return (self.accumulator(e) * e.type("other").scale,)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {"size": t.type("g").size, "input_offset": -self.zero_point, "shift": self.shift}
        arguments = (Argument(n.inputs["g"]), Argument(n.inputs["other"]), Argument(n.outputs[0]))
        return KernelCall("extending_mul_gradient_s8", "extending_mul_gradient_params", fields, arguments, source="mul.c", package=PACKAGE)
