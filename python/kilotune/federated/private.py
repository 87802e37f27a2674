"""Updates of bounded length under noise, and sums of them: the meaning of runtime/src/core/private_update.c.

An update is what a client changed: the real values of an adapter less those of the adapter that it started from, as integers in units of 2^-16;
biases, which adapters hold in units of an accumulator, count 2^-13 a unit. The unit is the same for all clients and all rounds, whatever the
exponents of their adapters: integers can be summed in any order, and under masks.

    update = update_of(adapter, shared)
    sent = private_update(update, clip=65536, sigma=16384, key=secrets.token_bytes(32), nonce=0)
    shared = with_mean(shared, [sent, ...])
    spent = epsilon(sigma / clip * len(sent) ** 0.5, rounds=8)

Sources: Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy" (2020); McMahan et al., "Learning Differentially Private
Recurrent Language Models" (2018) for clipping a client's whole update.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..adapters import Adapter
from ..adapters.compare import real_values
from ..errors import DeviceError
from .exact import divided
from .products import grown_ranges
from .real import Reals, adapter_of

FRACTION, BIAS_FRACTION = 16, 13
LIMIT, SIZE, CLIP, SIGMA = 2**23, 2**16, 2**20, 2**20
"""Largest value of an update, most values, largest clip and sigma: those of kt/private_update.h."""
FINER, FARTHEST_SHIFT = 24, 48
"""update_of subtracts in units of 2^-(16 + FINER); codes of larger exponents than FARTHEST_SHIFT of those units are far beyond LIMIT."""
FARTHEST = 64

Integers = NDArray[np.int64]


# ---- What is sent ----


def update_of(adapter: Adapter, base: Adapter) -> Integers:
    """What a client changed, in the order of the adapter's table; the bits of kt_adapter_update.

    Values are subtracted in units of 2^-40 and rounded once, ties away from zero: exact for exponents from -16 on. What an adapter holds below
    2^-40 counts as zero. DeviceError where the two are of different tables.
    """
    if adapter.base_hash != base.base_hash or adapter.entries != base.entries:
        raise DeviceError("update", "the two adapters do not have one table", "pass the adapter that the client started from")
    own, start, parts = adapter.values(), base.values(), list[Integers]()
    for e in base.entries:
        if e.part != "value":
            continue
        if f"{e.name}.exponent" in start:
            ends = [_fine(raw[e.name], int(raw[f"{e.name}.exponent"][0, 0])) for raw in (own, start)]
            parts.append(divided(ends[0] - ends[1], 1 << FINER).ravel())
        else:
            parts.append(((own[e.name].astype(np.int64) - start[e.name].astype(np.int64)) << (FRACTION - BIAS_FRACTION)).ravel())
    return np.asarray(np.clip(np.concatenate(parts), -LIMIT, LIMIT), np.int64)


def _fine(codes: NDArray[np.int8], exponent: int) -> Integers:
    """Codes times 2^exponent in units of 2^-40."""
    shift = min(exponent + FRACTION + FINER, FARTHEST_SHIFT)
    return np.zeros(codes.shape, np.int64) if shift < 0 else codes.astype(np.int64) << shift


def private_update(update: Integers, clip: int, sigma: int, key: bytes, nonce: int) -> Integers:
    """An update with a norm of at most `clip` units, and a discrete Gaussian of parameter sigma added to each value; the bits of the C function.

    sigma: 0 adds none. key: 32 secret bytes, of the client's own random numbers. nonce: below 2^96, another one for each update. ValueError.
    """
    if not 1 <= clip <= CLIP or not 0 <= sigma <= SIGMA or len(update) > SIZE:
        raise ValueError(f"clip is {clip}, sigma {sigma}, of {len(update)} values: they go to {CLIP}, {SIGMA} and {SIZE}")
    if len(key) != 32 or not 0 <= nonce < 2**96:
        raise ValueError(f"the key has {len(key)} bytes, the nonce is {nonce}: pass 32 bytes and a number below 2^96")
    values = [min(max(int(x), -LIMIT), LIMIT) for x in update]
    squares = sum(x * x for x in values)
    norm = math.isqrt(squares - 1) + 1 if squares else 0
    if norm > clip:
        values = [abs(x) * clip // norm * (1 if x >= 0 else -1) for x in values]
    if sigma:
        draw = Draws(key, nonce)
        values = [x + draw.gaussian(sigma) for x in values]
    return np.array(values, np.int64)


class Draws:
    """Exact random numbers of the ChaCha20 key stream (RFC 8439) of a key and a nonce."""

    def __init__(self, key: bytes, nonce: int) -> None:
        self._words = _words(key, nonce)

    def below(self, n: int) -> int:
        """0 to n - 1, each as likely."""
        mask = (1 << (n - 1).bit_length()) - 1
        while True:
            bits = next(self._words)
            if mask > 0xFFFFFFFF:
                bits |= next(self._words) << 32
            if bits & mask < n:
                return bits & mask

    def survives_part(self, a: int, b: int) -> bool:
        """With the probability exp(-a / b), a <= b."""
        k = 1
        while self.below(b * k) < a:
            k += 1
        return k % 2 == 1

    def survives(self, a: int, b: int) -> bool:
        """The same of any a."""
        while a > b:
            if not self.survives_part(1, 1):
                return False
            a -= b
        return self.survives_part(a, b)

    def laplace(self, t: int) -> int:
        """P(x) proportional to exp(-|x| / t)"""
        while True:
            u, v = self.below(t), 0
            if not self.survives(u, t):
                continue
            while self.survives_part(1, 1):
                v += 1
            negative, x = self.below(2), u + t * v
            if v < FARTHEST and not (negative and x == 0):
                return -x if negative else x

    def gaussian(self, sigma: int) -> int:
        """P(x) proportional to exp(-x^2 / 2 sigma^2)"""
        while True:
            y = self.laplace(sigma)
            if self.survives((abs(y) - sigma) ** 2, 2 * sigma * sigma):
                return y


def _words(key: bytes, nonce: int) -> Iterator[int]:
    start = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key), 0, *struct.unpack("<3I", nonce.to_bytes(12, "little"))]
    while True:
        x = list(start)
        for _ in range(10):
            for shift in (0, 1):
                for column in range(4):
                    _quarter(x, column, *((column + shift * k) % 4 + 4 * k for k in (1, 2, 3)))
        yield from ((a + b) & 0xFFFFFFFF for a, b in zip(x, start, strict=True))
        start[12] = (start[12] + 1) & 0xFFFFFFFF


def _quarter(x: list[int], a: int, b: int, c: int, d: int) -> None:
    for to, added, turned, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        x[to] = (x[to] + x[added]) & 0xFFFFFFFF
        mixed = x[turned] ^ x[to]
        x[turned] = ((mixed << bits) | (mixed >> (32 - bits))) & 0xFFFFFFFF


# ---- What a server makes of it ----


def with_mean(base: Adapter, updates: Sequence[Integers]) -> Adapter:
    """The adapter that clients started from, with the mean of their updates. Whatever their order it is the same, bit for bit.

    Each client counts alike: a weight would tell how many samples it has, and by more than the noise hides.
    """
    if not updates:
        raise DeviceError("the round", "no client sent an update", "wait for more clients")
    return with_sum(base, np.sum(np.stack(updates), axis=0), len(updates))


def with_sum(base: Adapter, total: Integers, clients: int, like: Adapter | None = None) -> Adapter:
    """The same of the sum of so many updates, which is all that secure aggregation shows.

    clients: also the sum of the weights that the updates were multiplied by. like: an adapter of before any training; with it the exponents of A x
    become those that fit A as it has grown since, without it they stay.
    """
    start, scales, at = real_values(base), _scales(base), 0
    if len(total) != sum(start[name].size for name in scales):
        raise DeviceError("the round", f"an update of {len(total)} values does not fit the adapter", "take updates of clients that started from it")
    mean, values = divided(np.asarray(total, np.int64), clients), dict[str, Reals]()
    for name, scale in scales.items():
        values[name] = start[name] + mean[at : at + start[name].size].reshape(start[name].shape) / scale
        at += start[name].size
    return adapter_of(values, base, None if like is None else grown_ranges(values, real_values(like), like))


def _scales(base: Adapter) -> dict[str, float]:
    """Units of each tensor's real value, in the order of the table."""
    raw = base.values()
    return {e.name: 2.0 ** (FRACTION if f"{e.name}.exponent" in raw else FRACTION - BIAS_FRACTION) for e in base.entries if e.part == "value"}
