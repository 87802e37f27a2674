"""Slow memory: where values lie there, and how much of the arena pages of them take while a node works on them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from ..ir.graph import Graph, Node
from ..ir.types import TensorType
from ..ir.verify import node_types
from ..ops.update.optimizer import PAGE, Optimizer
from ..passes.page_updates import paged_moments
from .problem import WORD, rounded


@dataclass(frozen=True)
class Layout:
    """offsets: value -> bytes from the beginning of slow memory. moments: bytes of those in front, which outlive a step; bytes: of all."""

    offsets: dict[str, int]
    moments: int
    bytes: int


def page_layout(graph: Graph) -> Layout:
    """Moments one behind the other, then saved values."""
    moments, saved = ([v for v in graph.values.values() if v.kind == kind] for kind in ("paged", "offloaded"))
    sizes = [rounded(v.type.bytes, WORD) for v in moments + saved]
    offsets = {v.name: end - size for v, size, end in zip(moments + saved, sizes, accumulate(sizes), strict=True)}
    return Layout(offsets, sum(sizes[: len(moments)]), sum(sizes))


def pages_of(graph: Graph, node: Node) -> tuple[dict[str, int], int]:
    """Where pages of the moments of a node lie in its scratch, value -> offset; and their bytes together."""
    found: dict[str, int] = {}
    end = 0
    if isinstance(node.op, Optimizer):
        whole = min(graph.type(node.inputs["accumulator"]).size, PAGE)
        for name in paged_moments(graph, node):
            found[name] = end
            end += rounded(page_of(graph, node, name, whole).bytes, WORD)
    return found, end


def page_of(graph: Graph, node: Node, name: str, elements: int) -> TensorType:
    """Type of so many elements of a moment."""
    assert isinstance(node.op, Optimizer)
    operand = next(o for o, v in node.inputs.items() if v == name)
    return node.op.page_of(node_types(graph, node), operand, elements)
