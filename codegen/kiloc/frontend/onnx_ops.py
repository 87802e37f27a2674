"""ONNX operators that say how a QDQ model is quantised and clamped, and the table of all that make no node of their own.

The others are read by the operators themselves (`Op.read_onnx`), with what `onnx_reader.py` gives them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import CompileError
from ..ir.types import TensorType
from .onnx_file import Operator
from .onnx_functions import clamped
from .onnx_shapes import SHAPE_OPERATORS, Handler
from .onnx_tensors import EXPORT_AGAIN
from .onnx_values import Values
from .qdq import Activation, AnyValue, Constant, Pending, held, positions
from .refusals import Consequence


# -- quantisation -------------------------------------------------------------------------------------
def _quantize(v: Values, op: Operator) -> AnyValue:
    if op.input(0) in v.lost:
        return _stand_in(v, op)
    x = v.value(op.input(0), op.where)
    if isinstance(x, Constant):
        return _quantized_constant(v, op, x)
    q, dtype = v.parameters(op)
    if isinstance(x, Activation):
        if x.dtype != "float32":
            raise CompileError(op.where, f"quantises a tensor of type {x.dtype}", EXPORT_AGAIN)
        if v.quantization(x) == q and v.type(x).dtype == held(dtype):
            return replace(x, dtype=dtype)
        x = v.requantized(x, op)
    return Activation(v.emitted(x, q, op.outputs[0], held(dtype)), x.index, dtype)


def _stand_in(v: Values, op: Operator) -> AnyValue:
    """A value for what was refused, where the file says its shape, so that what follows is read too."""
    shape = v.model.shape(op.outputs[0]) or v.model.shape(op.input(0))
    if shape is None:
        raise Consequence(op.where)
    q, dtype = v.parameters(op)
    return Activation(v.b.stand_in(TensorType(shape, held(dtype), q), op.where), positions(shape), dtype)


def _quantized_constant(v: Values, op: Operator, x: Constant) -> Constant:
    """Weights that the file keeps in float in front of their QuantizeLinear."""
    if x.data.dtype.kind != "f" or x.data.size == 0:
        raise CompileError(op.where, f"quantises a constant of type {x.data.dtype}", EXPORT_AGAIN)
    to = v.dequantized_constant(op, x)
    dtype = v.constant(op, 2).data.dtype if op.input(2) else np.dtype(np.uint8)
    codes = np.rint(x.data.astype(np.float32) / to.scales().astype(np.float32)) + (to.data - to.centred())
    if dtype.kind not in "iu" or not np.all(np.isfinite(codes)):
        raise CompileError(op.where, f"quantises '{x.name}' to {dtype}, or values that are not finite", EXPORT_AGAIN)
    return Constant(x.name, np.clip(codes, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype))


def _dequantize(v: Values, op: Operator) -> AnyValue:
    x = v.value(op.input(0), op.where)
    if isinstance(x, Constant):
        if x.data.dtype.kind not in "iu" or x.scale is not None:
            raise CompileError(op.where, f"dequantises a constant of type {x.data.dtype}", EXPORT_AGAIN)
        return v.dequantized_constant(op, x)
    q, dtype = v.parameters(op)
    if isinstance(x, Pending) or x.dtype != dtype:
        raise CompileError(op.where, f"dequantises a tensor that is not {dtype}", EXPORT_AGAIN)
    if v.quantization(x) != q:
        raise CompileError(op.where, "its scale or zero point differs from the tensor's QuantizeLinear", EXPORT_AGAIN)
    return replace(x, dtype="float32")


# -- clamps -------------------------------------------------------------------------------------------
def _clamped(v: Values, op: Operator, low: float, high: float) -> AnyValue:
    x = v.value(op.input(0), op.where)
    if not isinstance(x, Pending):
        x = v.requantized(v.activation(op), op)
    if np.isnan(low) or np.isnan(high) or low > high:
        raise CompileError(op.where, f"a clip to [{low}, {high}] is not supported", EXPORT_AGAIN)
    if x.program:
        return clamped(x, low, high)
    return replace(x, low=min(max(x.low, low), high), high=min(max(x.high, low), high))


def _relu(v: Values, op: Operator) -> AnyValue:
    return _clamped(v, op, 0.0, np.inf)


def _clip(v: Values, op: Operator) -> AnyValue:
    limits = []
    for position, name, default in ((1, "min", -np.inf), (2, "max", np.inf)):
        if op.input(position):
            c = v.constant(op, position)
            if c.data.size != 1 or c.data.dtype.kind not in "iuf":
                raise CompileError(op.where, f"its {name} is a {c.data.dtype} of shape {c.data.shape}", EXPORT_AGAIN)
            limits.append(float(c.real().ravel()[0]))
        else:
            limits.append(op.float_of(name, default))
    biggest = float(np.finfo(np.float32).max)
    low, high = limits
    return _clamped(v, op, -np.inf if low <= -biggest else low, np.inf if high >= biggest else high)


FORMAT_OPERATORS: dict[str, Handler] = {
    **SHAPE_OPERATORS,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "Relu": _relu,
    "Clip": _clip,
}
"""Those that no operator of the compiler reads: they become part of a neighbour, constants, or another order of axes."""
