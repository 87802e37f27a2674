"""How a window lies over an image, as numbers that the instructions of a kernel with one are nearly linear in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

Axis = tuple[int, ...]
"""Of the image in and out, of the window how many values, stride, dilation, and values of the border in front."""


@dataclass(frozen=True)
class Geometry:
    """A window over an image.

    positions: results, or of a gradient to the input its values. placed: how often the window lies on the image. taps: values under the
    windows of all positions that lie inside the image. inner: positions whose windows reach over no border. runs: rows under the windows that
    lie inside, for each position of one.
    """

    area: int
    placed: int
    rows: int
    columns: int
    taps: int
    inner: int
    runs: int

    @property
    def positions(self) -> int:
        return self.rows * self.columns


SINGLE = Geometry(1, 1, 1, 1, 1, 1, 1)


def geometry(fields: Mapping[str, Any], transposed: bool) -> Geometry | None:
    """Of the parameters of a kernel; None where it has no window. transposed: of a gradient, whose positions are those of the layer's input."""
    window = _window(fields)
    if window is None:
        return None
    axes = [_axis(tuple(int(window[f][i]) for f in ("input", "output", "kernel", "stride", "dilation", "pad")), transposed) for i in (0, 1)]
    (rows, row_taps, inner_rows), (columns, column_taps, inner_columns) = axes
    area, placed = int(window["kernel"][0] * window["kernel"][1]), int(window["output"][0] * window["output"][1])
    return Geometry(area, placed, rows, columns, row_taps * column_taps, inner_rows * inner_columns, row_taps * columns)


def _window(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The kt_window among these parameters, or in one of them."""
    if "kernel" in fields and "stride" in fields:
        return fields
    parts = (_window(value) for value in fields.values() if isinstance(value, Mapping))
    return next((part for part in parts if part is not None), None)


@cache
def _axis(axis: Axis, transposed: bool) -> tuple[int, int, int]:
    """Positions along one axis, taps inside of them all, and positions all of whose taps are inside."""
    size, results, kernel, stride, dilation, before = axis
    met = [[0] * size, [0] * results]
    for y in range(results):
        for tap in range(kernel):
            x = y * stride + tap * dilation - before
            if 0 <= x < size:
                met[0][x] += 1
                met[1][y] += 1
    counts = met[0 if transposed else 1]
    whole = -(-kernel // stride) if transposed else kernel
    return len(counts), sum(counts), sum(count >= whole for count in counts)
