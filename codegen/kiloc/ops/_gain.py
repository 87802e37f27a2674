"""A trained gain and its gradients: 1 + s[c] on the sum of a layer, its bias apart, as part of the requantisation.

    gain[c] = 1 + code[c] 2^exponent, within [1/8, 2], in units of 2^-23
    b'[c]   = saturate32(round(bias[c] / gain[c])), half up
    y[c]    = clamp(requantize(saturate32(sum[c] + b'[c]), M'[c], S'[c]) + z_y), M' 2^S' = M 2^S gain

so that y is gain sum + bias in real numbers, as in Lian et al., "Scaling & Shifting Your Features" (2022), gamma x + beta. M' is M gain, rounded
half up; where that leaves int32 it is half of it, and S' one more (`gained_multipliers`). Both are found once a call: a gain costs a layer nothing
that grows with its positions, every kernel computes it, and a code of 0 leaves the layer as it was, bit for bit. A gain is never 0 nor negative:
|b'| is at most 8 |bias|, and saturates from a bias of 2^28 on. To a kernel b' is a bias as any other, and what is proved for every int32 holds.

1 / gain is floor(2^47 / gain) in units of 2^-24, and so at most 2^27: its product with an int32 stays below 2^59.

    g'[p, c] = g[p, c] gain[c]                          towards delta and LoRA (`ApplyGain`); towards the input: in its pre-scale
    ds[c]    = sum_p g[p, c] (y_real[p, c] - b_real[c]) / gain[c]

y_real is the int8 result (saved for its clamp mask anyway, and often for the next layer): no accumulator is kept. g is 0 where the result was
clamped; elsewhere y_real is within half a step of the result before rounding. A gain at an end of its range still has a gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import numerics as nm
from ..ir.operator import Environment
from ..ir.types import TensorType

if TYPE_CHECKING:
    from ..ir.graph import Node

Ints = NDArray[np.int64]

GAIN_OPERANDS = ("gain", "gain_exponent")
GAIN_BITS = 23
INVERSE_BITS = 24
"""Of 1 / gain."""

SMALLEST_GAIN = 1 / 8
LARGEST_GAIN = 2
"""Both powers of two. A gain that nears 0 would leave a bias in front of it without a bound, one without a limit the sums to the input."""

HEADROOM = 1.6
"""Of the pre-scale under a gain: how far that of the largest scale may rise. More leaves the gradients fewer codes (docs/internals/numbers.md)."""

BACKWARD_BITS = 14
"""Of the gain where gradients pass it."""

ROW_CHANNELS = 32
"""Channels of one position whose requantisation a layer finds at once: each ends once. KT_GAINED_BLOCK, KT_START_BLOCK."""


def gain_factor(codes: Ints, exponent: Ints | int) -> Ints:
    """1 + codes 2^exponent within its range, in units of 2^-23. An exponent above 0 gives what 0 gives: a gain at the end of its range."""
    moved = nm.shift_round(codes, -(np.minimum(exponent, 0) + GAIN_BITS))
    one = 1 << GAIN_BITS
    return np.asarray(np.clip(moved + one, int(one * SMALLEST_GAIN), one * LARGEST_GAIN))


def gained_multipliers(multiplier: Ints, shift: Ints, factor: Ints) -> tuple[Ints, Ints]:
    """Multiplier and shift of a requantisation with a gain, in units of 2^-23."""
    product = multiplier * factor
    whole = (product + (1 << (GAIN_BITS - 1))) >> GAIN_BITS
    half = (product + (1 << GAIN_BITS)) >> (GAIN_BITS + 1)
    large = whole > nm.INT32_MAX
    return np.where(large, half, whole), shift + large


def with_gain(e: Environment, multiplier: Ints, shift: Ints) -> tuple[Ints, Ints]:
    """Multipliers and shifts of a layer with its gain, where it has one."""
    if not e.has("gain"):
        return multiplier, shift
    return gained_multipliers(multiplier, shift, gain_factor(e.wide("gain"), e.wide("gain_exponent")))


def bias_before_gain(bias: Ints, factor: Ints) -> Ints:
    """What a bias is in front of a gain, in units of 2^-23."""
    inverse = (np.int64(1) << (GAIN_BITS + INVERSE_BITS)) // factor
    return np.asarray(nm.saturate32(nm.shift_round(bias * inverse, INVERSE_BITS)))


def summed_bias(e: Environment) -> Ints:
    """What a layer adds to its sums: its bias, in front of its gain where it has one."""
    if not e.has("gain"):
        return e.wide("bias")
    return bias_before_gain(e.wide("bias"), gain_factor(e.wide("gain"), e.wide("gain_exponent")))


def backward_factor(e: Environment) -> Ints:
    """The gain in units of 2^-14, of which gradients pass."""
    return np.asarray(nm.shift_round(gain_factor(e.wide("gain"), e.wide("gain_exponent")), GAIN_BITS - BACKWARD_BITS))


def gained(m: Ints, e: Environment) -> Ints:
    """Pre-scale factors of an input gradient, in int16. With a gain m leaves room for a larger one (`HEADROOM`); beyond it they
    are limited."""
    if not e.has("gain"):
        return m
    return np.asarray(np.minimum(nm.shift_round(m * backward_factor(e), BACKWARD_BITS), 32767))


def float_gain(e: Environment) -> NDArray[np.float32]:
    """The gain of each channel in float32."""
    moved = np.float32(1) + e.array("gain").astype(np.float32) * nm.power_of_two(np.clip(e.wide("gain_exponent"), -126, 127))
    return np.asarray(np.clip(moved, np.float32(SMALLEST_GAIN), np.float32(LARGEST_GAIN)), np.float32)


def real_gain(e: Environment) -> Any:
    """The gain of each channel; 1 where there is none."""
    if not e.has("gain"):
        return 1.0
    return np.clip(1 + e.array("gain") * 2.0 ** e.array("gain_exponent").astype(np.float64), SMALLEST_GAIN, LARGEST_GAIN)


def gain_operands(node: Node) -> dict[str, str]:
    return {o: node.inputs[o] for o in GAIN_OPERANDS if o in node.inputs}


def gain_bytes(channels: int, positions: int = 0) -> int:
    """Scratch of a layer's multipliers and biases with their gains, int32 each, and of its shifts, int8; of one position for a block of channels."""
    channels = min(channels, ROW_CHANNELS) if positions == 1 else channels
    return 8 * channels + -(-channels // 4) * 4


def gain_headroom(gain: bool) -> float:
    """How far above the largest scale the pre-scale of a channel may rise with its gain."""
    return HEADROOM if gain else 1.0


def largest_scale(weights: TensorType, gain: bool) -> float:
    """The weights' scale that a pre-scale of 1 stands for."""
    return max(weights.channel_scales) * gain_headroom(gain)
