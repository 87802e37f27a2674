"""SOFTMAX over the last axis, int8 to int8 or int16, in gemmlowp fixed point.

Source: TensorFlow Lite reference kernel for quantised softmax (5 integer bits for the scaled difference, 12 for the sum).
A softmax at the end of a model is not trained through: the loss reads its input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Argument, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, NoGradient, Op, register
from ...ir.types import ELEMENT_BYTES, RANGES, Quantization
from .._fixed_point import exp_negative, one_over_one_plus
from ..backward._gradient import Real, RequantizedGradient, batch

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

DIFFERENCE_BITS = 5
SUM_BITS = 12


def _reciprocal(x: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """1 / x for x with SUM_BITS integer bits, as (mantissa with 0 integer bits, bits over unit)."""
    headroom = 32 - nm.bit_length(x)
    return one_over_one_plus((x << headroom) - (1 << 31)), SUM_BITS - headroom


def _bits(t: NodeTypes) -> int:
    """Of the result: probabilities are in 1/2^bits."""
    return 8 * ELEMENT_BYTES[t.result().dtype]


@register
@dataclass(frozen=True)
class Softmax(Op):
    mnemonic: ClassVar[str] = "softmax"
    element_types: ClassVar[tuple[str, ...]] = ("int8", "int16")
    in_place: ClassVar[str | None] = "x"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"SOFTMAX": 2}, "SoftmaxOptions", ("Beta",))
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Softmax",))
    oracle: ClassVar[str] = "tflite-micro"

    beta: float = 1.0

    def check(self, t: NodeTypes) -> str | None:
        if t.type("x").size != t.result().size:
            return f"result is {t.result().shape}, expected {t.type('x').shape}"
        if t.type("x").dtype != "int8":
            return f"there is no SOFTMAX of {t.type('x').dtype}"
        bits = _bits(t)
        if t.result().zero_point != -(1 << (bits - 1)) or abs(t.result().scale * (1 << bits) - 1) > 256e-6:
            return f"the result of a softmax must have scale 1/{1 << bits} and zero point {-(1 << (bits - 1))}"
        if t.type("x").shape[-1] >= 4096:
            return f"rows of {t.type('x').shape[-1]}; sums over 4096 and more leave int32"
        if not 0 < self.beta < np.inf or self.scaling(t)[1] < 0:
            return f"beta {self.beta} and scale {t.type('x').scale} leave nothing of the differences"
        return None

    def scaling(self, t: NodeTypes) -> tuple[int, int, int]:
        """(multiplier, left shift, smallest difference that counts)."""
        real = min(self.beta * np.float64(t.type("x").scale) * (1 << (31 - DIFFERENCE_BITS)), 2.0**31 - 1)
        multiplier, shift = nm.quantize_multiplier(float(real))
        radius = ((1 << DIFFERENCE_BITS) - 1) * (1 << (31 - DIFFERENCE_BITS)) / 2.0**shift
        return multiplier, shift, -int(np.floor(radius))

    def probabilities(self, t: NodeTypes, x: NDArray[np.int64], seen: NDArray[np.bool_] | bool = True) -> NDArray[np.int64]:
        """Of rows of codes [..., n], in 1/2^bits of the result. seen: which elements of a row there are; of the others it is 0."""
        multiplier, shift, smallest = self.scaling(t)
        difference = x - np.where(seen, x, -128).max(-1, keepdims=True)
        counts = (difference >= smallest) & seen
        scaled = nm.high_multiply(nm.saturate32(np.where(counts, difference, 0) << shift), multiplier)
        p = exp_negative(scaled, DIFFERENCE_BITS)
        total = np.where(counts, nm.divide_by_power(p, SUM_BITS), 0).sum(-1, keepdims=True)
        scale, over = _reciprocal(total)
        bits = _bits(t)
        y = nm.divide_by_power(nm.high_multiply(scale, p), over + 31 - bits)
        return np.where(counts, np.clip(y, 0, (1 << bits) - 1), 0)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        x = e.wide("x").reshape(e.array("x").shape[0], -1, e.type("x").shape[-1])
        y = self.probabilities(e, x) + RANGES[e.result().dtype][0]
        return (y.astype(e.result().dtype).reshape(-1, *e.result().shape[1:]),)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        if b.types(node).result().dtype != "int8":
            raise NoGradient("its result is int16; only an int8 one is read by gradients")
        shape = b.types(node).type("x").shape
        op = SoftmaxGradient(shape, self.beta)
        return {"x": b.add(op, {"g": dy, "y": node.outputs[0]}, f"{node.name}.dx")[0]}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        multiplier, shift, smallest = self.scaling(t)
        depth = t.type("x").shape[-1]
        fields = {"rows": t.type("x").size // depth, "depth": depth, "multiplier": multiplier, "shift": shift, "smallest": smallest}
        function, source = ("kt_softmax_s8", "softmax.c") if t.result().dtype == "int8" else ("kt_softmax_s8_s16", "softmax_s16.c")
        arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return KernelCall(function, "kt_softmax_params", fields, arguments, source=f"kernels/elementwise/{source}")

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        r.emit(op, cls(float(r.options(op)["Beta"])))

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        w.require_shape(node)
        w.emit(node, "SOFTMAX", (w.operand(node),), Beta=self.beta)

    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> AnyValue:
        return r.rows(op, "softmax", cls(1.0), Quantization((1 / 256,), -128))

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        if self.beta != 1:
            raise CompileError(node.origin or node.name, f"SOFTMAX with beta {self.beta}", "ONNX knows 1 only: write a .tflite file")
        x = w.operand(node)
        w.result(node, w.emit("Softmax", [w.real(node, x, w.last(x))], f"{node.name}/softmax", axis=-1), "last")


def softmax_gradient_sums(g: NDArray[np.int64], p: NDArray[np.int64]) -> NDArray[np.int64]:
    """p[i] (256 g[i] - m) of rows [..., n], p in 1/256; |sum| < 2^24.

    m = 256 sum p g / sum p, to nearest, half up: the codes of a row do not add to 256 where many of them are small.
    """
    total = np.maximum(p.sum(-1, keepdims=True), 1)
    mean = (512 * (p * g).sum(-1, keepdims=True) + total) // (2 * total)
    return np.asarray(p * (256 * g - mean))


@register
@dataclass(frozen=True)
class SoftmaxGradient(RequantizedGradient):
    """p[i] (256 g[i] - 256 sum_j p[j] g[j] / sum_j p[j]), p = y + 128 in 1/256, the quotient to nearest."""

    mnemonic: ClassVar[str] = "softmax_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "y")
    in_place: ClassVar[str | None] = "g"

    x_shape: tuple[int, ...] = ()
    beta: float = 1.0

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        return self.x_shape

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale * self.beta / 65536.0

    def accumulator(self, e: Environment) -> NDArray[np.int64]:
        depth = self.x_shape[-1]
        sums = softmax_gradient_sums(batch(e, "g", -1, depth), batch(e, "y", -1, depth) + 128)
        return sums.reshape(-1, *self.x_shape[1:])

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        depth = self.x_shape[-1]
        g, p = batch(e, "g", -1, depth), (batch(e, "y", -1, depth) + 128) / 256.0
        mean = (p * g).sum(2, keepdims=True) / np.maximum(p.sum(2, keepdims=True), 1 / 256)
        return ((p * (g - mean) * self.beta).reshape(-1, *self.x_shape[1:]),)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        depth = self.x_shape[-1]
        fields = {"rows": t.type("g").size // depth, "depth": depth, "shift": self.shift}
        arguments = (Argument(n.inputs["g"]), Argument(n.inputs["y"]), Argument(n.outputs[0]))
        return KernelCall("kt_softmax_gradient_s8", "kt_softmax_gradient_params", fields, arguments, source="kernels/elementwise/softmax_gradient.c")
