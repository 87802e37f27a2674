"""What kernels with a sliding window read, and when: the `Reach` of a window and of its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..ir.reach import Reach
from ._window import Window

Bounds = NDArray[np.int64]


@lru_cache(512)
def window_reach(window: Window, x: tuple[int, ...], y: tuple[int, ...]) -> Reach:
    """A window sliding over x [.., H, W, C] for y [.., OH, OW, OC], int8: pieces are positions of y."""
    rows = [_taps(window, 0, x[-3], o) for o in range(y[-3])]
    columns = [_taps(window, 1, x[-2], o) for o in range(y[-2])]
    return _rectangles(rows, columns, x[-3:], y[-1])


@lru_cache(512)
def window_gradient_reach(window: Window, x: tuple[int, ...], y: tuple[int, ...]) -> Reach:
    """The gradient of that window, gathered: pieces are positions of x, read is the gradient of y."""
    rows = _windows_of([_taps(window, 0, x[-3], o) for o in range(y[-3])], x[-3])
    columns = _windows_of([_taps(window, 1, x[-2], o) for o in range(y[-2])], x[-2])
    return _rectangles(rows, columns, y[-3:], x[-1])


def inside(window: Window, axis: int, size: int, output: int) -> range:
    """The taps of the window at one result index that lie in an input of this size, along one axis; range(0) where none does."""
    start, step = output * window.stride[axis] - window.pad[axis], window.dilation[axis]
    taps = range(max(0, -(start // step)), min(window.kernel[axis], -((start - size) // step)))
    return taps or range(0)


def _taps(window: Window, axis: int, size: int, output: int) -> range:
    """Indices of the input that the window at one result index covers, along one axis."""
    start, step = output * window.stride[axis] - window.pad[axis], window.dilation[axis]
    taps = inside(window, axis, size, output)
    return range(start + taps.start * step, start + taps.stop * step, step)


def _windows_of(taps: list[range], size: int) -> list[list[int]]:
    """The other way round: windows that cover each input index."""
    found: list[list[int]] = [[] for _ in range(size)]
    for output, covered in enumerate(taps):
        for index in covered:
            found[index].append(output)
    return found


def _rectangles(rows: Sequence[Sequence[int]], columns: Sequence[Sequence[int]], image: tuple[int, ...], piece: int) -> Reach:
    height, width, channels = image
    top, bottom = _ends(rows)
    left, right = _ends(columns)
    some = (top <= bottom)[:, None] & (left <= right)
    first = np.where(some, (top[:, None] * width + left) * channels, height * width * channels)
    end = np.where(some, (bottom[:, None] * width + right + 1) * channels, 0)
    return Reach(first.ravel(), end.ravel(), piece)


def _ends(lines: Sequence[Sequence[int]]) -> tuple[Bounds, Bounds]:
    """First and last index of each, 0 and -1 where there is none."""
    first, last = (np.array([line[i] if line else -i - 1 for line in lines], np.int64) for i in (0, -1))
    return np.where(first < 0, 0, first), np.where(first < 0, -1, last)
