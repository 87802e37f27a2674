"""The geometry of sliding windows: shared by convolutions and pools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.kernel_call import Field

Array = NDArray[Any]

CACHED = 1 << 16
"""Sums that are made at a time, so that they stay in a processor's cache."""


@dataclass(frozen=True)
class Window:
    """Kernel, stride and dilation as (height, width); pad as (top, left, bottom, right), negative where rows or columns are left out."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)

    def output(self, height: int, width: int) -> tuple[int, int]:
        """Spatial size of the result."""
        return (
            self._length(height + self.pad[0] + self.pad[2], 0),
            self._length(width + self.pad[1] + self.pad[3], 1),
        )

    def _length(self, padded: int, axis: int) -> int:
        reach = (self.kernel[axis] - 1) * self.dilation[axis] + 1
        return (padded - reach) // self.stride[axis] + 1

    @property
    def pointwise(self) -> bool:
        return self.kernel == (1, 1) and self.stride == (1, 1) and self.pad == (0, 0, 0, 0)

    @property
    def keeps_size(self) -> bool:
        """Whether the result has as many rows and columns as the image, of which none is left out."""
        extent = [(k - 1) * d for k, d in zip(self.kernel, self.dilation, strict=True)]
        return self.stride == (1, 1) and min(self.pad) >= 0 and [self.pad[0] + self.pad[2], self.pad[1] + self.pad[3]] == extent

    @property
    def phases(self) -> tuple[int, int]:
        """How many sets of results do not mix along each axis: with a dilation of d, of a window of several taps without a stride, every d-th of them
        are those of a window without dilation over every d-th row or column."""
        return (self._phases(0), self._phases(1))

    def _phases(self, axis: int) -> int:
        return self.dilation[axis] if self.kernel[axis] > 1 and self.stride[axis] == 1 else 1

    def largest_phase(self, results: tuple[int, int]) -> tuple[int, int]:
        """Of so many rows and columns those of the first phase."""
        return -(-results[0] // self.phases[0]), -(-results[1] // self.phases[1])

    def joined(self, axis: int, image: tuple[int, int]) -> list[int]:
        """How many neighbouring phases along an axis kernels take together, one after the other: of a single line those that are alike in rows,
        results and border (runtime/src/kernels/view.h)."""
        results, d, pad = self.output(*image), self.phases[axis], self.pad[axis]
        if self.kernel[1 - axis] > 1 or results[1 - axis] > 1:
            return [1] * d
        kinds = [(-(-(image[axis] - (p - pad) % d) // d), -(-(results[axis] - p) // d), (p - pad) // d) for p in range(min(d, results[axis]))]
        return [len(list(alike)) for _, alike in groupby(kinds)]

    def largest_view(self, image: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of results that kernels compute by themselves: of the first phase, or of several that lie side by side."""
        height, width = self.largest_phase(self.output(*image))
        return max(height, *self.joined(1, image)), max(width, *self.joined(0, image))

    @property
    def of_phase(self) -> Window:
        """The window of a phase, but for its border."""
        dilation = [d if k == 1 or p == 1 else 1 for d, k, p in zip(self.dilation, self.kernel, self.phases, strict=True)]
        return replace(self, dilation=(dilation[0], dilation[1]))

    @property
    def keeps_phases(self) -> bool:
        """Whether a result lies over a value of its own phase, so that one phase after the other may take the place of the image."""
        return all(pad % count == 0 for pad, count in zip(self.pad[:2], self.phases, strict=True))

    @property
    def turned(self) -> Window:
        """The window over an image whose rows and columns are exchanged."""
        top, left, bottom, right = self.pad
        return Window(self.kernel[::-1], self.stride[::-1], (left, top, right, bottom), self.dilation[::-1])

    def upright(self, size: tuple[int, int]) -> tuple[Window, tuple[int, int]]:
        """A window of one column over other rows and columns of the same bytes, of the same results, and how many rows and columns they are; itself
        where there is none. size: rows and columns of the image.

        Kernels that compute neighbouring rows together find none in an image of one row, whose columns are as good as rows; of a window with a
        dilation of d every d-th row is the next one in an image of rows that are d times as wide.
        """
        window, (height, width) = self, size
        if height == self.kernel[0] == 1 and self.kernel[1] > 1 and (self.pad[0], self.pad[2]) == (0, 0):
            window, (height, width) = self.turned, (width, height)
        rows, d = window.output(height, width)[0], window.dilation[0]
        apart = window.kernel[1] == window.stride[0] == window.stride[1] == 1 and (window.pad[1], window.pad[3]) == (0, 0)
        if d > 1 and apart and height % d == rows % d == window.pad[0] % d == 0:
            pad = (window.pad[0] // d, 0, (rows - height - window.pad[0]) // d + window.kernel[0] - 1, 0)
            window, (height, width) = Window((window.kernel[0], 1), pad=pad), (height // d, width * d)
        return window, (height, width)

    def taps(self, out: tuple[int, int]) -> list[tuple[int, int, slice, slice]]:
        """(ky, kx, rows, columns) of the padded input that each kernel position meets."""
        found = []
        for ky in range(self.kernel[0]):
            for kx in range(self.kernel[1]):
                top, left = ky * self.dilation[0], kx * self.dilation[1]
                rows = slice(top, top + (out[0] - 1) * self.stride[0] + 1, self.stride[0])
                columns = slice(left, left + (out[1] - 1) * self.stride[1] + 1, self.stride[1])
                found.append((ky, kx, rows, columns))
        return found

    def padded(self, x: Array, fill: Any = 0) -> Array:
        """x [N, H, W, C] with its border filled."""
        if not any(self.pad):
            return x
        height, width = x.shape[1:3]
        outside = [max(-p, 0) for p in self.pad]
        x = x[:, outside[0] : height - outside[2], outside[1] : width - outside[3]]
        top, left, bottom, right = (max(p, 0) for p in self.pad)
        return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)

    def patches(self, x: Array) -> Array:
        """Rows [N, OH*OW, KH*KW*C] under each window; the border reads 0."""
        n, height, width, channels = x.shape
        if self.pointwise:
            return x.reshape(n, height * width, channels)
        out = self.output(height, width)
        padded = self.padded(x)
        rows = np.empty((n, *out, len(self.taps(out)), channels), x.dtype)
        for i, (_, _, ys, xs) in enumerate(self.taps(out)):
            rows[:, :, :, i] = padded[:, ys, xs]
        return rows.reshape(n, out[0] * out[1], -1)

    def folded(self, x: Array, fill: int, combine: np.ufunc) -> Array:
        """The elements [N, OH, OW, C] under each window combined, such as np.add or np.maximum; the border reads `fill`, which begins.

        Tap by tap, so it takes no more memory than the result.
        """
        out = self.output(*x.shape[1:3])
        padded, total = self.padded(x, fill), np.full((x.shape[0], *out, x.shape[3]), fill, x.dtype)
        for _, _, rows, columns in self.taps(out):
            combine(total, padded[:, rows, columns], out=total)
        return total

    def scatter(self, rows: Array, shape: tuple[int, ...]) -> Array:
        """The transpose of `patches`: rows summed into [N, H, W, C]."""
        n, height, width, channels = shape
        if self.pointwise:
            return rows.reshape(shape)
        parts = rows.reshape(n, *self.output(height, width), -1, channels)
        return self.scattered(lambda samples, tap: parts[samples, :, :, tap], shape, rows.dtype)

    def scattered(self, part: Callable[[slice, int], Array], shape: tuple[int, ...], dtype: Any) -> Array:
        """The same of rows that `part` makes, some samples and a tap of the window at a time: [N, OH, OW, C]."""
        n, height, width, channels = shape
        top, left, bottom, right = (max(p, 0) for p in self.pad)
        total = np.zeros((n, height + top + bottom, width + left + right, channels), dtype)
        met = total[:, max(-self.pad[0], 0) :, max(-self.pad[1], 0) :]  # without the rows and columns in front that are left out
        taps = self.taps(self.output(height, width))
        step = max(CACHED * n // max(total.size, 1), 1)
        for first in range(0, n, step):
            samples = slice(first, first + step)
            block = met[samples]
            for tap, (_, _, ys, xs) in enumerate(taps):
                block[:, ys, xs] += part(samples, tap)
        return total[:, top : top + height, left : left + width]

    def fields(self, x: tuple[int, ...], y: tuple[int, ...]) -> dict[str, Field]:
        """Initialisers of a kt_window for x [.., H, W, C] and y [.., OH, OW, OC]."""
        return {
            "input": x[-3:],
            "output": y[-3:],
            "kernel": self.kernel,
            "stride": self.stride,
            "dilation": self.dilation,
            "pad": self.pad[:2],
        }


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """TensorFlow's SAME: (before, after) so that the result has ceil(size / stride) positions."""
    reach = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2
