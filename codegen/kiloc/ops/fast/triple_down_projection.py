"""Down-projections for cores that multiply one pair of numbers at a time: three sums in two words, as `triple.py` has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...ir.graph import Node, Value
from ...ir.operator import NodeTypes
from ..model.lora import DownProjection
from ._packing import NotProved

MOST_ROWS = 16
"""Of A, whose sums of six positions lie on the stack (KT_PROJECTED_RANK in the runtime)."""


def triple_down_projection(node: Node, t: NodeTypes, values: Mapping[str, Value]) -> tuple[Node, list[Value], str]:
    """The node with that kernel: the same sums. Raises NotProved."""
    assert isinstance(node.op, DownProjection)
    if node.op.u_image[2] > MOST_ROWS:
        raise NotProved(f"its rank is above {MOST_ROWS}")
    return replace(node, op=replace(node.op, triple=True)), [], ""
