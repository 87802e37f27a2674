"""Each update as soon as it may run, where every sample updates by itself: gradients of the whole model never stand in memory."""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Node


def update_early(graph: Graph) -> Graph:
    """Move the nodes of the update phase up between those of the backward phase.

    A node stays behind all that it must follow: the loss, whatever gives or changes what it reads, and whatever reads what it
    changes. So every node sees the same values as before, and the bits stay.
    """
    if not graph.updates_at_once:
        return graph
    placed = [_Touched(n) for n in graph.nodes if n.phase != "update"]
    for update in map(_Touched, graph.phase("update")):
        last = next(i for i in range(len(placed) - 1, -1, -1) if placed[i].node.name == "loss" or update.must_follow(placed[i]))
        placed.insert(last + 1, update)
    return replace(graph, nodes=tuple(t.node for t in placed))


class _Touched:
    """A node with the values that it gives or changes and those that it reads, as sets: a graph has many pairs of nodes to compare."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.gives = frozenset((*node.outputs, *node.updates))
        self.reads = frozenset(node.inputs.values())
        self.changes = frozenset(node.updates)

    def must_follow(self, earlier: _Touched) -> bool:
        return not (self.reads.isdisjoint(earlier.gives) and self.changes.isdisjoint(earlier.reads))
