"""Windows along one axis, drawn at random."""

from __future__ import annotations

from kernel_driver import Rng, pick

from kiloc.ops._window import Window


def line_window(r: Rng) -> tuple[Window, tuple[int, int]]:
    """A window of one row or one column, with a stride or a dilation, and rows and columns of an image, often of one line."""
    taps, dilation, stride = int(r.integers(2, 16)), pick(r, 1, 1, 2, 3, 4), pick(r, 1, 2)
    stride = stride if dilation == 1 else 1
    reach, across = (taps - 1) * dilation, pick(r, 1, 1, 1, int(r.integers(2, 5)))
    before = pick(r, 0, reach, reach // 2, int(r.integers(0, 9)))
    after = pick(r, 0, reach - before, int(r.integers(0, 9)))
    along = max(reach + 1 - before - max(after, 0), 1) + int(r.integers(0, 40)) + (int(r.integers(0, 80)) if stride > 1 else 0)
    along += -along % dilation if r.random() < 0.7 else 0
    window = Window((1, taps), (pick(r, 1, stride), stride), (0, before, 0, max(after, 0)), (pick(r, 1, dilation), dilation))
    if r.random() < 0.6:
        return window, (across, along)
    pad = (before, 0, max(after, 0), 0)
    return Window((taps, 1), window.stride[::-1], pad, window.dilation[::-1]), (along, across)
