"""How many instructions each call of a kernel takes in a training step, estimated: where the step may be cut into slices."""

from __future__ import annotations

from ..cores import kernels_of
from ..ir.graph import Graph, Node
from ..plan.slice import Slice, kernel_call
from .instructions import costs, taken
from .work import form, work


def node_instructions(graph: Graph, target: str) -> dict[str, int]:
    """Of each node of a training slice as it is emitted, with its kernels, by name. target: the core, "" for portable kernels."""
    kernels = kernels_of(target)
    table = costs("dsp" if kernels == "portable" else kernels)

    def of_node(node: Node) -> int:
        call = kernel_call(graph, node)
        if call is None:
            return 0
        amounts = work(graph, node)
        symbols = [call.symbol] if call.made is None else [call.made.call.symbol, call.symbol]
        return max(1, round(sum(taken(table, form(node, symbol, amounts), amounts) for symbol in symbols)))

    return {node.name: of_node(node) for node in graph.nodes}


def instructions_of(part: Slice, target: str) -> int:
    """About how many a call of a slice takes, inference or a training step."""
    return sum(node_instructions(part.kernels, target).values())
