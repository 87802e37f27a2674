"""The weighted mean of adapters in integers: the same bits for every order of the clients, on every computer.

With n_i the samples of client i, q_i its codes and e_i the exponent of a tensor, T_e the sum of n_i q_i over the clients whose exponent is e, in
units of 2^(e - 24), top the largest exponent:

    S = sum over e of round(T_e 2^24 / 2^(top - e))  int64; |T_e| < 2^7 2^31
    M = S / sum n_i                                  rounded to nearest, ties away from zero
    q = M / 2^k                                      rounded alike, with the least k that leaves 8 bits, but no step finer than the finest e_i

Sums of integers commute, and a division follows at the end. Adapters that are all equal give themselves. Biases of int32 are summed as they are;
exponents of A x (ranges) are the largest of all. What is kept of a client is in these sums, so that memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..adapters import Adapter
from ..errors import DeviceError
from .contributions import MOST_SAMPLES, Contribution, check, unfit

FRACTION = 24
LARGEST_CODE = 127
Ints = NDArray[np.int64]


class ExactSum:
    """Adapters of one table, added up one at a time: `mean` is that of `exact_mean` over all of them, in whatever order they came."""

    def __init__(self) -> None:
        self.samples = 0
        self._first: Adapter | None = None
        self._sums: dict[str, dict[int, Ints]] = {}
        """Name of a tensor -> its exponent -> T_e; biases have the exponent 0."""
        self._ranges: dict[str, Ints] = {}

    def add(self, contribution: Contribution) -> None:
        """Raises DeviceError, and adds nothing, where it does not go together with those before."""
        if why := unfit(contribution, self._first or contribution.adapter):
            raise DeviceError(contribution.client, why, "leave it out: `accepted` does that and says why")
        if self.samples + contribution.samples > MOST_SAMPLES:
            what = f"the clients learned from {self.samples + contribution.samples:,} samples, more than {MOST_SAMPLES:,}"
            raise DeviceError("the round", what, "divide all numbers of samples alike")
        self._first = self._first or contribution.adapter
        self.samples += contribution.samples
        arrays = contribution.adapter.values()
        for entry in self._first.entries:
            value = arrays[entry.name].astype(np.int64)
            if entry.part == "value":
                scaled = arrays.get(f"{entry.name}.exponent")
                of_exponent = self._sums.setdefault(entry.name, {})
                exponent = 0 if scaled is None else int(scaled[0, 0])
                of_exponent[exponent] = of_exponent.get(exponent, 0) + contribution.samples * value
            elif entry.part == "range":
                self._ranges[entry.name] = np.maximum(self._ranges.get(entry.name, value), value)

    def mean(self) -> Adapter:
        """Raises DeviceError where nothing was added."""
        if self._first is None:
            check([])
        first = self._first
        assert first is not None
        found: dict[str, Ints] = dict(self._ranges)
        names = {e.name for e in first.entries}
        for name, sums in self._sums.items():
            scaled = f"{name}.exponent"
            if scaled not in names:
                found[name] = divided(sums[0], self.samples)
                continue
            top = max(sums)
            total = sum(shifted(values << FRACTION, top - e) for e, values in sums.items())
            codes, exponent = _codes(divided(total, self.samples), top - FRACTION, min(sums))
            found[name], found[scaled] = codes, np.array([[exponent]], np.int64)
        payload = b"".join(found[e.name].astype(np.dtype(e.dtype).newbyteorder("<")).tobytes() for e in first.entries)
        return Adapter.make(bytes.fromhex(first.base_hash), first.methods, first.entries, payload, first.name)


def exact_mean(contributions: Sequence[Contribution]) -> Adapter:
    """The mean of adapters of one table, each as heavy as its samples are many. Raises DeviceError where they do not go together."""
    total = ExactSum()
    for contribution in contributions:
        total.add(contribution)
    return total.mean()


def divided(total: Ints | int, count: int) -> Ints:
    """total / count, rounded to nearest, ties away from zero."""
    total = np.asarray(total, np.int64)
    magnitude = np.abs(total)
    return np.asarray(np.sign(total) * ((magnitude + count // 2) // count), np.int64)


def shifted(x: Ints, bits: int) -> Ints:
    """x / 2^bits, rounded to nearest, ties away from zero."""
    if bits > 62:
        return np.zeros_like(x)
    return divided(x, 1 << bits)


def _codes(mean: Ints, exponent: int, finest: int) -> tuple[Ints, int]:
    """Codes of 8 bits and their exponent, of a mean in units of 2^exponent."""
    bits = max(finest - exponent, int(np.abs(mean).max(initial=0)).bit_length() - 7, 0)
    codes = shifted(mean, bits)
    if np.abs(codes).max(initial=0) > LARGEST_CODE:
        codes, bits = shifted(mean, bits + 1), bits + 1
    return codes, exponent + bits
