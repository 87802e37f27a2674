"""Operators of ONNX files that move values and compute nothing, or next to nothing: parts, joins, other sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.operator import NodeTypes, Op
from ..ops.model.concatenate import Concatenate
from ..ops.model.gather import Gather
from ..ops.model.pad import Pad
from ..ops.model.pad_axes import PadAxes
from ..ops.model.resize_bilinear import ResizeBilinear
from ..ops.model.slice import Slice
from .onnx_elementwise import Operand, as_operand, constant_operand, order_of_axes
from .onnx_embedding import embedded
from .onnx_file import Operator
from .onnx_tensors import EXPORT_AGAIN
from .qdq import Activation, AnyValue, Constant, Index, positions

if TYPE_CHECKING:
    from .onnx_reader import OnnxReader

Axes = tuple[int, ...]
_TURNED = "only parts of constant positions are supported"


def _operand(r: OnnxReader, op: Operator, position: int = 0) -> Activation:
    """On either side of DequantizeLinear: codes move like the values they stand for."""
    return r.moving(op, position)


def _laid_out(r: OnnxReader, op: Operator, x: Operand, axes: Axes, batch: bool) -> tuple[str, int]:
    """The value with the file's axes in this order, and how many axes it has in front of them. batch: whether the first one is worked along."""
    order = (x.data if isinstance(x, Constant) else x.index).transpose(axes)
    shape = r.batched(order.shape)
    shape = (1, *order.shape) if batch and len(shape) == order.ndim else shape
    if isinstance(x, Constant):
        return constant_operand(r, op, x, order.reshape(shape)), len(shape) - order.ndim
    return r.arrange(x, order, shape, op.where), len(shape) - order.ndim


def _index(shape: Sequence[int], axes: Axes) -> Index:
    """Where the elements of a result lie whose file's axes are in this order. shape: of the result in the graph, without axes in front."""
    return positions(tuple(shape)).transpose(np.argsort(axes))


def _added(r: OnnxReader, op: Operator, node: Op, value: str, label: str) -> str:
    type_ = r.b.values[value].type
    result = node.infer(NodeTypes({"x": type_}))
    assert result is not None
    r.check_size(op, result[0].shape)
    return r.b.node(r.name(label), node, {"x": value}, result[0], op.where)


def _taken(r: OnnxReader, op: Operator, x: Activation, chosen: dict[int, NDArray[np.int64]], label: str) -> Activation:
    """Some positions of some of the file's axes."""
    axes = order_of_axes([x], x.index.shape)
    value, front = _laid_out(r, op, x, axes, 0 in chosen)
    for axis, wanted in sorted(chosen.items()):
        at, extent = axes.index(axis) + front, x.index.shape[axis]
        steps = np.diff(wanted)
        if wanted.size == 0 or wanted.min() < 0 or wanted.max() >= extent:
            raise CompileError(op.where, f"takes {wanted[:8]} of an axis of {extent}", EXPORT_AGAIN)
        if wanted.size == extent and np.all(steps == 1):
            continue
        shape = r.b.values[value].type.shape
        node: Op = Gather(at, (tuple(wanted.tolist()),))
        if wanted.size == 1 or (steps[0] > 0 and np.all(steps == steps[0])):
            whole = Slice.along(shape, at, int(wanted[0]), wanted.size)
            node = replace(whole, stride=tuple(int(steps[0]) if i == at and wanted.size > 1 else 1 for i in range(len(shape))))
        value = _added(r, op, node, value, label)
    shape = r.b.values[value].type.shape[front:]
    return replace(x, value=value, index=_index(shape, axes))


def split(r: OnnxReader, op: Operator) -> list[AnyValue]:
    x, count = _operand(r, op), len(op.outputs)
    if x.index.ndim == 0:
        raise CompileError(op.where, "splits a number", EXPORT_AGAIN)
    axis = r.checked_axes(op, [op.int_of("axis", 0)], x.index.ndim)[0]
    extent = x.index.shape[axis]
    sizes = r.integers(op, 1, "split")
    if sizes is None:
        part = -(-extent // max(count, 1))
        sizes = [min(part, extent - part * i) for i in range(count)]
    if len(sizes) != count or sum(sizes) != extent or min(sizes) < 1:
        raise CompileError(op.where, f"splits an axis of {extent} into {sizes}", EXPORT_AGAIN)
    starts = np.cumsum([0, *sizes])
    return [_taken(r, op, x, {axis: np.arange(a, a + n)}, "split") for a, n in zip(starts, sizes, strict=False)]


def sliced(r: OnnxReader, op: Operator) -> AnyValue:
    x = _operand(r, op)
    starts, ends, axes = r.integers(op, 1, "starts"), r.integers(op, 2, "ends"), r.integers(op, 3, "axes")
    steps = r.integers(op, 4) or [1] * len(starts or [])
    axes = list(range(len(starts or []))) if axes is None else axes
    if starts is None or ends is None or not len(starts) == len(ends) == len(steps) == len(axes) or not all(steps):
        raise CompileError(op.where, f"slices from {starts} to {ends}", _TURNED)
    chosen = {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        (at,) = r.checked_axes(op, [axis], x.index.ndim)
        extent = x.index.shape[at]
        stop = end if step > 0 or end >= -extent else None
        chosen[at] = np.arange(extent)[slice(start, stop, step)]
    return _taken(r, op, x, chosen, "slice")


def gathered(r: OnnxReader, op: Operator) -> AnyValue:
    rows = embedded(r, op)
    if rows is not None:
        return rows
    x, indices = _operand(r, op), r.constant(op, 1).data
    axis = r.checked_axes(op, [op.int_of("axis", 0)], x.index.ndim)[0] if x.index.ndim else 0
    if indices.dtype.kind not in "iu" or indices.size == 0 or x.index.ndim == 0:
        raise CompileError(op.where, f"gathers by a {indices.dtype} of shape {indices.shape}", _TURNED)
    wanted = indices.astype(np.int64).ravel()
    found = _taken(r, op, x, {axis: np.where(wanted < 0, wanted + x.index.shape[axis], wanted)}, "gather")
    shape = (*found.index.shape[:axis], *indices.shape, *found.index.shape[axis + 1 :])
    return replace(found, index=found.index.reshape(shape))


def concatenated(r: OnnxReader, op: Operator) -> AnyValue:
    """Operands of any scales, and constants: behind DequantizeLinear each is brought to that of the result."""
    found = [_part(r, op, i) for i in range(len(op.inputs))]
    activations = [x for x in found if isinstance(x, Activation)]
    shapes = [x.data.shape if isinstance(x, Constant) else x.index.shape for x in found]
    if not activations or not shapes[0] or len({len(s) for s in shapes}) != 1:
        raise CompileError(op.where, "joins tensors of different ranks", EXPORT_AGAIN)
    axis = r.checked_axes(op, [op.int_of("axis", 0)], len(shapes[0]))[0]
    if len({(*s[:axis], *s[axis + 1 :]) for s in shapes}) != 1:
        raise CompileError(op.where, f"joins {' and '.join(map(str, shapes[:8]))} along axis {axis}", EXPORT_AGAIN)
    axes = order_of_axes(activations, shapes[0])
    laid = [_laid_out(r, op, x, axes, axis == 0) for x in found]
    dtypes = {x.dtype if isinstance(x, Activation) else "float32" for x in found}
    scales = {r.b.values[value].type.quantization for value, _ in laid}
    if len(dtypes) != 1 or (len(scales) > 1 and dtypes != {"float32"}):
        raise CompileError(op.where, "joins codes of different types or scales", "quantise in QDQ form: quant_format=QuantFormat.QDQ")
    front, at = laid[0][1], axes.index(axis) + laid[0][1]
    shape = list(r.b.values[laid[0][0]].type.shape)
    shape[at] = sum(s[axis] for s in shapes)
    r.check_size(op, tuple(shape))
    inputs = {"x" if i == 0 else f"x{i}": value for i, (value, _) in enumerate(laid)}
    q = r.quantization(activations[0]) if len(scales) == 1 else None
    index = _index(shape[front:], axes)
    p = r.result(op, "concat", lambda _: Concatenate(at), inputs, tuple(shape), index, clamps=False, alike=True, exact=q)
    return p if dtypes == {"float32"} else replace(r.settled(p, op.where), dtype=activations[0].dtype)


def _part(r: OnnxReader, op: Operator, position: int) -> Operand:
    x = r.value(op.input(position), op.where)
    return as_operand(op, x) if isinstance(x, Constant) else _operand(r, op, position)


# -- borders ------------------------------------------------------------------------------------------
_MIRRORS = ("reflect", "edge", "wrap")
"""Modes of Pad that repeat positions of the tensor, as NumPy names them."""


def padded(r: OnnxReader, op: Operator) -> AnyValue:
    """A border around a tensor of any rank, of one value or of its own ones."""
    x = r.settled(r.value(op.input(0), op.where), op.where)
    rank, pads, mode = x.index.ndim, r.integers(op, 1, "pads") or [], op.text_of("mode", "constant")
    axes = r.integers(op, 3)
    where = list(range(rank)) if axes is None else [r.checked_axes(op, [a], rank)[0] for a in axes]
    if len(set(where)) < len(where) or len(pads) != 2 * len(where) or any(not 0 <= p <= 1 << 16 for p in pads):
        raise CompileError(op.where, f"pads {pads} of {x.index.shape}", "only borders of zero and more elements are supported")
    amounts = np.zeros((2, rank), np.int64)
    amounts[:, where] = np.array(pads, np.int64).reshape(2, -1)
    if np.any(amounts[:, 0]):
        raise CompileError(op.where, f"pads {pads} of the batch", "the batch cannot be padded")
    r.check_size(op, tuple(int(d + a) for d, a in zip(x.index.shape, amounts.sum(0), strict=True)))
    if mode in _MIRRORS:
        return _taken(r, op, x, {i: _repeated(op, x.index.shape[i], amounts[:, i], mode) for i in range(rank) if np.any(amounts[:, i])}, "pad")
    if mode != "constant":
        raise CompileError(op.where, f"pads in mode {mode}", f"use one of constant, {', '.join(_MIRRORS)}")
    fill = r.border_code(op, x)
    if rank in (3, 4):
        top, bottom = amounts[:, 2].tolist()
        left, right = amounts[:, 3].tolist() if rank == 4 else (0, 0)
        order = r.image(op, x)
        value = Pad.around(r, op, r.arrange(x, order, order.shape, op.where), (top, left, bottom, right), fill, tuple(amounts[:, 1].tolist()))
        return replace(x, value=value, index=r.file_order(r.b.values[value].type.shape, rank))
    value, front = _laid_out(r, op, x, tuple(range(rank)), False)
    before, after = ((0,) * front + tuple(side) for side in amounts.tolist())
    value = _added(r, op, PadAxes(before, after, (0,) * len(before), fill), value, "pad")
    return replace(x, value=value, index=_index(r.b.values[value].type.shape[front:], tuple(range(rank))))


def _repeated(op: Operator, extent: int, amounts: NDArray[np.int64], mode: str) -> NDArray[np.int64]:
    if mode != "edge" and amounts.max() > extent - (mode == "reflect"):
        raise CompileError(op.where, f"pads an axis of {extent} by {amounts.tolist()} in mode {mode}", "pad by less than the axis has")
    return np.asarray(np.pad(np.arange(extent), (int(amounts[0]), int(amounts[1])), mode))  # type: ignore[call-overload]


# -- other sizes --------------------------------------------------------------------------------------
def _coordinates(op: Operator, size: int, extent: int, scale: np.float32) -> NDArray[np.float32]:
    """Of each index of the result: its place along an axis of the image, in float32 as onnxruntime has it."""
    mode, i = op.text_of("coordinate_transformation_mode", "half_pixel"), np.arange(size, dtype=np.float32)
    if mode == "pytorch_half_pixel" and size == 1:
        return np.zeros(1, np.float32)
    if mode in ("half_pixel", "pytorch_half_pixel") or (mode == "half_pixel_symmetric" and scale == np.float32(size / extent)):
        return np.asarray((i + np.float32(0.5)) / scale - np.float32(0.5))
    if mode == "align_corners":
        return np.asarray(i * np.float32(extent - 1) / np.float32(max(size - 1, 1)))
    if mode == "asymmetric":
        return np.asarray(i / scale)
    raise CompileError(op.where, f"coordinate_transformation_mode {mode} is not supported", "use half_pixel, align_corners or asymmetric")


def _nearest(op: Operator, size: int, extent: int, scale: np.float32) -> NDArray[np.int64]:
    x, mode, half = _coordinates(op, size, extent, scale), op.text_of("nearest_mode", "round_prefer_floor"), np.float32(0.5)
    rounded = {"round_prefer_floor": np.ceil(x - half), "round_prefer_ceil": np.floor(x + half), "floor": np.floor(x), "ceil": np.ceil(x)}
    if mode not in rounded:
        raise CompileError(op.where, f"nearest_mode {mode} is not supported", f"use one of {', '.join(rounded)}")
    return np.asarray(np.clip(rounded[mode].astype(np.int64), 0, extent - 1), np.int64)


def resized(r: OnnxReader, op: Operator) -> AnyValue:
    """Nearest along any axes, linear of height and width."""
    x, mode = _operand(r, op), op.text_of("mode", "nearest")
    shape = x.index.shape
    sizes, scales = _sizes(r, op, shape)
    if op.int_of("antialias") or op.text_of("keep_aspect_ratio_policy", "stretch") != "stretch" or mode not in ("nearest", "linear"):
        raise CompileError(op.where, f"resizes in mode {mode}, or smoothed", "use mode nearest or linear, without antialias")
    if mode == "nearest":
        chosen = {i: _nearest(op, n, d, s) for i, (n, d, s) in enumerate(zip(sizes, shape, scales, strict=True)) if n != d}
        return _taken(r, op, x, chosen, "resize")
    kind = op.text_of("coordinate_transformation_mode", "half_pixel")
    images = len(shape) == 4 and tuple(sizes[:2]) == shape[:2]
    whole = all(s == np.float32(n / d) for n, d, s in zip(sizes, shape, scales, strict=True))
    if not images or (not whole and kind != "align_corners") or kind not in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
        raise CompileError(op.where, f"resizes {shape} to {tuple(sizes)} in mode linear, {kind}", "only images of whole ratios are supported")
    if kind == "pytorch_half_pixel" and 1 in sizes[2:]:
        raise CompileError(op.where, "resizes to a single row or column", "use half_pixel")
    order = r.image(op, x)
    value = r.arrange(x, order, order.shape, op.where)
    node = ResizeBilinear((sizes[2], sizes[3]), kind == "align_corners", kind in ("half_pixel", "pytorch_half_pixel"))
    value = _added(r, op, node, value, "resize")
    return replace(x, value=value, index=r.file_order(r.b.values[value].type.shape, 4))


def _sizes(r: OnnxReader, op: Operator, shape: tuple[int, ...]) -> tuple[list[int], list[np.float32]]:
    """The result's extent and the ratio of each axis."""
    axes = op.ints_of("axes")
    axes = list(range(len(shape))) if axes is None else [a % len(shape) for a in r.checked_axes(op, axes, len(shape))]
    given = r.integers(op, 3)
    sizes, scales = list(shape), [np.float32(1)] * len(shape)
    factors = r.value(op.input(2), op.where) if op.input(2) else None
    numbers = factors.data.ravel() if isinstance(factors, Constant) else np.zeros(0)
    if given:
        if len(given) != len(axes) or any(not 0 < n <= 1 << 16 for n in given):
            raise CompileError(op.where, f"resizes {shape} to {given}", EXPORT_AGAIN)
        for axis, n in zip(axes, given, strict=True):
            sizes[axis], scales[axis] = n, np.float32(n / shape[axis])
        return sizes, scales
    if numbers.size != len(axes) or numbers.dtype.kind != "f" or not np.all((numbers > 0) & (numbers < 1 << 16)):
        raise CompileError(op.where, "has neither constant scales nor constant sizes", "export with fixed shapes")
    for axis, s in zip(axes, numbers, strict=True):
        sizes[axis], scales[axis] = int(np.floor(np.float32(shape[axis]) * np.float32(s))), np.float32(s)
    r.check_size(op, tuple(sizes))
    return sizes, scales
