"""What LOGISTIC and TANH have in common: fixed point with 4 integer bits, and the ends of the range beyond what those hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ... import numerics as nm
from ...ir.types import TensorType
from ._lookup import CODES, Ints

INTEGER_BITS = 4


def _scaling(x: TensorType) -> tuple[int, int]:
    """(multiplier, left shift) from steps of x to fixed point."""
    return nm.quantize_multiplier(float(np.float64(x.scale) * (1 << (31 - INTEGER_BITS))))


def too_coarse(x: TensorType) -> str | None:
    """Complaint about a scale that the fixed-point numbers do not hold."""
    return "a step of x is larger than 16, or smaller than 2^-27" if not 0 <= _scaling(x)[1] <= 31 else None


def saturating(x: TensorType, function: Callable[[Ints], Ints], bits: int, zero_point: int) -> Ints:
    """The codes of a function of fixed-point numbers, whose result gets `bits` bits behind the point; at and beyond +-15.x the ends of int8."""
    multiplier, shift = _scaling(x)
    radius = int(np.floor(((1 << INTEGER_BITS) - 1) * (1 << (31 - INTEGER_BITS)) / 2.0**shift))
    value = CODES - x.zero_point
    inside = np.abs(value) < radius
    y = nm.divide_by_power(function(nm.requantize(np.where(inside, value, 0), multiplier, shift)), 31 - bits) + zero_point
    return np.where(inside, y, np.where(value > 0, 127, -128))
