"""SLICE, STRIDED_SLICE, and each result of SPLIT, SPLIT_V and UNPACK: some neighbouring, or every second, third, ... index of each axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType
from .._walk import move_call, strides, too_many_axes
from ._movement import axis_of, emit, integers, moved
from .gather import Gather
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

MASKS = ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask", "Offset")


@register
@dataclass(frozen=True)
class Slice(Op):
    """y[i] = x[begin + i * stride] along every axis, size indices each."""

    mnemonic: ClassVar[str] = "slice"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding(
        {"SLICE": 2, "STRIDED_SLICE": 2, "SPLIT": 2, "SPLIT_V": 2, "UNPACK": 2}, "SliceOptions",
        others={
            "STRIDED_SLICE": ("StridedSliceOptions", MASKS), "SPLIT": ("SplitOptions", ()), "SPLIT_V": ("SplitVOptions", ()),
            "UNPACK": ("UnpackOptions", ("Axis",)),
        },
        several=("SPLIT", "SPLIT_V", "UNPACK"),
    )  # fmt: skip
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Slice", "Split"), also=("Gather", "Resize"))
    oracle: ClassVar[str] = "tflite-micro"

    begin: tuple[int, ...] = (0,)
    size: tuple[int, ...] = (1,)
    stride: tuple[int, ...] = (1,)

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (TensorType(self.size, t.type("x").dtype, t.type("x").quantization),)

    def check(self, t: NodeTypes) -> str | None:
        shape = t.type("x").shape
        if not len(shape) == len(self.begin) == len(self.size) == len(self.stride):
            return f"begins at {self.begin} in {shape}"
        ends = [b + (n - 1) * s + 1 for b, n, s in zip(self.begin, self.size, self.stride, strict=True)]
        if any(b < 0 or n < 1 or s < 1 or e > d for b, n, s, e, d in zip(self.begin, self.size, self.stride, ends, shape, strict=True)):
            return f"takes {self.size} from {self.begin} with steps of {self.stride} of {shape}"
        if (self.begin[0], self.size[0]) != (0, shape[0]):
            return "takes a part of the batch"
        return too_many_axes(self.size, self._steps(shape), strides(self.size))

    def _steps(self, shape: tuple[int, ...]) -> list[int]:
        return [a * s for a, s in zip(strides(shape), self.stride, strict=True)]

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        parts = zip(self.begin[1:], self.size[1:], self.stride[1:], strict=True)
        return (np.ascontiguousarray(e.array("x")[(slice(None), *(slice(b, b + (n - 1) * s + 1, s) for b, n, s in parts))]),)

    evaluate_real = evaluate

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        """Zero for what was left out."""
        shape = b.types(node).type("x").shape
        ends = [begin + (n - 1) * s + 1 for begin, n, s in zip(self.begin, self.size, self.stride, strict=True)]
        after = tuple(d - e for d, e in zip(shape, ends, strict=True))
        op = PadAxes(self.begin, after, tuple(s - 1 if n > 1 else 0 for s, n in zip(self.stride, self.size, strict=True)), 0)
        return {"x": b.add(op, {"x": dy}, f"{node.name}.dx")[0]}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        shape = t.type("x").shape
        start = sum(b * s for b, s in zip(self.begin, strides(shape), strict=True))
        return move_call(n, self.size, self._steps(shape), strides(self.size), (start, 0))

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> Slice:
        """All of it: a copy."""
        return cls((0,) * len(shape), shape, (1,) * len(shape))

    @classmethod
    def along(cls, shape: tuple[int, ...], axis: int, begin: int, size: int) -> Slice:
        """Neighbouring indices of one axis."""
        begins = tuple(begin if i == axis else 0 for i in range(len(shape)))
        return cls(begins, tuple(size if i == axis else d for i, d in enumerate(shape)), (1,) * len(shape))

    # -- .tflite --------------------------------------------------------------------------------------
    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        if op.kind in ("SPLIT", "SPLIT_V", "UNPACK"):
            cls._read_parts(r, op)
        elif op.kind == "SLICE":
            x = op.input(0)
            rank = len(x.shape) if x is not None else 0
            begin, size = (integers(r, op, i).ravel().tolist() for i in (1, 2))
            if x is None or len(begin) != rank or len(size) != rank:
                raise CompileError(op.where, f"takes {size} from {begin} of {rank} axes", "export the model again")
            extent = [max(d, 1) for d in x.shape]
            ends = [b + n if n >= 0 else d for b, n, d in zip(begin, size, extent, strict=True)]
            cls._read_ranges(r, op, [range(b, e) for b, e in zip(begin, ends, strict=True)])
        else:
            cls._read_ranges(r, op, _ranges(r, op))

    @classmethod
    def _read_parts(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        """SPLIT and SPLIT_V with the axis as an input, UNPACK with it as an option: neighbouring parts of an axis."""
        x, count = op.input(1 if op.kind == "SPLIT" else 0), len(op.outputs)
        if x is None or not x.shape:
            raise CompileError(op.where, "needs an input with axes", "export the model again")
        if op.kind == "UNPACK":
            axis = int(r.options(op)["Axis"])
        else:
            given = integers(r, op, 0 if op.kind == "SPLIT" else 2).ravel()
            if given.size != 1:
                raise CompileError(op.where, f"names the axes {given.tolist()}", "export the model again")
            axis = int(given[0])
        axis = axis_of(op, axis, len(x.shape))
        if count == 0:
            raise CompileError(op.where, "has no results", "export the model again")
        extent = max(x.shape[axis], 1)
        sizes = [extent // count] * count
        if op.kind == "SPLIT_V":
            sizes = integers(r, op, 1).ravel().tolist()
            rest = extent - sum(n for n in sizes if n >= 0)
            sizes = [rest if n == -1 else n for n in sizes]
        if len(sizes) != count or sum(sizes) != extent or min(sizes) < 1 or (op.kind == "UNPACK" and sizes[0] != 1):
            raise CompileError(op.where, f"cuts an axis of {extent} into {count} parts of {sizes}", "export the model again")
        (value,), front = moved(r, op, [x], [axis])
        shape, begin = r.b.values[value].type.shape, 0
        for i, size in enumerate(sizes):
            emit(r, op, cls.along(shape, axis + front, begin, size), {"x": value}, i, op.kind.lower())
            begin += size

    @classmethod
    def _read_ranges(cls, r: TFLiteReader, op: TFLiteOperator, ranges: list[range]) -> None:
        """One range of indices an axis; what runs backwards is gathered."""
        x = op.input(0)
        assert x is not None
        extent = [max(d, 1) for d in x.shape]
        if any(not indices or not all(0 <= i < d for i in (indices[0], indices[-1])) for indices, d in zip(ranges, extent, strict=True)):
            raise CompileError(op.where, f"takes {ranges} of {extent}", "export the model again")
        touched = [i for i, (indices, d) in enumerate(zip(ranges, extent, strict=True)) if len(indices) != d or indices.step < 0]
        (value,), front = moved(r, op, [x], touched)
        whole = [range(1)] * front + ranges
        backwards = [i for i, indices in enumerate(whole) if len(indices) > 1 and indices.step < 0]
        forwards = [range(min(i), max(i) + 1, abs(i.step)) for i in whole]
        node = cls(tuple(i[0] for i in forwards), tuple(map(len, forwards)), tuple(i.step if len(i) > 1 else 1 for i in forwards))
        for axis in backwards:  # turned round in front of the slice
            type_ = r.b.values[value].type
            turn = Gather(axis, (tuple(range(type_.shape[axis]))[::-1],))
            value = r.b.node(r.b.unique(f"{value}.reversed"), turn, {"x": value}, type_, op.where)
            begin = list(node.begin)
            begin[axis] = type_.shape[axis] - 1 - max(whole[axis])
            node = cls(tuple(begin), node.size, node.stride)
        emit(r, op, node, {"x": value})

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        begin = w.indices(f"{node.name}/begin", self.begin)
        if all(s == 1 for s in self.stride):
            w.emit(node, "SLICE", (w.operand(node), begin, w.indices(f"{node.name}/size", self.size)))
            return
        ends = [b + (n - 1) * s + 1 for b, n, s in zip(self.begin, self.size, self.stride, strict=True)]
        end, stride = w.indices(f"{node.name}/end", ends), w.indices(f"{node.name}/stride", self.stride)
        w.emit(node, "STRIDED_SLICE", (w.operand(node), begin, end, stride))

    # -- .onnx ----------------------------------------------------------------------------------------
    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> AnyValue | list[AnyValue]:
        return r.split(op) if op.kind == "Split" else r.sliced(op)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        ends = [b + (n - 1) * s + 1 for b, n, s in zip(self.begin, self.size, self.stride, strict=True)]
        lists = [
            w.integers(f"{node.name}/{name}", v)
            for name, v in (("begin", self.begin), ("end", ends), ("axes", range(len(ends))), ("step", self.stride))
        ]
        w.moved(node, w.emit("Slice", [w.last(w.operand(node)), *lists], f"{node.name}/part"))


def _ranges(r: TFLiteReader, op: TFLiteOperator) -> list[range]:
    """The indices of each axis that STRIDED_SLICE takes. Its masks are bits of the positions in begin, end and strides; see tf.strided_slice."""
    x, o = op.input(0), r.options(op)
    begin, end, step = (integers(r, op, i).ravel().tolist() for i in (1, 2, 3))
    if x is None or not len(begin) == len(end) == len(step) or 0 in step:
        raise CompileError(op.where, f"takes from {begin} to {end} with steps of {step}", "export the model again")
    new, ellipsis = o["NewAxisMask"], o["EllipsisMask"]
    used = sum(not (new >> i & 1 or ellipsis >> i & 1) for i in range(len(begin)))
    found: list[range] = []
    extent = [max(d, 1) for d in x.shape]
    for i in range(len(begin)):
        if ellipsis >> i & 1:
            found += [range(d) for d in extent[len(found) : len(extent) - (used - len(found))]]
        elif not new >> i & 1 and len(found) < len(extent):
            d = extent[len(found)]
            if o["ShrinkAxisMask"] >> i & 1:
                at = begin[i] + d if begin[i] < 0 else begin[i]
                found.append(range(at, at + 1))
                continue
            last = begin[i] + end[i] if o["Offset"] else end[i]
            chosen = slice(None if o["BeginMask"] >> i & 1 else begin[i], None if o["EndMask"] >> i & 1 else last, step[i])
            found.append(range(*chosen.indices(d)))
    found += [range(d) for d in extent[len(found) :]]
    return found
