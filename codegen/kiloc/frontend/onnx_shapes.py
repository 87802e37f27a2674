"""ONNX operators that compute nothing: another shape or order of a tensor, and what its shape is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from ..errors import CompileError
from .limits import RANK
from .onnx_file import Operator
from .onnx_tensors import EXPORT_AGAIN
from .onnx_values import Values, checked_axes
from .qdq import AnyValue, Array, Constant

Handler = Callable[..., AnyValue | Sequence[AnyValue]]
"""What an operator of a file computes, given the reader and the operator."""


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


def _dropout(v: Values, op: Operator) -> AnyValue:
    """What it does in inference, where it drops nothing. A file that was exported in training mode asks for more than is meant."""
    training = v.value(op.input(2), op.where) if op.input(2) else None
    if training is not None and not (isinstance(training, Constant) and not np.any(training.data)):
        v.b.notes.append(f"{op.where}: is in training mode and left out, as in inference: its results would be random")
    return _identity(v, op)


def _shape(v: Values, op: Operator) -> AnyValue:
    shape = _shape_of(v, op)
    return Constant(op.outputs[0], np.array(shape[op.int_of("start") : op.int_of("end", len(shape))], np.int64))


def _size(v: Values, op: Operator) -> AnyValue:
    return Constant(op.outputs[0], np.array(prod(_shape_of(v, op)), np.int64))


SHAPE_OPERATORS: dict[str, Handler] = {
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Identity": _identity,
    "Dropout": _dropout,
    "Shape": _shape,
    "Size": _size,
}
