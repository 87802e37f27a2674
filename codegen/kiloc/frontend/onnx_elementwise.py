"""Operators of ONNX files that work element by element: operands in one order of axes, stretched where the file stretches them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CompileError
from ..ir.operator import REGISTRY, Op
from ..ir.types import Quantization
from ..ops.model._choice import Choice
from ..ops.model.requantize import Requantize
from .build import SMALLEST_SCALE, checked_quantization
from .onnx_file import TAKE_INT16, Operator
from .onnx_tensors import EXPORT_AGAIN
from .qdq import Activation, AnyValue, Constant, Index, Pending, is_ordered, positions

if TYPE_CHECKING:
    from .onnx_reader import OnnxReader

Operand = Activation | Constant
_LARGEST_CODE = 127


def is_operand(x: AnyValue) -> bool:
    """A constant that an operator of two activations can take in place of one: int8 with one scale, or uint8, which is held 128 lower."""
    return isinstance(x, Constant) and x.scale is not None and x.scale.size == 1 and str(x.data.dtype) in ("int8", "uint8") and x.data.size > 0


def as_operand(op: Operator, x: Constant) -> Constant:
    """A constant in int8 with one scale: itself where it is that, else rounded, its largest magnitude as 127."""
    if is_operand(x):
        return x
    with np.errstate(over="ignore"):
        real = x.real()
    if x.data.size == 0 or x.data.dtype.kind not in "iuf" or not np.all(np.isfinite(real)):
        raise CompileError(op.where, f"takes the constant '{x.name}', a {x.data.dtype} of shape {x.data.shape}", EXPORT_AGAIN)
    scale = np.maximum(np.abs(real).max() / _LARGEST_CODE, SMALLEST_SCALE).astype(np.float32).astype(np.float64)
    return Constant(x.name, np.clip(np.rint(real / scale), -128, 127).astype(np.int8), np.array([scale]))


def elementwise(r: OnnxReader, op: Operator, kind: type[Op]) -> Pending:
    """An operator whose inputs are its operands; its attribute `activation` takes a clamp that follows."""
    count = len(kind.operands)
    if len([name for name in op.inputs if name]) != count:
        raise CompileError(op.where, f"has {len(op.inputs)} inputs", f"only {count} are supported")
    found = [_operand(r, op, i) for i in range(count)]
    if not any(isinstance(x, Activation) for x in found):
        raise CompileError(op.where, "computes with constants alone", EXPORT_AGAIN)
    if count == 2 and isinstance(found[0], Constant) and getattr(kind, "commutes", False):
        found = found[::-1]
    takes = any(isinstance(x, Activation) and r.type(x).dtype == "int16" for x in found)
    if takes or (op.kind in TAKE_INT16 and r.type_behind(op.outputs[0]) == "int16"):
        kind, found = _of_int16(r, op, kind, found)
    dtype = kind.element_types[0]
    shapes = [_shape(x) for x in found]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise CompileError(op.where, f"takes {' and '.join(map(str, shapes))}", "export with shapes that stretch to one another") from None
    r.check_size(op, shape)
    clamps = "activation" in kind.__dataclass_fields__
    make: Callable[[str], Op] = (lambda a: kind(**{"activation": a})) if clamps else lambda _: kind()
    alike = issubclass(kind, Choice)  # which compares codes of one scale
    if len(set(shapes)) == 1:
        first = next(x for x in found if isinstance(x, Activation))
        inputs = {name: _alike(r, op, x, first.index, r.type(first).shape) for name, x in zip(kind.operands, found, strict=True)}
        return r.result(op, kind.mnemonic, make, inputs, r.type(first).shape, first.index, clamps=clamps, alike=alike, dtype=dtype)
    axes = order_of_axes(found, shape)
    moved = tuple(shape[a] for a in axes)
    inputs = {name: _stretched(r, op, x, axes) for name, x in zip(kind.operands, found, strict=True)}
    index = positions(moved).transpose(np.argsort(axes))
    return r.result(op, kind.mnemonic, make, inputs, r.batched(moved), index, clamps=clamps, alike=alike, dtype=dtype)


def _of_int16(r: OnnxReader, op: Operator, kind: type[Op], found: Sequence[Operand]) -> tuple[type[Op], list[Operand]]:
    """The form of an operator for int16, and its operands in that type: int8 ones keep their scale."""
    wide = next((cls for cls in REGISTRY.values() if cls.beside == kind.mnemonic and cls.element_types == ("int16",)), None)
    if wide is None:
        raise CompileError(op.where, "has an operand of int16", f"of that type are operands of {', '.join(sorted(TAKE_INT16))} alone")
    return wide, [_widened(r, op, x) for x in found]


def _widened(r: OnnxReader, op: Operator, x: Operand) -> Operand:
    if isinstance(x, Constant):
        raise CompileError(op.where, f"adds the constant '{x.name}' to int16", "add it in a layer in front, as its bias")
    t = r.type(x)
    if t.dtype == "int16":
        return x
    wide = replace(t, dtype="int16", quantization=Quantization((t.scale,)))
    return replace(x, value=r.b.node(r.name("widen"), Requantize(), {"x": x.value}, wide, op.where))


def _operand(r: OnnxReader, op: Operator, position: int) -> Operand:
    x = r.value(op.input(position), op.where)
    if isinstance(x, Constant) and is_operand(x):
        return x
    return r.activation(op, position)


def _shape(x: Operand) -> tuple[int, ...]:
    return tuple(x.data.shape if isinstance(x, Constant) else x.index.shape)


def _alike(r: OnnxReader, op: Operator, x: Operand, like: Index, shape: tuple[int, ...]) -> str:
    """An operand in the order that another one of its shape has: that one's value has `shape`."""
    if isinstance(x, Constant):
        data = np.empty(x.data.size, x.data.dtype)
        data[like.ravel()] = x.data.ravel()
        return constant_operand(r, op, x, data.reshape(shape))
    order = np.empty_like(x.index).ravel()
    order[like.ravel()] = x.index.ravel()
    return r.arrange(x, order, shape, op.where)


def order_of_axes(found: Sequence[Operand], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The order of the file's axes that the largest activation has already: as they are, or channels last."""
    rank = len(shape)
    largest = max((x for x in found if isinstance(x, Activation)), key=lambda x: x.index.size)
    index = largest.index.reshape((1,) * (rank - largest.index.ndim) + largest.index.shape)
    last = (0, *range(2, rank), 1) if rank > 2 else tuple(range(rank))
    return next((axes for axes in (tuple(range(rank)), last) if is_ordered(index.transpose(axes))), last)


def _stretched(r: OnnxReader, op: Operator, x: Operand, axes: tuple[int, ...]) -> str:
    """An operand with its axes in this order; those that it lacks have an extent of 1."""
    full = (1,) * (len(axes) - len(_shape(x))) + _shape(x)
    if isinstance(x, Constant):
        data = x.data.reshape(full).transpose(axes)
        return constant_operand(r, op, x, data.reshape(r.batched(data.shape)))
    order = x.index.reshape(full).transpose(axes)
    return r.arrange(x, order, r.batched(order.shape), op.where)


def constant_operand(r: OnnxReader, op: Operator, x: Constant, data: np.ndarray) -> str:
    """A value of the graph with the codes `data` of a constant, as `is_operand` takes it."""
    assert x.scale is not None
    offset = 128 * (data.dtype == np.uint8)
    q = checked_quantization(op.where, x.scale, x.zero_points - offset, None)
    name = r.b.unique(f"{r.name(op.kind.lower())}.other")
    return r.b.constant(name, (data.astype(np.int64) - offset).astype(np.int8), q, x.name)
