"""QUANTIZE from int8 to int8, RELU and RELU6: another scale and zero point, with a clamp.

y = clamp(requantize(x - z_x, s_x / s_y) + z_y). Source: TensorFlow Lite 8-bit quantisation specification.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ... import numerics as nm
from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from .._activation import clamp_range, far_apart
from ..backward.gradient_mask import masked

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node


@register
@dataclass(frozen=True)
class Requantize(Op):
    mnemonic: ClassVar[str] = "requantize"
    in_place: ClassVar[str | None] = "x"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"QUANTIZE": 2, "RELU": 2, "RELU6": 2, "RELU_N1_TO_1": 1}, "QuantizeOptions")
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding()
    oracle: ClassVar[str] = "tflite-micro, LiteRT BUILTIN_REF"

    activation: str = "none"

    def check(self, t: NodeTypes) -> str | None:
        if t.type("x").size != t.result().size:
            return f"result is {t.result().shape}, expected {t.type('x').shape}"
        return far_apart(self.multiplier(t)[1])

    def multiplier(self, t: NodeTypes) -> tuple[int, int]:
        return nm.quantize_multiplier(float(np.float64(t.type("x").scale) / np.float64(t.result().scale)))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        multiplier, shift = self.multiplier(e)
        scaled = nm.requantize(e.wide("x") - e.type("x").zero_point, multiplier, shift)
        y = np.clip(scaled + e.result().zero_point, *clamp_range(self.activation, e.result()))
        return (y.astype(np.int8).reshape(-1, *e.result().shape[1:]),)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        return {"x": masked(b, node, dy, *clamp_range(self.activation, b.types(node).result()))}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        multiplier, shift = self.multiplier(t)
        fields: dict[str, Field] = {
            "size": t.result().size,
            "input_offset": -t.type("x").zero_point,
            "output_offset": t.result().zero_point,
            "multiplier": multiplier,
            "shift": shift,
            "clamp": clamp_range(self.activation, t.result()),
        }
        arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return KernelCall("kt_requantize_s8", "kt_requantize_params", fields, arguments, source="kernels/elementwise/requantize.c")

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        x = op.input(0)
        if op.kind == "RELU6" and x is not None and r.activation_type(x).quantization != r.activation_type(op.outputs[0]).quantization:
            # TensorFlow Lite Micro clamps in the input's scale and ignores the result's.
            what = "input and result have different scales, for which TensorFlow Lite Micro computes something else than LiteRT"
            raise CompileError(op.where, what, "fuse it into the layer before it, or export with one scale")
        r.emit(op, cls("none" if op.kind == "QUANTIZE" else op.kind.lower()), label=op.kind.lower())

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        w.require_shape(node)
        kind, table = ("QUANTIZE", None) if self.activation == "none" else (self.activation.upper(), "")
        w.emit(node, kind, (w.operand(node),), table=table)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        x = w.operand(node)
        w.result(node, w.real(node, x, x), w.order[x], self.activation)
