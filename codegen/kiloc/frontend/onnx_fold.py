"""Operators of ONNX on constants alone, computed when the model is read: shapes as exporters compute them, and factors of normalisations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx

from ..errors import CompileError
from .limits import ELEMENTS, RANK
from .onnx_file import Operator
from .onnx_tensors import EXPORT_AGAIN, constant_data
from .onnx_values import Values, checked_axes
from .qdq import Array, Constant

FOLD_HINT = "fold constants before quantising: onnxruntime.quantization.shape_inference.quant_pre_process does"
_TYPES = {
    int(getattr(onnx.TensorProto, name.upper())): np.dtype(name)
    for name in ("float", "double", "int64", "int32", "int8", "uint8", "bool")
    if name not in ("float", "double")
} | {int(onnx.TensorProto.FLOAT): np.dtype(np.float32), int(onnx.TensorProto.DOUBLE): np.dtype(np.float64)}
_INTEGERS = 64
"""Elements of a constant that only shapes can be."""


@dataclass(frozen=True)
class Folding:
    """The inputs of one operator as arrays."""

    v: Values
    op: Operator
    inputs: list[Array | None]

    def array(self, position: int) -> Array:
        found = self.inputs[position] if position < len(self.inputs) else None
        if found is None:
            raise CompileError(self.op.where, f"has no input {position}", EXPORT_AGAIN)
        return found

    def integers(self, position: int, attribute: str = "") -> list[int] | None:
        return self.v.integers(self.op, position, attribute)

    def axis(self, rank: int, default: int = 0) -> int:
        return checked_axes(self.op, [self.op.int_of("axis", default)], rank)[0]

    def fail(self, what: str) -> CompileError:
        return CompileError(self.op.where, what, EXPORT_AGAIN)

    def checked(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) > RANK or any(d < 0 for d in shape) or prod(max(d, 1) for d in shape) > ELEMENTS:
            raise self.fail(f"makes a constant of shape {shape[:RANK]}")
        return shape


Fold = Callable[[Folding], Array]


def _arithmetic(compute: Callable[[Any, Any], Any]) -> Fold:
    def fold(f: Folding) -> Array:
        a, b = f.array(0), f.array(1)
        try:
            f.checked(np.broadcast_shapes(a.shape, b.shape))
        except ValueError:
            raise f.fail(f"takes constants of shapes {a.shape} and {b.shape}") from None
        kind = np.promote_types(a.dtype, b.dtype)
        with np.errstate(all="ignore"):
            found = compute(a.astype(kind), b.astype(kind))
        return np.asarray(found)

    return fold


def _quotient(a: Array, b: Array) -> Array:
    """Integers towards zero, as ONNX has it; by 0: 0."""
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    magnitude = np.abs(a) // np.where(b == 0, 1, np.abs(b))
    return np.where(b == 0, 0, magnitude * np.sign(a) * np.sign(b)).astype(a.dtype)


def _function(compute: Callable[[Any], Any]) -> Fold:
    def fold(f: Folding) -> Array:
        x = f.array(0)
        with np.errstate(all="ignore"):
            return np.asarray(compute(x)).astype(x.dtype)

    return fold


def _constant(f: Folding) -> Array:
    op = f.op
    if isinstance(op.attributes.get("value"), onnx.TensorProto):
        return constant_data(op.attributes["value"], f.v.model.folder)
    for name, read in (("value_int", op.int_of), ("value_ints", op.ints_of), ("value_float", op.float_of), ("value_floats", op.floats_of)):
        if name in op.attributes:
            return np.asarray(read(name), np.int64 if "int" in name else np.float32)
    raise CompileError(op.where, "holds no numbers", EXPORT_AGAIN)


def _filled(f: Folding) -> Array:
    value = f.op.attributes.get("value")
    fill = constant_data(value).ravel() if isinstance(value, onnx.TensorProto) else np.zeros(1, np.float32)
    shape = f.checked(tuple(f.integers(0) or []))
    if fill.size != 1:
        raise f.fail(f"fills with {fill.size} values")
    return np.full(shape, fill[0])


def _gather(f: Folding) -> Array:
    data, wanted = f.array(0), f.array(1)
    axis = f.axis(data.ndim)
    if wanted.dtype.kind not in "iu" or not np.all((wanted >= -data.shape[axis]) & (wanted < data.shape[axis])):
        raise f.fail(f"takes elements {wanted.ravel()[:8]} of a constant of shape {data.shape}")
    f.checked((*data.shape[:axis], *wanted.shape, *data.shape[axis + 1 :]))
    return np.take(data, wanted.astype(np.int64), axis=axis)


def _concat(f: Folding) -> Array:
    parts = [f.array(i) for i in range(len(f.inputs))]
    shapes = {p.ndim for p in parts}
    if not parts or len(shapes) != 1 or not parts[0].ndim:
        raise f.fail(f"joins constants of shapes {', '.join(str(p.shape) for p in parts[:RANK])}")
    axis = f.axis(parts[0].ndim)
    if len({(*p.shape[:axis], *p.shape[axis + 1 :]) for p in parts}) != 1:
        raise f.fail(f"joins constants of shapes {', '.join(str(p.shape) for p in parts[:RANK])} along axis {axis}")
    f.checked((*parts[0].shape[:axis], sum(p.shape[axis] for p in parts), *parts[0].shape[axis + 1 :]))
    return np.concatenate(parts, axis)


def _cast(f: Folding) -> Array:
    to, data = f.op.int_of("to", onnx.TensorProto.INT64), f.array(0)
    if to not in _TYPES or not np.all(np.isfinite(data)) or np.any(np.abs(data.astype(np.float64)) >= 2**62):
        raise f.fail(f"turns {data.ravel()[:8]} into type {to}")
    with np.errstate(all="ignore"):
        whole = data if _TYPES[to].kind in "fb" else np.trunc(data.astype(np.float64)).astype(np.int64)
        return np.asarray(whole.astype(_TYPES[to]))


def _slice(f: Folding) -> Array:
    data = f.array(0)
    starts, ends = f.integers(1, "starts"), f.integers(2, "ends")
    axes = f.integers(3, "axes")
    steps = f.integers(4) or ([1] * len(starts) if starts else [])
    if starts is None or ends is None or len({len(starts), len(ends), len(steps), len(starts if axes is None else axes)}) != 1 or not all(steps):
        raise f.fail(f"slices a constant of shape {data.shape} from {starts} to {ends}")
    for axis, start, end, step in zip(range(len(starts)) if axes is None else axes, starts, ends, steps, strict=True):
        where = checked_axes(f.op, [axis], data.ndim)[0]
        data = data[(slice(None),) * where + (slice(start, end if step > 0 or end >= -data.shape[where] else None, step),)]
    return data


def _expand(f: Folding) -> Array:
    data, wanted = f.array(0), tuple(f.integers(1) or [])
    f.checked(wanted)
    try:
        shape = f.checked(np.broadcast_shapes(data.shape, wanted))
    except ValueError:
        raise f.fail(f"spreads a constant of shape {data.shape} to {wanted}") from None
    return np.broadcast_to(data, shape)


def _reduced(compute: Callable[..., Any]) -> Fold:
    def fold(f: Folding) -> Array:
        data, axes = f.array(0), f.integers(1, "axes")
        chosen = tuple(checked_axes(f.op, axes, data.ndim)) if axes else None
        with np.errstate(all="ignore"):
            return np.asarray(compute(data, axis=chosen, keepdims=bool(f.op.int_of("keepdims", 1)))).astype(data.dtype)

    return fold


def _where(f: Folding) -> Array:
    condition, a, b = f.array(0), f.array(1), f.array(2)
    try:
        f.checked(np.broadcast_shapes(condition.shape, a.shape, b.shape))
    except ValueError:
        raise f.fail(f"chooses between constants of shapes {a.shape} and {b.shape}") from None
    return np.where(condition != 0, a, b)


def _range(f: Folding) -> Array:
    start, limit, step = (f.array(i).ravel() for i in range(3))
    if any(n.size != 1 or n.dtype.kind not in "if" or not np.all(np.isfinite(n)) for n in (start, limit, step)) or step[0] == 0:
        raise f.fail("counts from, to or by something that is no number")
    if abs(float(limit[0]) - float(start[0])) / abs(float(step[0])) > ELEMENTS:
        raise f.fail(f"counts from {start[0]} to {limit[0]}")
    return np.arange(start[0], limit[0], step[0], dtype=start.dtype)


FOLDED: dict[str, Fold] = {
    "Add": _arithmetic(np.add),
    "Cast": _cast,
    "Ceil": _function(np.ceil),
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Div": _arithmetic(_quotient),
    "Equal": _arithmetic(np.equal),
    "Exp": _function(np.exp),
    "Expand": _expand,
    "Floor": _function(np.floor),
    "Gather": _gather,
    "Max": _arithmetic(np.maximum),
    "Min": _arithmetic(np.minimum),
    "Mul": _arithmetic(np.multiply),
    "Neg": _function(np.negative),
    "Range": _range,
    "Reciprocal": _function(np.reciprocal),
    "ReduceMax": _reduced(np.max),
    "ReduceMin": _reduced(np.min),
    "ReduceProd": _reduced(np.prod),
    "Slice": _slice,
    "Sqrt": _function(np.sqrt),
    "Sub": _arithmetic(np.subtract),
    "Where": _where,
}
"""Those that are folded where all their inputs are constant."""


def folded(v: Values, op: Operator) -> Constant | None:
    """The result of an operator on constants; None where it is none of these, or takes an activation."""
    if op.kind not in FOLDED:
        return None
    inputs = [v.value(name, op.where) if name else None for name in op.inputs]
    if not all(x is None or isinstance(x, Constant) for x in inputs):
        return None
    arrays = [None if x is None else _array(x) for x in inputs if x is None or isinstance(x, Constant)]
    found = FOLDED[op.kind](Folding(v, op, arrays))
    if found.dtype.kind not in "iufb":
        raise CompileError(op.where, f"makes constants of type {found.dtype}", FOLD_HINT)
    return Constant(op.outputs[0], found)


def _array(x: Constant) -> Array:
    """The numbers of a constant, which may have been dequantised."""
    if x.scale is None:
        return x.data
    return x.real().astype(np.float32)
