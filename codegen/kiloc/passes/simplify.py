"""Removes what computes nothing: reshapes to the same shape or of reshapes, identity and inverse transposes, empty padding."""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Node
from ..ir.operator import Op
from ..ops.model.fully_connected import FullyConnected
from ..ops.model.keep import Keep
from ..ops.model.lstm import Lstm
from ..ops.model.pad import Pad
from ..ops.model.requantize import Requantize
from ..ops.model.reshape import Reshape
from ..ops.model.slice import Slice
from ..ops.model.svdf import Svdf
from ..ops.model.transpose import Transpose


def simplify(graph: Graph) -> Graph:
    """The same function with fewer nodes."""
    alias: dict[str, str] = {}
    kept: list[Node] = []
    producers: dict[str, Node] = {}
    for node in graph.nodes:
        node = replace(node, inputs={o: alias.get(v, v) for o, v in node.inputs.items()})
        if isinstance(node.op, Reshape | Transpose):
            node = _merged(node, producers.get(node.inputs["x"]))
        elif isinstance(node.op, Keep):
            node = _kept_at_once(graph, node, producers.get(node.inputs["x"]))
        if _is_identity(graph, node) and node.outputs[0] not in graph.outputs and not graph.values[node.inputs["x"]].is_state:
            alias[node.outputs[0]] = node.inputs["x"]
            continue
        kept.append(node)
        producers.update(dict.fromkeys(node.outputs, node))
    return _without_dead(replace(graph, nodes=tuple(kept)))


def with_rounding(graph: Graph, profile: str) -> Graph:
    """Operators as a profile has them: "tflm", as TensorFlow Lite Micro computes them, or "litert".

    LiteRT rounds the sums of FULLY_CONNECTED once, not twice, and regards the scale of RELU6's result. Recurrent operators have one form, which
    a note says.
    """
    if profile == "tflm":
        return graph
    recurrent = [n.name for n in graph.nodes if isinstance(n.op, Lstm | Svdf)]
    said = f"{', '.join(recurrent)}: as TensorFlow Lite Micro computes recurrent operators; LiteRT's results may differ by some steps"
    notes = dict.fromkeys((*graph.notes, *([said] if recurrent else [])))
    return replace(graph, nodes=tuple(replace(n, op=_of_litert(n.op)) for n in graph.nodes), notes=tuple(notes))


def _of_litert(op: Op) -> Op:
    if isinstance(op, FullyConnected):
        return replace(op, rounding="once")
    return Requantize("relu6") if isinstance(op, Requantize) and op.unscaled else op


def _merged(node: Node, before: Node | None) -> Node:
    """Two reshapes or two transposes in a row as one."""
    if before is None or type(before.op) is not type(node.op):
        return node
    op = node.op
    if isinstance(op, Transpose) and isinstance(before.op, Transpose):
        op = Transpose(tuple(before.op.permutation[i] for i in op.permutation))
    return replace(node, op=op, inputs={"x": before.inputs["x"]})


def _kept_at_once(graph: Graph, node: Node, before: Node | None) -> Node:
    """What is kept of a slice, taken from what it was cut from."""
    if before is None or not isinstance(before.op, Slice) or graph.values[before.inputs["x"]].is_state:
        return node
    return replace(node, op=Keep(before.op), inputs={**node.inputs, "x": before.inputs["x"]})


def _is_identity(graph: Graph, node: Node) -> bool:
    if isinstance(node.op, Reshape):
        return graph.type(node.inputs["x"]).shape == node.op.shape
    if isinstance(node.op, Transpose):
        return node.op.permutation == tuple(range(len(node.op.permutation)))
    return isinstance(node.op, Pad) and not any(node.op.pad)


def _without_dead(graph: Graph) -> Graph:
    wanted = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if wanted & set(node.outputs) or node.op.kept:
            kept.append(node)
            wanted.update(node.inputs.values())
    return graph.with_nodes(kept[::-1])
