"""LOG_SOFTMAX over the last axis, int8 to int8, in gemmlowp fixed point.

Source: TensorFlow Lite Micro; the sum of exponentials is that of SOFTMAX, the result has scale 1/16 and zero point 127.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import Quantization
from .._fixed_point import exp_negative, logarithm
from ..backward._gradient import Real, RequantizedGradient, batch
from .softmax import DIFFERENCE_BITS, SUM_BITS, Softmax

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...frontend.onnx_file import Operator as OnnxOperator
    from ...frontend.onnx_reader import OnnxReader
    from ...frontend.qdq import AnyValue
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node

OUTPUT_BITS = 4
RESULT = Quantization((1 / 16,), 127)


@register
@dataclass(frozen=True)
class LogSoftmax(Op):
    mnemonic: ClassVar[str] = "log_softmax"
    in_place: ClassVar[str | None] = "x"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"LOG_SOFTMAX": 2}, "LogSoftmaxOptions")
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("LogSoftmax",))
    oracle: ClassVar[str] = "tflite-micro"

    def check(self, t: NodeTypes) -> str | None:
        if t.type("x").size != t.result().size:
            return f"result is {t.result().shape}, expected {t.type('x').shape}"
        if t.result().quantization != RESULT:
            return "the result of a log-softmax must have scale 1/16 and zero point 127"
        if t.type("x").shape[-1] >= 4096:
            return f"rows of {t.type('x').shape[-1]}; sums over 4096 and more leave int32"
        multiplier, shift, _ = self.scaling(t)
        return f"scale {t.type('x').scale} leaves nothing of the differences" if shift < 0 or multiplier == 0 else None

    def scaling(self, t: NodeTypes) -> tuple[int, int, int]:
        """(multiplier, left shift, smallest difference that counts), as of SOFTMAX."""
        return Softmax(1.0).scaling(t)

    def reverse(self, t: NodeTypes) -> tuple[int, int]:
        """(multiplier, shift) from fixed point to steps of x."""
        multiplier, shift, _ = self.scaling(t)
        return nm.quantize_multiplier(float(2.0 ** (31 - shift) / multiplier))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        multiplier, shift, smallest = self.scaling(e)
        x = e.wide("x").reshape(e.array("x").shape[0], -1, e.type("x").shape[-1])
        difference = x - x.max(2, keepdims=True)
        counts = difference >= smallest
        scaled = nm.high_multiply(nm.saturate32(np.where(counts, difference, 0) << shift), multiplier)
        total = np.where(counts, nm.divide_by_power(exp_negative(scaled, DIFFERENCE_BITS), SUM_BITS), 0).sum(2, keepdims=True)
        log_sum = logarithm(total, SUM_BITS, DIFFERENCE_BITS)
        least = np.maximum(smallest - 1, nm.requantize(log_sum + nm.INT32_MIN, *self.reverse(e)))
        y = nm.divide_by_power(scaled - log_sum, 31 - DIFFERENCE_BITS - OUTPUT_BITS) + 127
        return (np.where(difference > least, np.clip(y, -128, 127), -128).astype(np.int8).reshape(-1, *e.result().shape[1:]),)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        op = LogSoftmaxGradient(b.types(node).type("x").shape)
        return {"x": b.add(op, {"g": dy, "y": node.outputs[0]}, f"{node.name}.dx")[0]}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        multiplier, shift, smallest = self.scaling(t)
        depth = t.type("x").shape[-1]
        reverse = self.reverse(t)
        fields: dict[str, Field] = {
            "row": {"rows": t.type("x").size // depth, "depth": depth, "multiplier": multiplier, "shift": shift, "smallest": smallest},
            "reverse_multiplier": reverse[0],
            "reverse_shift": reverse[1],
        }
        arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return KernelCall("kt_log_softmax_s8", "kt_log_softmax_params", fields, arguments, source="kernels/elementwise/log_softmax.c")

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        r.emit(op, cls())

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        w.require_shape(node)
        w.emit(node, "LOG_SOFTMAX", (w.operand(node),))

    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> AnyValue:
        return r.rows(op, cls.mnemonic, cls(), RESULT)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        x = w.operand(node)
        w.result(node, w.emit("LogSoftmax", [w.real(node, x, w.last(x))], f"{node.name}/log_softmax", axis=-1), "last")


def probabilities() -> NDArray[np.float64]:
    """exp of the results -128 .. 127."""
    return np.asarray(np.exp((np.arange(-128, 128) - 127) / 16))


@register
@dataclass(frozen=True)
class LogSoftmaxGradient(RequantizedGradient):
    """acc[i] = 2^10 g[i] - p[i] sum_j g[j], p = exp(y) in 1/2^10; |acc| < 2^30."""

    mnemonic: ClassVar[str] = "log_softmax_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "y")
    in_place: ClassVar[str | None] = "g"

    x_shape: tuple[int, ...] = ()

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        return self.x_shape

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale / 1024

    def table(self) -> NDArray[np.int64]:
        return np.floor(1024 * probabilities() + 0.5).astype(np.int64)

    def accumulator(self, e: Environment) -> NDArray[np.int64]:
        depth = self.x_shape[-1]
        g, p = batch(e, "g", -1, depth), self.table()[batch(e, "y", -1, depth) + 128]
        return np.asarray(1024 * g - p * g.sum(2, keepdims=True)).reshape(-1, *self.x_shape[1:])

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        depth = self.x_shape[-1]
        g, p = batch(e, "g", -1, depth), probabilities()[batch(e, "y", -1, depth) + 128]
        return (np.asarray(g - p * g.sum(2, keepdims=True)).reshape(-1, *self.x_shape[1:]),)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        depth = self.x_shape[-1]
        table = Table("probabilities", "int16_t", self.table().astype(np.int16))
        fields: dict[str, Field] = {"rows": t.type("g").size // depth, "depth": depth, "probabilities": table, "shift": self.shift}
        arguments = (Argument(n.inputs["g"]), Argument(n.inputs["y"]), Argument(n.outputs[0]))
        return KernelCall(
            "kt_log_softmax_gradient_s8", "kt_log_softmax_gradient_params", fields, arguments,
            source="kernels/elementwise/log_softmax_gradient.c",
        )  # fmt: skip
