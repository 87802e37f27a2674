"""Functions of one tensor in ONNX files: whatever stands between DequantizeLinear and QuantizeLinear and takes no other activation is a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CompileError
from ..ir.operator import Op
from ..ir.types import Quantization
from ..ops.model._lookup import Lookup
from ..ops.model.function import MOST_TOKENS, Function, X, evaluated
from ..ops.model.rsqrt import Rsqrt
from ..ops.model.squared_difference import SquaredDifference
from ..ops.model.sub import Sub
from .onnx_elementwise import is_operand
from .onnx_file import Operator
from .onnx_tensors import EXPORT_AGAIN
from .qdq import Activation, AnyValue, Constant, Pending

if TYPE_CHECKING:
    from .onnx_reader import OnnxReader

Program = tuple[str, ...]
_BINARY = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Max": "max", "Min": "min", "Pow": "pow"}
_LINEAR = {"add", "sub", "mul", "div", "neg", X}


def _number(value: float) -> str:
    return repr(float(np.float32(value)))


def _clipped(x: Program, low: float, high: float) -> Program:
    above = (*x, _number(low), "max") if np.isfinite(low) else x
    return (*above, _number(high), "min") if np.isfinite(high) else above


def _slow(x: Program, alpha: float) -> Program:
    """x, or alpha x where it is negative."""
    return (*x, "0.0", "max", *x, "0.0", "min", _number(alpha), "mul", "add")


def _exponential(x: Program, alpha: float, width: float = 1.0) -> Program:
    """x, or alpha (exp(x / width) - 1) where it is negative."""
    return (*x, "0.0", "max", *x, "0.0", "min", _number(width), "div", "exp", "1.0", "sub", _number(alpha), "mul", "add")


def _gelu(x: Program, op: Operator) -> Program:
    if op.text_of("approximate", "none") == "tanh":
        inner = (*x, *x, "mul", *x, "mul", "0.044715", "mul", *x, "add", "0.7978845608028654", "mul", "tanh")
    else:
        inner = (*x, "0.7071067811865476", "mul", "erf")
    return (*x, "0.5", "mul", *inner, "1.0", "add", "mul")


def _named(token: str) -> Callable[[Program, Operator], Program]:
    return lambda x, _: (*x, token)


PLAIN = ("Abs", "Erf", "Exp", "Log", "Neg", "Reciprocal", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Tanh")
UNARY: dict[str, Callable[[Program, Operator], Program]] = {
    **{kind: _named(kind.lower()) for kind in PLAIN},
    "HardSigmoid": lambda x, op: _clipped(
        (*x, _number(op.float_of("alpha", 0.2)), "mul", _number(op.float_of("beta", 0.5)), "add"), 0.0, 1.0
    ),
    "HardSwish": lambda x, _: (*x, *_clipped((*x, _number(1 / 6), "mul", "0.5", "add"), 0.0, 1.0), "mul"),
    "LeakyRelu": lambda x, op: _slow(x, op.float_of("alpha", 0.01)),
    "Elu": lambda x, op: _exponential(x, op.float_of("alpha", 1.0)),
    "Celu": lambda x, op: _exponential(x, op.float_of("alpha", 1.0), op.float_of("alpha", 1.0)),
    "Selu": lambda x, op: (
        *_exponential(x, op.float_of("alpha", 1.67326319217681884765625)), _number(op.float_of("gamma", 1.05070102214813232421875)), "mul"
    ),
    "Gelu": _gelu,
    "Mish": lambda x, _: (*x, *x, "softplus", "tanh", "mul"),
}  # fmt: skip


def function(r: OnnxReader, op: Operator, alone: Lookup | None = None) -> Pending:
    """The function of an operator with one operand, behind those in front of it. alone: the operator that has the integers of another
    interpreter, where nothing else is computed."""
    if op.kind not in UNARY and op.kind != "Pow":
        raise CompileError(op.where, f"operator {op.kind} is not supported", EXPORT_AGAIN)
    if op.kind == "Pow":
        found = binary(r, op)
        if found is None:
            raise CompileError(op.where, "raises to a power that is no constant number", "only constant exponents are supported")
        return found
    source, program = _operand(r, op, r.value(op.input(0), op.where))
    return _pending(r, op, source, UNARY[op.kind](program, op), alone if program == (X,) else None)


def binary(r: OnnxReader, op: Operator) -> Pending | None:
    """An operator on functions of one tensor and numbers; None where it takes something else."""
    if op.kind not in _BINARY or len(op.inputs) != 2:
        return None
    operands = [r.value(name, op.where) for name in op.inputs]
    if (square := _squared(r, op, operands)) is not None:
        return square
    numbers = [isinstance(x, Constant) and x.data.size == 1 and x.data.dtype.kind in "iuf" for x in operands]
    functions = [isinstance(x, Pending) and bool(x.program) for x in operands]
    if not any(functions):
        real = [i for i, x in enumerate(operands) if numbers[i] and not is_operand(x)]
        if not real or not any(isinstance(x, Activation) for x in operands):
            return None
    if not all(n or f or isinstance(x, Activation) for n, f, x in zip(numbers, functions, operands, strict=True)):
        return None
    if any(isinstance(x, Constant) and x.data.ndim > _rank(operands) for x in operands) or (op.kind == "Pow" and not numbers[1]):
        return None
    program: Program = ()
    sources: list[Activation] = []
    for x in operands:
        if isinstance(x, Constant):
            value = float(x.real().ravel()[0])
            if not np.isfinite(value):
                raise CompileError(op.where, f"computes with {value}", EXPORT_AGAIN)
            program += (_number(value),)
            continue
        source, more = _operand(r, op, x)
        if sources and (source.value != sources[0].value or not np.array_equal(source.index, sources[0].index)):
            return None
        sources.append(source)
        program += more
    return _pending(r, op, sources[0], (*program, _BINARY[op.kind]), None)


def _squared(r: OnnxReader, op: Operator, operands: list[AnyValue]) -> Pending | None:
    """The square of a difference of two activations."""
    first, second = operands
    power = isinstance(second, Constant) and second.data.size == 1 and float(second.real().ravel()[0]) == 2
    if not isinstance(first, Pending) or first.kind != Sub.mnemonic or not ((op.kind == "Mul" and second is first) or (op.kind == "Pow" and power)):
        return None
    return r.result(op, SquaredDifference.mnemonic, lambda _: SquaredDifference(), first.inputs, first.shape, first.index, clamps=False)


def _rank(operands: list[AnyValue]) -> int:
    return max(x.index.ndim for x in operands if not isinstance(x, Constant))


def _operand(r: OnnxReader, op: Operator, x: AnyValue) -> tuple[Activation, Program]:
    """The tensor that a function starts from, and what was computed of it so far."""
    if isinstance(x, Pending) and x.program:
        return Activation(x.inputs["x"], x.index, "float32"), x.program
    found = r.settled(x, op.where)
    if found.dtype != "float32":
        raise CompileError(op.where, f"computes with a tensor of type {found.dtype}", EXPORT_AGAIN)
    return found, (X,)


def _pending(r: OnnxReader, op: Operator, x: Activation, program: Program, alone: Lookup | None) -> Pending:
    if len(program) > MOST_TOKENS:
        raise CompileError(op.where, f"ends a function of {len(program)} steps", f"give it a QuantizeLinear after at most {MOST_TOKENS}")
    label = alone.mnemonic if alone else "function"
    return r.result(op, label, lambda _: Function(program), {"x": x.value}, r.type(x).shape, x.index, clamps=False, program=program, alone=alone)


def chosen(p: Pending, q: Quantization) -> Op:
    """The operator of a function whose result has this quantisation: its own where there is one that can have it."""
    if p.program == (X, "sqrt", "reciprocal"):
        return Rsqrt()
    fixed = p.alone.fixed if isinstance(p.alone, Lookup) else None
    if isinstance(p.alone, Lookup) and (fixed is None or (abs(q.per_tensor / fixed.per_tensor - 1) <= 1e-4 and q.zero_point == fixed.zero_point)):
        return p.alone
    return Function(p.program)


def clamped(p: Pending, low: float, high: float) -> Pending:
    """A function with a clamp behind it."""
    return replace(p, program=_clipped(p.program, low, high), alone=None)


def clip(low: float, high: float) -> Function:
    """A clamp to any two numbers."""
    return Function(_clipped((X,), low, high))


def line(p: Pending) -> tuple[float, float] | None:
    """Factor and addend of a function that is a line; None of any other."""
    numbers = [t for t in p.program if t not in _LINEAR and t[-1].isalpha()]
    if numbers:
        return None
    (at, slope) = evaluated(p.program, np.array([0.0, 1.0, 2.0]))
    straight = np.all(np.isfinite(at)) and np.ptp(slope) == 0
    return (float(slope[0]), float(at[0])) if straight else None
