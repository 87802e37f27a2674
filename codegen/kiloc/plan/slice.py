"""A part of the graph that is planned by itself: inference, or one training sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ..autodiff import LOSS_VALUE
from ..ir.graph import Graph, Node
from ..ir.kernel_call import KernelCall
from ..ir.operator import Names
from ..ir.types import ELEMENT_BYTES
from ..ir.verify import node_types
from .paging import pages_of
from .place import Plan


def kernel_call(graph: Graph, node: Node) -> KernelCall | None:
    return node.op.kernel_call(node_types(graph, node), Names(node.inputs, node.outputs))


def scratch_bytes(graph: Graph, node: Node) -> int:
    """Bytes of the arena that a node needs while it runs: of its kernel, and behind it pages of values in slow memory."""
    call = kernel_call(graph, node)
    return (call.scratch if call else 0) + pages_of(graph, node)[1]


def scratch_of(graph: Graph) -> Callable[[Node], int]:
    """`scratch_bytes` of the nodes of one graph."""
    return lambda node: scratch_bytes(graph, node)


def update_bytes(graph: Graph) -> int:
    """Bytes of the arena that an update of accumulated gradients needs: between training steps, where it is empty, so at its beginning."""
    if graph.updates_at_once:
        return 0
    return max((scratch_bytes(graph, node) for node in graph.phase("update")), default=0)


def caller_buffers(graph: Graph) -> dict[str, str]:
    """Value -> name of the caller's buffer that it lies in: targets, and unless the arena holds them inputs and results with the views that
    make them."""
    targets = {"label": "label", "target": "target"}
    if graph.buffers == "arena":
        return targets
    names = [n for n in graph.inputs if n not in targets]
    found = {name: ("input" if i == 0 else f"input_{i + 1}") for i, name in enumerate(names)} | targets
    producers = graph.producers()
    for i, name in enumerate(graph.outputs):
        if name == LOSS_VALUE:
            continue
        expression = "output" if i == 0 else f"output_{i + 1}"
        while name in producers and producers[name].op.view:
            found[name] = expression
            name = producers[name].inputs["x"]
        found[name] = expression
    for node in graph.nodes:
        if node.op.view and node.inputs["x"] in found:
            elements = node.op.view_offset(node_types(graph, node)) // ELEMENT_BYTES[graph.type(node.outputs[0]).dtype]
            found[node.outputs[0]] = found[node.inputs["x"]] + (f" + {elements}" if elements else "")
    return found


@dataclass(frozen=True)
class Slice:
    """A part of the graph with its plan.

    graph: layers as the model has them, without constant channels. kernels: the same nodes as they are emitted and planned, each with
    its kernel for the target, "" where all are portable.
    """

    graph: Graph
    plan: Plan
    kernels: Graph
    target: str
    saving: Mapping[str, int] = field(default_factory=dict)
    """Of nodes whose fastest forms take too much memory; see `passes/kernels.py`."""

    @property
    def placed(self) -> Graph:
        """What is emitted, with the offset of everything in the arena."""
        return replace(self.kernels, offsets=dict(self.plan.offsets))
