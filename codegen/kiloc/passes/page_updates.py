"""Updates whose moments come from slow memory page by page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..ir.graph import Graph, Node, Value
from ..ir.types import scalar
from ..ops.update.optimizer import PAGE, ClipGradient, Optimizer


def page_updates(graph: Graph) -> Graph:
    """Clip the gradient of a parameter of several pages before its step, which then is the same for some elements as for all."""
    nodes: list[Node] = []
    one = Value(graph.fresh("one"), scalar("int32"), "constant", np.ones(1, np.int32))
    for node in graph.nodes:
        if (
            isinstance(node.op, Optimizer)
            and not node.op.elements
            and paged_moments(graph, node)
            and graph.type(node.inputs["accumulator"]).size > PAGE
        ):
            accumulator = node.inputs["accumulator"]
            inputs = {"accumulator": accumulator, "count": node.inputs["count"]}
            nodes.append(Node(f"{node.name}.clip", ClipGradient(node.op.clip), inputs, (), (accumulator,), "update"))
            node = replace(node, op=replace(node.op, clip=0.0), inputs={**node.inputs, "count": one.name})
        nodes.append(node)
    return (graph.with_values([one]) if len(nodes) > len(graph.nodes) else graph).with_nodes(nodes)


def paged_moments(graph: Graph, node: Node) -> list[str]:
    """The values in slow memory that a node reads and changes."""
    return [v for v in dict.fromkeys(node.inputs.values()) if graph.values[v].kind == "paged"]
