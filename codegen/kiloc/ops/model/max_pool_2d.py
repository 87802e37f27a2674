"""MAX_POOL_2D: the largest element under a window. Input and result share their quantisation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch
from ...ir.operator import Array, Environment, Names, NodeTypes, register
from ...ir.types import TensorType
from .._activation import clamp_range
from .._window import Window
from ..backward._gradient import Real, RequantizedGradient, batch
from ._movement import emit, viewed
from ._reduction import reduced
from .average_pool_2d import POOL_FIELDS, Pool2D
from .reshape import Reshape

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.tflite import TFLiteWriter
    from ...frontend.onnx_file import Operator as OnnxOperator
    from ...frontend.onnx_reader import OnnxReader
    from ...frontend.qdq import AnyValue
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node

KEPT_TAPS, FEW_CHANNELS = 512, 8
"""Taps of a gradient that are kept on the stack, and channels of a block that has no room there (KT_KEPT_TAPS, KT_FEW_CHANNELS in the runtime)."""

OUTSIDE = -129
"""Below every int8: what the border of the input reads as."""


def windows(window: Window, x: Array) -> NDArray[np.int64]:
    """[N, OH, OW, KH*KW, C], the border as OUTSIDE."""
    n, height, width, channels = x.shape
    inside = window.patches(np.ones((1, height, width, channels), np.int64))
    values = np.where(inside == 1, window.patches(x.astype(np.int64)), OUTSIDE)
    return np.asarray(values.reshape(n, *window.output(height, width), -1, channels))


@register
@dataclass(frozen=True)
class MaxPool2D(Pool2D):
    mnemonic: ClassVar[str] = "max_pool_2d"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding(
        {"MAX_POOL_2D": 2, "REDUCE_MAX": 2}, "Pool2DOptions", POOL_FIELDS, others={"REDUCE_MAX": ("ReducerOptions", ())}
    )
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("MaxPool", "GlobalMaxPool"))
    oracle: ClassVar[str] = "tflite-micro"

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        y = self.window.folded(e.array("x").astype(np.int16), OUTSIDE, np.maximum)
        return (np.clip(y, *clamp_range(self.activation, e.result())).astype(np.int8),)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        shape = b.types(node).type("x").shape
        op = MaxPoolGradient(self.window, shape, b.types(node).result().shape)
        operands = {"g": self.masked(b, node, dy), "x": node.inputs["x"]}
        return {"x": b.add(op, operands, f"{node.name}.dx")[0]}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        return self.pool_call(t, n, "kt_max_pool2d_s8")

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        """REDUCE_MAX is a pool over an image whose height is the reduced axes, a window behind the other for every index in front of them."""
        if op.kind != "REDUCE_MAX":
            super().read_tflite(r, op)
            return
        value, axes = reduced(r, op)
        shape = r.b.values[value].type.shape
        outer, count, inner = prod(shape[: axes[0]]), prod(shape[axes[0] : axes[-1] + 1]), prod(shape[axes[-1] + 1 :])
        value = viewed(r, op, value, (1, outer * count, 1, inner))
        if r.b.values[value].type.quantization != r.activation_type(op.outputs[0]).quantization:
            raise CompileError(op.where, "gives its result another scale than its input has", "put a QUANTIZE behind it")
        type_ = TensorType((1, outer, 1, inner), "int8", r.b.values[value].type.quantization)
        largest = r.b.node(r.b.unique(f"{value}.largest"), cls(Window((count, 1), (count, 1))), {"x": value}, type_, op.where)
        emit(r, op, Reshape(r.shape(op.outputs[0])), {"x": largest}, label="reduce_max")

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        self.written_pool(w, node, -128, "MaxPool")

    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> AnyValue:
        """On either side of DequantizeLinear: the largest code is the code of the largest value."""
        x = r.moving(op)
        order, rank = r.image(op, x), x.index.ndim
        whole = Window((order.shape[1], order.shape[2]))
        window = whole if op.kind == "GlobalMaxPool" else r.pool_window(op, order.shape, rank)
        shape = (1, *window.output(order.shape[1], order.shape[2]), order.shape[3])
        value, q = r.arrange(x, order, order.shape, op.where), r.quantization(x)
        p = r.result(op, "max_pool", lambda a: cls(window, a), {"x": value}, shape, r.file_order(shape, rank), kept=q, exact=q)
        return p if x.dtype == "float32" else replace(r.settled(p, op.where), dtype=x.dtype)


@register
@dataclass(frozen=True)
class MaxPoolGradient(RequantizedGradient):
    """acc[x] = sum of g over the windows whose first largest element is x."""

    mnemonic: ClassVar[str] = "max_pool_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "x")

    window: Window = Window((1, 1))
    x_shape: tuple[int, ...] = ()
    y_shape: tuple[int, ...] = ()

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        return self.x_shape

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale

    def _spread(self, e: Environment) -> Any:
        g = batch(e, "g", *self.y_shape[1:])
        x = e.array("x").reshape(-1, *self.x_shape[1:])
        parts = windows(self.window, x)
        first = np.arange(parts.shape[3])[:, None] == parts.argmax(3)[:, :, :, None]
        rows = g[:, :, :, None] * first
        if self.window.pointwise:
            return rows.reshape(x.shape)
        return self.window.scatter(rows.reshape(g.shape[0], self.y_shape[1] * self.y_shape[2], -1), x.shape)

    def accumulator(self, e: Environment) -> NDArray[np.int64]:
        return np.asarray(self._spread(e))

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        return (self._spread(e),)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {
            "window": self.window.fields(self.x_shape, self.y_shape),
            "smallest_count": 1,
            "shift": self.shift,
        }
        scratch, symbol = self.scratch(), "kt_max_pool2d_gradient_s8"
        arguments = (*(Argument(v) for v in (n.inputs["g"], n.inputs["x"], n.outputs[0])), Scratch() if scratch else "NULL")
        source, unreached = "kernels/pool/max_pool2d_gradient.c", frozenset({"kt_gather_blocks"} if self.kept_columns() == 0 else ())
        return KernelCall(symbol, "kt_pool2d_gradient_params", fields, arguments, scratch, source, unreached=unreached)

    def kept_columns(self) -> int:
        """Windows of which the tap of the largest element is kept, of those that cover a row; 0 where no windows share an element."""
        rows, columns = zip(self.window.kernel, self.window.dilation, self.window.stride, self.y_shape[1:3], strict=True)
        apart = all(count == 1 or (kernel - 1) * dilation < stride for kernel, dilation, stride, count in (rows, columns))
        return 0 if apart else ((rows[0] - 1) * rows[1] // rows[2] + 1) * self.y_shape[2]

    def scratch(self) -> int:
        """Bytes: none where the taps of a few channels have room on the stack."""
        taps = self.kept_columns() * min(self.y_shape[3], FEW_CHANNELS)
        return 2 * taps if taps > KEPT_TAPS else 0
