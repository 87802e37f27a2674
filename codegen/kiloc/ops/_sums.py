"""Sums of products and their units: what a layer, its trainable addends and their gradients have in common."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import numerics as nm
from ..ir.operator import Array, Environment
from ..ir.types import TensorType

Image = tuple[int, int, int]

LARGEST_SHIFT = 100
"""Shifts are stored in a byte. Dead channels, whose weight scale is next to zero, would need more; their addends saturate anyway."""

ADDEND_LIMIT = 2**30
"""Trainable addends saturate here, so that sums of them and of the frozen product stay in int32."""


def exact_matmul(a: Array, b: Array) -> Array:
    """Integer product through float64 (exact: every sum stays below 2^53)."""
    return np.asarray(np.rint(np.matmul(a.astype(np.float64), b.astype(np.float64))).astype(np.int64))


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
    if e.has("delta_rows"):
        return np.flatnonzero(e.array("delta_rows") >= 0)
    return np.arange(channels)
