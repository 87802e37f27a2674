"""What a front end computes, as a user describes it, and the same in float64, which the integers are measured against."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError

LEVELS = ("peak", "full_scale")
MOST_WINDOW = 4096
MOST_BANDS = 128
FULL_SCALE = 32768
MEL_FACTOR, MEL_CORNER = 1127.0, 700.0
"""HTK's mel scale: 1127 ln(1 + f / 700), as tf.signal has it."""


@dataclass(frozen=True)
class LogMel:
    """Logarithms of mel bands: Hann window, FFT, magnitudes, triangular bands, ln(band + floor).

    sample_rate: of the recording, in Hz. samples: of one recording, 16-bit. window, hop: samples of a frame and between two. bands: of the mel
    scale, from `low` to `high` Hz. floor: added to a band before the logarithm. level: what samples are divided by: the largest sample of
    the recording ("peak", at least 1), or 32768 ("full_scale").
    """

    sample_rate: int = 16000
    samples: int = 16000
    window: int = 480
    hop: int = 320
    bands: int = 40
    low: float = 20.0
    high: float = 4000.0
    floor: float = 1e-6
    level: str = "peak"

    name: ClassVar[str] = "logmel"

    def __post_init__(self) -> None:
        for option, least, most in (
            ("sample_rate", 1000, 192000), ("samples", 1, 1 << 24), ("window", 16, MOST_WINDOW), ("hop", 1, 1 << 16), ("bands", 1, MOST_BANDS),
        ):  # fmt: skip
            value = getattr(self, option)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                self._refuse(option, "is not a whole number of the range", f"{least} to {most}")
        if self.samples < self.window:
            self._refuse("samples", f"are fewer than a window of {self.window}", "pass the samples of a whole recording")
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

    def _refuse(self, option: str, what: str, hint: str) -> None:
        raise CompileError(f"{type(self).__name__}({option}={getattr(self, option)!r})", what, hint)

    @property
    def fft(self) -> int:
        """Points of the FFT: the power of two that holds a window."""
        return 1 << (self.window - 1).bit_length()

    @property
    def frames(self) -> int:
        """Frames of a recording; what does not fill a window at its end is left out."""
        return 1 + (self.samples - self.window) // self.hop

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


FRONT_ENDS: dict[str, type[LogMel]] = {cls.name: cls for cls in (Mfcc, LogMel)}


def described(front: LogMel) -> dict[str, Any]:
    """For a manifest: its name and fields."""
    return {"name": front.name} | asdict(front)


def front_end(description: Mapping[str, Any]) -> LogMel:
    """The front end of `described`. ValueError where it is none."""
    cls = FRONT_ENDS.get(str(description.get("name")))
    given = {name: value for name, value in description.items() if name != "name"}
    if cls is None or set(given) != {f.name for f in fields(cls)}:
        raise ValueError(f"{dict(description)!r} is no front end of this version")
    try:
        return cls(**given)
    except CompileError as error:
        raise ValueError(str(error)) from None
