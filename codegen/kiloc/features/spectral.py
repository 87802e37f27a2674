"""Mel bands in integers: tables, and their exact meaning in NumPy, which `runtime/src/features/spectral.c` repeats bit for bit.

Of each frame: samples are shifted up until the largest has 16 bits, weighted by the window (15 bits of fraction), and go through an FFT of
half the length on pairs of samples, in int32 with twiddles of 30 bits; no stage can overflow, since `fraction` leaves room for the sum of
all samples. Magnitudes are integer roots, of 16 significant bits. Bands are exact sums of products; the floor is added to them. Logarithms
to base 2 have 16 bits of fraction, from a table of 128 steps and lines between them. The projection, ln 2, the scale of the model's input
and the change of base are one matrix of int16, with a single rounding at its end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from .front_end import FULL_SCALE, FeaturePlan, Int64, Table, framed, quantized

if TYPE_CHECKING:
    from .mel import LogMel

WINDOW_BITS = 15
TWIDDLE_BITS = 30
WEIGHT_BITS = 15
LOGARITHM_BITS = 16
STEPS_BITS = 7
"""The table of logarithms has 2^7 steps between 1 and 2."""
HEADROOM_BITS = 29
"""No value of the FFT reaches 2^29, so that sums of two stay in int32."""
FLOOR_BITS = 20
MOST_SHIFT = 15


@dataclass(frozen=True, eq=False)
class SpectralPlan(FeaturePlan):
    """The constants of a LogMel or Mfcc for one quantisation of a model's input."""

    function: ClassVar[str] = "kt_features_spectral"
    struct: ClassVar[str] = "kt_spectral_features"
    source: ClassVar[str] = "features/spectral.c"
    arguments: ClassVar[tuple[str, ...]] = ("samples", "count", "scratch", "rows")

    front: LogMel
    window: NDArray[np.uint16]
    sine: NDArray[np.int32]
    """A quarter of a period, fft / 4 + 1 values."""
    band_start: NDArray[np.uint16]
    band_count: NDArray[np.uint16]
    """Of each band, the first frequency and how many have a weight."""
    weights: NDArray[np.uint16]
    """Those of all bands behind each other."""
    logarithm: NDArray[np.uint16]
    matrix: NDArray[np.int16]
    """[width, bands], or [1] for a multiplier."""
    fraction: int
    floor: int
    """floor * 2^(fraction + 16 + 20): what one unit of the level adds to a band."""
    shift: int
    zero_point: int

    @property
    def scratch_bytes(self) -> int:
        """int32: the FFT, then a frame's bands."""
        return 4 * (self.front.fft + self.front.bands)

    @property
    def tables(self) -> tuple[Table, ...]:
        return (
            Table("window", "uint16_t", self.window, "Hann window, 15 bits of fraction"),
            Table("sine", "int32_t", self.sine, "a quarter of a period, 30 bits of fraction"),
            Table("band_start", "uint16_t", self.band_start, "first frequency of each band"),
            Table("band_count", "uint16_t", self.band_count, "frequencies of each band"),
            Table("weights", "uint16_t", self.weights, "of the frequencies of all bands, 15 bits of fraction"),
            Table("logarithm", "uint16_t", self.logarithm, "log2(1 + i / 128), 16 bits of fraction"),
            Table("matrix", "int16_t", self.matrix, "from logarithms to steps of the input"),
        )

    @property
    def members(self) -> Mapping[str, int | str]:
        front = self.front
        return {
            "floor": f"UINT64_C({self.floor})",
            "zero_point": self.zero_point,
            "window_samples": front.window,
            "hop": front.hop,
            "frames": front.frames,
            "points": front.fft,
            "bands": front.bands,
            "coefficients": front.width if self.matrix.ndim == 2 else 0,
            "first_bin": self.first_bin,
            "last_bin": self.last_bin,
            "fraction": self.fraction,
            "shift": self.shift,
            "peak": int(front.level == "peak"),
        }

    @property
    def first_bin(self) -> int:
        """The first frequency that a band reads."""
        return int(self.band_start.min())

    @property
    def last_bin(self) -> int:
        return int((self.band_start + self.band_count).max()) - 1

    def _recordings(self, x: Int64) -> NDArray[np.int8]:
        return np.stack([self._recording(one) for one in x])

    def _recording(self, x: Int64) -> NDArray[np.int8]:
        level = max(int(x.max()), 1) if self.front.level == "peak" else FULL_SCALE
        frames = framed(self.front, x[None])[0]
        up = MOST_SHIFT - np.searchsorted(1 << np.arange(MOST_SHIFT + 1), np.abs(frames).max(axis=1)).astype(np.int64)
        bands = self._bands(self._magnitudes(*self._transformed(self._weighted(frames, up))))
        bands += ((level * self.floor) >> (FLOOR_BITS - up))[:, None]
        logs = self._log2(np.maximum(bands, 1)) - ((self.fraction + WEIGHT_BITS + 1 + up) << LOGARITHM_BITS)[:, None]
        return self._quantized(logs - int(self._log2(np.array([level]))[0]))

    def _weighted(self, frames: Int64, up: Int64) -> Int64:
        """[frames, fft]: windowed, with `fraction` bits beyond the shift, and zeros behind it."""
        down = WINDOW_BITS - self.fraction
        y = ((frames << up[:, None]) * self.window.astype(np.int64) + ((1 << down) >> 1)) >> down
        return np.pad(y, ((0, 0), (0, self.front.fft - self.front.window)))

    def _turned(self, re: Int64, im: Int64, angle: Int64) -> tuple[Int64, Int64]:
        """(re + i im) * exp(-2 pi i angle / fft), angle from 0 to fft / 2, rounded to nearest."""
        quarter, table = self.front.fft // 4, self.sine.astype(np.int64)
        s = table[np.where(angle <= quarter, angle, 2 * quarter - angle)]
        c = np.where(angle <= quarter, table[np.abs(quarter - angle)], -table[np.abs(angle - quarter)])
        half = 1 << (TWIDDLE_BITS - 1)
        return (re * c + im * s + half) >> TWIDDLE_BITS, (im * c - re * s + half) >> TWIDDLE_BITS

    def _transformed(self, y: Int64) -> tuple[Int64, Int64]:
        """The FFT of pairs of samples as complex numbers, decimated in time: [frames, fft / 2]."""
        n = self.front.fft // 2
        bits = n.bit_length() - 1
        order = np.array([int(f"{i:0{bits}b}"[::-1], 2) for i in range(n)])
        re, im = y[:, ::2][:, order], y[:, 1::2][:, order]
        half = 1
        while half < n:
            a_re, a_im = (z.reshape(len(y), -1, 2, half) for z in (re, im))
            angle = np.arange(half) * (n // half)
            t_re, t_im = self._turned(a_re[:, :, 1], a_im[:, :, 1], angle)
            re, im = (
                np.stack([a[:, :, 0] + t, a[:, :, 0] - t], axis=2).reshape(len(y), n) for a, t in ((a_re, t_re), (a_im, t_im))
            )  # fmt: skip
            half *= 2
        return re, im

    def _magnitudes(self, re: Int64, im: Int64) -> Int64:
        """Twice the magnitudes of the samples' own spectrum [frames, fft / 2 + 1]."""
        n = self.front.fft // 2
        k = np.arange(n // 2 + 1)
        other = (n - k) % n
        even = re[:, k] + re[:, other], im[:, k] - im[:, other]
        odd = self._turned(im[:, k] + im[:, other], re[:, other] - re[:, k], k)
        found = np.empty((len(re), n + 1), np.int64)
        found[:, n - k] = _root(*(e - o for e, o in zip(even, odd, strict=True)))
        found[:, k] = _root(*(e + o for e, o in zip(even, odd, strict=True)))
        return found

    def _bands(self, magnitudes: Int64) -> Int64:
        found, at = [], 0
        for start, count in zip(self.band_start.tolist(), self.band_count.tolist(), strict=True):
            found.append(magnitudes[:, start : start + count] @ self.weights[at : at + count].astype(np.int64))
            at += count
        return np.stack(found, axis=1)

    def _log2(self, v: Int64) -> Int64:
        """log2 of v >= 1, with 16 bits of fraction."""
        exponent = np.array([x.bit_length() - 1 for x in v.ravel().tolist()], np.int64).reshape(v.shape)
        below = v - (np.int64(1) << exponent)  # without its highest bit, which is bit 63 when it is shifted up
        kept = STEPS_BITS + LOGARITHM_BITS
        digits = np.where(exponent > kept, below >> np.maximum(exponent - kept, 0), below << np.maximum(kept - exponent, 0))
        step, rest = digits >> LOGARITHM_BITS, digits & ((1 << LOGARITHM_BITS) - 1)
        table = np.append(self.logarithm.astype(np.int64), 1 << LOGARITHM_BITS)
        rise: Int64 = ((table[step + 1] - table[step]) * rest) >> LOGARITHM_BITS
        return np.asarray((exponent << LOGARITHM_BITS) + table[step] + rise, np.int64)

    def _quantized(self, logs: Int64) -> NDArray[np.int8]:
        sums = logs @ self.matrix.astype(np.int64).T if self.matrix.ndim == 2 else logs * int(self.matrix[0])
        return quantized((sums + (1 << (self.shift - 1))) >> self.shift, self.zero_point)


def _root(re: Int64, im: Int64) -> Int64:
    """Magnitudes rounded down to 16 significant bits."""
    power = re * re + im * im
    shift = np.zeros_like(power)
    while (wide := (power >> shift) >> 32 > 0).any():
        shift += 2 * wide
    return np.sqrt((power >> shift).astype(np.float64)).astype(np.int64) << (shift >> 1)  # exact below 2^52


def spectral_plan(front: LogMel, scale: float, zero_point: int) -> SpectralPlan:
    """The tables of a front end whose features become round(feature / scale) + zero_point, as int8. Raises CompileError."""
    window = np.round(front.hann() * (1 << WINDOW_BITS)).astype(np.uint16)
    fraction = min(WINDOW_BITS - 1, HEADROOM_BITS - 15 - int(window.sum(dtype=np.int64) >> WINDOW_BITS).bit_length())
    quarter = front.fft // 4
    sine = np.round(np.sin(np.arange(quarter + 1) * (math.pi / 2 / quarter)) * (1 << TWIDDLE_BITS)).astype(np.int32)
    codes = np.round(front.band_weights() * (1 << WEIGHT_BITS)).astype(np.int64)
    reached = [np.flatnonzero(column) for column in codes.T]
    start = np.array([r[0] for r in reached], np.uint16)
    count = np.array([r[-1] - r[0] + 1 for r in reached], np.uint16)
    weights = np.concatenate([codes[s : s + c, band] for band, (s, c) in enumerate(zip(start, count, strict=True))]).astype(np.uint16)
    steps = 1 << STEPS_BITS
    logarithm = np.round(np.log2(1 + np.arange(steps) / steps) * (1 << LOGARITHM_BITS)).astype(np.uint16)
    matrix, bits = _matrix(front, scale)
    return SpectralPlan(
        front, window, sine, start, count, weights, logarithm, matrix, fraction,
        floor=round(front.floor * 2 ** (fraction + WEIGHT_BITS + 1 + FLOOR_BITS)), shift=LOGARITHM_BITS + bits, zero_point=zero_point,
    )  # fmt: skip


def _matrix(front: LogMel, scale: float) -> tuple[NDArray[np.int16], int]:
    """The projection from logarithms to base 2 to steps of the input, and its bits of fraction."""
    projection = front.projection()
    real = (np.ones(1) if projection is None else projection) * (math.log(2) / scale)
    bits = 14 - math.frexp(float(np.abs(real).max()))[1]
    if not 1 - LOGARITHM_BITS <= bits <= 40:
        raise CompileError("features", f"the model's input has steps of {scale:g}, which no logarithm is measured in", "name another front end")
    return np.clip(np.round(real * 2.0**bits), -32767, 32767).astype(np.int16), bits
