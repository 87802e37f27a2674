"""Sliding windows over some rows: what rows of a result read, and the window that computes them from these alone."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from ..ir.stripe import Rows
from ._window import Window


def forward_rows(window: Window, rows: Rows, height: int) -> tuple[Rows, Window]:
    """Rows of an input of this height that rows of the result read, and the window over them."""
    reach = (window.kernel[0] - 1) * window.dilation[0] + 1
    first = rows[0] * window.stride[0] - window.pad[0]
    end = (rows[1] - 1) * window.stride[0] - window.pad[0] + reach
    low = min(max(first, 0), height - 1)
    high = max(min(end, height), low + 1)
    return (low, high), replace(window, pad=(low - first, window.pad[1], end - high, window.pad[3]))


def gradient_rows(window: Window, rows: Rows, height: int) -> tuple[Rows, Window]:
    """Rows of a result of this height whose windows meet these rows of the input, and the window from them to these rows."""
    reach, stride = (window.kernel[0] - 1) * window.dilation[0] + 1, window.stride[0]
    low = max(-(-(rows[0] + window.pad[0] - reach + 1) // stride), 0)
    low = min(low, (rows[0] + window.pad[0]) // stride, height - 1)  # the border on top is never negative
    high = max(min((rows[1] - 1 + window.pad[0]) // stride + 1, height), low + 1)
    top = rows[0] + window.pad[0] - low * stride
    bottom = max((high - low - 1) * stride + reach - (rows[1] - rows[0]) - top, 0)
    return (low, high), replace(window, pad=(top, window.pad[1], bottom, window.pad[3]))


def met_rows(window: Window, height: int, count: int, inner: tuple[bool, bool]) -> Fraction:
    """Of `count` rows of windows the share that multiplies, in rows: taps on rows of other stripes do not. inner: whether there are such before
    the input of this height, and after it."""
    starts = [o * window.stride[0] - window.pad[0] + k * window.dilation[0] for o in range(count) for k in range(window.kernel[0])]
    return Fraction(sum(not (inner[0] and i < 0) and not (inner[1] and i >= height) for i in starts), window.kernel[0])
