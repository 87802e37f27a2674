"""ONNX operators that compute nothing: another shape or order of a tensor, and arithmetic on shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np
import onnx

from ..errors import CompileError
from .limits import RANK
from .onnx_file import EXPORT_AGAIN, Operator, constant_data
from .onnx_values import Values, checked_axes
from .qdq import AnyValue, Array, Constant

_CAST = {int(onnx.TensorProto.INT64): np.int64, int(onnx.TensorProto.INT32): np.int32, int(onnx.TensorProto.FLOAT): np.float32}
Handler = Callable[[Values, Operator], AnyValue]


def _shape_of(v: Values, op: Operator) -> tuple[int, ...]:
    x = v.value(op.input(0), op.where)
    return tuple(x.data.shape if isinstance(x, Constant) else x.index.shape)


def _rearranged(v: Values, op: Operator, change: Callable[[Array], Array]) -> AnyValue:
    x = v.value(op.input(0), op.where)
    if isinstance(x, Constant):
        return x.rearranged(change)
    return replace(x, index=change(x.index))


def _reshaped(v: Values, op: Operator, shape: list[int]) -> AnyValue:
    size, rest = prod(_shape_of(v, op)), prod(d for d in shape if d != -1)
    if shape.count(-1) == 1 and rest > 0 and size % rest == 0:
        shape = [size // rest if d == -1 else d for d in shape]
    if any(d < 1 for d in shape) or prod(shape) != size or len(shape) > RANK:
        raise CompileError(op.where, f"reshapes {_shape_of(v, op)} to {tuple(shape)}", "export the model with fixed shapes and a batch of 1")
    return _rearranged(v, op, lambda a: a.reshape(shape))


def _reshape(v: Values, op: Operator) -> AnyValue:
    source, shape = _shape_of(v, op), v.integers(op, 1, "shape")
    if shape is None or len(shape) > RANK or any(not -1 <= d <= 1 << 26 for d in shape):
        raise CompileError(op.where, f"reshapes to {shape}", EXPORT_AGAIN)
    if not op.int_of("allowzero", 0):
        shape = [source[i] if d == 0 and i < len(source) else d for i, d in enumerate(shape)]
    return _reshaped(v, op, shape)


def _flatten(v: Values, op: Operator) -> AnyValue:
    source, axis = _shape_of(v, op), op.int_of("axis", 1)
    if not -len(source) <= axis <= len(source):
        raise CompileError(op.where, f"axis {axis} of shape {source}", EXPORT_AGAIN)
    axis += len(source) if axis < 0 else 0
    return _reshaped(v, op, [prod(source[:axis]), prod(source[axis:])])


def _squeeze(v: Values, op: Operator) -> AnyValue:
    source, axes = _shape_of(v, op), v.integers(op, 1, "axes")
    drop = [i for i, d in enumerate(source) if d == 1] if axes is None else checked_axes(op, axes, len(source))
    if any(source[i] != 1 for i in drop):
        raise CompileError(op.where, f"removes axes {drop} of shape {source}", EXPORT_AGAIN)
    return _reshaped(v, op, [d for i, d in enumerate(source) if i not in drop])


def _unsqueeze(v: Values, op: Operator) -> AnyValue:
    axes, shape = v.integers(op, 1, "axes") or [], list(_shape_of(v, op))
    if len(axes) > RANK:
        raise CompileError(op.where, f"adds {len(axes)} axes", EXPORT_AGAIN)
    for axis in checked_axes(op, axes, len(shape) + len(axes)):
        shape.insert(axis, 1)
    return _reshaped(v, op, shape)


def _transpose(v: Values, op: Operator) -> AnyValue:
    rank = len(_shape_of(v, op))
    perm = op.ints_of("perm", []) or list(range(rank))[::-1]
    if sorted(perm) != list(range(rank)):
        raise CompileError(op.where, f"permutation {perm} of {rank} axes", EXPORT_AGAIN)
    return _rearranged(v, op, lambda a: a.transpose(perm))


def _identity(v: Values, op: Operator) -> AnyValue:
    return v.value(op.input(0), op.where)


# -- arithmetic on shapes, as exporters write it for a flatten ----------------------------------------
def _constant(v: Values, op: Operator) -> AnyValue:
    if isinstance(op.attributes.get("value"), onnx.TensorProto):
        return Constant(op.outputs[0], constant_data(op.attributes["value"]))
    for name, read in (("value_int", op.int_of), ("value_ints", op.ints_of), ("value_float", op.float_of), ("value_floats", op.floats_of)):
        if name in op.attributes:
            return Constant(op.outputs[0], np.asarray(read(name), np.int64 if "int" in name else np.float32))
    raise CompileError(op.where, "holds no numbers", EXPORT_AGAIN)


def _shape(v: Values, op: Operator) -> AnyValue:
    return Constant(op.outputs[0], np.array(_shape_of(v, op), np.int64))


def _plain(v: Values, op: Operator, position: int) -> Array:
    """A small constant that is no weight."""
    x = v.value(op.input(position), op.where)
    if not isinstance(x, Constant):
        raise CompileError(op.where, f"operator {op.kind} is not supported on activations", "keep it out of the INT8 core")
    if x.scale is not None or x.data.size > 64 or x.data.dtype.kind not in "iufb":
        raise CompileError(op.where, f"operator {op.kind} is not supported on weights", "fold constants before quantising")
    return x.data


def _gather(v: Values, op: Operator) -> AnyValue:
    data, wanted = _plain(v, op, 0), _plain(v, op, 1)
    axis = checked_axes(op, [op.int_of("axis", 0)], data.ndim)[0]
    if wanted.dtype.kind not in "iu" or not np.all((wanted >= -data.shape[axis]) & (wanted < data.shape[axis])):
        raise CompileError(op.where, f"takes elements {wanted} of {data}", EXPORT_AGAIN)
    return Constant(op.outputs[0], np.take(data, wanted.astype(np.int64), axis=axis))


def _concat(v: Values, op: Operator) -> AnyValue:
    parts = [_plain(v, op, i) for i in range(len(op.inputs))]
    if not parts or any(p.ndim != 1 for p in parts) or op.int_of("axis", 0) not in (0, -1):
        shapes = ", ".join(str(p.shape) for p in parts[:RANK])
        raise CompileError(op.where, f"joins constants of shapes {shapes}", "fold constants before quantising")
    return Constant(op.outputs[0], np.concatenate(parts))


def _cast(v: Values, op: Operator) -> AnyValue:
    to, data = op.int_of("to", onnx.TensorProto.INT64), _plain(v, op, 0)
    if to not in _CAST or not np.all(np.isfinite(data)) or np.any(np.abs(data.astype(np.float64)) >= 2**62):
        raise CompileError(op.where, f"turns {data} into type {to}", "fold constants before quantising")
    return Constant(op.outputs[0], data.astype(np.float64 if _CAST[to] is np.float32 else np.int64).astype(_CAST[to]))


def _slice(v: Values, op: Operator) -> AnyValue:
    data = _plain(v, op, 0)
    starts, ends = v.integers(op, 1, "starts"), v.integers(op, 2, "ends")
    steps = v.integers(op, 4) or [1]
    if data.ndim != 1 or starts is None or ends is None or len(starts) != 1 or len(ends) != 1 or len(steps) != 1 or not steps[0]:
        raise CompileError(op.where, f"slices a constant of shape {data.shape} from {starts} to {ends}", "fold constants before quantising")
    return Constant(op.outputs[0], data[starts[0] : ends[0] : steps[0]])


SHAPE_OPERATORS: dict[str, Handler] = {
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Identity": _identity,
    "Dropout": _identity,
    "Constant": _constant,
    "Shape": _shape,
    "Gather": _gather,
    "Concat": _concat,
    "Cast": _cast,
    "Slice": _slice,
}
