"""The frozen part of a model before its first trained layer, run once for all trainings.

It computes the same in every step, so a search that trains a set many times on the same samples keeps its result for each of
them and trains the rest of the model alone. The bits are those of the whole model: the rest starts from the same integers,
calibrates on the same samples and draws the same initial values, which depend on the names of layers only.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from kiloc.ir import Graph, Node, Value


def after(graph: Graph, cut: str) -> Graph:
    """The part of the graph that follows a value, which becomes its input."""
    values = {**graph.values, cut: Value(cut, graph.type(cut), "input")}
    return replace(graph, values=values, inputs=(cut,)).with_nodes(graph.nodes[len(before(graph, cut)) :])


def before(graph: Graph, cut: str) -> tuple[Node, ...]:
    """The nodes up to the one that makes a value, none for an input."""
    return graph.nodes[: next((i + 1 for i, n in enumerate(graph.nodes) if cut in n.outputs), 0)]


def last_cut(graph: Graph, layers: Collection[str]) -> str:
    """The last value before all of these layers through which everything that they and later nodes read passes.

    The input of the graph where there is no other.
    """
    cut = graph.inputs[0]
    for i, node in enumerate(graph.nodes):
        if node.name in layers:
            break
        if len(node.outputs) == 1 and _separates(graph, i) and graph.type(node.outputs[0]).dtype == "int8":
            cut = node.outputs[0]
    return cut


def _separates(graph: Graph, index: int) -> bool:
    """Whether nothing but the result of a node reaches the nodes after it and the results."""
    made = {*graph.inputs, *(out for n in graph.nodes[:index] for out in n.outputs)}
    later = {name for n in graph.nodes[index + 1 :] for name in n.inputs.values()} | set(graph.outputs)
    return not made & later
