"""GATHER with constant indices, along one axis or two neighbouring ones.

So are TILE, MIRROR_PAD and RESIZE_NEAREST_NEIGHBOR: each index of the result is one of x, known when the model is compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.reach import Reach
from ...ir.stripe import Rows, Stripe
from ...ir.types import TensorType
from ..backward.resample_gradient import REPEATED_AT_ONCE, Pairs, ResampleGradient
from ._movement import axis_of, emit, integers, moved
from .reshape import Reshape

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
class Gather(Op):
    """indices: of x, for each index of the result along `axis`, and for each along the axis behind it where that is gathered too."""

    mnemonic: ClassVar[str] = "gather"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding(
        {"GATHER": 2, "TILE": 2, "MIRROR_PAD": 2, "RESIZE_NEAREST_NEIGHBOR": 2}, "GatherOptions", ("Axis", "BatchDims"), also=("STRIDED_SLICE",),
        others={
            "TILE": ("TileOptions", ()), "MIRROR_PAD": ("MirrorPadOptions", ("Mode",)),
            "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", ("AlignCorners", "HalfPixelCenters")),
        },
    )  # fmt: skip
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Gather", "Resize"), also=("Slice",))
    oracle: ClassVar[str] = "tflite-micro"

    axis: int = 1
    indices: tuple[tuple[int, ...], ...] = ((0,),)

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        shape, a = t.type("x").shape, self.axis
        taken = tuple(map(len, self.indices))
        return (TensorType((*shape[:a], *taken, *shape[a + len(taken) :]), t.type("x").dtype, t.type("x").quantization),)

    def check(self, t: NodeTypes) -> str | None:
        extents = t.type("x").shape[self.axis :][: len(self.indices)]
        if self.axis < 1 or len(self.indices) not in (1, 2) or len(extents) != len(self.indices):
            return f"gathers {len(self.indices)} axes from {self.axis} on of {t.type('x').shape}"
        wrong = [i for chosen, d in zip(self.indices, extents, strict=True) for i in chosen if not 0 <= i < d]
        return f"index {wrong[0]} is outside {extents}" if wrong else None

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        y = e.array("x")
        for i, chosen in enumerate(self.indices):
            y = y.take(np.array(chosen, np.int64), self.axis + i)
        return (y,)

    def repeats(self, shape: tuple[int, ...]) -> int:
        """How often each value of an x of this shape is taken, one behind the other; 0 where that is not what it does."""
        (chosen, *more), last = self.indices, shape[-1]
        times = len(chosen) // last
        one_behind_the_other = tuple(i // times for i in range(times * last)) if times else ()
        return times if not more and self.axis == len(shape) - 1 and chosen == one_behind_the_other else 0

    def height(self, t: NodeTypes) -> int:
        shape = t.result().shape
        return shape[1] if len(shape) == 4 and self.axis > 1 else 0

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        return Stripe(self, {"x": (rows, self.height(t))})

    def reach(self, t: NodeTypes) -> tuple[str, Reach] | None:
        times, index = self.repeats(t.type("x").shape), np.arange(t.type("x").size, dtype=np.int64)
        return ("x", Reach(index, index + 1, times).in_bands(REPEATED_AT_ONCE)) if times else None

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        t = b.types(node)
        rows, columns = (*(_pairs(chosen) for chosen in self.indices), ())[:2]
        op = ResampleGradient(self.axis, t.type("x").shape, t.result().shape, rows, columns)
        return {"x": b.add(op, {"g": dy}, f"{node.name}.dx")[0]}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        x, y, behind = t.type("x").shape, t.result().shape, self.axis + len(self.indices)
        if times := self.repeats(x):
            repeated: dict[str, Field] = {"size": prod(x), "times": times}
            arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
            return KernelCall("kt_repeat_s8", "kt_repeat_params", repeated, arguments, source="kernels/layout/repeat.c")
        one = (1,) * (2 - len(self.indices))
        rows, columns = (*self.indices, (0,))[:2]
        fields: dict[str, Field] = {
            "outer": prod(x[: self.axis]),
            "input": (*x[self.axis : behind], *one),
            "output": (*y[self.axis : behind], *one),
            "block": prod(x[behind:]),
            "rows": Table("rows", "int32_t", np.array(rows, np.int32)),
            "columns": Table("columns", "int32_t", np.array(columns, np.int32)),
        }
        arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return KernelCall("kt_gather_s8", "kt_gather_params", fields, arguments, source="kernels/layout/gather.c")

    # -- .tflite --------------------------------------------------------------------------------------
    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        if op.kind == "RESIZE_NEAREST_NEIGHBOR":
            height, width = r.image(op)[1:3]
            size = output_size(r, op)
            options = (bool(r.options(op)["AlignCorners"]), bool(r.options(op)["HalfPixelCenters"]))
            chosen = tuple(nearest(n, d, *options) for n, d in zip(size, (height, width), strict=True))
            emit(r, op, cls(1, chosen), {"x": r.value(op.input(0), op.where)})
            return
        x = op.input(0)
        if x is None or not x.shape:
            raise CompileError(op.where, "needs an input with axes", "export the model again")
        axes = _gathered(r, op, [max(d, 1) for d in x.shape])
        (value,), front = moved(r, op, [x], axes)
        if not axes:
            emit(r, op, Reshape(r.b.values[value].type.shape), {"x": value})
            return
        merged: list[tuple[int, tuple[tuple[int, ...], ...]]] = []
        for axis, indices in ((a + front, i) for a, i in axes.items()):
            one = tuple(int(i) for i in indices)
            if merged and merged[-1][0] == axis - 1 and len(merged[-1][1]) == 1:
                merged[-1] = (axis - 1, (*merged[-1][1], one))
            else:
                merged.append((axis, (one,)))
        for axis, taken in merged[:-1]:
            node, type_ = cls(axis, taken), r.b.values[value].type
            result = node.infer(NodeTypes({"x": type_}))[0]
            r.check_size(op, result.shape)
            value = r.b.node(r.b.unique(f"{value}.gathered"), node, {"x": value}, result, op.where)
        emit(r, op, cls(*merged[-1]), {"x": value})

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        x, value = w.operand(node), w.graph.type(node.inputs["x"])
        for i, chosen in enumerate(self.indices):
            indices = w.indices(f"{node.name}/indices_{i}", chosen)
            if i < len(self.indices) - 1:
                shape = (*value.shape[: self.axis + i], len(chosen), *value.shape[self.axis + i + 1 :])
                x = w.intermediate(f"{node.name}/rows", "GATHER", (x, indices), TensorType(shape, "int8", value.quantization), self, Axis=self.axis)
            else:
                w.emit(node, "GATHER", (x, indices), Axis=self.axis + i)

    # -- .onnx ----------------------------------------------------------------------------------------
    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> AnyValue:
        return r.resized(op) if op.kind == "Resize" else r.gathered(op)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        x = w.last(w.operand(node))
        for i, chosen in enumerate(self.indices):
            indices = w.integers(f"{node.name}/indices_{i}", chosen)
            x = w.emit("Gather", [x, indices], f"{node.name}/gathered_{i}", axis=self.axis + i)
        w.moved(node, x)


def _pairs(chosen: tuple[int, ...]) -> Pairs:
    return tuple((i, o, 1) for o, i in enumerate(chosen))


def _gathered(r: TFLiteReader, op: TFLiteOperator, shape: list[int]) -> dict[int, NDArray[Any]]:
    """Axis of the file -> the indices that are taken along it, for axes that do not stay as they are."""
    rank = len(shape)
    if op.kind == "GATHER":
        axis, indices = axis_of(op, int(r.options(op)["Axis"]), rank), integers(r, op, 1)
        if r.options(op)["BatchDims"]:
            raise CompileError(op.where, "gathers other indices for each index of a batch axis", "export it with batch_dims = 0")
        if indices.size == 0 or indices.min() < 0 or indices.max() >= shape[axis]:
            raise CompileError(op.where, f"gathers indices outside an axis of {shape[axis]}", "export the model again")
        return {axis: indices.ravel()}
    if op.kind == "TILE":
        multiples = integers(r, op, 1).ravel().tolist()
        if len(multiples) != rank or min(multiples) < 1:
            raise CompileError(op.where, f"repeats {multiples} times along {rank} axes", "export the model again")
        r.check_size(op, tuple(d * m for d, m in zip(shape, multiples, strict=True)))
        return {i: np.tile(np.arange(d), m) for i, (d, m) in enumerate(zip(shape, multiples, strict=True)) if m > 1}
    given, edge = integers(r, op, 1).ravel(), 1 if r.options(op)["Mode"] == 0 else 0  # REFLECT leaves the edge out
    if given.size != 2 * rank:
        raise CompileError(op.where, f"mirrors {given.size} amounts of {rank} axes", "export the model again")
    amounts = given.reshape(-1, 2).tolist()
    if any(min(a) < 0 or max(a) > d - edge for a, d in zip(amounts, shape, strict=True)):
        raise CompileError(op.where, f"mirrors {amounts} of {shape}", "pad with less than the axis is long")
    return {i: _mirrored(d, before, after, edge) for i, ((before, after), d) in enumerate(zip(amounts, shape, strict=True)) if before or after}


def _mirrored(extent: int, before: int, after: int, edge: int) -> NDArray[Any]:
    """The indices of an axis with as many mirrored ones in front and behind; edge: 1 where the first and the last are not repeated."""
    own = np.arange(extent)
    return np.concatenate([own[edge : edge + before][::-1], own, own[extent - edge - after : extent - edge][::-1]])


def output_size(r: TFLiteReader, op: TFLiteOperator) -> tuple[int, int]:
    """Height and width that an image is resized to."""
    size = integers(r, op, 1).ravel().tolist()
    if len(size) != 2 or min(size) < 1:
        raise CompileError(op.where, f"resizes to {size}", "export the model again")
    r.check_size(op, (1, *size, r.image(op)[3]))
    return size[0], size[1]


def nearest(size: int, extent: int, align_corners: bool, half_pixel: bool) -> tuple[int, ...]:
    """The index of the image for each index of the result, in float32. Source: TensorFlow Lite reference kernel GetNearestNeighbor."""
    f = np.float32
    scale = f(extent - 1) / f(size - 1) if align_corners and size > 1 else f(extent) / f(size)
    found = []
    for i in range(size):
        at = f(f(f(i) + f(0.5 if half_pixel else 0.0)) * scale)
        index = int(np.floor(np.abs(at) + f(0.5))) if align_corners else int(np.floor(at))
        index = min(index, extent - 1)
        found.append(max(index, 0) if half_pixel else index)
    return tuple(found)
