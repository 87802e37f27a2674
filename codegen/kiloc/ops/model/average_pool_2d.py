"""AVERAGE_POOL_2D: mean over the part of a window inside the input, rounded half away from zero.

Input and result share their quantisation. Source: TensorFlow Lite 8-bit quantisation specification, "AVERAGE_POOL_2D".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.reach import Reach
from ...ir.stripe import Rows, Stripe, rows_of
from .._activation import clamp_range
from .._sums import COLUMN_SUMS
from .._window import Window
from .._window_reach import window_reach
from .._window_rows import forward_rows
from ..backward._gradient import Real, RequantizedGradient, batch
from ..backward.gradient_mask import masked
from .mean import Mean
from .pad import Pad

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


POOL_FIELDS = ("StrideH", "StrideW", "Padding", "FilterHeight", "FilterWidth", "FusedActivationFunction")
"""Options of a pool in .tflite files."""


@dataclass(frozen=True)
class Pool2D(Op):
    """What the pools share."""

    window: Window = Window((1, 1))
    activation: str = "none"

    def check(self, t: NodeTypes) -> str | None:
        x, y = t.type("x"), t.result()
        if len(x.shape) != 4:
            return f"needs a 4-dimensional input, has {x.shape}"
        expected = (1, *self.window.output(x.shape[1], x.shape[2]), x.shape[3])
        if y.shape != expected:
            return f"result is {y.shape}, expected {expected}"
        return None if x.quantization == y.quantization else "input and result have different scales"

    def masked(self, b: GradientBuilder, node: Node, dy: str) -> str:
        """A pool cannot leave int8: only a fused activation clamps."""
        if self.activation == "none":
            return dy
        return masked(b, node, dy, *clamp_range(self.activation, b.types(node).result()))

    def height(self, t: NodeTypes) -> int:
        return t.result().shape[1]

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        height = t.type("x").shape[1]
        read, window = forward_rows(self.window, rows, height)
        return Stripe(replace(self, window=window), {"x": (read, height)})

    def reach(self, t: NodeTypes) -> tuple[str, Reach]:
        return "x", window_reach(self.window, t.type("x").shape, t.result().shape)

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        o = r.options(op)
        window = r.window(op, (o["FilterHeight"], o["FilterWidth"]))
        r.emit(op, cls(window, r.activation(op)), label=cls.mnemonic.removesuffix("_2d"))

    def written_pool(self, w: TFLiteWriter, node: Node, border: int | None, label: str) -> None:
        """border: what a PAD in front may fill with, where there is such a value; label: of the result's tensor."""
        x, padding = w.padded(node, self.window, border)
        if self.window.dilation != (1, 1):
            raise CompileError(node.origin or node.name, f"a pool with dilation {self.window.dilation}", "TensorFlow Lite's pools have none")
        kernel: dict[str, Any] = {"FilterHeight": self.window.kernel[0], "FilterWidth": self.window.kernel[1]}
        fields = {**w.window_fields(self.window, padding), **kernel, **w.activation(self.activation)}
        w.emit(node, self.mnemonic.upper(), (x,), label=label, **fields)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        if self.window.dilation != (1, 1):
            raise CompileError(node.origin or node.name, f"a pool with dilation {self.window.dilation}", "only pools without are written")
        assert self.onnx is not None
        x = w.operand(node)
        real = w.emit(self.onnx.operators[0], [w.real(node, x, w.first(x))], f"{node.name}/pool", **w.window_attributes(self.window))
        w.result(node, real, "first", self.activation)

    def pool_call(self, t: NodeTypes, n: Names, symbol: str, needs: tuple[str, ...] = ()) -> KernelCall:
        fields: dict[str, Field] = {
            "window": self.window.fields(t.type("x").shape, t.result().shape),
            "clamp": clamp_range(self.activation, t.result()),
        }
        arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return KernelCall(symbol, "kt_pool2d_params", fields, arguments, source=f"kernels/pool/{symbol[3:-3]}.c", needs=needs)


def window_counts(window: Window, height: int, width: int) -> NDArray[np.int64]:
    """Elements inside the input under each window: [OH, OW]."""
    return np.asarray(window.folded(np.ones((1, height, width, 1), np.int64), 0, np.add)[0, :, :, 0])


@register
@dataclass(frozen=True)
class AveragePool2D(Pool2D):
    mnemonic: ClassVar[str] = "average_pool_2d"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"AVERAGE_POOL_2D": 2}, "Pool2DOptions", POOL_FIELDS)
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("AveragePool",))
    oracle: ClassVar[str] = "tflite-micro"

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        total = self.window.folded(e.wide("x"), 0, np.add)
        count = window_counts(self.window, *e.type("x").shape[1:3])[None, :, :, None]
        magnitude = (np.abs(total) + count // 2) // count
        y = np.where(total > 0, magnitude, -magnitude)
        return (np.clip(y, *clamp_range(self.activation, e.result())).astype(np.int8),)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        shape = b.types(node).type("x").shape
        smallest = int(window_counts(self.window, shape[1], shape[2]).min())
        op = AveragePoolGradient(self.window, shape, b.types(node).result().shape, smallest)
        return {"x": b.add(op, {"g": self.masked(b, node, dy)}, f"{node.name}.dx")[0]}

    def reach(self, t: NodeTypes) -> tuple[str, Reach]:
        """With one window kernels go from channel to channel: the result may begin as early as the image, less a byte."""
        size, channels = t.type("x").size, t.type("x").shape[3]
        if t.result().size != channels:
            return super().reach(t)
        return "x", Reach(np.arange(channels, dtype=np.int64), np.full(channels, size, np.int64), 1)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        return self.pool_call(t, n, "kt_average_pool2d_s8", (COLUMN_SUMS,))

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        self.written_pool(w, node, None, "AvgPool")

    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> AnyValue:
        """A pool over the whole image that changes the scale is a mean; a border that counts is padded in front. Where the result has steps
        less than half as long, rounding to steps of the input first would show: a depthwise layer sums and rounds once."""
        x = r.activation(op)
        order, rank, q = r.image(op, x), x.index.ndim, r.quantization(x)
        window = r.pool_window(op, order.shape, rank)
        if window.kernel == order.shape[1:3] and not any(window.pad) and not r.keeps_scale(op, q):
            return Mean.over(r, op, list(range(2, rank)), True)
        value = r.arrange(x, order, order.shape, op.where)
        if any(window.pad) and op.int_of("count_include_pad", 0):
            if op.int_of("ceil_mode", 0):
                raise CompileError(op.where, "ceil_mode together with count_include_pad is not supported", "pad in front of the pool")
            value, window = Pad.around(r, op, value, window.pad, q.zero_point), replace(window, pad=(0, 0, 0, 0))
        size = r.b.values[value].type.shape
        shape = (1, *window.output(size[1], size[2]), size[3])
        if not any(window.pad) and r.needs_finer_steps(op, q):
            return r.window_mean(op, value, window, shape, r.file_order(shape, rank))
        return r.result(op, "average_pool", lambda a: cls(window, a), {"x": value}, shape, r.file_order(shape, rank), kept=q)


@register
@dataclass(frozen=True)
class AveragePoolGradient(RequantizedGradient):
    """acc[x] = sum over windows around x of g * m, m = round(2^15 * smallest count / count of the window)."""

    mnemonic: ClassVar[str] = "average_pool_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g",)

    window: Window = Window((1, 1))
    x_shape: tuple[int, ...] = ()
    y_shape: tuple[int, ...] = ()
    smallest_count: int = 1
    whole_count: int = 0
    """Of some rows of a global pool's gradient: the elements under its window, for the scale; 0 of any other."""

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        return self.x_shape

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale / (32768.0 * (self.whole_count or self.smallest_count))

    def height(self, t: NodeTypes) -> int:
        """Of a global pool every row is the same."""
        covers = self.window.kernel == self.x_shape[1:3] and not any(self.window.pad) and self.y_shape[1:3] == (1, 1)
        return self.x_shape[1] if covers else 0

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        count, width = rows[1] - rows[0], self.x_shape[2]
        shape, window = rows_of(self.x_shape, self.x_shape[1], count), replace(self.window, kernel=(count, width))
        whole = self.whole_count or self.smallest_count
        return Stripe(replace(self, window=window, x_shape=shape, smallest_count=count * width, whole_count=whole), {})

    def _spread(self, g: Array) -> Array:
        """g [N, OH, OW, C] to every element under its window."""
        taps = self.window.kernel[0] * self.window.kernel[1]
        rows = np.repeat(g[:, :, :, None], taps, axis=3)
        if self.window.pointwise:
            return rows.reshape(g.shape[0], *self.x_shape[1:])
        return self.window.scatter(rows.reshape(g.shape[0], -1, taps * g.shape[3]), (g.shape[0], *self.x_shape[1:]))

    def accumulator(self, e: Environment) -> NDArray[np.int64]:
        count = window_counts(self.window, self.x_shape[1], self.x_shape[2])[None, :, :, None]
        m = (32768 * self.smallest_count + count // 2) // count
        return self._spread(batch(e, "g", *self.y_shape[1:]) * m)

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        count = window_counts(self.window, self.x_shape[1], self.x_shape[2])[None, :, :, None]
        return (self._spread(batch(e, "g", *self.y_shape[1:]) / count),)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {
            "window": self.window.fields(self.x_shape, self.y_shape),
            "smallest_count": self.smallest_count,
            "shift": self.shift,
        }
        arguments = (Argument(n.inputs["g"]), Argument(n.outputs[0]))
        return KernelCall(
            "kt_average_pool2d_gradient_s8", "kt_pool2d_gradient_params", fields, arguments, source="kernels/pool/average_pool2d_gradient.c"
        )
