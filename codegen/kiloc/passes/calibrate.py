"""Chooses the constant shift of every activation gradient.

Relative to the exponent of the loss, the size of an activation gradient moves little from sample to sample and over training, so its
shift is a constant: the one whose int8 codes have the smallest squared error, relative to each sample's gradient and averaged over
calibration samples. That weighs elements which saturate against all that are rounded: a gradient behind a global pool has one element a
channel, and saturating one turns the gradient of every position below; a wide one rather loses a large element than a bit of all. The
shifts are chosen along the chain, each on top of the ones before it. Gradients here are float64 with straight-through clamps on
the exact integer forward pass. Figures behind the rule: ARCHITECTURE.md, "Numbers".

A new head starts with weights near zero, and the gradient that it hands on grows with them: shifts are chosen for GROWTH times what
calibration sees.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import NEW_HEAD, Graph, Node, Value
from ..ir.interp import environment
from ..ir.verify import node_types
from ..ops._gradient import RequantizedGradient
from ..ops.parameter_gradient import ParameterGradient

NARROWER = 12
"""Shifts that are tried below the smallest one at which nothing saturates."""

GROWTH = 4.0
"""Of the gradient to a new head's input while the head learns. It grows more than that in the end, but a shift for more leaves too few bits at
the start: LoRA before a new head of ResNet-8 has a mean cosine to float64 gradients of 0.99 at first and 0.94 after 1000 steps, when a third
of that gradient saturates; with 1 it is 1.00, then 0.84, and three quarters saturate."""

Arrays = dict[str, NDArray[Any]]


def calibrate(graph: Graph, forward: Arrays, target: NDArray[Any]) -> Graph:
    """The graph with shifts and gradient scales set.

    forward: results of the forward phase on the samples, with the inputs. target: labels or values for the loss.
    """
    arrays = {**forward, graph.inputs[-1]: target}
    values: dict[str, Value] = dict(graph.values)
    nodes: list[Node] = []
    exponent = np.zeros(0)
    growing = {f"{p.layer}.dx" for p in graph.parameters if p.method == NEW_HEAD}
    for node in graph.nodes:
        if node.phase != "backward":
            nodes.append(node)
            continue
        current = replace(graph, values=values)
        if node.name == "loss":
            exponent = node.op.evaluate(environment(current, node, arrays))[1].astype(np.float64)
        e = environment(current, node, arrays)
        op = node.op
        if not isinstance(op, ParameterGradient):
            arrays.update(zip(node.outputs, op.evaluate_real(e), strict=True))
        if node.name in growing:
            arrays[node.outputs[0]] = arrays[node.outputs[0]] * GROWTH
        if isinstance(op, RequantizedGradient):
            sums = arrays[node.outputs[0]].reshape(len(exponent), -1) / (op.unit(e) * 2.0 ** exponent[:, None])
            op = replace(op, shift=best_shift(sums))
        node = replace(node, op=op)
        types = op.infer(node_types(current, node))
        for name, type_ in zip(node.outputs, types or (), strict=True):
            values[name] = replace(values[name], type=type_)
        nodes.append(node)
    return replace(graph, values=values, nodes=tuple(nodes))


def best_shift(sums: NDArray[np.float64]) -> int:
    """Shift from sums [N, elements] to int8 with the smallest mean relative squared error; 0 where all are 0."""
    energy = (sums**2).sum(1)
    sums, energy = sums[energy > 0], energy[energy > 0]
    if energy.size == 0:
        return 0
    widest = max(int(np.floor(np.log2(np.abs(sums).max()))) + 1 - 7, 0)

    def error(shift: int) -> float:
        codes = np.clip(np.floor(sums * 2.0**-shift + 0.5), -127, 127)
        return float((((codes * 2.0**shift - sums) ** 2).sum(1) / energy).mean())

    return min(range(max(widest - NARROWER, 0), widest + 1), key=error)


def real_gradients(graph: Graph, forward: Arrays, target: NDArray[Any]) -> Arrays:
    """Float64 gradients of every parameter, [N, ...] by accumulator name: the reference of the integer engine."""
    arrays = {**forward, graph.inputs[-1]: target}
    found: Arrays = {}
    for node in graph.phase("backward"):
        result = node.op.evaluate_real(environment(graph, node, arrays))
        if isinstance(node.op, ParameterGradient):
            found[node.updates[0]] = result[0]
        else:
            arrays.update(zip(node.outputs, result, strict=True))
    return found
