"""Logistic and hyperbolic tangent of 16-bit values by a table of 256 entries and a straight line between two of them.

As TensorFlow Lite's reference kernels compute them: input codes are brought to units of 1 / (3 * 4096), entry i of the table is
65536 / (1 + e^(-i / 24)), and tanh(x) = 2 logistic(2x) - 1 reads the same table with half the step. Results have the scale 2^-15.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..ir.kernel_call import Table

RAISED = (
    4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35, 37, 39, 40, 41, 43, 44, 45, 46, 49, 50, 54, 62, 63, 64, 66, 82, 86,
    93, 100, 103, 112, 116, 135, 255,
)  # fmt: skip
"""Entries that are one more than the rounded value."""


def _sigmoid() -> NDArray[np.int64]:
    table = np.floor(65536 / (1 + np.exp(-np.arange(256) / 24)) + 0.5).astype(np.int64)
    table[list(RAISED)] += 1
    return table


SIGMOID = _sigmoid()
SIGMOID.flags.writeable = False


def sigmoid_table() -> Table:
    """The table as a kernel reads it; nodes share one."""
    return Table("sigmoid_table", "uint16_t", SIGMOID.astype(np.uint16))


def _interpolated(x: NDArray[np.int64], bits: int, largest: int) -> NDArray[np.int64]:
    """Between two entries of the table, 2^bits steps apart: 2^bits times their unit."""
    magnitude = np.abs(x)
    index = np.minimum(magnitude >> bits, 254)
    low, high = SIGMOID[index], SIGMOID[index + 1]
    return np.where(magnitude >> bits >= 255, largest, (low << bits) + (magnitude & ((1 << bits) - 1)) * (high - low))


def logistic16(x: NDArray[np.int64]) -> NDArray[np.int64]:
    """x in units of 1 / (3 * 4096) to 2^-15."""
    result = _interpolated(x, 9, 0x7FFF << 10)
    return np.asarray(np.where(x >= 0, result + (1 << 9), (1 << 25) - result + (1 << 9) - 1) >> 10)


def tanh16(x: NDArray[np.int64]) -> NDArray[np.int64]:
    """x in units of 1 / (3 * 4096) to 2^-15."""
    result = _interpolated(x, 8, 0xFFFF << 8)
    return np.asarray(np.where(x >= 0, result - (1 << 23) + (1 << 7), -result + (1 << 23) + (1 << 7) - 1) >> 8)
