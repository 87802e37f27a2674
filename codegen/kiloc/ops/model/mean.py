"""MEAN over neighbouring axes: sum, then one requantisation with 1/count folded into the multiplier.

The tensor is seen as [outer, count, inner]. Source: TensorFlow Lite reference kernel QuantizedMeanOrSum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ... import numerics as nm
from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.stripe import Rows, Stripe, rows_of
from ...ir.types import TensorType, gradient
from .._activation import far_apart
from .._sums import COLUMN_SUMS
from ..backward._gradient import Real
from ..backward.gradient_mask import masked
from ._reduction import reduced

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


@register
@dataclass(frozen=True)
class Mean(Op):
    """axes: increasing, without gaps, never the batch axis."""

    mnemonic: ClassVar[str] = "mean"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"MEAN": 2}, "ReducerOptions")
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("ReduceMean", "GlobalAveragePool"), also=("AveragePool",))
    oracle: ClassVar[str] = "tflite-micro"

    axes: tuple[int, ...] = (1,)

    def check(self, t: NodeTypes) -> str | None:
        outer, _, inner = self.split(t.type("x").shape)
        if self.axes != tuple(range(self.axes[0], self.axes[-1] + 1)) or self.axes[0] < 1:
            return f"reduces axes {self.axes}; only neighbouring axes after the batch are supported"
        return far_apart(self.multiplier(t)[1]) if t.result().size == outer * inner else f"result is {t.result().shape}"

    def split(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        first, last = self.axes[0], self.axes[-1]
        return prod(shape[:first]), prod(shape[first : last + 1]), prod(shape[last + 1 :])

    def multiplier(self, t: NodeTypes) -> tuple[int, int]:
        count = self.split(t.type("x").shape)[1]
        multiplier, shift = nm.quantize_multiplier(float(np.float64(t.type("x").scale) / np.float64(t.result().scale)))
        extra = min(count.bit_length() - 1, 32, 31 + shift)
        return (multiplier << extra) // count, shift - extra

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        outer, count, inner = self.split(e.type("x").shape)
        total = e.wide("x").reshape(-1, outer, count, inner).sum(2) - count * e.type("x").zero_point
        y = nm.requantize(total, *self.multiplier(e)) + e.result().zero_point
        return (np.clip(y, -128, 127).astype(np.int8).reshape(-1, *e.result().shape[1:]),)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        shape = b.types(node).type("x").shape
        g = masked(b, node, dy, -128, 127)
        return {"x": b.add(MeanGradient(shape, self.split(shape)), {"g": g}, f"{node.name}.dx")[0]}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        multiplier, shift = self.multiplier(t)
        fields: dict[str, Field] = {
            "extent": self.split(t.type("x").shape),
            "input_offset": -t.type("x").zero_point,
            "output_offset": t.result().zero_point,
            "multiplier": multiplier,
            "shift": shift,
        }
        arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return KernelCall("kt_mean_s8", "kt_mean_params", fields, arguments, source="kernels/pool/mean.c", needs=(COLUMN_SUMS,))

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        value, axes = reduced(r, op)
        r.emit(op, cls(axes), {"x": value})

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        x, y = w.graph.type(node.inputs["x"]).shape, w.graph.type(node.outputs[0]).shape
        kept = tuple(1 if i in self.axes else d for i, d in enumerate(x))
        dropped = tuple(d for i, d in enumerate(x) if i not in self.axes)
        if y not in (kept, dropped):
            raise CompileError(node.origin or node.name, f"the result {y} is neither {kept} nor {dropped}", "put a RESHAPE after it")
        assert self.tflite is not None
        w.emit(node, next(iter(self.tflite.operators)), (w.operand(node), w.indices(f"{node.name}/axes", self.axes)), KeepDims=y == kept)

    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> AnyValue:
        rank = r.activation(op).index.ndim
        if op.kind == "GlobalAveragePool":
            return cls.over(r, op, list(range(2, rank)), True)
        axes = r.integers(op, 1, "axes")
        if not axes:
            raise CompileError(op.where, "reduces every axis, the batch included", "name the axes to reduce")
        return cls.over(r, op, r.checked_axes(op, axes, rank), bool(op.int_of("keepdims", 1)))

    @classmethod
    def over(cls, r: OnnxReader, op: OnnxOperator, axes: list[int], keep: bool) -> AnyValue:
        """The mean of neighbouring axes: the reduced ones first, last or where they are, whichever the value already has."""
        x = r.activation(op)
        rank, shape = x.index.ndim, x.index.shape
        if not axes or axes[0] < 1 or shape[0] != 1:
            raise CompileError(op.where, f"reduces axes {axes} of {shape}", "the batch axis cannot be reduced")
        others = [i for i in range(1, rank) if i not in axes]
        orders = [[0, *axes, *others], [0, *others, *axes]] + ([list(range(rank))] if axes[-1] - axes[0] == len(axes) - 1 else [])
        chosen = next((o for o in orders if r.is_ordered(x.index.transpose(o))), orders[0])
        order, start = x.index.transpose(chosen), chosen.index(axes[0])
        value, reduced = r.arrange(x, order, order.shape, op.where), tuple(range(start, start + len(axes)))
        kept = tuple(shape[i] for i in others)
        index = r.positions((1, *(1 if i in axes else shape[i] for i in range(1, rank))) if keep else (1, *kept))
        return r.result(op, cls.mnemonic, lambda _: cls(reduced), {"x": value}, (1, *kept) if kept else (1, 1), index, clamps=False)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        x, y = w.operand(node), w.graph.type(node.outputs[0]).shape
        real = w.emit("ReduceMean", [w.real(node, x, w.last(x))], f"{node.name}/mean", axes=self.axes, keepdims=0)
        dropped = tuple(d for i, d in enumerate(w.graph.type(x).shape) if i not in self.axes)
        w.result(node, real if y == dropped else w.reshaped(node, real, y), "last")


@register
@dataclass(frozen=True)
class MeanGradient(Op):
    """Every element of the reduced axes takes g; the scale absorbs 1 / count, so nothing is rounded."""

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "mean_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g",)

    x_shape: tuple[int, ...] = ()
    extent: tuple[int, int, int] = (1, 1, 1)
    whole_count: int = 0
    """Of some rows of the gradient: the elements that the mean is of, for the scale; 0 of all."""

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (gradient(self.x_shape, t.type("g").scale / (self.whole_count or self.extent[1])),)

    def height(self, t: NodeTypes) -> int:
        """Of a mean of an image's positions every row is the same."""
        image = len(self.x_shape) == 4 and self.extent == (1, self.x_shape[1] * self.x_shape[2], self.x_shape[3])
        return self.x_shape[1] if image else 0

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        shape = rows_of(self.x_shape, self.x_shape[1], rows[1] - rows[0])
        extent = (1, shape[1] * shape[2], shape[3])
        return Stripe(replace(self, x_shape=shape, extent=extent, whole_count=self.whole_count or self.extent[1]), {})

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        outer, count, inner = self.extent
        g = e.array("g").reshape(-1, outer, 1, inner)
        return (np.repeat(g, count, axis=2).reshape(-1, *self.x_shape[1:]),)

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        return (self.evaluate(e)[0] / self.extent[1],)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {"extent": self.extent, "input_offset": 0, "output_offset": 0, "multiplier": 0, "shift": 0}
        arguments = (Argument(n.inputs["g"]), Argument(n.outputs[0]))
        return KernelCall("kt_mean_gradient_s8", "kt_mean_params", fields, arguments, source="kernels/pool/mean_gradient.c")
