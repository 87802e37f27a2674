"""Backward operators that requantise their int32 sums to int8 with one power of two."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.operator import Array, Environment, NodeTypes, Op
from ...ir.types import TensorType, gradient

Real = NDArray[np.float64]


@dataclass(frozen=True)
class RequantizedGradient(Op):
    """G = saturate8(shift_round(accumulator, shift)).

    shift: chosen by calibration (`passes/calibrate.py`). Rounding is to nearest, ties up: a truncating shift
    biases every element by half a step and no deep network trains with it.
    """

    role: ClassVar[str] = "backward"

    shift: int = field(default=0, kw_only=True)

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        """Shape of the result."""
        raise NotImplementedError

    def unit(self, t: NodeTypes) -> float:
        """Scale of the accumulator, relative to the exponent of the loss."""
        raise NotImplementedError

    def accumulator(self, e: Environment) -> NDArray[np.int64]:
        """int32 sums, [N, ...] of the result's shape."""
        raise NotImplementedError

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (gradient(self.shape(t), self.unit(t) * 2.0**self.shift),)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        total = self.accumulator(e)
        assert np.array_equal(total, nm.saturate32(total)), "gradient sums leave int32"
        return (nm.saturate8(nm.shift_round(total, self.shift)).astype(np.int8),)


def fitting_shift(sums: Array) -> Array:
    """Of each sample [N, ...] the smallest shift, at least 0, that brings its largest sum to seven bits: [N]."""
    return np.asarray(np.maximum(nm.bit_length(np.abs(sums).reshape(len(sums), -1).max(1)) - 7, 0))


def batch(e: Environment, operand: str, *shape: int) -> Any:
    """The operand reshaped to [N, *shape], integers widened."""
    array = e.array(operand)
    wide = array if array.dtype == np.float64 else array.astype(np.int64)
    return wide.reshape(array.shape[0], *shape)
