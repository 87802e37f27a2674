"""The weighted mean of adapters in integers: the same bits for every order of the clients, on every computer.

With n_i the samples of client i, q_i its codes and e_i the exponent of a tensor, in units of 2^(e - 24), e the largest exponent:

    S = sum n_i round(q_i 2^24 / 2^(e - e_i))        int64; |S| < 2^7 2^24 2^31
    M = S / sum n_i                                  rounded to nearest, ties away from zero
    q = M / 2^k                                      rounded alike, with the least k that leaves 8 bits, but no step finer than the finest e_i

A term is rounded by itself, sums of integers commute, and a division follows at the end. Adapters that are all equal give themselves. Biases of
int32 are summed as they are; exponents of A x (ranges) are the largest of all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..adapters import Adapter
from .contributions import Contribution, check

FRACTION = 24
LARGEST_CODE = 127
Ints = NDArray[np.int64]


def exact_mean(contributions: Sequence[Contribution]) -> Adapter:
    """The mean of adapters of one table, each as heavy as its samples are many. Raises DeviceError where they do not go together."""
    check(contributions)
    first, samples = contributions[0].adapter, [c.samples for c in contributions]
    arrays = [c.adapter.values() for c in contributions]
    found: dict[str, Ints] = {}
    for entry in first.entries:
        if entry.part != "value":
            continue
        values = [a[entry.name].astype(np.int64) for a in arrays]
        scaled = f"{entry.name}.exponent"
        if scaled not in arrays[0]:
            found[entry.name] = divided(sum(n * v for n, v in zip(samples, values, strict=True)), sum(samples))
            continue
        exponents = [int(a[scaled][0, 0]) for a in arrays]
        top = max(exponents)
        terms = (n * shifted(v << FRACTION, top - e) for n, v, e in zip(samples, values, exponents, strict=True))
        mean = divided(sum(terms), sum(samples))
        codes, exponent = _codes(mean, top - FRACTION, min(exponents))
        found[entry.name], found[scaled] = codes, np.array([[exponent]], np.int64)
    for entry in first.entries:
        if entry.part == "range":
            found[entry.name] = np.max([a[entry.name] for a in arrays], axis=0).astype(np.int64)
    payload = b"".join(found[e.name].astype(np.dtype(e.dtype).newbyteorder("<")).tobytes() for e in first.entries)
    return Adapter.make(bytes.fromhex(first.base_hash), first.methods, first.entries, payload, first.name)


def divided(total: Ints | int, count: int) -> Ints:
    """total / count, rounded to nearest, ties away from zero."""
    total = np.asarray(total, np.int64)
    magnitude = np.abs(total)
    return np.asarray(np.sign(total) * ((magnitude + count // 2) // count), np.int64)


def shifted(x: Ints, bits: int) -> Ints:
    """x / 2^bits, rounded to nearest, ties away from zero."""
    if bits > 40:
        return np.zeros_like(x)
    return divided(x, 1 << bits)


def _codes(mean: Ints, exponent: int, finest: int) -> tuple[Ints, int]:
    """Codes of 8 bits and their exponent, of a mean in units of 2^exponent."""
    bits = max(finest - exponent, int(np.abs(mean).max(initial=0)).bit_length() - 7, 0)
    codes = shifted(mean, bits)
    if np.abs(codes).max(initial=0) > LARGEST_CODE:
        codes, bits = shifted(mean, bits + 1), bits + 1
    return codes, exponent + bits
