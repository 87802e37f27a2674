"""The gradient of a first convolution's weights with scratch for its input and the border around it: the same sums, for more memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...ir.graph import Node, Value
from ...ir.operator import NodeTypes
from ..backward.parameter_gradient import WeightGradient
from ._packing import NotProved

MOST_CHANNELS = 7
"""Inputs with more are taken tap by tap, in which no value is left over (FEW_CHANNELS in the runtime)."""


def check_border(op: WeightGradient) -> None:
    """Raises NotProved for a gradient that gains nothing, or whose kernel rows are no neighbours."""
    height, width, depth = op.x_image
    if depth > MOST_CHANNELS or op.window.kernel[1] == 1:
        raise NotProved("")
    if op.window.dilation[1] != 1:
        raise NotProved("a trained window is dilated" if depth == 1 else "")
    reach = op.bordered_size()
    if op.window.pad[:2] == (0, 0) and reach[0] <= height and reach[1] <= width:
        raise NotProved("")  # no window meets a border


def with_border(node: Node, t: NodeTypes, values: Mapping[str, Value]) -> tuple[Node, list[Value], str]:
    """The gradient with that scratch. Raises NotProved, without a reason where another way is as fast."""
    assert isinstance(node.op, WeightGradient)
    check_border(node.op)
    return replace(node, op=replace(node.op, bordered=True)), [], ""
