"""Integer and float32 primitives: the NumPy twins of runtime/include/kt/numerics.h, equal bit for bit.

Integers are computed in int64 and saturated where the C does. Sources: gemmlowp's fixed-point arithmetic and
the TensorFlow Lite 8-bit quantisation specification; the backward rules are in docs/internals/numbers.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[Any]
"""Arrays of int64."""

Floats = NDArray[Any]
"""Arrays of float32."""

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


def saturate32(x: Ints) -> Ints:
    return np.asarray(np.minimum(np.maximum(x, INT32_MIN), INT32_MAX))


def high_multiply(a: Ints | int, b: Ints | int) -> Ints:
    """Rounded (a * b) / 2^31 of int32 values: gemmlowp's SaturatingRoundingDoublingHighMul."""
    product = np.asarray(np.asarray(a, np.int64) * np.asarray(b, np.int64))
    product += 1 << 30  # gemmlowp nudges negative products by 1 - 2^30 and truncates, which is the same
    product >>= 31
    return np.minimum(product, INT32_MAX, out=product)


def divide_by_power(x: Ints | int, n: Ints | int) -> Ints:
    """x / 2^n rounded to nearest, ties away from zero: gemmlowp's RoundingDivideByPOT."""
    x, n = np.asarray(x, np.int64), np.asarray(n, np.int64)
    below = x >> 63  # -1 of negative values, whose ties go down
    below = np.asarray(below & -(n > 0).astype(np.int64))
    below += x
    below += (np.int64(1) << n) >> 1
    return np.asarray(below >> n)


def requantize(x: Ints | int, multiplier: Ints | int, shift: Ints | int) -> Ints:
    """x * multiplier * 2^(shift - 31), rounded twice as TensorFlow Lite Micro does.

    The left shift saturates at int32 (it is undefined behaviour there); right shifts beyond 31 give 0.
    """
    shift = np.asarray(shift, np.int64)
    left = np.clip(shift, 0, 31)
    wide = np.asarray(x, np.int64)
    scaled = saturate32(wide << left if left.any() else wide)
    return divide_by_power(high_multiply(scaled, multiplier), np.clip(-shift, 0, 31))


def requantize_once(x: Ints | int, multiplier: Ints | int, shift: Ints | int) -> Ints:
    """The same product rounded once, ties away from zero: what LiteRT's FULLY_CONNECTED computes. shift < 30.

    LiteRT's multiplier is a double, ours has 31 bits: values within 2^-31 of a tie may differ by one.
    """
    product = np.asarray(x, np.int64) * np.asarray(multiplier, np.int64)
    down = 31 - np.asarray(shift, np.int64)
    return saturate32((product + (np.int64(1) << (down - 1)) - (product < 0)) >> down)


def requantize_wide(x: Ints | int, multiplier: Ints | int, shift: Ints | int) -> Ints:
    """x * multiplier * 2^(shift - 31) of |x| < 2^47 with 16 bits of the multiplier, rounded once, ties towards plus infinity: TensorFlow Lite's
    MultiplyByQuantizedMultiplier of 64 bits. shift in [-31, 7]; the result fits in int32."""
    m, down = np.asarray(multiplier, np.int64), 15 - np.asarray(shift, np.int64)
    reduced = np.where(m < 0x7FFF0000, (m + (1 << 15)) >> 16, 0x7FFF)
    return np.asarray((np.asarray(x, np.int64) * reduced + (np.int64(1) << (down - 1))) >> down)


BEYOND = 1025
"""Shift of an infinite factor; the largest float64 has 1024."""


def quantize_multiplier(real: float) -> tuple[int, int]:
    """A positive real as (multiplier in [2^30, 2^31), shift): TensorFlow Lite's QuantizeMultiplier. What overflowed has a shift beyond all others,
    which no operator takes."""
    if real == 0.0:
        return 0, 0
    if np.isinf(real):
        return 1 << 30, BEYOND
    fraction, exponent = np.frexp(real)
    mantissa = int(np.floor(fraction * 2.0**31 + 0.5))
    if mantissa == 1 << 31:
        mantissa, exponent = mantissa // 2, exponent + 1
    return (0, 0) if exponent < -31 else (mantissa, int(exponent))


def quantize_multipliers(reals: NDArray[np.float64]) -> tuple[Ints, Ints]:
    """The same of many positive reals, or zeros: multipliers and shifts."""
    fractions, exponents = np.frexp(np.asarray(reals, np.float64).reshape(-1))
    mantissas, shifts = np.floor(fractions * 2.0**31 + 0.5).astype(np.int64), exponents.astype(np.int64)
    carried = mantissas == 1 << 31
    mantissas, shifts = np.where(carried, mantissas // 2, mantissas), shifts + carried
    lost = (mantissas == 0) | (shifts < -31)
    return np.where(lost, 0, mantissas), np.where(lost, 0, shifts)


def shift_round(x: Ints | int, n: Ints | int) -> Ints:
    """x / 2^n, ties towards plus infinity; n < 0 shifts left and saturates at int32.

    The only rounding of the backward pass. A right shift never overflows: (x >> n) + bit n-1 of x.
    """
    x, n = np.asarray(x, np.int64), np.asarray(n, np.int64)
    right = np.clip(n, 0, 32)
    half = (np.int64(1) << right) >> 1
    return saturate32(((x << np.clip(-n, 0, 31)) + half) >> right)


def saturate8(x: Ints) -> Ints:
    """Clamp to [-127, 127]: gradients and trainable codes never hold -128."""
    return np.clip(x, -127, 127)


def bit_length(x: Ints) -> Ints:
    """Bits of |x|: 32 - clz, 0 for 0."""
    return np.frexp(np.abs(np.asarray(x, np.float64)))[1].astype(np.int64)


def power_of_two(exponent: Any) -> Floats:
    """2^exponent in float32, exponent in [-126, 127]."""
    return ((np.asarray(exponent, np.int32) + 127) << 23).astype(np.int32).view(np.float32)


def exponent_for(largest: Any, limit: float, lowest: int = -100) -> Ints:
    """The smallest e >= lowest with largest * 2^-e <= limit; `largest` is float32, 0 gives `lowest`.

    Computed on the bits as the C does: e of the quotient by `limit`, one more if its mantissa is not zero.
    """
    quotient = np.asarray(largest, np.float32) / np.float32(limit)
    bits = quotient.view(np.int32).astype(np.int64)
    exponent = (bits >> 23) - 127 + ((bits & 0x7FFFFF) != 0)
    return np.maximum(np.where(bits == 0, lowest, exponent), lowest)


def round_half_up(x: Floats) -> Ints:
    """floor(x + 0.5) of float32, saturated at +-2^30; NaN gives the lowest value."""
    shifted, limit = np.asarray(x, np.float32) + np.float32(0.5), np.float32(2.0**30)
    limited = np.where(shifted > -limit, np.minimum(shifted, limit), -limit)
    return np.asarray(np.floor(limited).astype(np.int64))


_EXP = tuple(np.float32(c) for c in (1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5, 1.0, 1.0))
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)


def exp(x: Any) -> Floats:
    """e^x for x <= 0 in float32: Cody-Waite reduction, a Taylor polynomial of degree 7; below -87 it is 0."""
    x = np.asarray(x, np.float32)
    clipped = np.maximum(x, np.float32(-87.0))
    n = np.floor(clipped * np.float32(1.44269504) + np.float32(0.5)).astype(np.int32)
    r = clipped - n.astype(np.float32) * _LN2_HIGH
    r = r - n.astype(np.float32) * _LN2_LOW
    p = np.full(r.shape, _EXP[0], np.float32)
    for coefficient in _EXP[1:]:
        p = p * r + coefficient
    return np.where(x < np.float32(-87.0), np.float32(0), p * power_of_two(np.maximum(n, -126))).astype(np.float32)


def log(x: Any) -> Floats:
    """ln x for normal x > 0 in float32: x = m 2^e with m in [sqrt(1/2), sqrt(2)), then the atanh series."""
    bits = np.asarray(x, np.float32).view(np.int32)
    e = (bits >> 23) - 127
    m = ((bits & 0x7FFFFF) | 0x3F800000).astype(np.int32).view(np.float32)
    high = m > np.float32(1.41421356)
    m = np.where(high, m * np.float32(0.5), m).astype(np.float32)
    e = (e + high).astype(np.float32)
    s = (m - np.float32(1)) / (m + np.float32(1))
    z = s * s
    p = np.float32(1 / 9) * np.ones_like(z)
    for coefficient in (1 / 7, 1 / 5, 1 / 3, 1.0):
        p = p * z + np.float32(coefficient)
    return np.asarray(np.float32(2) * s * p + e * _LN2_LOW + e * _LN2_HIGH, np.float32)


def sqrt(x: Any) -> Floats:
    """Square root of a normal x >= 0 in float32: four Newton steps from a guess made on the bits."""
    x = np.asarray(x, np.float32)
    y = ((x.view(np.int32) >> 1) + 0x1FC00000).astype(np.int32).view(np.float32)
    for _ in range(4):
        y = np.float32(0.5) * (y + x / y)
    return np.where(x > 0, y, np.float32(0)).astype(np.float32)


def sequential_sum(x: Any) -> np.float32:
    """Sum in order, one float32 addition after the other, as the C loop does (np.sum is pairwise)."""
    flat = np.asarray(x, np.float32).ravel()
    return np.float32(0) if flat.size == 0 else np.add.accumulate(flat, dtype=np.float32)[-1]


# -- random numbers: the twin of runtime/include/kt/random.h, which says where the formulas come from -------
def _mix(x: Any) -> NDArray[np.uint32]:
    x = np.asarray(x, np.uint32)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return np.asarray(x ^ (x >> np.uint32(16)), np.uint32)


def random_key(seed: int, counter: int, stream: int) -> NDArray[np.uint32]:
    """The key of the numbers that one use draws in one update."""
    with np.errstate(over="ignore"):
        sown = _mix(seed & 0xFFFFFFFF) + np.uint32(counter & 0xFFFFFFFF)
        return _mix(_mix(sown) + np.uint32(stream & 0xFFFFFFFF))


def random_bits(seed: int, counter: int, stream: int) -> NDArray[np.uint32]:
    """32 random bits of one use at one count: those of element 0."""
    with np.errstate(over="ignore"):
        return _mix(random_key(seed, counter, stream))


def random_unit(key: NDArray[np.uint32], count: int) -> Floats:
    """Numbers 0 to count - 1 of a key: uniform in [0, 1), multiples of 2^-24."""
    with np.errstate(over="ignore"):
        bits = _mix(key + np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9))
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def round_stochastic(x: Floats, unit: Floats) -> Ints:
    """floor(x), or one more with the probability of the fraction; a whole x never moves. |x| < 2^31."""
    whole = np.floor(np.asarray(x, np.float32))
    return np.asarray(whole.astype(np.int64) + (unit < x - whole))
