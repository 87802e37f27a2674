"""PAD and PADV2 of an NHWC tensor in height and width, with a constant (by default the zero point)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, NoGradient, Op, register
from ...ir.reach import Reach
from ...ir.stripe import Rows, Stripe
from ...ir.types import ELEMENT_BYTES, TensorType, gradient
from ._movement import emit, moved
from .pad_axes import PadAxes

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

Border = tuple[int, int, int, int]


@register
@dataclass(frozen=True)
class Pad(Op):
    """pad: (top, left, bottom, right); value: the code that fills the border, of int16 only 0."""

    mnemonic: ClassVar[str] = "pad"
    element_types: ClassVar[tuple[str, ...]] = ("int8", "int16")
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"PAD": 2, "PADV2": 2}, "PadOptions")
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Pad",), also=("AveragePool",))
    oracle: ClassVar[str] = "tflite-micro"

    pad: Border = (0, 0, 0, 0)
    value: int = 0

    def check(self, t: NodeTypes) -> str | None:
        n, h, w, c = t.type("x").shape
        expected = (n, h + self.pad[0] + self.pad[2], w + self.pad[1] + self.pad[3], c)
        if t.type("x").dtype != t.result().dtype or (self.value and t.result().dtype != "int8"):
            return f"pads {t.type('x').dtype} to {t.result().dtype} with {self.value}"
        return None if t.result().shape == expected else f"result is {t.result().shape}, expected {expected}"

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        top, left, bottom, right = self.pad
        return (np.pad(e.array("x"), ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=self.value),)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        if b.types(node).result().dtype != "int8":
            raise NoGradient(f"its activations are {b.types(node).result().dtype}, and gradients are int8")
        return {"x": b.add(PadGradient(self.pad), {"g": dy}, f"{node.name}.dx")[0]}

    def _position_bytes(self, t: NodeTypes) -> int:
        """Of all channels of a position."""
        return t.type("x").shape[3] * ELEMENT_BYTES[t.type("x").dtype]

    def reach(self, t: NodeTypes) -> tuple[str, Reach] | None:
        if t.result().dtype != "int8":
            return None
        (_, height, width, channels), line = t.type("x").shape, t.result().shape[2] * t.type("x").shape[3]
        source = np.arange(t.result().shape[1]) - self.pad[0]
        inside = (source >= 0) & (source < height)
        first = np.where(inside, source, height) * (width * channels)
        return "x", Reach(first, np.where(inside, source + 1, 0) * (width * channels), line)

    def height(self, t: NodeTypes) -> int:
        return t.result().shape[1]

    def least_rows(self, t: NodeTypes, rows: Rows) -> Rows:
        """With one row of the image at least."""
        height = t.type("x").shape[1]
        return min(rows[0], self.pad[0] + height - 1), max(rows[1], self.pad[0] + 1)

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        height, first, end = t.type("x").shape[1], rows[0] - self.pad[0], rows[1] - self.pad[0]
        read = max(first, 0), min(end, height)
        return Stripe(replace(self, pad=(read[0] - first, self.pad[1], end - read[1], self.pad[3])), {"x": (read, height)})

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        symbol = "kt_pad_s8" if t.result().dtype == "int8" else "kt_pad_s16"
        x, y = ((*shape[1:3], self._position_bytes(t)) for shape in (t.type("x").shape, t.result().shape))
        fields: dict[str, Field] = {"input": x, "output": y, "pad": self.pad[:2], "value": self.value}
        return KernelCall(symbol, "kt_pad_params", fields, (Argument(n.inputs["x"]), Argument(n.outputs[0])), source="kernels/layout/pad.c")

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        x, given = op.input(0), r.integers(op, 1)
        amounts = [given[i : i + 2] for i in range(0, len(given), 2)]
        if x is None or len(amounts) != len(x.shape) or len(given) % 2 or min(given) < 0:
            raise CompileError(op.where, f"pads {amounts}", "export the model again")
        r.check_size(op, tuple(max(d, 1) + sum(a) for d, a in zip(x.shape, amounts, strict=True)))
        type_ = r.activation_type(x, *cls.element_types)
        fill = type_.zero_point
        if op.input(2) is not None:  # PADV2
            value = r.constant(op, 2)
            if value.size != 1 or value.dtype != type_.dtype or (type_.dtype != "int8" and value.any()):
                what = f"pads {type_.dtype} with a {value.dtype} of shape {value.shape}"
                raise CompileError(op.where, what, "pad with one value of the input's type, of int16 with 0")
            fill = int(value.ravel()[0])
        if len(amounts) == 4 and not any(amounts[0]) and not any(amounts[3]) and not r.rows_first(x):
            (top, bottom), (left, right) = amounts[1], amounts[2]
            r.emit(op, cls((top, left, bottom, right), fill))
            return
        (source,), front = moved(r, op, [x], [i for i, a in enumerate(amounts) if any(a)])
        whole = [[0, 0]] * front + amounts
        emit(r, op, PadAxes(tuple(a[0] for a in whole), tuple(a[1] for a in whole), (0,) * len(whole), fill), {"x": source})

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        kind, inputs, table = w.padding(node.name, w.operand(node), w.graph.type(node.outputs[0]), self.pad, self.value)
        w.emit(node, kind, inputs, table=table)

    @classmethod
    def around(cls, r: OnnxReader, op: OnnxOperator, value: str, pad: Border, fill: int, channels: tuple[int, int] = (0, 0)) -> str:
        """A border around a value of the graph, with further channels in front of its own and behind them."""
        type_ = r.b.values[value].type
        top, left, bottom, right = pad
        wide = PadAxes((0, top, left, channels[0]), (0, bottom, right, channels[1]), (0,) * 4, fill)
        shape = wide.shape(type_.shape)
        r.check_size(op, shape)
        node: Op = wide if any(channels) else cls(pad, fill)
        return r.b.node(r.name("pad"), node, {"x": value}, replace(type_, shape=shape), op.where)

    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> AnyValue:
        return r.padded(op)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        x, (top, left, bottom, right) = w.operand(node), self.pad
        type_ = w.graph.type(x)
        amounts = w.constant(f"{node.name}/pads", np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
        filler = w.constant(f"{node.name}/value", np.array(np.float32(type_.scale) * (self.value - type_.zero_point), np.float32))
        w.result(node, w.emit("Pad", [w.real(node, x, w.first(x)), amounts, filler], f"{node.name}/padded"), "first")


@register
@dataclass(frozen=True)
class PadGradient(Op):
    """g without the border."""

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "pad_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g",)

    pad: Border = (0, 0, 0, 0)

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        n, h, w, c = t.type("g").shape
        return (gradient((n, h - self.pad[0] - self.pad[2], w - self.pad[1] - self.pad[3], c), t.type("g").scale),)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        top, left, bottom, right = self.pad
        g = e.array("g")
        return (g[:, top : g.shape[1] - bottom, left : g.shape[2] - right],)

    evaluate_real = evaluate

    def reach(self, t: NodeTypes) -> tuple[str, Reach]:
        (_, _, width, channels), (_, rows, columns, _) = t.type("g").shape, t.result().shape
        first = ((np.arange(rows) + self.pad[0]) * width + self.pad[1]) * channels
        return "g", Reach(first, first + columns * channels, columns * channels)

    def height(self, t: NodeTypes) -> int:
        return t.result().shape[1]

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        read = rows[0] + self.pad[0], rows[1] + self.pad[0]
        return Stripe(replace(self, pad=(0, self.pad[1], 0, self.pad[3])), {"g": (read, t.type("g").shape[1])})

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {"input": t.result().shape[1:], "output": t.type("g").shape[1:], "pad": self.pad[:2], "value": 0}
        arguments = (Argument(n.inputs["g"]), Argument(n.outputs[0]))
        return KernelCall("kt_pad_gradient_s8", "kt_pad_params", fields, arguments, source="kernels/layout/pad_gradient.c")
