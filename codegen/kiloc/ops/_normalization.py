"""Rows of int8 values brought to a mean of 0 and a variance of 1, in integers: what layer normalisation and its gradient share.

Of a row of `depth` codes q: d = depth q - sum(q), and v = depth sum(q^2) - sum(q)^2, which is depth^2 times its variance. Scales and zero points
drop out of d / sqrt(v + e), e = epsilon (depth / s_x)^2. v + e is held with FRACTION bits below, its inverse root has 28 bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import numerics as nm
from ._fixed_point import inverse_root

Ints = NDArray[np.int64]

FRACTION = 8
NORMALIZED_BITS = 20
LONGEST_ROW = 2048
"""For which sums of gradients stay in 64 bits, and of codes in 32."""
_EPSILON_BITS = 52


class Rows(NamedTuple):
    """normalized: in 2^-NORMALIZED_BITS, [N, rows, depth]; root, halvings [N, rows, 1]: root 2^(-42 - halvings) = 1 / sqrt(2^FRACTION (v + e))."""

    normalized: Ints
    root: Ints
    halvings: Ints


def epsilon_of(epsilon: float, depth: int, scale: float) -> tuple[int, int] | None:
    """e with FRACTION bits as (mantissa of 31 bits, left shift); None where it is beyond 52 bits, or no number that is not negative."""
    real = epsilon * (depth / float(scale)) ** 2 * 2.0**FRACTION
    if not 0 <= real < 2.0**_EPSILON_BITS:
        return None
    exact = int(np.floor(real + 0.5))
    shift = max(exact.bit_length() - 31, 0)
    return exact >> shift, shift


def shift_round_wide(x: Ints, n: Ints | int) -> Ints:
    """x / 2^n of 64-bit x, ties towards plus infinity; n in [1, 62]."""
    return np.asarray((x + (np.int64(1) << (np.asarray(n, np.int64) - 1))) >> n)


def rows_of(q: Ints, epsilon: tuple[int, int]) -> Rows:
    """q: codes [N, rows, depth]."""
    depth = q.shape[-1]
    total = q.sum(-1, keepdims=True)
    spread = np.maximum(((depth * (q * q).sum(-1, keepdims=True) - total * total) << FRACTION) + (epsilon[0] << epsilon[1]), 1)
    halvings = (nm.bit_length(spread) - 28) >> 1
    root = inverse_root((spread << np.maximum(-2 * halvings, 0)) >> np.maximum(2 * halvings, 0))
    normalized = shift_round_wide((depth * q - total) * root, 42 - NORMALIZED_BITS - FRACTION // 2 + halvings)
    return Rows(normalized, root, halvings)
