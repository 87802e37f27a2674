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
    nodes = [n for n in graph.nodes if n.phase != "update"]
    loss = next(i for i, n in enumerate(nodes) if n.name == "loss")
    for update in graph.phase("update"):
        last = max(i for i, n in enumerate(nodes) if i == loss or _must_follow(update, n))
        nodes.insert(last + 1, update)
    return replace(graph, nodes=tuple(nodes))


def _must_follow(node: Node, earlier: Node) -> bool:
    reads, changes = set(node.inputs.values()), set(node.updates)
    return bool(reads & ({*earlier.outputs, *earlier.updates}) or changes & set(earlier.inputs.values()))
