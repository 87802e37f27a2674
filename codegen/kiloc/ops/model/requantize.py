"""QUANTIZE, RELU and RELU6: another scale, zero point or element type, with a clamp.

y = clamp(requantize(x - z_x, s_x / s_y) + z_y). Between int8 and uint8 with one scale and zero points 128 apart that is the code with its
highest bit turned. Source: TensorFlow Lite 8-bit quantisation specification.

RELU6 between two scales is two operators: LiteRT rescales, TensorFlow Lite Micro clamps the codes in the input's scale and ignores the
result's ("relu6_unscaled"). The rounding profile says which of them a build has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ... import numerics as nm
from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, NoGradient, Op, register
from ...ir.types import RANGES
from .._activation import clamp_range, far_apart
from ..backward.gradient_mask import masked

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node


UNSCALED = "relu6_unscaled"
KERNELS = {
    ("int8", "int8"): "kt_requantize_s8",
    ("uint8", "int8"): "kt_requantize_u8_s8",
    ("int8", "uint8"): "kt_requantize_s8_u8",
    ("int16", "int8"): "kt_requantize_s16_s8",
    ("int8", "int16"): "kt_requantize_s8_s16",
    ("int16", "int16"): "kt_requantize_s16",
    ("int8", "int32"): "kt_requantize_s8_s32",
    ("int16", "int32"): "kt_requantize_s16_s32",
}
"""Element types of operand and result -> the C function: what TensorFlow Lite Micro's QUANTIZE has, from integers."""


@register
@dataclass(frozen=True)
class Requantize(Op):
    mnemonic: ClassVar[str] = "requantize"
    in_place: ClassVar[str | None] = "x"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"QUANTIZE": 2, "RELU": 2, "RELU6": 2, "RELU_N1_TO_1": 1}, "QuantizeOptions")
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding()
    oracle: ClassVar[str] = "tflite-micro, LiteRT BUILTIN_REF"

    element_types: ClassVar[tuple[str, ...]] = tuple(RANGES)

    activation: str = "none"

    @property
    def unscaled(self) -> bool:
        """Whether codes are only clamped, so that the result's scale and zero point mean nothing here."""
        return self.activation == UNSCALED

    def check(self, t: NodeTypes) -> str | None:
        types = t.type("x").dtype, t.result().dtype
        if t.type("x").size != t.result().size:
            return f"result is {t.result().shape}, expected {t.type('x').shape}"
        if types not in KERNELS or (self.activation != "none" and types != ("int8", "int8")):
            return f"there is no {'QUANTIZE' if self.activation == 'none' else self.activation.upper()} from {types[0]} to {types[1]}"
        return far_apart(self.multiplier(t)[1])

    def multiplier(self, t: NodeTypes) -> tuple[int, int]:
        if self.unscaled:
            return nm.quantize_multiplier(1.0)
        return nm.quantize_multiplier(float(np.float64(t.type("x").scale) / np.float64(t.result().scale)))

    def turns_sign(self, t: NodeTypes) -> bool:
        """Whether x and y are the same numbers counted from -128 and from 0."""
        x, y = t.type("x"), t.result()
        apart = {("int8", "uint8"): 128, ("uint8", "int8"): -128}.get((x.dtype, y.dtype))
        return x.scale == y.scale and y.zero_point - x.zero_point == apart

    def range_of(self, t: NodeTypes) -> tuple[int, int]:
        """Least and greatest result."""
        y = t.result()
        if self.unscaled:
            return clamp_range("relu6", t.type("x"))
        return clamp_range(self.activation, y) if y.dtype == "int8" else RANGES[y.dtype]

    def offset(self, t: NodeTypes) -> int:
        """What is added last."""
        return t.type("x").zero_point if self.unscaled else t.result().zero_point

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        multiplier, shift = self.multiplier(e)
        scaled = nm.requantize(e.wide("x") - e.type("x").zero_point, multiplier, shift)
        y = np.clip(scaled + self.offset(e), *self.range_of(e))
        return (y.astype(e.result().dtype).reshape(-1, *e.result().shape[1:]),)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        if self.unscaled:
            raise NoGradient("TensorFlow Lite Micro ignores the scale of its result, so that real values jump; export it with one scale")
        t = b.types(node)
        if "int32" in (t.type("x").dtype, t.result().dtype):
            raise NoGradient("its activations are int32, and gradients are int8")
        if t.result().dtype == "int16" and self._fits(t):
            return {"x": dy}
        return {"x": masked(b, node, dy, *self.range_of(t))}

    def _fits(self, t: NodeTypes) -> bool:
        """Whether no code of x reaches beyond the ends of the result."""
        x, (low, high) = t.type("x"), self.range_of(t)
        ends = nm.requantize(np.array(RANGES[x.dtype], np.int64) - x.zero_point, *self.multiplier(t)) + self.offset(t)
        return bool(low <= ends[0] and ends[1] <= high)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
        if self.turns_sign(t):
            source = "kernels/elementwise/turn_sign.c"
            return KernelCall("kt_turn_sign", "kt_turn_sign_params", {"size": t.result().size}, arguments, source=source)
        multiplier, shift = self.multiplier(t)
        fields: dict[str, Field] = {
            "size": t.result().size,
            "input_offset": -t.type("x").zero_point,
            "output_offset": self.offset(t),
            "multiplier": multiplier,
            "shift": shift,
            "clamp": self.range_of(t),
        }
        function = KERNELS[t.type("x").dtype, t.result().dtype]
        source = "requantize.c" if function == "kt_requantize_s8" else "requantize_types.c"
        return KernelCall(function, "kt_requantize_params", fields, arguments, source=f"kernels/elementwise/{source}")

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        x, activation = op.input(0), "none" if op.kind == "QUANTIZE" else op.kind.lower()
        if op.kind == "RELU6" and x is not None and r.activation_type(x).quantization != r.activation_type(op.outputs[0]).quantization:
            activation = UNSCALED
            r.b.notes.append(f"{op.where} has two scales: TensorFlow Lite Micro ignores that of its result; profile litert regards it")
        r.emit(op, cls(activation), label=op.kind.lower())

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        w.require_shape(node)
        activation = "relu6" if self.unscaled else self.activation
        kind, table = ("QUANTIZE", None) if activation == "none" else (activation.upper(), "")
        w.emit(node, kind, (w.operand(node),), table=table)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        if self.unscaled:
            what = "RELU6 with two scales, of which TensorFlow Lite Micro ignores one, is nothing that ONNX has"
            raise CompileError(node.origin or node.name, what, "write a .tflite file")
        x = w.operand(node)
        w.result(node, w.real(node, x, x), w.order[x], self.activation)
