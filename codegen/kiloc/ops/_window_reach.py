"""What kernels with a sliding window read, and when: the `Reach` of a window and of its gradient."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..ir.reach import Reach
from ._window import Window


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


def _taps(window: Window, axis: int, size: int, output: int) -> list[int]:
    """Indices of the input that the window at one result index covers, along one axis."""
    start = output * window.stride[axis] - window.pad[axis]
    return [i for i in range(start, start + window.kernel[axis] * window.dilation[axis], window.dilation[axis]) if 0 <= i < size]


def _windows_of(taps: list[list[int]], size: int) -> list[list[int]]:
    """The other way round: windows that cover each input index."""
    found: list[list[int]] = [[] for _ in range(size)]
    for output, covered in enumerate(taps):
        for index in covered:
            found[index].append(output)
    return found


def _rectangles(rows: list[list[int]], columns: list[list[int]], image: tuple[int, ...], piece: int) -> Reach:
    height, width, channels = image
    first = np.full((len(rows), len(columns)), height * width * channels, np.int64)
    end = np.zeros_like(first)
    for i, r in enumerate(rows):
        for j, c in enumerate(columns):
            if r and c:
                first[i, j] = (r[0] * width + c[0]) * channels
                end[i, j] = (r[-1] * width + c[-1] + 1) * channels
    return Reach(first.ravel(), end.ravel(), piece)
