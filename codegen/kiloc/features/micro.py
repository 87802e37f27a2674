"""The audio front end of TensorFlow Lite Micro, which micro_speech and the wake words of ESPHome are trained on, as a user describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from .front_end import FeaturePlan, FrontEnd
from .mel import MOST_BANDS
from .micro_plan import STEPS, band_table, gain_table, micro_plan

SCALINGS = ("model", "micro_speech")


@dataclass(frozen=True)
class MicroFrontend(FrontEnd):
    """Bands of the mel scale with their noise taken off: Hann window, FFT, triangular bands, noise reduction, gain control (PCAN), logarithm.

    The audio front end of TensorFlow Lite Micro, with its defaults and 20 ms from frame to frame. The wake words of ESPHome have 10 (hop=160).

    sample_rate, samples, window, hop: as of LogMel. bands: of the mel scale, from `low` to `high` Hz. even_smoothing: how fast the estimate of
    the noise follows in bands 0, 2, 4, ... odd_smoothing: in the others. remaining: share of a band that is left whatever the noise. pcan:
    divide by (noise + `offset`) to the power of `strength`. scaling: the input is round(feature / scale) + zero_point of the "model", or what
    the firmware of micro_speech makes it for all models: (256 v + 333) / 666 - 128, of the integer v = 25.6 feature.
    """

    bands: int = 40
    low: float = 125.0
    high: float = 7500.0
    even_smoothing: float = 0.025
    odd_smoothing: float = 0.06
    remaining: float = 0.05
    pcan: bool = True
    strength: float = 0.95
    offset: float = 80.0
    scaling: str = "model"

    name: ClassVar[str] = "microfrontend"
    least_window: ClassVar[int] = 33

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_whole("bands", 1, MOST_BANDS)
        for option in ("even_smoothing", "odd_smoothing", "remaining"):
            self._check_real(option, 0.0, 1.0)
        self._check_real("strength", 0.0, 1.0)
        self._check_real("offset", 1.0, 1e6)
        if not isinstance(self.pcan, bool):
            self._refuse("pcan", "is neither True nor False", "True is the default")
        if self.scaling not in SCALINGS:
            self._refuse("scaling", "is unknown", f"scalings are {', '.join(SCALINGS)}")
        if not 0 <= self.low < self.high < self.sample_rate / 2:
            what = f"bands from {self.low} to {self.high} Hz cannot be told apart at {self.sample_rate} samples a second"
            raise CompileError(f"{type(self).__name__}(high={self.high!r})", what, "0 <= low < high < half the sample rate")
        _, count, weights = band_table(self)
        if min(count[at] + count[at + 1] for at in range(self.bands)) == 0 or not weights.any():
            each = self.sample_rate / self.fft
            self._refuse("bands", f"leave one without a frequency of the FFT, which has one each {each:.4g} Hz", "fewer bands, or a longer window")
        if gain_table(self) is None:
            self._refuse("offset", f"makes a gain of more than 16 bits with strength={self.strength!r}", "the default of both, or a larger offset")

    @property
    def fft(self) -> int:
        """Points of the FFT: the power of two that holds a window."""
        return 1 << (self.window - 1).bit_length()

    @property
    def width(self) -> int:
        return self.bands

    @property
    def kept(self) -> int:
        """The noise of each band."""
        return self.bands

    def planned(self, scale: float, zero_point: int) -> FeaturePlan:
        return micro_plan(self, scale, zero_point)

    def reference(self, samples: NDArray[Any]) -> NDArray[np.float64]:
        """Features [N, frames, bands]: the integers v / 25.6, as models are trained on them. int16 recordings [N, samples]."""
        plan = micro_plan(self, 1.0, 0)
        return np.asarray(plan.values(np.asarray(samples, np.int64)) / STEPS, np.float64)
