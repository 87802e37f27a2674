"""Products and sums of an activation and constants of ONNX files: biases, and normalisations that were not fused.

Behind a layer they become part of it: its scales and its bias. A constant that is quantised like an activation is an operand.
Elsewhere they are a depthwise layer with a window of one element, y[c] = factor[c] * x[c] + addend[c], which takes all of a chain
up to the next QuantizeLinear.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.types import Quantization
from ..ops._window import Window
from ..ops.model.function import evaluated
from .build import checked_quantization
from .onnx_elementwise import is_operand
from .onnx_file import Operator
from .onnx_functions import line
from .onnx_reader import OnnxReader
from .onnx_tensors import EXPORT_AGAIN
from .qdq import UNBOUNDED, Activation, AnyValue, Constant, Pending

AFFINE = ("Add", "Sub", "Mul", "Div", "BatchNormalization")
LARGEST = 1 << 12
"""Elements of a constant that is another for every element of an activation."""
_UNIT = 127
"""Code of the largest factor: biases are in units of the input's scale / _UNIT."""
Reals = NDArray[np.float64]


def affine(r: OnnxReader, op: Operator) -> AnyValue | None:
    """The result of an activation and constants; None where the operator is another or takes more activations."""
    if op.kind not in AFFINE:
        return None
    if op.kind == "BatchNormalization":
        return _normalised(r, op)
    found = [r.value(op.input(i), op.where) for i in (0, 1)]
    position = next((i for i, x in enumerate(found) if isinstance(x, Constant)), None)
    if position is None:
        return None
    constant, x = found[position], found[1 - position]
    assert isinstance(constant, Constant)
    if isinstance(x, Constant):
        raise CompileError(op.where, f"computes with the constants '{x.name}' and '{constant.name}'", EXPORT_AGAIN)
    if op.kind != "Div" and is_operand(constant) and not _is_layer(x):
        return None
    c = _finite(op, constant)
    if op.kind in ("Add", "Sub"):
        negative = op.kind == "Sub" and position == 1
        x = _linear(r, op, x, c)
        if op.kind == "Sub" and position == 0:
            x = r.with_factor(op, np.array(-1.0), x)
        return r.with_bias(op, constant, x, -1.0 if negative else 1.0)
    if op.kind == "Div" and position == 0:
        return None
    factor = 1 / c if op.kind == "Div" and np.all(c) else c
    if op.kind == "Div" and not np.all(c):
        raise CompileError(op.where, f"divides by '{constant.name}', which holds 0", EXPORT_AGAIN)
    return r.with_factor(op, factor, _linear(r, op, x, c))


def own_range(r: OnnxReader, p: Pending) -> Quantization | None:
    """The quantisation that holds every result of a function, or of a factor and an addend for each channel; None for anything else."""
    x = r.b.values[p.inputs["x"]].type
    if p.program:
        ends = evaluated(p.program, (np.arange(-128, 128) - x.zero_point) * np.float64(x.scale))[0]
        ends = ends[np.isfinite(ends)]
    elif p.layer and p.layer.slack:
        ends = (np.array([[-128], [127]]) - x.zero_point) * p.layer.weights.ravel() * p.layer.units
        ends = ends + p.layer.bias.data * p.layer.bias.scale if p.layer.bias else ends
    else:
        return None
    if not ends.size:
        raise CompileError(p.origin.where, "has no finite result", EXPORT_AGAIN)
    low, high = (float(np.clip(e, p.low, p.high)) for e in (min(ends.min(), 0), max(ends.max(), 0)))
    scale = np.float64(np.float32(max(high - low, float(np.finfo(np.float32).tiny) * 255) / 255))
    return checked_quantization(p.origin.where, np.array([scale]), np.array([int(np.clip(np.rint(-128 - low / scale), -128, 127))]), None)


def _normalised(r: OnnxReader, op: Operator) -> AnyValue:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, of each channel, the second axis."""
    constants = [r.constant(op, i) for i in range(1, 5)]
    scale, bias, mean, variance = (_finite(op, c).ravel() for c in constants)
    x = r.value(op.input(0), op.where)
    if isinstance(x, Constant):
        raise CompileError(op.where, f"normalises the constant '{x.name}'", EXPORT_AGAIN)
    shape = x.index.shape
    if op.int_of("training_mode") or op.int_of("spatial", 1) != 1:
        raise CompileError(op.where, "is in training mode", "export the model for inference")
    if len(shape) < 2 or {scale.size, bias.size, mean.size, variance.size} != {shape[1]}:
        raise CompileError(op.where, f"normalises {shape} with {scale.size} scales and {mean.size} means", EXPORT_AGAIN)
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + op.float_of("epsilon", 1e-5))
    if not np.all(np.isfinite(factor)):
        raise CompileError(op.where, "has a variance that is not positive", EXPORT_AGAIN)
    columns = [-1 if i == 1 else 1 for i in range(len(shape))]
    factor, addend = factor.reshape(columns), (bias - mean * factor).reshape(columns)
    p = r.with_factor(op, factor, _linear(r, op, x, factor + addend))
    return r.with_bias(op, Constant(constants[1].name, addend), p)


def _finite(op: Operator, c: Constant) -> Reals:
    if c.data.dtype.kind not in "iuf" or c.data.size == 0:
        raise CompileError(op.where, f"computes with a {c.data.dtype} of shape {c.data.shape}", EXPORT_AGAIN)
    with np.errstate(over="ignore"):
        found = c.real().astype(np.float32).astype(np.float64)
    if not np.all(np.isfinite(found)):
        raise CompileError(op.where, f"'{c.name}' holds numbers that are not finite", EXPORT_AGAIN)
    return found


def _is_layer(x: AnyValue) -> bool:
    """A factor or an addend can become part of it."""
    return isinstance(x, Pending) and x.layer is not None and (x.low, x.high) == UNBOUNDED


def _linear(r: OnnxReader, op: Operator, x: Activation | Pending, c: Reals) -> Pending:
    """x as the result of a layer that takes a factor and an addend of the shape of c."""
    if isinstance(x, Pending) and _is_layer(x):
        return x
    straight = line(x) if isinstance(x, Pending) and x.program else None
    if isinstance(x, Pending) and straight is not None:
        factor, addend = straight
        first = _linear(r, op, Activation(x.inputs["x"], x.index, "float32"), c)
        return r.with_bias(op, Constant("", np.array(addend)), r.with_factor(op, np.array(factor), first))
    if isinstance(x, Pending):
        x = r.settled(x, op.where)
    if x.dtype != "float32":
        raise CompileError(op.where, f"computes with a tensor of type {x.dtype}", EXPORT_AGAIN)
    if c.ndim > x.index.ndim or any(a not in (1, b) for a, b in zip(c.shape[::-1], x.index.shape[::-1], strict=False)):
        raise CompileError(op.where, f"takes a constant of shape {c.shape} and {x.index.shape}", "only constants that leave the shape are supported")
    value, shape, index = _channels(r, op, x, c)
    return r.weighted(op, "affine", value, Window((1, 1)), (_UNIT, 1 / _UNIT), shape, index)


def _channels(r: OnnxReader, op: Operator, x: Activation, c: Reals) -> tuple[str, tuple[int, ...], NDArray[np.int64]]:
    """x as an image whose last axis has a constant of its own for each index: as it lies, channels last, or all elements as channels."""
    shape = r.type(x).shape
    orders = [x.index] if x.index.ndim not in (3, 4) else [x.index, r.image(op, x)]
    full = np.broadcast_to(c, x.index.shape)
    for i, order in enumerate(orders):
        extent = shape if i == 0 else order.shape
        flat = np.empty(full.size)
        flat[x.index.ravel()] = full.ravel()
        rows = (flat if i == 0 else flat[order.ravel()]).reshape(-1, extent[-1])
        if not np.any(rows != rows[0]):
            image = extent if len(extent) == 4 else (1, len(rows), 1, extent[-1])
            if i == 0:
                return r.arrange(Activation(x.value, r.positions(shape), x.dtype), r.positions(image), image, op.where), image, x.index
            return r.arrange(x, order, image, op.where), image, r.file_order(order.shape, x.index.ndim)
    if full.size > LARGEST:
        what = f"takes a constant with {full.size} elements of its own"
        raise CompileError(op.where, what, f"constants of one number a channel, or of at most {LARGEST} elements, are supported")
    image = (1, 1, 1, full.size)
    return r.arrange(Activation(x.value, r.positions(shape), x.dtype), r.positions(image), image, op.where), image, x.index
