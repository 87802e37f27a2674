"""Sums of products and their units: what a layer, its trainable addends and their gradients have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numerics as nm
from ..ir.operator import Array, Environment
from ..ir.types import TensorType

Image = tuple[int, int, int]

COLUMN_SUMS = "kernels/dsp/column_sums.c"
"""The translation unit whose sums over rows kernels for the DSP extension call."""

LARGEST_SHIFT = 100
"""Shifts are stored in a byte. Dead channels, whose weight scale is next to zero, would need more; their addends saturate anyway."""

ADDEND_LIMIT = 2**30
"""Trainable addends saturate here, so that sums of them and of the frozen product stay in int32."""


ONE_THREAD = 1 << 17
"""MACs of a product that OpenBLAS computes without threads. Those wait for one another in loops: products that take them need many times the
processor where other programs run."""


def exact_matmul(a: Array, b: Array) -> Array:
    """Integer product through floats, exact: every sum stays below 2^24 in float32, or below 2^53 in float64."""
    largest = _largest(a) * _largest(b) * b.shape[-2]
    kind = np.float32 if largest < 1 << 24 else np.float64
    with np.errstate(invalid="ignore"):  # OpenBLAS may leave this flag behind where all operands are finite; the cast below tells of a NaN
        product = matmul(a.astype(kind), b.astype(kind))
    return product.astype(np.int64)


def sum_type(a: Array, b: Array, count: int) -> type[np.signedinteger[Any]]:
    """Of sums of so many products, computed faster in 32 bits where they fit."""
    return np.int32 if _largest(a) * _largest(b) * count < 1 << 31 else np.int64


def _largest(a: Array) -> int:
    return max(int(a.max(initial=0)), -int(a.min(initial=0)))


def matmul(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """The product of floats [..., n, k] and [k, m], by so many rows at once that it takes one thread."""
    if b.ndim != 2:
        return np.asarray(np.matmul(a, b))
    rows, width = a.reshape(-1, a.shape[-1]), b.shape[1]
    block = max(ONE_THREAD // max(b.size, 1), 1)
    whole = len(rows) // block * block
    found = np.empty((len(rows), width), np.result_type(a, b))
    np.matmul(rows[:whole].reshape(-1, block, rows.shape[1]), b, out=found[:whole].reshape(-1, block, width))
    np.matmul(rows[whole:], b, out=found[whole:])
    return found.reshape(*a.shape[:-1], width)


def output_scales(x: TensorType, weights: TensorType, channels: int) -> NDArray[np.float64]:
    """Accumulator units s_x * s_w[c] as float64, one per output channel."""
    return np.broadcast_to(np.float64(x.scale) * np.array(weights.channel_scales, np.float64), (channels,)).copy()


def addend_multipliers(weights: TensorType, channels: int, factor: float) -> tuple[nm.Ints, nm.Ints]:
    """factor / s_w[c]: from units of s_x to accumulator units."""
    scales = np.broadcast_to(np.array(weights.channel_scales, np.float64), (channels,))
    multiplier, shift = nm.quantize_multipliers(factor / scales)
    return multiplier, np.minimum(shift, LARGEST_SHIFT)


def addend(t: Array, multiplier: Array | int, shift: Array | int) -> Array:
    """A trainable product brought to accumulator units, saturated at +-2^30."""
    return np.clip(nm.requantize(t, multiplier, shift), -ADDEND_LIMIT, ADDEND_LIMIT)


def with_delta(e: Environment, total: Array, rows: Array, weights: str = "weights", delta: str = "delta") -> Array:
    """Sums [..., channels] over rows - z [..., K] and the operand `weights`, and what a delta of these weights adds to them."""
    channels = e.type(weights).shape[0]
    chosen = delta_channels(e, channels)
    multiplier, shift = addend_multipliers(e.type(weights), channels, 1.0)
    product = exact_matmul(rows, e.array(delta).reshape(len(chosen), -1).T)
    total[..., chosen] += addend(product, multiplier[chosen], shift[chosen] + e.wide(f"{delta}_exponent"))
    return total


def delta_channels(e: Environment, channels: int) -> NDArray[np.int64]:
    """The output channels that have a row of the delta, in the order of its rows."""
    return chosen_channels(e, "delta_rows", channels)


def chosen_channels(e: Environment, rows: str, channels: int) -> NDArray[np.int64]:
    """The output channels to which an operand gives a row, all where there is none."""
    return np.flatnonzero(e.array(rows) >= 0) if e.has(rows) else np.arange(channels)
