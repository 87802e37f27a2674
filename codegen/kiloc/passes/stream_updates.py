"""Updates that read their gradient's factors instead of a buffer, where each sample updates by itself.

The gradient of a fully connected layer's bias or weights (its own, or LoRA's) is g, or the outer product of g and x. Where SGD has no
momentum, that is computed again for the norm, the step and the rounding, and no float32 gradient stands in memory.
Biases that are few beside others whose gradient is a sum over positions are updated as those are, which saves the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..ir.graph import Graph, Node, Parameter
from ..ops.backward.parameter_gradient import BiasGradient, WeightGradient
from ..ops.update.optimizer import SGD
from ..ops.update.storage_step import StepBlock16, StepInt32
from ..ops.update.streamed_update import StreamedBias, StreamedWeights


def stream_updates(graph: Graph) -> Graph:
    """Replace clearing, gradient, optimizer and step of a parameter by one node, where there is such a node."""
    if not graph.updates_at_once:
        return graph
    named = {n.name: n for n in graph.nodes}
    summed = _largest_summed(graph, named)
    dropped: set[str] = set()
    replaced: dict[str, Node] = {}
    for p in graph.parameters:
        parts = [named[f"{p.name}.{part}"] for part in ("clear", "gradient", "optimizer", "step")]
        streamed = _streamed(graph, p, *parts[1:])
        if streamed is not None and not (isinstance(streamed.op, StreamedBias) and graph.type(p.values["value"]).size <= summed):
            dropped.update(n.name for n in parts[:3])
            replaced[parts[3].name] = streamed
    nodes = [replaced.get(n.name, n) for n in graph.nodes if n.name not in dropped]
    return graph.with_nodes(nodes)


def _streamed(graph: Graph, p: Parameter, gradient: Node, optimizer: Node, step: Node) -> Node | None:
    if type(optimizer.op) is not SGD or "momentum" in optimizer.inputs or not isinstance(gradient.op, BiasGradient | WeightGradient):
        return None
    inputs = {"g": gradient.inputs["g"], "exponent": gradient.inputs["exponent"], "value": p.values["value"]}
    inputs |= {o: optimizer.inputs[o] for o in ("count", "learning_rate")}
    op, rows = optimizer.op, graph.type(gradient.inputs["g"]).size
    if isinstance(gradient.op, BiasGradient) and isinstance(step.op, StepInt32) and rows == graph.type(p.values["value"]).size:
        bias = StreamedBias(op.clip, step.op.decay, step.op.unit)
        return replace(step, op=bias, inputs=inputs, updates=(p.values["value"],))
    if not (isinstance(gradient.op, WeightGradient) and isinstance(step.op, StepBlock16) and _one_position(gradient)):
        return None
    held = {"value": "value", "value_exponent": "exponent", "remainder": "remainder"}
    inputs |= {"x": gradient.inputs["x"], **{o: p.values[role] for o, role in held.items()}}
    inputs |= {o: v for o, v in gradient.inputs.items() if o in ("exponent_offset", "rows")}
    weights = StreamedWeights(op.clip, step.op.decay, gradient.op.unit)
    return replace(step, op=weights, inputs=inputs, updates=tuple(p.values[role] for role in held.values()))


def _largest_summed(graph: Graph, named: Mapping[str, Node]) -> int:
    """The most biases of a layer whose gradient is a sum over positions, which stands in memory."""
    sizes = [0]
    for p in graph.parameters:
        gradient = named[f"{p.name}.gradient"]
        if isinstance(gradient.op, BiasGradient) and graph.type(gradient.inputs["g"]).size > graph.type(p.values["value"]).size:
            sizes.append(graph.type(p.values["value"]).size)
    return max(sizes)


def _one_position(gradient: Node) -> bool:
    op = gradient.op
    assert isinstance(op, WeightGradient)
    return op.window.pointwise and op.y_image[:2] == (1, 1)
