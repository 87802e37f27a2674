"""Trained weights merged into frozen ones: a layer with a delta V multiplies with int8 weights

    W'[c, k] = clamp(W[c, k] + floor((V[r, k] f[c] + 2^15) / 2^16), lowest, 127),    f[c] = round(2^16 2^exponent / s_w[c])

at most 2^23 - 1, r the row of the delta that channel c has, W' = W where it has none. So inference and both gradients take one product, that of
plain layers, and training sees the weights that inference multiplies with: quantisation-aware training with a straight-through estimator, whose
gradient of V is that of W' (Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018).
V = 0 leaves every weight as it is. lowest is -127, or -128 in a layer that has such a weight.

A change of less than half a step of W is not seen until it has grown; V itself is finer, and kept in 16 bits.

Kernels are proved for all weights that training may reach. Of channels with many weights the sum of |W'| is bounded for that
(`largest_sums`): while it lies above, f[c] is halved.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..ir.operator import Array, Environment, NodeTypes
from ..ir.types import TensorType
from ._sums import addend_multipliers, chosen_channels

MERGED = "merged_delta"
EXPONENT = f"{MERGED}_exponent"
ROWS = f"{MERGED}_rows"
MERGED_OPERANDS = (MERGED, EXPONENT, ROWS)

FACTOR_BITS = 16
LARGEST_FACTOR = 2**23 - 1
"""Doubled, its product with a code of V is 16 bits over 2^16: what the DSP extension multiplies with."""
LARGEST_WEIGHT = 127

UNBOUNDED = 64
"""Weights of a channel whose sums every kernel holds, whatever they are."""

ROOM = 2**23 // 255
"""Of the sums of |W'| within which products of int8 values stay in 24 bits."""

Ints = NDArray[np.int64]


def merged_factors(weights: TensorType, channels: int, exponent: Ints | int) -> Ints:
    """f of each channel."""
    multiplier, shift = addend_multipliers(weights, channels, 1.0)
    down = np.asarray(31 - FACTOR_BITS - shift - exponent, np.int64)
    right = np.clip(down, 1, 62)
    rounded = (multiplier + np.left_shift(np.int64(1), right - 1)) >> right
    return np.asarray(np.where(down < 31 - 23, LARGEST_FACTOR * (multiplier > 0), np.minimum(rounded, LARGEST_FACTOR)))


def largest_sums(weights: Ints) -> Ints | None:
    """The bound of the sum of |W'| of each channel of frozen weights [channels, K]; None where no kernel needs one.

    It leaves room for weights half as large again, or as large as those of 64 weights may be, but for a quarter at least.
    """
    if weights.shape[1] <= UNBOUNDED:
        return None
    sums = np.abs(weights).sum(1)
    within = np.minimum(np.maximum(sums * 3 // 2, UNBOUNDED * LARGEST_WEIGHT), ROOM)
    return np.asarray(np.maximum(within, sums * 5 // 4))


def lowest_weight(weights: Array) -> int:
    """Of a layer with these frozen weights."""
    return int(min(-LARGEST_WEIGHT, weights.min()))


def bounds(weights: Ints) -> Ints:
    """What the sum of |W'| of each channel cannot leave."""
    most, sums = -lowest_weight(weights) * weights.shape[1], largest_sums(weights)
    return np.full(len(weights), most) if sums is None else np.minimum(sums, most)


def sum_bounds(weights: Ints, zero_point: int) -> tuple[Ints, Ints]:
    """Least and greatest of sum W' (x - z) for each channel, x any int8."""
    largest = bounds(weights) * max(128 + zero_point, 127 - zero_point)
    return -largest, largest


def widest(weights: Array) -> NDArray[np.int64]:
    """Weights of the same shape of which none can become larger."""
    return np.full(weights.shape, -lowest_weight(weights), np.int64)


def merged_rows(weights: Ints, delta: Ints, chosen: Ints, factors: Ints) -> Ints:
    """W' [channels, K] of the delta's rows [n, K], those of the channels `chosen`."""
    found, largest, lowest = weights.copy(), largest_sums(weights), lowest_weight(weights)
    factor = factors[chosen].copy()
    while True:
        moved = (delta * factor[:, None] + (1 << (FACTOR_BITS - 1))) >> FACTOR_BITS
        found[chosen] = np.clip(weights[chosen] + moved, lowest, LARGEST_WEIGHT)
        above = np.zeros(len(chosen), bool) if largest is None else np.abs(found[chosen]).sum(1) > largest[chosen]
        if not above.any():
            return found
        factor[above] >>= 1


def layer_weights(e: Environment, axis: int = 0) -> Ints:
    """The weights that a layer multiplies with, in their own shape. axis: that of the output channels."""
    weights = e.wide("weights")
    if not e.has(MERGED):
        return weights
    rows = in_rows(weights, axis)
    chosen = chosen_channels(e, ROWS, len(rows))
    found = merged_rows(rows, in_rows(e.wide(MERGED), axis), chosen, merged_factors(e.type("weights"), len(rows), e.wide(EXPONENT)))
    return from_rows(found, weights.shape, axis)


def in_rows(weights: Array, axis: int) -> Ints:
    """[channels, K]"""
    return np.asarray(np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1), np.int64)


def from_rows(rows: Ints, shape: tuple[int, ...], axis: int) -> Ints:
    """The inverse of `in_rows`; the channels' axis is the first or the last."""
    return np.ascontiguousarray((rows if axis == 0 else rows.T).reshape(shape))


def real_weights(e: Environment, axis: int = 0) -> NDArray[np.float64]:
    """What those of `layer_weights` stand for."""
    scales = np.array(e.type("weights").channel_scales, np.float64)
    shape = [1] * len(e.type("weights").shape)
    shape[axis] = -1
    return np.asarray(layer_weights(e, axis) * scales.reshape(shape if scales.size > 1 else [1] * len(shape)))


def delta_operand(t: NodeTypes) -> str:
    """The operand of a layer that holds its delta, "" where it has none."""
    return next((o for o in ("delta", MERGED) if t.has(o)), "")
