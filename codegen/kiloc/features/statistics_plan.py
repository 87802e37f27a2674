"""Statistics of windows in integers: exact sums, and what each is in real units, which `runtime/src/features/statistics.c` repeats.

Of a window of n samples x of one channel: the sum S, the sum Q of squares and the sum A of magnitudes are exact. Each statistic is an integer v
of a known unit: S and A of 1 / n, extremes and their difference of 1, crossings counted, and roots, rounded down, of 256 n Q (rms) and of
256 (n Q - S^2) (std), of 1 / (16 n). A band is the root of the sum of squares of its frequencies' magnitudes, of the samples without their
mean, which is rounded to nearest; where one of them has more than 16 bits, all are halved. The feature's steps of the input are
(v * multiplier + offset) >> shift, with a multiplier of at most 29 bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from .front_end import FeaturePlan, Int64, Table, framed, quantized
from .spectrum import Spectrum, spectrum

if TYPE_CHECKING:
    from .statistics import Statistics

KNOWN = ("mean", "std", "min", "max", "range", "rms", "mean_absolute", "zero_crossings", "mean_crossings", "bands")
"""In the order of the numbers that C knows them by."""
MULTIPLIER_BITS = 29
MOST_SHIFT = 56
MOST_OFFSET = 1 << 60
ROOT_BITS = 4
"""Bits of fraction of the roots."""


@dataclass(frozen=True, eq=False)
class StatisticsPlan(FeaturePlan):
    """The constants of a Statistics for one quantisation of a model's input."""

    function: ClassVar[str] = "kt_features_statistics"
    struct: ClassVar[str] = "kt_statistics_features"
    arguments: ClassVar[tuple[str, ...]] = ("samples", "scratch", "rows")

    front: Statistics
    spectrum: Spectrum | None
    """None without bands."""
    band_ends: NDArray[np.uint16]
    """[bands + 1], the first frequency of each band and the one behind the last."""
    multiplier: NDArray[np.int32]
    offset: NDArray[np.int64]
    shift: NDArray[np.uint8]
    """Of each value of a frame."""
    zero_point: int

    @property
    def sources(self) -> tuple[str, ...]:
        return ("features/spectral.c", "features/statistics.c") if self.spectrum else ("features/statistics.c",)

    @property
    def tables(self) -> tuple[Table, ...]:
        numbers = np.array([KNOWN.index(v) for v in self.front.values], np.uint8)
        found = [
            Table("values", "uint8_t", numbers, f"which statistics: {', '.join(self.front.values)}"),
            Table("multiplier", "int32_t", self.multiplier, "from each value to steps of the input"),
            Table("offset", "int64_t", self.offset, "added to the products, with half a step"),
            Table("shift", "uint8_t", self.shift, "bits of fraction of the products"),
        ]
        if self.spectrum:
            found += [
                Table("window", "uint16_t", self.spectrum.window, "Hann window, 15 bits of fraction", "spectrum.window"),
                Table("sine", "int32_t", self.spectrum.sine, "a quarter of a period, 30 bits of fraction", "spectrum.sine"),
                Table("band_ends", "uint16_t", self.band_ends, "the first frequency of each band, and the one behind the last"),
            ]
        return tuple(found)

    @property
    def members(self) -> Mapping[str, int | str]:
        front = self.front
        found: dict[str, int | str] = {
            "zero_point": self.zero_point,
            "window_samples": front.window,
            "hop": front.hop,
            "frames": front.frames,
            "channels": front.channels,
            "value_count": len(front.values),
            "bands": max(0, len(front.edges) - 1),
        }
        if self.spectrum:
            found |= {
                "magnitudes": "kt_features_magnitudes",
                "spectrum.window_samples": front.window,
                "spectrum.points": front.fft,
                "spectrum.first_bin": int(self.band_ends[0]),
                "spectrum.last_bin": int(self.band_ends[-1]) - 1,
                "spectrum.fraction": self.spectrum.fraction,
            }
        return found

    @property
    def scratch_bytes(self) -> int:
        """With bands, the FFT in int32 and a window of int16."""
        return 4 * (self.front.fft + (self.front.window + 1) // 2) if self.spectrum else 0

    def _recordings(self, x: Int64) -> NDArray[np.int8]:
        front = self.front
        frames = np.moveaxis(framed(front, x.reshape(len(x), front.samples, front.channels)), 3, 2)  # [N, frames, channels, window]
        n, total = front.window, frames.sum(axis=-1)
        squares = (frames**2).sum(axis=-1)
        found = {
            "mean": total,
            "std": _root((n * squares - total**2) << (2 * ROOT_BITS)),
            "min": frames.min(axis=-1),
            "max": frames.max(axis=-1),
            "range": np.ptp(frames, axis=-1),
            "rms": _root(n * squares << (2 * ROOT_BITS)),
            "mean_absolute": np.abs(frames).sum(axis=-1),
            "zero_crossings": changes(frames < 0),
            "mean_crossings": changes(n * frames < total[..., None]),
        }
        columns = [found[v][..., None] if v != "bands" else self._bands(frames, total) for v in front.values]
        v = np.concatenate(columns, axis=-1).reshape(len(x), front.frames, front.width)
        return quantized((v * self.multiplier + self.offset) >> self.shift.astype(np.int64), self.zero_point)

    def _bands(self, frames: Int64, total: Int64) -> Int64:
        """[..., bands] of frames [..., window], whose sums are `total`."""
        assert self.spectrum is not None
        n = self.front.window
        without = frames - ((2 * total + n) // (2 * n))[..., None]
        halved = (without.max(axis=-1) > 32767) | (without.min(axis=-1) < -32768)
        flat = (without >> halved[..., None]).reshape(-1, n)
        magnitudes, up = self.spectrum.magnitudes(flat)
        power = magnitudes**2
        power[:, -1] >>= 1  # half the sample rate has no twin
        ends = self.band_ends.tolist()
        sums = np.stack([power[:, low:high].sum(axis=1) for low, high in pairwise(ends)], axis=1)
        roots: Int64 = (_root(sums) << halved.reshape(-1, 1)) >> up[:, None]
        return roots.reshape(*frames.shape[:-1], len(ends) - 1)


def changes(sign: NDArray[np.bool_]) -> Int64:
    """How often neighbours along the last axis differ."""
    return np.asarray((sign[..., 1:] != sign[..., :-1]).sum(axis=-1), np.int64)


def _root(v: Int64) -> Int64:
    """Roots of v < 2^63, rounded down."""
    root = np.sqrt(v.astype(np.float64)).astype(np.int64)
    root -= root * root > v
    return root + ((root + 1) * (root + 1) <= v)


def _units(front: Statistics, made: Spectrum | None) -> list[float]:
    """Of each value of a channel, what one of its integer is."""
    n = front.window
    units = {"mean": 1 / n, "mean_absolute": 1 / n, "std": 2.0**-ROOT_BITS / n, "rms": 2.0**-ROOT_BITS / n}
    found: list[float] = []
    for value in front.values:
        if value == "bands":
            assert made is not None
            found += [2.0 ** -(made.fraction + 1) * math.sqrt(2 / (front.fft * float((front.hann() ** 2).sum())))] * (len(front.edges) - 1)
        else:
            found.append(units.get(value, 1.0))
    return found * front.channels


def statistics_plan(front: Statistics, scale: float, zero_point: int) -> StatisticsPlan:
    """The tables of a front end whose features become round(feature / scale) + zero_point, as int8. Raises CompileError."""
    made = spectrum(front.hann(), front.fft) if front.edges else None
    bins = front.bins()
    multipliers, offsets, shifts = [], [], []
    subtract, divide = (np.broadcast_to(np.array(v, np.float64), front.width).tolist() for v in (front.subtract, front.divide))
    for at, (unit, less, by) in enumerate(zip(_units(front, made), subtract, divide, strict=True)):
        steps = unit / (by * scale)
        shift = min(MOST_SHIFT, MULTIPLIER_BITS - math.frexp(steps)[1])
        if shift < 1:
            what = f"value {at} of a frame has {abs(steps):.3g} steps of the model's input for its least difference"
            raise CompileError("features", what, "a larger number in divide")
        offset = round(-less / (by * scale) * 2.0**shift) + (1 << (shift - 1))
        if abs(offset) >= MOST_OFFSET:
            what = f"value {at} of a frame can be nowhere near {less:g}, which is subtracted from it"
            raise CompileError("features", what, "the mean of the feature over the training samples, for example")
        multipliers.append(round(steps * 2.0**shift))
        offsets.append(offset)
        shifts.append(shift)
    ends = np.array([bins[0][0], *(high for _, high in bins)] if bins else [], np.uint16)
    return StatisticsPlan(
        front, made, ends, np.array(multipliers, np.int32), np.array(offsets, np.int64), np.array(shifts, np.uint8), zero_point,
    )  # fmt: skip
