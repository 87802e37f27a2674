"""What every front end is: a description of what becomes of a recording, and bound to the quantisation of a model's input a plan."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError

MOST_WINDOW = 4096
FULL_SCALE = 32768
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class FrontEnd(ABC):
    """What all front ends have: recordings of 16-bit samples, cut into frames.

    sample_rate: in Hz. samples: of one recording, and of each of its channels. window, hop: samples of a frame and from one to the next.
    `slices(recording)` and `pieces(recording)` cut a long recording, for a model that goes on from call to call and for any other.
    """

    sample_rate: int = 16000
    samples: int = 16000
    window: int = 480
    hop: int = 320

    name: ClassVar[str]
    # Where a model takes another number of values:
    remedy: ClassVar[str] = "samples, window and hop decide how many frames there are, bands or coefficients how many values each has"
    least_rate: ClassVar[int] = 1000
    least_window: ClassVar[int] = 16

    def __post_init__(self) -> None:
        self._check_whole("sample_rate", self.least_rate, 192000)
        self._check_whole("samples", 1, 1 << 24)
        self._check_whole("window", self.least_window, MOST_WINDOW)
        self._check_whole("hop", 1, 1 << 16)
        if self.samples < self.window:
            self._refuse("samples", f"are fewer than a window of {self.window}", "pass the samples of a whole recording")

    def _check_whole(self, option: str, least: int, most: int) -> None:
        value = getattr(self, option)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self._refuse(option, "is not a whole number of the range", f"{least} to {most}")

    def _check_real(self, option: str, least: float, most: float) -> None:
        value = getattr(self, option)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            self._refuse(option, "is out of range", f"{least:g} to {most:g}")

    def _refuse(self, option: str, what: str, hint: str) -> NoReturn:
        raise CompileError(f"{type(self).__name__}({option}={getattr(self, option)!r})", what, hint)

    @property
    def frames(self) -> int:
        """Frames of a recording; what does not fill a window at its end is left out."""
        return 1 + (self.samples - self.window) // self.hop

    @property
    @abstractmethod
    def width(self) -> int:
        """Values of a frame."""

    @property
    def recording_shape(self) -> tuple[int, ...]:
        """Of one recording, as an array."""
        return (self.samples,)

    @property
    def recorded_channels(self) -> int:
        return self.recording_shape[1] if len(self.recording_shape) > 1 else 1

    @property
    def kept(self) -> int:
        """Words that one recording leaves for the next where that goes on from it; they start at zero."""
        return 0

    @abstractmethod
    def reference(self, samples: NDArray[Any]) -> NDArray[np.float64]:
        """Features [N, frames, width] of recordings [N, ...], as real numbers."""

    @abstractmethod
    def planned(self, scale: float, zero_point: int) -> FeaturePlan:
        """The integers whose features become round(feature / scale) + zero_point, as int8. Raises CompileError."""

    def slices(self, recording: NDArray[Any]) -> NDArray[np.int16]:
        """Slices [N, ...] of a long recording for a model that goes on from call to call: frame follows frame over all of them.

        Each begins frames * hop samples behind the one before, so where the window is longer than the hop, it repeats what the last one ended
        with. What does not fill a slice at the end is left out. ValueError for a recording that is no slice.
        """
        return self._cut(recording, self.frames * self.hop)

    def pieces(self, recording: NDArray[Any]) -> NDArray[np.int16]:
        """Recordings [N, ...] of a long one, one behind the other; what is left over at the end is left out."""
        return self._cut(recording, self.samples)

    def _cut(self, recording: NDArray[Any], step: int) -> NDArray[np.int16]:
        x = np.asarray(recording)
        if x.dtype != np.int16 or x.shape[1:] != self.recording_shape[1:] or x.ndim != len(self.recording_shape) or len(x) < self.samples:
            raise ValueError(f"the recording is {x.dtype} {list(x.shape)}, cut are those of int16 {list(self.recording_shape)} or more")
        return np.stack([x[at : at + self.samples] for at in range(0, len(x) - self.samples + 1, step)])


@dataclass(frozen=True)
class Table:
    """A constant array of a plan, as the member `name` of its struct."""

    name: str
    ctype: str
    data: NDArray[Any]
    comment: str
    member: str = ""
    """Of the struct, where that is another than `name`."""


class FeaturePlan(ABC):
    """A front end in integers. Called with recordings it gives the model's input, with the bits of its C function.

    function, struct: of C, in `sources`. arguments: what the function takes behind the struct, of "samples", "count" of them, "kept", "scratch" and
    "rows".
    """

    function: ClassVar[str]
    struct: ClassVar[str]
    arguments: ClassVar[tuple[str, ...]]
    front: FrontEnd

    @property
    @abstractmethod
    def sources(self) -> tuple[str, ...]:
        """Of the runtime."""

    @property
    @abstractmethod
    def tables(self) -> tuple[Table, ...]: ...

    @property
    @abstractmethod
    def members(self) -> Mapping[str, int | str]:
        """The struct's other members, as C has them."""

    @property
    @abstractmethod
    def scratch_bytes(self) -> int:
        """Of the arena, aligned to 4, while a recording is worked on."""

    @property
    def constant_bytes(self) -> int:
        return sum(table.data.nbytes for table in self.tables)

    def __call__(self, samples: NDArray[Any]) -> NDArray[np.int8]:
        """int16 recordings [N, ...] -> [N, frames, width]. ValueError for others."""
        x = self._checked(samples)
        return self._recordings(x.astype(np.int64)) if len(x) else np.empty((0, self.front.frames, self.front.width), np.int8)

    def continued(self, samples: NDArray[Any], kept: NDArray[np.uint32]) -> tuple[NDArray[np.int8], NDArray[np.uint32]]:
        """The same of slices that follow each other, from what was kept of those before; and what is kept of the last."""
        return self(samples), kept

    @abstractmethod
    def _recordings(self, x: Int64) -> NDArray[np.int8]: ...

    def _checked(self, samples: NDArray[Any]) -> NDArray[np.int16]:
        x = np.asarray(samples)
        shape = self.front.recording_shape
        if x.dtype != np.int16 or x.shape[1:] != shape or x.ndim != 1 + len(shape):
            wanted = ", ".join(map(str, ("N", *shape)))
            raise ValueError(f"recordings are {x.dtype} {list(x.shape)}, the front end takes int16 [{wanted}]")
        return x


def framed(front: FrontEnd, x: Int64) -> Int64:
    """Frames [N, frames, window, ...] of recordings [N, samples, ...]."""
    return x[:, np.arange(front.frames)[:, None] * front.hop + np.arange(front.window)]


def quantized(v: NDArray[Any], zero_point: int) -> NDArray[np.int8]:
    return np.asarray(np.clip(v + zero_point, -128, 127), np.int8)
