"""Which int16 values a graph can hold: an interval for each, proved from the ranges of what they are summed from.

Where the intervals show that a sum never leaves int16, it needs no clamp, so its gradient needs no mask. A sum whose operands and result have one
scale is exact: x + other, which can be undone then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, cast

import numpy as np

from .. import numerics as nm
from ..ir.operator import NodeTypes
from ..ir.types import RANGES
from ..ir.verify import node_types

if TYPE_CHECKING:
    from ..ir.graph import Graph, Node

Interval = tuple[int, int]

HALF = (1 << 30, 0)
"""Multiplier and shift of one half."""
BACK = (1 << 30, -13)
"""Of 2^-14, which brings the sum of two halves, 15 bits to the left, to its place."""


class Summing(Protocol):
    """A sum or a difference."""

    sign: ClassVar[int]

    def multipliers(self, t: NodeTypes) -> tuple[tuple[int, int], ...]: ...

    def compute(self, t: NodeTypes, x: nm.Ints, other: nm.Ints) -> nm.Ints: ...


def is_exact(op: Summing, t: NodeTypes) -> bool:
    """Whether a sum of int16 tensors is x + sign * other before it is clamped: every factor is a power of two, and nothing is rounded."""
    return op.multipliers(t) == (HALF, HALF, BACK)


def intervals(graph: Graph) -> dict[str, Interval]:
    """Least and greatest code of every int16 value that the forward nodes make."""
    found: dict[str, Interval] = {}
    for node in graph.nodes:
        if node.phase == "forward" and node.outputs and graph.type(node.outputs[0]).dtype == "int16":
            found[node.outputs[0]] = _interval(graph, node, found)
    return found


def sum_interval(graph: Graph, node: Node, known: dict[str, Interval]) -> Interval:
    """What a sum reaches before it is clamped, of operands whose intervals are known."""
    x, other = (known.get(node.inputs[o], RANGES["int16"]) for o in ("x", "other"))
    op = cast("Summing", node.op)
    found = op.compute(node_types(graph, node), np.array(x, np.int64), np.array(other[:: op.sign], np.int64))
    return int(found[0]), int(found[1])


def never_clamps(graph: Graph, node: Node) -> bool:
    """Whether no result of a sum can leave int16."""
    low, high = sum_interval(graph, node, intervals(graph))
    return RANGES["int16"][0] <= low and high <= RANGES["int16"][1]


def _interval(graph: Graph, node: Node, known: dict[str, Interval]) -> Interval:
    t, limits = node_types(graph, node), RANGES["int16"]
    if node.op.mnemonic == "requantize":
        x = t.type("x")
        low, high = known.get(node.inputs["x"], RANGES[x.dtype])
        ends = nm.requantize(np.array([low, high], np.int64) - x.zero_point, *node.op.multiplier(t)) + t.result().zero_point  # type: ignore[attr-defined]
        return _within((int(ends[0]), int(ends[1])), limits)
    if node.op.mnemonic in ("wide_add", "wide_sub"):
        return _within(sum_interval(graph, node, known), limits)
    if node.op.view and node.inputs["x"] in known:
        return known[node.inputs["x"]]
    return limits


def _within(interval: Interval, limits: Interval) -> Interval:
    return max(interval[0], limits[0]), min(interval[1], limits[1])
