"""Statistics of windows of a sensor, as a user describes them, and the same in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .front_end import FeaturePlan, FrontEnd
from .statistics_plan import KNOWN, changes, statistics_plan

MOST_CHANNELS = 16
MOST_BANDS = 32


@dataclass(frozen=True)
class Statistics(FrontEnd):
    """Statistics of windows: mean, spread, extremes, crossings, energy in bands of frequencies, each of every channel.

    sample_rate: in Hz. samples: of one recording, and of each of its channels. window, hop: samples of a frame and from one to the next. channels:
    of a recording, int16 [samples] for one, else [samples, channels]. values: which statistics, in their order. "mean"; "std": the root of the
    mean square of what differs from the mean; "min"; "max"; "range": max - min; "rms": the root of the mean square; "mean_absolute";
    "zero_crossings": neighbours of which one is below zero; "mean_crossings": the same of what differs from the mean; "bands": a value for each
    band of `edges`. edges: frequencies in Hz, one more than bands: a band's value is the rms of its part of the signal, without the mean and
    through a Hann window. subtract, divide: (value - subtract) / divide is the feature, for each value of a frame in its order, or one for all.

    A frame holds all values of the first channel, then of the second.
    """

    sample_rate: int = 100
    samples: int = 128
    window: int = 128
    hop: int = 128
    channels: int = 1
    values: tuple[str, ...] = ("mean", "std", "min", "max", "range", "rms", "zero_crossings")
    edges: tuple[float, ...] = ()
    subtract: tuple[float, ...] = (0.0,)
    divide: tuple[float, ...] = (1.0,)

    name: ClassVar[str] = "statistics"
    remedy: ClassVar[str] = "samples, window and hop decide how many frames there are; values, edges and channels how many values each has"
    least_rate: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("values", "edges", "subtract", "divide"):
            self._as_tuple(option)
        self._check_whole("channels", 1, MOST_CHANNELS)
        unknown = [v for v in self.values if v not in KNOWN]
        if unknown or not self.values or len(set(self.values)) != len(self.values):
            self._refuse("values", f"has {unknown[0]!r}" if unknown else "is empty, or names one twice", f"values are {', '.join(KNOWN)}")
        if ("bands" in self.values) != bool(self.edges):
            self._refuse(
                "edges", "are frequencies of bands, which belong to the value 'bands'", 'pass both, as values=("mean", "bands"), edges=(1, 5, 20)'
            )
        if self.edges:
            self._check_edges()
        for option in ("subtract", "divide"):
            given = getattr(self, option)
            if len(given) not in (1, self.width) or not all(map(math.isfinite, given)):
                self._refuse(option, "is not one number for each value of a frame", f"{self.width} of them, or one for all")
        if not all(abs(v) > 1e-9 for v in self.divide):
            self._refuse("divide", "holds a zero", "the standard deviation of each feature over the training samples, for example")

    def _as_tuple(self, option: str) -> None:
        """Lists and arrays are taken, too."""
        try:
            given = np.asarray(getattr(self, option), np.str_ if option == "values" else np.float64).ravel().tolist()
        except (TypeError, ValueError):
            self._refuse(option, "is no list of names" if option == "values" else "is no list of numbers", "a tuple of them")
        object.__setattr__(self, option, tuple(given))

    def _check_edges(self) -> None:
        if len(self.edges) < 2 or len(self.edges) > MOST_BANDS + 1 or list(self.edges) != sorted(set(self.edges)):
            self._refuse("edges", f"are not 2 to {MOST_BANDS + 1} rising frequencies", "edges=(1, 5, 20), for example")
        if self.edges[0] < 0 or self.edges[-1] > self.sample_rate / 2:
            self._refuse("edges", f"are beyond 0 to {self.sample_rate / 2:g} Hz", "frequencies up to half the sample rate")
        empty = [i for i, (low, high) in enumerate(self.bins()) if low >= high]
        if empty:
            each = self.sample_rate / self.fft
            what = f"leave band {empty[0]} without a frequency of the FFT, which has one each {each:.4g} Hz, the first behind 0"
            self._refuse("edges", what, "wider bands, or a longer window")

    @property
    def fft(self) -> int:
        """Points of the FFT: the power of two that holds a window."""
        return 1 << (self.window - 1).bit_length()

    @property
    def per_channel(self) -> int:
        """Values of one channel in a frame."""
        return sum(len(self.edges) - 1 if v == "bands" else 1 for v in self.values)

    @property
    def width(self) -> int:
        return self.channels * self.per_channel

    @property
    def recording_shape(self) -> tuple[int, ...]:
        return (self.samples,) if self.channels == 1 else (self.samples, self.channels)

    def hann(self) -> NDArray[np.float64]:
        """The periodic Hann window [window]."""
        return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / self.window)

    def bins(self) -> list[tuple[int, int]]:
        """Of each band, the first frequency of the FFT and the one behind its last; 0 Hz is in none."""
        each = self.sample_rate / self.fft
        if not self.edges:
            return []
        ends = [max(1, math.ceil(edge / each)) for edge in self.edges]
        ends[-1] += ends[-1] * each <= self.edges[-1]  # the last edge belongs to its band
        return list(pairwise(ends))

    def planned(self, scale: float, zero_point: int) -> FeaturePlan:
        return statistics_plan(self, scale, zero_point)

    def reference(self, samples: NDArray[Any]) -> NDArray[np.float64]:
        """Features [N, frames, width] of recordings [N, samples] or [N, samples, channels], in float64."""
        x = np.asarray(samples, np.float64).reshape(len(samples), self.samples, self.channels)
        frames = np.moveaxis(x[:, np.arange(self.frames)[:, None] * self.hop + np.arange(self.window)], 3, 2)
        mean = frames.mean(axis=-1, keepdims=True)
        found = {
            "mean": mean[..., 0],
            "std": frames.std(axis=-1),
            "min": frames.min(axis=-1),
            "max": frames.max(axis=-1),
            "range": np.ptp(frames, axis=-1),
            "rms": np.sqrt((frames**2).mean(axis=-1)),
            "mean_absolute": np.abs(frames).mean(axis=-1),
            "zero_crossings": changes(frames < 0),
            "mean_crossings": changes(frames * self.window < frames.sum(axis=-1, keepdims=True)),
        }
        columns = [found[v][..., None] if v != "bands" else self._bands(frames - mean) for v in self.values]
        values = np.concatenate(columns, axis=-1).reshape(len(x), self.frames, self.width)
        return np.asarray((values - np.array(self.subtract)) / np.array(self.divide), np.float64)

    def _bands(self, frames: NDArray[np.float64]) -> NDArray[np.float64]:
        hann = self.hann()
        power = np.abs(np.fft.rfft(frames * hann, self.fft)) ** 2 * 2 / (self.fft * (hann**2).sum())
        power[..., -1] /= 2  # half the sample rate has no twin
        return np.stack([np.sqrt(power[..., low:high].sum(axis=-1)) for low, high in self.bins()], axis=-1)
