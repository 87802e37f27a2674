"""Any function of one int8 tensor, element by element, as .onnx files spell it out between DequantizeLinear and QuantizeLinear.

A program in postfix order says what is computed: "x" is the element, a number is itself, and a name takes its operands from before it,
as in ("x", "3.0", "add", "0.0", "max", "6.0", "min"). The table is filled in float32, rounded to nearest, ties to even, as QuantizeLinear
has it. Where the function has no value, the table has 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import CompileError
from ...ir.binding import OnnxBinding
from ...ir.operator import register
from ...ir.types import TensorType
from ._lookup import CODES, Ints, Lookup, Slopes

if TYPE_CHECKING:
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...frontend.onnx_file import Operator as OnnxOperator
    from ...frontend.onnx_reader import OnnxReader
    from ...frontend.qdq import AnyValue
    from ...ir.graph import Node

Reals = NDArray[Any]
X = "x"
MOST_TOKENS = 64


def _error_function(x: Reals) -> Reals:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x), x.dtype)


def _sigmoid(x: Reals) -> Reals:
    return np.asarray(1 / (1 + np.exp(-x)))


UNARY: dict[str, tuple[str, Callable[[Reals], Reals], Callable[[Reals], Reals]]] = {
    "abs": ("Abs", np.abs, np.sign),
    "erf": ("Erf", _error_function, lambda x: 2 / np.sqrt(np.pi) * np.exp(-x * x)),
    "exp": ("Exp", np.exp, np.exp),
    "log": ("Log", np.log, lambda x: 1 / x),
    "neg": ("Neg", np.negative, lambda x: np.full_like(x, -1)),
    "reciprocal": ("Reciprocal", lambda x: 1 / x, lambda x: -1 / (x * x)),
    "sigmoid": ("Sigmoid", _sigmoid, lambda x: _sigmoid(x) * (1 - _sigmoid(x))),
    "softplus": ("Softplus", lambda x: np.logaddexp(x, np.zeros_like(x)), _sigmoid),
    "softsign": ("Softsign", lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2),
    "sqrt": ("Sqrt", np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "tanh": ("Tanh", np.tanh, lambda x: 1 - np.tanh(x) ** 2),
}
"""Name -> the operator of ONNX, the function and its derivative."""
Pair = tuple[Reals, Reals]
BINARY: dict[str, tuple[str, Callable[[Pair, Pair], Pair]]] = {
    "add": ("Add", lambda a, b: (a[0] + b[0], a[1] + b[1])),
    "div": ("Div", lambda a, b: (a[0] / b[0], (a[1] * b[0] - a[0] * b[1]) / (b[0] * b[0]))),
    "max": ("Max", lambda a, b: (np.maximum(a[0], b[0]), np.where(a[0] >= b[0], a[1], b[1]))),
    "min": ("Min", lambda a, b: (np.minimum(a[0], b[0]), np.where(a[0] <= b[0], a[1], b[1]))),
    "mul": ("Mul", lambda a, b: (a[0] * b[0], a[1] * b[0] + a[0] * b[1])),
    "pow": ("Pow", lambda a, b: (np.power(a[0], b[0]), b[0] * np.power(a[0], b[0] - 1) * a[1])),
    "sub": ("Sub", lambda a, b: (a[0] - b[0], a[1] - b[1])),
}
"""Name -> the operator of ONNX, and what it makes of two values and their derivatives; the exponent of "pow" is a constant."""


def evaluated(program: tuple[str, ...], x: Reals) -> Pair:
    """The function and its derivative at x, in the element type of x. ValueError where the program is none."""
    stack: list[Pair] = []
    with np.errstate(all="ignore"):
        for token in program:
            if token == X:
                stack.append((x, np.ones_like(x)))
            elif token in UNARY:
                value, slope = stack.pop()
                _, compute, derivative = UNARY[token]
                stack.append((np.asarray(compute(value), x.dtype), np.asarray(slope * derivative(value), x.dtype)))
            elif token in BINARY:
                second, first = stack.pop(), stack.pop()
                value, slope = BINARY[token][1](first, second)
                stack.append((np.asarray(value, x.dtype), np.asarray(slope, x.dtype)))
            else:
                stack.append((np.full_like(x, float(token)), np.zeros_like(x)))
    (result,) = stack
    return result


@register
@dataclass(frozen=True)
class Function(Lookup):
    mnemonic: ClassVar[str] = "function"
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(
        ("HardSigmoid", "Erf", "Neg", "Pow", "Reciprocal", "Selu", "Celu", "Softplus", "Softsign", "Mish", "Sqrt"),
        also=("Add", "Sub", "Mul", "Div", "Clip", "Relu", "Max", "Min", "Sigmoid", "Tanh"),
    )
    oracle: ClassVar[str] = "onnxruntime"

    program: tuple[str, ...] = (X,)

    def refuses(self, x: TensorType, y: TensorType) -> str | None:
        if len(self.program) > MOST_TOKENS:
            return f"a program of {len(self.program)} steps"
        try:
            evaluated(self.program, np.zeros(1))
        except (ValueError, IndexError):
            return f"{' '.join(self.program)} is no program"
        return None

    def codes(self, x: TensorType, y: TensorType) -> Ints:
        real, _ = evaluated(self.program, (CODES - x.zero_point).astype(np.float32) * np.float32(x.scale))
        with np.errstate(all="ignore"):
            steps = np.rint(np.nan_to_num(real, nan=0.0, posinf=np.inf, neginf=-np.inf) / np.float32(y.scale))
        return np.asarray(np.clip(steps.astype(np.float64), -(2.0**30), 2.0**30).astype(np.int64) + y.zero_point)

    def slope(self, x: Slopes) -> Slopes:
        found = evaluated(self.program, np.asarray(x, np.float64))[1]
        return np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        raise CompileError(node.origin or node.name, f"computes {' '.join(self.program)}, for which .tflite files have no operator", "write .onnx")

    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> AnyValue:
        return r.function(op)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        """One operator for each name; numbers are constants."""
        x = w.operand(node)
        stack: list[str] = []
        real = w.real(node, x, x)
        for i, token in enumerate(self.program):
            name = f"{node.name}/{i}_{token}"
            if token == X:
                stack.append(real)
            elif token in UNARY:
                stack.append(w.emit(UNARY[token][0], [stack.pop()], name))
            elif token in BINARY:
                second, first = stack.pop(), stack.pop()
                stack.append(w.emit(BINARY[token][0], [first, second], name))
            else:
                stack.append(w.constant(f"{node.name}/{i}", np.array(float(token), np.float32)))
        w.result(node, stack.pop(), w.order[x])
