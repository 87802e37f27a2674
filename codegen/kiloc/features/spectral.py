"""Mel bands in integers: tables, and their exact meaning in NumPy, which `runtime/src/features/spectral.c` repeats bit for bit.

Of each frame `Spectrum` gives the magnitudes. Bands are exact sums of products; the floor is added to them. Logarithms to base 2 have 16 bits
of fraction, from a table of 128 steps and lines between them. The projection, ln 2, the scale of the model's input and the change of base are
one matrix of int16, with a single rounding at its end.
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
from .spectrum import Spectrum, spectrum

if TYPE_CHECKING:
    from .mel import LogMel

WEIGHT_BITS = 15
LOGARITHM_BITS = 16
STEPS_BITS = 7
"""The table of logarithms has 2^7 steps between 1 and 2."""
FLOOR_BITS = 20


@dataclass(frozen=True, eq=False)
class SpectralPlan(FeaturePlan):
    """The constants of a LogMel or Mfcc for one quantisation of a model's input."""

    function: ClassVar[str] = "kt_features_spectral"
    struct: ClassVar[str] = "kt_spectral_features"
    arguments: ClassVar[tuple[str, ...]] = ("samples", "count", "scratch", "rows")

    front: LogMel
    spectrum: Spectrum
    band_start: NDArray[np.uint16]
    band_count: NDArray[np.uint16]
    """Of each band, the first frequency and how many have a weight."""
    weights: NDArray[np.uint16]
    """Those of all bands behind each other."""
    logarithm: NDArray[np.uint16]
    matrix: NDArray[np.int16]
    """[width, bands], or [1] for a multiplier."""
    floor: int
    """floor * 2^(fraction + 16 + 20): what one unit of the level adds to a band."""
    shift: int
    zero_point: int

    @property
    def scratch_bytes(self) -> int:
        """int32: the FFT, then a frame's bands."""
        return 4 * (self.front.fft + self.front.bands)

    @property
    def sources(self) -> tuple[str, ...]:
        return ("features/spectral.c",)

    @property
    def tables(self) -> tuple[Table, ...]:
        return (
            Table("window", "uint16_t", self.spectrum.window, "Hann window, 15 bits of fraction"),
            Table("sine", "int32_t", self.spectrum.sine, "a quarter of a period, 30 bits of fraction"),
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
            "fraction": self.spectrum.fraction,
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
        magnitudes, up = self.spectrum.magnitudes(frames)
        bands = self._bands(magnitudes)
        bands += ((level * self.floor) >> (FLOOR_BITS - up))[:, None]
        logs = self._log2(np.maximum(bands, 1)) - ((self.spectrum.fraction + WEIGHT_BITS + 1 + up) << LOGARITHM_BITS)[:, None]
        return self._quantized(logs - int(self._log2(np.array([level]))[0]))

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


def spectral_plan(front: LogMel, scale: float, zero_point: int) -> SpectralPlan:
    """The tables of a front end whose features become round(feature / scale) + zero_point, as int8. Raises CompileError."""
    made = spectrum(front.hann(), front.fft)
    codes = np.round(front.band_weights() * (1 << WEIGHT_BITS)).astype(np.int64)
    reached = [np.flatnonzero(column) for column in codes.T]
    start = np.array([r[0] for r in reached], np.uint16)
    count = np.array([r[-1] - r[0] + 1 for r in reached], np.uint16)
    weights = np.concatenate([codes[s : s + c, band] for band, (s, c) in enumerate(zip(start, count, strict=True))]).astype(np.uint16)
    steps = 1 << STEPS_BITS
    logarithm = np.round(np.log2(1 + np.arange(steps) / steps) * (1 << LOGARITHM_BITS)).astype(np.uint16)
    matrix, bits = _matrix(front, scale)
    return SpectralPlan(
        front, made, start, count, weights, logarithm, matrix,
        floor=round(front.floor * 2 ** (made.fraction + WEIGHT_BITS + 1 + FLOOR_BITS)), shift=LOGARITHM_BITS + bits, zero_point=zero_point,
    )  # fmt: skip


def _matrix(front: LogMel, scale: float) -> tuple[NDArray[np.int16], int]:
    """The projection from logarithms to base 2 to steps of the input, and its bits of fraction."""
    projection = front.projection()
    real = (np.ones(1) if projection is None else projection) * (math.log(2) / scale)
    bits = 14 - math.frexp(float(np.abs(real).max()))[1]
    if not 1 - LOGARITHM_BITS <= bits <= 40:
        raise CompileError("features", f"the model's input has steps of {scale:g}, which no logarithm is measured in", "name another front end")
    return np.clip(np.round(real * 2.0**bits), -32767, 32767).astype(np.int16), bits
