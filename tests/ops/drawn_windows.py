"""Windows along one axis and along two, drawn at random."""

from __future__ import annotations

from collections.abc import Callable

from kernel_driver import Rng, pick

from kiloc.ops._window import Window

Draw = Callable[[Rng], tuple[Window, tuple[int, int]]]


def line_window(r: Rng) -> tuple[Window, tuple[int, int]]:
    """A window of one row or one column, with a stride or a dilation, and rows and columns of an image, often of one line."""
    taps, dilation, stride = int(r.integers(2, 16)), pick(r, 1, 1, 2, 3, 4), pick(r, 1, 2)
    stride = stride if dilation == 1 else 1
    reach, across = (taps - 1) * dilation, pick(r, 1, 1, 1, int(r.integers(2, 5)))
    before = pick(r, 0, reach, reach // 2, int(r.integers(0, 9)))
    after = pick(r, 0, reach - before, int(r.integers(0, 9)))
    along = max(reach + 1 - before - max(after, 0), 1) + int(r.integers(0, 40)) + (int(r.integers(0, 80)) if stride > 1 else 0)
    along += -along % dilation if r.random() < 0.5 else 0
    window = Window((1, taps), (pick(r, 1, stride), stride), (0, before, 0, max(after, 0)), (pick(r, 1, dilation), dilation))
    if r.random() < 0.6:
        return window, (across, along)
    pad = (before, 0, max(after, 0), 0)
    return Window((taps, 1), window.stride[::-1], pad, window.dilation[::-1]), (along, across)


def tiled_window(r: Rng) -> tuple[Window, tuple[int, int]]:
    """A window of two rows or more, with any border and a stride of 1 or 2, or a dilation, on each axis, and rows and columns of an image."""
    kernel = pick(r, (3, 3), (5, 5), (7, 7), (2, 2), (int(r.integers(2, 12)), int(r.integers(1, 12))))
    stride = pick(r, (1, 1), (1, 1), (2, 2), (1, 2), (2, 1))
    dilation = pick(r, (1, 1), (2, 2), (int(r.integers(1, 4)), int(r.integers(1, 4)))) if stride == (1, 1) else (1, 1)
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    edge = [pick(r, 0, n // 2, int(r.integers(0, 9))) for n in (*reach, *reach)]
    pad = (edge[0], edge[1], edge[2], edge[3])
    if stride == (1, 1) and r.random() < 0.5:  # as large as the image: in place
        pad = (reach[0] // 2, reach[1] // 2, reach[0] - reach[0] // 2, reach[1] - reach[1] // 2)
    more = [int(r.integers(0, 16 if d == 1 else 24)) for d in dilation]
    height, width = (max(n + 1 - a - b, 1) + m for n, a, b, m in zip(reach, pad[:2], pad[2:], more, strict=True))
    return Window(kernel, stride, pad, dilation), (height, width)
