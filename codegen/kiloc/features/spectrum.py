"""The FFT of front ends in integers, and its tables: `runtime/src/features/spectral.c` repeats it bit for bit.

Samples of a frame are shifted up until the largest has 16 bits, weighted by the window (15 bits of fraction), and go through an FFT of half
the length on pairs of samples, in int32 with twiddles of 30 bits; no stage can overflow, since `fraction` leaves room for the sum of all
samples. Magnitudes are integer roots, of 16 significant bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .front_end import Int64

WINDOW_BITS = 15
TWIDDLE_BITS = 30
HEADROOM_BITS = 29
"""No value of the FFT reaches 2^29, so that sums of two stay in int32."""
MOST_SHIFT = 15


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Magnitudes of frames [frames, window] of 16-bit samples.

    window: [window], 15 bits of fraction. sine: a quarter of a period, fft / 4 + 1 values. fraction: bits behind the point that samples have in
    the FFT, beside their shift.
    """

    window: NDArray[np.uint16]
    sine: NDArray[np.int32]
    fraction: int

    @property
    def fft(self) -> int:
        return 4 * (len(self.sine) - 1)

    def magnitudes(self, frames: Int64) -> tuple[Int64, Int64]:
        """Twice the magnitudes [frames, fft / 2 + 1], with `fraction` bits and the shift that each frame has, which is the second result."""
        up = MOST_SHIFT - np.searchsorted(1 << np.arange(MOST_SHIFT + 1), np.abs(frames).max(axis=1)).astype(np.int64)
        return self._magnitudes(*self._transformed(self._weighted(frames, up))), up

    def _weighted(self, frames: Int64, up: Int64) -> Int64:
        """[frames, fft]: windowed, with `fraction` bits beyond the shift, and zeros behind it."""
        down = WINDOW_BITS - self.fraction
        y = ((frames << up[:, None]) * self.window.astype(np.int64) + ((1 << down) >> 1)) >> down
        return np.pad(y, ((0, 0), (0, self.fft - len(self.window))))

    def _turned(self, re: Int64, im: Int64, angle: Int64) -> tuple[Int64, Int64]:
        """(re + i im) * exp(-2 pi i angle / fft), angle from 0 to fft / 2, rounded to nearest."""
        quarter, table = self.fft // 4, self.sine.astype(np.int64)
        s = table[np.where(angle <= quarter, angle, 2 * quarter - angle)]
        c = np.where(angle <= quarter, table[np.abs(quarter - angle)], -table[np.abs(angle - quarter)])
        half = 1 << (TWIDDLE_BITS - 1)
        return (re * c + im * s + half) >> TWIDDLE_BITS, (im * c - re * s + half) >> TWIDDLE_BITS

    def _transformed(self, y: Int64) -> tuple[Int64, Int64]:
        """The FFT of pairs of samples as complex numbers, decimated in time: [frames, fft / 2]."""
        n = self.fft // 2
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
        n = self.fft // 2
        k = np.arange(n // 2 + 1)
        other = (n - k) % n
        even = re[:, k] + re[:, other], im[:, k] - im[:, other]
        odd = self._turned(im[:, k] + im[:, other], re[:, other] - re[:, k], k)
        found = np.empty((len(re), n + 1), np.int64)
        found[:, n - k] = _root(*(e - o for e, o in zip(even, odd, strict=True)))
        found[:, k] = _root(*(e + o for e, o in zip(even, odd, strict=True)))
        return found


def _root(re: Int64, im: Int64) -> Int64:
    """Magnitudes rounded down to 16 significant bits."""
    power = re * re + im * im
    shift = np.zeros_like(power)
    while (wide := (power >> shift) >> 32 > 0).any():
        shift += 2 * wide
    return np.sqrt((power >> shift).astype(np.float64)).astype(np.int64) << (shift >> 1)  # exact below 2^52


def spectrum(hann: NDArray[np.float64], fft: int) -> Spectrum:
    """The tables of a window and an FFT of so many points."""
    window = np.round(hann * (1 << WINDOW_BITS)).astype(np.uint16)
    fraction = min(WINDOW_BITS - 1, HEADROOM_BITS - 15 - int(window.sum(dtype=np.int64) >> WINDOW_BITS).bit_length())
    quarter = fft // 4
    sine = np.round(np.sin(np.arange(quarter + 1) * (math.pi / 2 / quarter)) * (1 << TWIDDLE_BITS)).astype(np.int32)
    return Spectrum(window, sine, fraction)
