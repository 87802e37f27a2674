"""The gradient of weights with scratch for what it reads in another order: the same sums, for more memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...ir.graph import Node, Value
from ...ir.operator import NodeTypes
from ..backward.parameter_gradient import WeightGradient
from ._packing import NotProved

MOST_CHANNELS = 7
"""Inputs with more are taken tap by tap, in which no value is left over (FEW_CHANNELS in the runtime)."""


MOST_INPUTS = (10**6, 66, 33, 15, 3)
"""Of a 1x1 layer, whose values at all positions are brought beside each other at once: from the fastest on, multiples of 3."""

FEWEST_POSITIONS = 16
"""With fewer there is nothing to gain."""

FARTHEST = 2**16
"""Bytes that the places of eight neighbouring positions span at most."""


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


def check_pointwise(op: WeightGradient) -> None:
    """Raises NotProved for a gradient whose rows are no values of one channel."""
    if not op.window.pointwise or op.y_image[0] * op.y_image[1] < FEWEST_POSITIONS:
        raise NotProved("")
    if 8 * max(op.x_image[2], op.y_image[2]) >= FARTHEST:
        raise NotProved("too many channels")


def transposed(most: int, node: Node, t: NodeTypes, values: Mapping[str, Value]) -> tuple[Node, list[Value], str]:
    """The gradient with scratch for so many inputs of a 1x1 layer at all positions. Raises NotProved."""
    assert isinstance(node.op, WeightGradient)
    check_pointwise(node.op)
    return replace(node, op=replace(node.op, transposed=min(most, -(-node.op.x_image[2] // 3) * 3))), [], ""
