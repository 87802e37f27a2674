"""The audio front end of TensorFlow Lite Micro in integers: tables, and their exact meaning, which `runtime/src/features/micro.c` repeats.

Of each frame: samples are weighted by the window (12 bits of fraction, rounded down) and shifted up until the largest has 15 bits. The FFT is
of half the length on pairs of samples, in radix 4 with one stage of radix 2 where that is left over, on int16; each stage divides by its radix
and rounds. Bands sum energies with weights of 12 bits, and their roots, rounded to nearest, are shifted down again. The noise of a band is
estimated with 10 bits of fraction and taken off; the gain is looked up by the noise in pieces of parabolas, one an octave; the logarithm has
6 bits of fraction. Tables are computed in float32, step by step as there, so that the few values near a half are rounded the same way.
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

if TYPE_CHECKING:
    from .micro import MicroFrontend

STEPS = 25.6
"""Of the integers that come out, in one unit of a feature."""
WINDOW_BITS = 12
WEIGHT_BITS = 12
NOISE_BITS = 10
SHARE_BITS = 14
"""Of smoothing and of what remains."""
GAIN_BITS = 21
SNR_BITS = 12
OUTPUT_BITS = 6
LOGARITHM_BITS = 16
SEGMENTS_BITS = 7
LN2 = round(math.log(2) * (1 << LOGARITHM_BITS))
MOST_GAIN = 0x7FFF
WORD = 0xFFFFFFFF

f32 = np.float32


@dataclass(frozen=True, eq=False)
class MicroPlan(FeaturePlan):
    """The constants of a MicroFrontend for one quantisation of a model's input."""

    function: ClassVar[str] = "kt_features_micro"
    struct: ClassVar[str] = "kt_micro_features"
    arguments: ClassVar[tuple[str, ...]] = ("samples", "kept", "scratch", "rows")

    front: MicroFrontend
    window: NDArray[np.uint16]
    sine: NDArray[np.int16]
    """A quarter of a period, fft / 4 + 1 values."""
    first_bin: int
    band_count: NDArray[np.uint16]
    """[bands + 1], frequencies from one band's peak to the next."""
    weights: NDArray[np.uint16]
    """Of these, in the falling side of a band; the rising side of the next has the rest to 1."""
    logarithm: NDArray[np.uint16]
    gain: NDArray[np.int16]
    multiplier: int
    rounding: int
    shift: int
    zero_point: int

    @property
    def sources(self) -> tuple[str, ...]:
        return ("features/micro.c",)

    @property
    def tables(self) -> tuple[Table, ...]:
        return (
            Table("window", "uint16_t", self.window, "Hann window, 12 bits of fraction"),
            Table("sine", "int16_t", self.sine, "a quarter of a period"),
            Table("band_count", "uint16_t", self.band_count, "frequencies from one band's peak to the next"),
            Table("weights", "uint16_t", self.weights, "of the falling sides of bands, 12 bits of fraction"),
            Table("logarithm", "uint16_t", self.logarithm, "log2(1 + i / 128) - i / 128, 16 bits of fraction"),
            Table("gain", "int16_t", self.gain, "by the noise: at 0, at 1, and a parabola for each octave"),
        )

    @property
    def members(self) -> Mapping[str, int | str]:
        front = self.front
        return {
            "rounding": f"UINT64_C({self.rounding})",
            "multiplier": f"{self.multiplier}u",
            "zero_point": self.zero_point,
            "even_smoothing": self.smoothing[0],
            "odd_smoothing": self.smoothing[1],
            "remaining": self.remaining,
            "window_samples": front.window,
            "hop": front.hop,
            "frames": front.frames,
            "points": front.fft,
            "bands": front.bands,
            "first_bin": self.first_bin,
            "gain_shift": self.gain_shift,
            "correction": correction(front),
            "shift": self.shift,
            "pcan": int(front.pcan),
        }

    @property
    def scratch_bytes(self) -> int:
        """A word for each pair of samples, later for each frequency."""
        return 4 * (self.front.fft // 2)

    @property
    def smoothing(self) -> tuple[int, int]:
        return int(f32(self.front.even_smoothing) * (1 << SHARE_BITS)), int(f32(self.front.odd_smoothing) * (1 << SHARE_BITS))

    @property
    def remaining(self) -> int:
        return int(f32(self.front.remaining) * (1 << SHARE_BITS))

    @property
    def gain_shift(self) -> int:
        return GAIN_BITS - correction(self.front) - SNR_BITS

    def continued(self, samples: NDArray[np.int16], kept: NDArray[np.uint32]) -> tuple[NDArray[np.int8], NDArray[np.uint32]]:
        x = self._checked(samples).astype(np.int64)
        noise = kept.astype(np.int64)[None]
        signals = self._signals(framed(self.front, x).reshape(1, -1, self.front.window))
        values = self._logarithms(signals, noise).reshape(len(x), self.front.frames, self.front.bands)
        return self._input(values), noise[0].astype(np.uint32)

    def values(self, x: Int64) -> Int64:
        """What comes out, [N, frames, bands] from 0 to 65535, of recordings [N, samples], each of which begins without noise."""
        return self._logarithms(self._signals(framed(self.front, x)), np.zeros((len(x), self.front.bands), np.int64))

    def _recordings(self, x: Int64) -> NDArray[np.int8]:
        return self._input(self.values(x))

    def _input(self, values: Int64) -> NDArray[np.int8]:
        return quantized((values * self.multiplier + self.rounding) >> self.shift, self.zero_point)

    def _signals(self, frames: Int64) -> Int64:
        """Bands [N, frames, bands] of frames [N, frames, window]."""
        y = (frames * self.window.astype(np.int64)) >> WINDOW_BITS
        largest = np.where(y == -32768, 0, np.abs(y)).max(axis=-1)  # as there, where -32768 has no magnitude in int16
        up = 15 - np.ceil(np.log2(largest + 1)).astype(np.int64)  # exact: 1 to 32768 are few powers of two
        energies = self._energies(_int16(y << up[..., None]))
        sums = np.zeros((*frames.shape[:-1], self.front.bands + 1), np.int64)
        at = 0
        for band, count in enumerate(self.band_count.tolist()):
            part = energies[..., self.first_bin + at : self.first_bin + at + count]
            weight = self.weights[at : at + count].astype(np.int64)
            sums[..., band] += part @ weight
            if band < self.front.bands:
                sums[..., band + 1] += part @ ((1 << WEIGHT_BITS) - weight)
            at += count
        roots: Int64 = _root(sums[..., 1:]) >> up[..., None]
        return roots

    # ---- The FFT ----

    def _turned(self, re: Int64, im: Int64, angle: Int64) -> tuple[Int64, Int64]:
        """(re + i im) * exp(-2 pi i angle / fft), angle below three quarters of fft."""
        quarter, table = self.front.fft // 4, self.sine.astype(np.int64)
        rest = angle % quarter
        s, c = table[rest], table[quarter - rest]
        for _ in range(2):
            turn = angle >= quarter
            s, c, angle = np.where(turn, c, s), np.where(turn, -s, c), np.where(turn, angle - quarter, angle)
        return _rounded(re * c + im * s), _rounded(im * c - re * s)

    def _energies(self, y: Int64) -> Int64:
        """Squares of the magnitudes [..., fft / 2] of windowed samples [..., window], without that of half the sample rate."""
        n = self.front.fft // 2
        lead = y.shape[:-1]
        y = np.pad(y.reshape(-1, self.front.window), ((0, 0), (0, self.front.fft - self.front.window)))
        order = np.array(digits_reversed(n))
        re, im = np.empty((len(y), n), np.int64), np.empty((len(y), n), np.int64)
        re[:, order], im[:, order] = y[:, ::2], y[:, 1::2]
        size = 1
        while size < n:
            radix = 2 if size == 1 and n.bit_length() % 2 == 0 else 4
            re, im = self._stage(re, im, radix, size)
            size *= radix
        return self._split(re, im).reshape(*lead, n)

    def _stage(self, re: Int64, im: Int64, radix: int, size: int) -> tuple[Int64, Int64]:
        """Transforms of `size` points to those of radix * size."""
        n = self.front.fft // 2
        angle = np.arange(size) * (2 * n // (radix * size))
        parts = [_rounded(z * (32767 // radix)).reshape(len(z), -1, radix, size) for z in (re, im)]
        turned = [
            self._turned(parts[0][:, :, q], parts[1][:, :, q], q * angle) if q else (parts[0][:, :, 0], parts[1][:, :, 0]) for q in range(radix)
        ]
        if radix == 2:
            (a, b), (c, d) = turned
            found = [(a + c, b + d), (a - c, b - d)]
        else:
            (a, b), (c, d), (e, f), (g, h) = turned
            even, odd, sums, differences = (a + e, b + f), (a - e, b - f), (c + g, d + h), (c - g, d - h)
            found = [
                (even[0] + sums[0], even[1] + sums[1]), (odd[0] + differences[1], odd[1] - differences[0]),
                (even[0] - sums[0], even[1] - sums[1]), (odd[0] - differences[1], odd[1] + differences[0]),
            ]  # fmt: skip
        return tuple(_int16(np.stack([z[part] for z in found], axis=2).reshape(len(re), n)) for part in (0, 1))  # type: ignore[return-value]

    def _split(self, re: Int64, im: Int64) -> Int64:
        """From the transform of pairs to energies of the samples' own."""
        n = self.front.fft // 2
        k = np.arange(1, n // 2 + 1)
        re, im = _rounded(re * 16383), _rounded(im * 16383)
        found = np.empty_like(re)
        found[:, 0] = _int16(re[:, 0] + im[:, 0]) ** 2
        plus = re[:, k] + re[:, n - k], im[:, k] - im[:, n - k]
        minus = self._turned(re[:, k] - re[:, n - k], im[:, k] + im[:, n - k], k + n // 2)
        found[:, n - k] = ((plus[0] - minus[0]) >> 1) ** 2 + ((minus[1] - plus[1]) >> 1) ** 2
        found[:, k] = ((plus[0] + minus[0]) >> 1) ** 2 + ((plus[1] + minus[1]) >> 1) ** 2
        return found

    # ---- From bands to what comes out ----

    def _logarithms(self, signals: Int64, noise: Int64) -> Int64:
        """[N, frames, bands] of bands of that shape; noise [N, bands] goes on and is changed in place."""
        smoothing = np.array(self.smoothing)[np.arange(self.front.bands) % 2]
        found = np.empty_like(signals)
        for t in range(signals.shape[1]):
            signal = signals[:, t]
            up = (signal << NOISE_BITS) & WORD
            noise[:] = (up * smoothing + noise * ((1 << SHARE_BITS) - smoothing)) >> SHARE_BITS
            least = (signal * self.remaining) >> SHARE_BITS
            found[:, t] = np.maximum((up - np.minimum(noise, up)) >> NOISE_BITS, least)
            if self.front.pcan:
                found[:, t] = _shrunk(((found[:, t] * self._gain(noise)) >> self.gain_shift) & WORD)
        return np.minimum(self._log((found << correction(self.front)) & WORD), 0xFFFF)

    def _gain(self, noise: Int64) -> Int64:
        octave = _bits(noise)
        table = self.gain.astype(np.int64)
        at = np.where(noise < 2, 0, 3 * octave - 4)
        y, slope, bend = table[at], table[at + 1], table[at + 2]
        rest = np.where(octave < 11, noise << np.maximum(11 - octave, 0), noise >> np.maximum(octave - 11, 0)) & 0x3FF
        curve = y + (((((bend * rest) >> 5) + (slope << 5)) * rest + (1 << 14)) >> 15)
        return np.where(noise < 2, table[np.minimum(noise, 1)], _int16(curve))

    def _log(self, v: Int64) -> Int64:
        """ln(v) with 6 bits of fraction; 0 for v of 0 and 1."""
        whole = np.maximum(_bits(v) - 1, 0)
        rest = v - (np.int64(1) << whole)
        rest = np.where(whole < LOGARITHM_BITS, rest << np.maximum(LOGARITHM_BITS - whole, 0), rest >> np.maximum(whole - LOGARITHM_BITS, 0))
        segment = rest >> (LOGARITHM_BITS - SEGMENTS_BITS)
        table = self.logarithm.astype(np.int64)
        low, high = table[np.maximum(segment, 0)], table[np.maximum(segment, 0) + 1]
        line = ((high - low) * (rest - (segment << (LOGARITHM_BITS - SEGMENTS_BITS)))) >> LOGARITHM_BITS
        log2 = (whole << LOGARITHM_BITS) + rest + low + line
        half = 1 << (LOGARITHM_BITS - 1)
        natural = (LN2 * log2 + half) >> LOGARITHM_BITS
        return np.where(v > 1, ((natural << OUTPUT_BITS) + half) >> LOGARITHM_BITS, 0)


def _int16(v: Int64) -> Int64:
    return ((v + 32768) & 0xFFFF) - 32768


def _rounded(v: Int64) -> Int64:
    """A product with 15 bits of fraction to int16."""
    return _int16((v + (1 << 14)) >> 15)


def _bits(v: Int64) -> Int64:
    """How many bits v < 2^32 has."""
    return np.frexp(v.astype(np.float64))[1].astype(np.int64)


def _root(v: Int64) -> Int64:
    """The root, rounded to nearest; that of v < 2^32 is below 2^16."""
    root = np.sqrt(v.astype(np.float64)).astype(np.int64)
    root -= root * root > v
    root += (root + 1) * (root + 1) <= v
    rounded: Int64 = root + ((v - root * root > root) & ~((v <= WORD) & (root == 0xFFFF)))
    return rounded


def _shrunk(snr: Int64) -> Int64:
    """Small ones squared, a line from 2 on: with 6 bits of fraction, from 12."""
    small = snr < (2 << SNR_BITS)
    return np.where(small, np.where(small, snr, 0) ** 2 >> (2 + 2 * SNR_BITS - OUTPUT_BITS), (snr >> (SNR_BITS - OUTPUT_BITS)) - (1 << OUTPUT_BITS))


def digits_reversed(n: int) -> list[int]:
    """Where the FFT of n points reads each of its inputs from."""
    found = []
    for i in range(n):
        place, size = 0, n
        while size > 1:
            radix = 4 if size % 4 == 0 else 2
            size //= radix
            place += i % radix * size
            i //= radix
        found.append(place)
    return found


# ---- Tables ----


def correction(front: MicroFrontend) -> int:
    """Bits by which roots of bands are smaller than the samples' magnitudes: those of the FFT's length, less half of the weights' 12."""
    return front.fft.bit_length() - 1 - WEIGHT_BITS // 2


def band_table(front: MicroFrontend) -> tuple[int, list[int], NDArray[np.uint16]]:
    """The first frequency, how many lie between two peaks [bands + 1], and their weights."""

    def mel(frequency: np.float32) -> np.float32:
        return f32(f32(1127) * f32(math.log1p(float(f32(frequency / f32(700))))))

    low, high = mel(f32(front.low)), mel(f32(front.high))
    step = f32((high - low) / f32(front.bands + 1))
    peaks = [low, *(f32(low + f32(step * f32(i + 1))) for i in range(front.bands + 1))]
    each = f32(front.sample_rate / front.fft)
    first = at = int(1.5 + front.low / each)
    count, weights = [], []
    for before, peak in pairwise(peaks):
        begin = at
        while at < front.fft // 2 and (here := mel(f32(f32(at) * each))) <= peak:
            weights.append(math.floor(float(f32((peak - here) / (peak - before))) * (1 << WEIGHT_BITS) + 0.5))
            at += 1
        count.append(at - begin)
    return first, count, np.array(weights, np.uint16)


def gain_table(front: MicroFrontend) -> NDArray[np.int16] | None:
    """[95]: the gain at 0 and at 1, then value, slope and bend for each octave of the noise from 2 on. None where one has more than 16 bits."""
    unit = f32(1 << (NOISE_BITS - correction(front)))

    def gain(noise: int) -> int:
        found = f32(f32(1 << GAIN_BITS) * f32(math.pow(float(f32(f32(noise) / unit + f32(front.offset))), -float(f32(front.strength)))))
        return MOST_GAIN if found > MOST_GAIN else int(found + f32(0.5))

    table = [gain(0), gain(1)]
    for octave in range(1, 32):
        begin = 1 << octave
        y, middle, end = (gain(x) for x in (begin, begin + begin // 2, min(2 * begin, WORD)))
        slope = 4 * (middle - y) - (end - y)
        table += [y, slope, end - y - slope]
    return np.array(table, np.int16) if max(map(abs, table)) <= MOST_GAIN else None


def _window(front: MicroFrontend) -> NDArray[np.uint16]:
    """Hann's, at the middles of the samples."""
    angle = (f32(2 * math.pi / front.window) * (np.arange(front.window) + 0.5).astype(f32)).astype(np.float64)
    hann = f32(0.5) - f32(0.5) * np.cos(angle).astype(f32)
    return np.floor(hann.astype(np.float64) * (1 << WINDOW_BITS) + 0.5).astype(np.uint16)


def _scaling(front: MicroFrontend, scale: float, zero_point: int) -> tuple[int, int, int, int]:
    """Multiplier, rounding, shift and zero point from what comes out to the input."""
    if front.scaling == "micro_speech":
        return -(-(256 << 32) // 666), (333 << 32) // 666, 32, -128  # exact for 16 bits: the rest of the division is at least 1 / 666
    ratio = 1 / (STEPS * scale)
    shift = 31 - math.frexp(ratio)[1]
    if not 1 <= shift <= 46:
        raise CompileError("features", f"the model's input has steps of {scale:g}, which no logarithm is measured in", "name another front end")
    return round(ratio * 2.0**shift), 1 << (shift - 1), shift, zero_point


def micro_plan(front: MicroFrontend, scale: float, zero_point: int) -> MicroPlan:
    """The tables of a front end whose features become round(feature / scale) + zero_point, as int8. Raises CompileError."""
    quarter = front.fft // 4
    sine = np.floor(0.5 + 32767 * np.sin(np.arange(quarter + 1) * (math.pi / 2 / quarter))).astype(np.int16)
    first, count, weights = band_table(front)
    parts = np.arange((1 << SEGMENTS_BITS) + 1) / (1 << SEGMENTS_BITS)
    logarithm = np.round((np.log2(1 + parts) - parts) * (1 << LOGARITHM_BITS)).astype(np.uint16)
    gain = gain_table(front)
    assert gain is not None, "MicroFrontend refuses it"
    multiplier, rounding, shift, zero = _scaling(front, scale, zero_point)
    return MicroPlan(
        front, _window(front), sine, first, np.array(count, np.uint16), weights, logarithm, gain, multiplier, rounding, shift, zero,
    )  # fmt: skip
