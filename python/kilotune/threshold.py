"""A threshold on anomaly scores that is kept calibrated: the meaning of runtime/include/kt/threshold.h, bit for bit."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_STATE = "<iiI"
_UNIT_BITS, _BIAS, _NOT_A_NUMBER = 16, 127 << 16, 128 << 16
_LEAST_SAMPLES = 2
_LARGEST = 2**31 - 1
MOST_WIDTH = 128.0


class Threshold:
    """An alarm for scores `width` standard deviations above the mean of normal ones, in the logarithm; what firmware has as kt_threshold.

    Scores are losses of samples, such as those of an autoencoder (`Device.losses`). memory: normal scores that mean and deviation go back. Learn
    from what is known to be normal, and again after the model has adapted: its losses are others then.
    """

    def __init__(self, width: float = 4.0, memory: int = 256) -> None:
        if isinstance(width, bool) or not isinstance(width, int | float) or not 0 <= width < MOST_WIDTH:
            raise ValueError(f"width is {width!r}: it must be a number of standard deviations from 0 to below {MOST_WIDTH:g}; 4 is usual")
        if isinstance(memory, bool) or not isinstance(memory, int) or not 1 <= memory < 2**32:
            raise ValueError(f"memory is {memory!r}: it must be a number of scores of at least 1")
        self.width, self.memory = width, memory
        self.level = self.spread = self.samples = 0

    def learn(self, scores: ArrayLike) -> None:
        """Take in normal scores, in their order."""
        for logarithm in logarithms(scores):
            before = int(logarithm) - self.level
            self.samples = min(self.samples + 1, 2**32 - 1)
            count = min(self.samples, self.memory)
            self.level += _divided(before, count)
            square = _divided(before * (int(logarithm) - self.level), 1 << _UNIT_BITS)
            self.spread = min(self.spread + _divided(square - self.spread, count), _LARGEST)

    def alarms(self, scores: ArrayLike) -> NDArray[np.bool_]:
        """Which scores are above the limit; none before two have been learned."""
        above = logarithms(scores) > self._limit()
        return above & (self.samples >= _LEAST_SAMPLES)

    @property
    def limit(self) -> float:
        """The score above which the alarm is raised."""
        bits = min(max(self._limit() + _BIAS, 0), 255 << _UNIT_BITS) << 7
        return float(np.array(bits, np.uint32).view(np.float32))

    def to_bytes(self) -> bytes:
        """The 12 bytes of a kt_threshold."""
        return struct.pack(_STATE, self.level, self.spread, self.samples)

    def set_bytes(self, state: bytes) -> None:
        """Go on from what `to_bytes`, or firmware, has kept."""
        if len(state) != struct.calcsize(_STATE):
            raise ValueError(f"state has {len(state)} bytes, a threshold has {struct.calcsize(_STATE)}")
        level, spread, samples = struct.unpack(_STATE, state)
        if spread < 0:
            raise ValueError(f"state has a variance of {spread}: it is none of a threshold")
        self.level, self.spread, self.samples = level, spread, samples

    def _limit(self) -> int:
        deviation = math.isqrt(self.spread << _UNIT_BITS)
        return min(self.level + deviation * round(256 * self.width) // 256, _LARGEST)


def logarithms(scores: ArrayLike) -> NDArray[np.int64]:
    """kt_threshold_logarithm of each score, as float32."""
    values: NDArray[Any] = np.atleast_1d(np.asarray(scores)).astype(np.float32).ravel()
    bits = values.view(np.uint32).astype(np.int64)
    found = np.where(bits >> 31 != 0, 0, bits) >> (23 - _UNIT_BITS)
    return np.asarray(np.where(np.isnan(values), _NOT_A_NUMBER, found - _BIAS), np.int64)


def _divided(a: int, b: int) -> int:
    """Towards zero, as C divides."""
    return a // b if a >= 0 else -(-a // b)
