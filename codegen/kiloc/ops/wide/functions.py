"""LOGISTIC and TANH of int16 tensors, by the table of `_table16.py`: results have the scale 2^-15.

Codes are brought to units of 1 / (3 * 4096): by 3, or 6, where that is what the scale says, else by a multiplier of 15 bits and a rounding shift.
Source: TensorFlow Lite's reference kernels for int16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...ir.binding import TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, register
from .._table16 import logistic16, sigmoid_table, tanh16
from ._layer import WideOp, not_symmetric

if TYPE_CHECKING:
    from ...export.tflite import TFLiteWriter
    from ...ir.graph import Node

UNITS = 3 * 4096
RESULT_SCALE = 2.0**-15
NEAR = 1e-3
"""How near the binary logarithm of a scale is to a whole number where interpreters take it for one."""


@dataclass(frozen=True)
class WideFunction(WideOp):
    in_place: ClassVar[str | None] = "x"
    powers: ClassVar[tuple[int, ...]] = (0,)
    """Left shifts of exact powers of two: the scale is 2^(shift - 12)."""
    symbol: ClassVar[str] = ""

    def function(self, x: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of values in 1 / (3 * 4096)."""
        raise NotImplementedError

    def scaling(self, t: NodeTypes) -> tuple[int, int]:
        """(multiplier, rounding right shift) of the codes."""
        power = np.log2(np.float64(t.type("x").scale)) + 12
        whole = int(np.floor(power + 0.5))
        if abs(power - whole) < NEAR and whole in self.powers:
            return 3 << whole, 0
        multiplier, shift = float(np.float64(t.type("x").scale) * UNITS), 0
        while multiplier <= 32767.0 / 2.0 and shift <= 30:
            multiplier, shift = multiplier * 2.0, shift + 1
        return int(multiplier), shift

    def check(self, t: NodeTypes) -> str | None:
        x, y = t.type("x"), t.result()
        if x.size != y.size:
            return f"result is {y.shape}, expected {x.shape}"
        if abs(np.log2(y.scale / RESULT_SCALE)) >= NEAR:
            return "its result must have scale 2^-15 and zero point 0"
        if x.scale * UNITS > 32767:
            return "a step of x is larger than 8/3"
        return not_symmetric(x, y)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        multiplier, shift = self.scaling(e)
        y = self.function((e.wide("x") * multiplier + ((1 << shift) >> 1)) >> shift)
        return (y.astype(np.int16).reshape(-1, *e.result().shape[1:]),)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        multiplier, shift = self.scaling(t)
        fields: dict[str, Field] = {"size": t.result().size, "multiplier": multiplier, "shift": shift, "sigmoid": sigmoid_table()}
        arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return KernelCall(f"kt_{self.symbol}_s16", "kt_function_s16_params", fields, arguments, source="kernels/elementwise/function_s16.c")

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        assert self.tflite is not None
        w.require_shape(node)
        w.emit(node, next(iter(self.tflite.operators)), (w.operand(node),))


@register
@dataclass(frozen=True)
class WideLogistic(WideFunction):
    mnemonic: ClassVar[str] = "wide_logistic"
    beside: ClassVar[str] = "logistic"
    symbol: ClassVar[str] = "logistic"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"LOGISTIC": 3})

    def function(self, x: NDArray[np.int64]) -> NDArray[np.int64]:
        return logistic16(x)


@register
@dataclass(frozen=True)
class WideTanh(WideFunction):
    mnemonic: ClassVar[str] = "wide_tanh"
    beside: ClassVar[str] = "tanh"
    symbol: ClassVar[str] = "tanh"
    powers: ClassVar[tuple[int, ...]] = (0, 1)
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"TANH": 3})

    def function(self, x: NDArray[np.int64]) -> NDArray[np.int64]:
        return tanh16(x)
