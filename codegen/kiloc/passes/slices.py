"""Parts of a graph: what inference runs, also with adapters alone, what one training sample runs. All drop nodes that nothing needs."""

from __future__ import annotations

from dataclasses import replace

from ..autodiff import LOSS_VALUE
from ..ir.graph import ADAPTER_KINDS, Graph, Node


def inference_slice(graph: Graph, buffers: str = "caller") -> Graph:
    """Forward nodes that the results need. Inference changes no state but its streams: updates are dropped with their operands. buffers: see
    `Graph`."""
    nodes = _needed(graph.phase("forward"), set(graph.outputs))
    pure = []
    for node in nodes:
        kept = {o: v for o, v in node.inputs.items() if v not in node.updates or o in node.op.operands}
        pure.append(node if node.op.kept else replace(node, inputs=kept, updates=()))
    return replace(graph, inputs=graph.model_inputs, buffers=buffers).with_nodes(pure)


def adapted_slice(graph: Graph) -> Graph:
    """The inference slice with the state that an adapter carries and no other: what a device needs that never trains."""
    part = inference_slice(graph)
    values = {k: v for k, v in part.values.items() if not v.is_state or v.kind in ADAPTER_KINDS}
    held = [replace(p, values={r: v for r, v in p.values.items() if v in values}) for p in part.parameters]
    return replace(part, values=values, parameters=tuple(held))


def training_slice(graph: Graph, buffers: str = "caller") -> Graph:
    """What one sample runs: nodes that change an accumulator, the update of each parameter where it is made at once, the loss."""
    nodes = _needed(graph.nodes if graph.updates_at_once else graph.phase("forward", "backward"), {LOSS_VALUE})
    return replace(graph, outputs=(LOSS_VALUE,), buffers=buffers).with_nodes(nodes)


def prune(graph: Graph) -> Graph:
    """Drop nodes whose results nothing reads and that change no state."""
    wanted = set(graph.outputs) | {LOSS_VALUE}
    body = _needed(graph.phase("forward", "backward"), wanted)
    return graph.with_nodes((*body, *graph.phase("update")))


def _needed(nodes: tuple[Node, ...], wanted: set[str]) -> list[Node]:
    kept: list[Node] = []
    for node in reversed(nodes):
        trains = node.phase != "forward" and node.updates
        if trains or node.op.kept or wanted & set(node.outputs):
            kept.append(node)
            wanted = wanted | set(node.inputs.values())
    return kept[::-1]
