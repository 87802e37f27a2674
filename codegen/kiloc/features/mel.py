"""Bands of the mel scale, as a user describes them, and the same in float64, which the integers are measured against."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from .front_end import FULL_SCALE, FeaturePlan, FrontEnd
from .spectral import spectral_plan

LEVELS = ("peak", "full_scale")
MOST_BANDS = 128
MEL_FACTOR, MEL_CORNER = 1127.0, 700.0
"""HTK's mel scale: 1127 ln(1 + f / 700), as tf.signal has it."""


@dataclass(frozen=True)
class LogMel(FrontEnd):
    """Logarithms of mel bands: Hann window, FFT, magnitudes, triangular bands, ln(band + floor).

    sample_rate: of the recording, in Hz. samples: of one recording, 16-bit. window, hop: samples of a frame and between two. bands: of the mel
    scale, from `low` to `high` Hz. floor: added to a band before the logarithm. level: what samples are divided by: the largest sample of
    the recording ("peak", at least 1), or 32768 ("full_scale").
    """

    bands: int = 40
    low: float = 20.0
    high: float = 4000.0
    floor: float = 1e-6
    level: str = "peak"

    name: ClassVar[str] = "logmel"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_whole("bands", 1, MOST_BANDS)
        if not 0 <= self.low < self.high <= self.sample_rate / 2:
            what = f"bands from {self.low} to {self.high} Hz cannot be told apart at {self.sample_rate} samples a second"
            raise CompileError(f"{type(self).__name__}(high={self.high!r})", what, "0 <= low < high <= half the sample rate")
        if not 1e-9 <= self.floor <= 1e-2:
            self._refuse("floor", "is out of range", "1e-9 to 0.01")
        if self.level not in LEVELS:
            self._refuse("level", "is unknown", f"levels are {', '.join(LEVELS)}")
        empty = np.flatnonzero(self.band_weights().max(axis=0) < 2**-15)
        if len(empty):
            what = f"leave band {empty[0]} without a frequency of the FFT, which has one each {self.sample_rate / self.fft:.4g} Hz"
            self._refuse("bands", what, "fewer bands, or a longer window")

    @property
    def fft(self) -> int:
        """Points of the FFT: the power of two that holds a window."""
        return 1 << (self.window - 1).bit_length()

    @property
    def width(self) -> int:
        """Values of a frame."""
        return self.bands

    def hann(self) -> NDArray[np.float64]:
        """The periodic Hann window [window]."""
        return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / self.window)

    def band_weights(self) -> NDArray[np.float64]:
        """Triangles [fft / 2 + 1, bands], whose corners are equally far apart on the mel scale; 0 Hz is in none of them."""
        frequencies = np.arange(self.fft // 2 + 1) * (self.sample_rate / self.fft)
        mel = MEL_FACTOR * np.log1p(frequencies / MEL_CORNER)[:, None]
        low, high = (MEL_FACTOR * math.log1p(f / MEL_CORNER) for f in (self.low, self.high))
        corners = np.linspace(low, high, self.bands + 2)
        rising = (mel - corners[:-2]) / np.diff(corners)[:-1]
        falling = (corners[2:] - mel) / np.diff(corners)[1:]
        weights: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
        weights[0] = 0.0
        return weights

    def planned(self, scale: float, zero_point: int) -> FeaturePlan:
        return spectral_plan(self, scale, zero_point)

    def projection(self) -> NDArray[np.float64] | None:
        """What a frame's logarithms are multiplied by [width, bands]; None: by nothing."""
        return None

    def reference(self, samples: NDArray[Any]) -> NDArray[np.float64]:
        """Features [N, frames, width] of recordings [N, samples], in float64."""
        x = np.asarray(samples, np.float64)
        level = np.maximum(x.max(axis=1), 1.0) if self.level == "peak" else np.full(len(x), float(FULL_SCALE))
        places = np.arange(self.frames)[:, None] * self.hop + np.arange(self.window)
        spectrum = np.abs(np.fft.rfft((x / level[:, None])[:, places] * self.hann(), self.fft))
        found: NDArray[np.float64] = np.log(spectrum @ self.band_weights() + self.floor)
        matrix = self.projection()
        return found if matrix is None else found @ matrix.T


@dataclass(frozen=True)
class Mfcc(LogMel):
    """Mel-frequency cepstral coefficients: the first `coefficients` of the DCT-II of LogMel's bands, divided by sqrt(2 bands).

    The defaults are the recipe of MLPerf Tiny's keyword spotting: 49 frames of 10 coefficients from a second at 16 kHz.
    """

    coefficients: int = 10

    name: ClassVar[str] = "mfcc"

    def __post_init__(self) -> None:
        super().__post_init__()
        value = self.coefficients
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= self.bands:
            self._refuse("coefficients", f"is not a number of coefficients of {self.bands} bands", f"1 to {self.bands}")

    @property
    def width(self) -> int:
        return self.coefficients

    def projection(self) -> NDArray[np.float64] | None:
        angles = np.arange(self.coefficients)[:, None] * (2 * np.arange(self.bands) + 1) * (math.pi / (2 * self.bands))
        return np.asarray(2 * np.cos(angles) / math.sqrt(2 * self.bands), np.float64)
