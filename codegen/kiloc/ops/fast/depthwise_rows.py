"""Depthwise layers with a trained delta, and their gradients, with scratch for rows of 16-bit values: the same results, for more memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...ir.graph import Node, Value
from ...ir.operator import NodeTypes
from .._window import Window
from ..model.depthwise_conv_2d import DepthwiseConv2D, DepthwiseInputGradient
from ._packing import NotProved

BAND_ROWS = (8, 4, 2, 1)
"""Rows of results at once, from the fastest on."""

LONGEST_SIDE = 10
"""Taps of a kernel along one axis (KT_ROW_TAPS in the runtime)."""


def check_window(window: Window) -> None:
    """Raises NotProved for a window that is not taken row by row."""
    if window.dilation != (1, 1):
        raise NotProved("a trained window is dilated")
    if window.stride[0] != window.stride[1]:
        raise NotProved("a trained window has two strides")
    if max(window.kernel) > LONGEST_SIDE:
        raise NotProved(f"a trained window is longer than {LONGEST_SIDE}")


def with_rows(rows: int, node: Node, t: NodeTypes, values: Mapping[str, Value]) -> tuple[Node, list[Value], str]:
    """The layer with scratch for so many rows of results. Raises NotProved."""
    assert isinstance(node.op, DepthwiseConv2D)
    check_window(node.op.window)
    return replace(node, op=replace(node.op, band_rows=rows)), [], ""


def check_gradient(op: DepthwiseInputGradient, t: NodeTypes) -> None:
    """Raises NotProved for a gradient that is not taken row by row."""
    check_window(op.window)
    if t.has("gain"):
        raise NotProved("a delta beside a gain")
    if op.x_shape[3] != op.y_shape[3]:
        raise NotProved("several results of each input channel")
    if any(pad >= kernel for pad, kernel in zip(op.window.pad[:2], op.window.kernel, strict=True)):
        raise NotProved("a window beyond the border")


def gradient_with_rows(rows: int, node: Node, t: NodeTypes, values: Mapping[str, Value]) -> tuple[Node, list[Value], str]:
    """The gradient with scratch for so many of its rows. Raises NotProved."""
    assert isinstance(node.op, DepthwiseInputGradient)
    check_gradient(node.op, t)
    return replace(node, op=replace(node.op, band_rows=rows)), [], ""
