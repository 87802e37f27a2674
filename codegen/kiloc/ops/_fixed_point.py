"""gemmlowp's functions of fixed-point numbers: int32 with some bits in front of the binary point, held in int64.

Source: gemmlowp, fixedpoint/fixedpoint.h; TensorFlow Lite computes SOFTMAX, LOGISTIC and TANH with them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from .. import numerics as nm

Fixed = NDArray[np.int64]

_FACTORS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
"""exp(-2^i) with no integer bits, i = -2 .. 4."""


def exp_negative(a: Fixed, bits: int) -> Fixed:
    """exp(a) for a <= 0 with up to 5 integer bits; the result has none."""
    quarter = 1 << (29 - bits)
    part = (a & (quarter - 1)) - quarter
    x = (part << bits) + (1 << 28)
    x2 = nm.high_multiply(x, x)
    x3, x4 = nm.high_multiply(x2, x), nm.high_multiply(x2, x2)
    cubic = nm.high_multiply(nm.divide_by_power(x4, 2) + x3, 715827883) + x2
    series = x + nm.divide_by_power(cubic, 1)
    result = 1895147668 + nm.high_multiply(1895147668, series)
    remainder = part - a
    for bit, factor in zip(range(29 - bits, 31), _FACTORS, strict=False):
        result = np.where(remainder & (1 << bit), nm.high_multiply(result, factor), result)
    return np.where(a == 0, nm.INT32_MAX, result)


def _divided(a: Fixed) -> Fixed:
    """2 / (1 + a) for a in [0, 1] without integer bits; the result has two. Three steps of Newton and Raphson."""
    half = (a + nm.INT32_MAX + 1) >> 1
    y = 1515870810 + nm.high_multiply(half, -1010580540)
    for _ in range(3):
        rest = (1 << 29) - nm.high_multiply(half, y)
        y = y + nm.saturate32(nm.high_multiply(y, rest) << 2)
    return y


def one_over_one_plus(a: Fixed) -> Fixed:
    """1 / (1 + a) for a in [0, 1], both without integer bits."""
    return nm.saturate32(_divided(a) << 1)


def logistic(a: Fixed, bits: int) -> Fixed:
    """1 / (1 + exp(-a)); the result has no integer bits."""
    positive = one_over_one_plus(exp_negative(-np.abs(a), bits))
    return np.where(a == 0, 1 << 30, np.where(a > 0, positive, nm.INT32_MAX - positive))


def tanh(a: Fixed, bits: int) -> Fixed:
    """tanh(a), as (1 - e) / (1 + e) with e = exp(-2 |a|); the result has no integer bits."""
    e = exp_negative(-np.abs(a), bits + 1)
    magnitude = nm.saturate32((_divided(e) - (1 << 29)) << 2)
    return np.where(a == 0, 0, np.where(a > 0, magnitude, -magnitude))


def inverse_root(x: Fixed) -> Fixed:
    """1 / sqrt(x) of x in [2^27, 2^29), in 2^-42: five steps of Newton and Raphson."""
    half, y = nm.divide_by_power(x >> 1, 1), np.full_like(x, 1 << 28)
    for _ in range(5):
        cube = nm.saturate32(nm.high_multiply(nm.high_multiply(y, y), y) << 6)
        y = nm.saturate32((nm.high_multiply((1 << 28) + (1 << 27), y) - nm.high_multiply(half, cube)) << 3)
    return nm.high_multiply(y, 1518500250)


@cache
def inverse_square_root(x: int) -> tuple[int, int]:
    """1 / sqrt(x) of an integer as (multiplier, shift) of `numerics.requantize`: TensorFlow Lite's GetInvSqrtQuantizedMultiplierExp."""
    if x <= 1:
        return nm.INT32_MAX, 0
    shift = 11
    while x >= 1 << 29:
        x, shift = x // 4, shift + 1
    pairs = (32 - x.bit_length() - 1) // 2 - 1
    shift, x = shift - pairs, x << 2 * pairs
    y = int(inverse_root(np.asarray(x, np.int64)))
    return (y << -shift, 0) if shift < 0 else (y, -shift)


def logarithm(x: Fixed, input_bits: int, bits: int) -> Fixed:
    """ln x for x >= 1 with input_bits integer bits; the result has `bits`: TensorFlow Lite's log_x_for_x_greater_than_or_equal_to_1.

    x = r 2^z with r near 2^(-1/4), so that z is a quarter off a whole number; of the two such r the smaller one. ln r is a quotient of
    polynomials around 2^(-1/4).
    """
    sqrt_half, centre, unit = 1518500250, 1805811301, 1 << (30 - bits)
    zeros = 32 - nm.bit_length(x)
    first = nm.saturate32(nm.high_multiply(nm.saturate32(x << (zeros - 1)), sqrt_half) << 1)
    halved = 31 - nm.bit_length(nm.high_multiply(x, sqrt_half))
    r = np.minimum(first, nm.saturate32(x << halved))
    quarter = int(nm.divide_by_power(1 << 29, bits + 1))
    z = np.maximum(nm.saturate32((input_bits - zeros) * unit) + quarter, nm.saturate32((input_bits - halved) * unit) - quarter)
    p, q = (r + centre + 1) >> 1, 2 * (r - centre)
    square = nm.high_multiply(q, q)
    numerator = nm.high_multiply(q, r) + nm.high_multiply(nm.high_multiply(q, square), 117049297)
    denominator = nm.high_multiply(p, 1057819769 + q + nm.high_multiply(127690142, square)) + nm.high_multiply(638450708, q)
    quotient = nm.high_multiply(nm.divide_by_power(numerator, bits + 1), one_over_one_plus(denominator))
    return nm.saturate32((nm.high_multiply(z, 1488522236) + quotient) << 1)
