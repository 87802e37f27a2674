"""How far a kernel's reading runs ahead of its writing: what lets a result overwrite an operand that dies with the step.

A kernel writes its first result in equal pieces (a position with all its channels, or a row), walking forwards or, where the
result lies above the operand, backwards (`kt_direction` in the runtime). While it writes a piece it may still read what that
piece needs, so a piece must not touch what itself or a later one reads.
Source of the idea: Blacker et al., "Diagonal Memory Optimisation for Machine Learning on Micro-controllers" (2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Bounds = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Reach:
    """Bytes of one operand that each piece reads: from `first` up to, not including, `end` (first = operand size, end = 0 where none).

    piece: bytes of the result in one piece; there are len(first) pieces. The operand is named by `Op.reach`.
    """

    first: Bounds
    end: Bounds
    piece: int

    @lru_cache(64)  # noqa: B019 (a Reach of a window lives as long as the process)
    def distances(self, result: int, operand: int) -> tuple[int, int]:
        """How far before the operand, or else after it, the result must begin, in bytes, given the sizes of both.

        No piece, walked forwards or backwards, then touches what itself or a later one reads. At distance 0 kernels walk forwards.
        """
        start = np.arange(len(self.first), dtype=np.int64) * self.piece
        needed_from = np.minimum.accumulate(self.first[::-1])[::-1]
        needed_to = np.maximum.accumulate(self.end)
        below = int((start + self.piece - needed_from).max())
        above = int((needed_to - start).max())
        return min(max(below, 0), result), min(max(above, 1), operand)

    def in_bands(self, count: int) -> Reach:
        """Of a kernel that reads all that `count` neighbouring pieces need before it has written the last of them."""
        starts = np.arange(0, len(self.first), count)
        return Reach(np.minimum.reduceat(self.first, starts), np.maximum.reduceat(self.end, starts), self.piece * count)
