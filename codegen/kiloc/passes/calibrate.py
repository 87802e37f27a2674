"""Chooses the constant shift of every activation gradient.

Relative to the exponent of the loss, the size of an activation gradient moves little from sample to sample and over training, so its
shift is a constant: the one whose int8 codes have the smallest squared error, relative to each sample's gradient and averaged over
calibration samples. That weighs elements which saturate against all that are rounded: a gradient behind a global pool has one element a
channel, and saturating one turns the gradient of every position below; a wide one rather loses a large element than a bit of all. The
shifts are chosen along the chain, each on top of the ones before it. Gradients here are float64 with straight-through clamps on
the exact integer forward pass. Figures behind the rule: docs/internals/numbers.md.

A new head finds the exponent of the gradient that it hands on by itself, for each sample: what comes after is relative to that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import Graph, Node, Value
from ..ir.interp import environment
from ..ir.operator import Environment
from ..ir.verify import node_types
from ..ops.backward._gradient import RequantizedGradient, fitting_shift
from ..ops.backward.new_head_gradient import NewHeadInputGradient
from ..ops.backward.parameter_gradient import ParameterGradient

NARROWER = 12
"""Shifts that are tried below the smallest one at which nothing saturates."""

CACHED = 1 << 15
"""Sums that are compared at a time."""

Arrays = dict[str, NDArray[Any]]


def calibrate(graph: Graph, forward: Arrays, target: NDArray[Any]) -> Graph:
    """The graph with shifts and gradient scales set.

    forward: results of the forward phase on the samples, with the inputs. target: labels or values for the loss.
    """
    arrays = {**forward, graph.inputs[-1]: target}
    values: dict[str, Value] = dict(graph.values)
    nodes: list[Node] = []
    exponent = np.zeros(0)
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
        if isinstance(op, RequantizedGradient):
            op = replace(op, shift=best_shift(_sums(op, e, arrays[node.outputs[0]], exponent)))
        if isinstance(op, NewHeadInputGradient):
            exponent = exponent + fitting_shift(_sums(op.layer, e, arrays[node.outputs[0]], exponent).astype(np.int64))
        node = replace(node, op=op)
        types = op.infer(node_types(current, node))
        for name, type_ in zip(node.outputs, types or (), strict=True):
            values[name] = replace(values[name], type=type_)
        nodes.append(node)
    return replace(graph, values=values, nodes=tuple(nodes))


def _sums(op: RequantizedGradient, e: Environment, real: NDArray[Any], exponent: NDArray[np.float64]) -> NDArray[np.float64]:
    """What an operator's sums would be, [N, elements], of real gradients."""
    return np.asarray(real.reshape(len(exponent), -1) / (op.unit(e) * 2.0 ** exponent[:, None]), np.float64)


def best_shift(sums: NDArray[np.float64]) -> int:
    """Shift from sums [N, elements] to int8 with the smallest mean relative squared error; 0 where all are 0."""
    energy = _errors(sums, 0, saturated=True, limit=0)
    counts = energy > 0  # neither 0 nor NaN, what a gradient that vanished has
    if not counts.all():
        sums, energy = sums[counts], energy[counts]
    if energy.size == 0:
        return 0
    widest = max(int(np.floor(np.log2(max(sums.max(), -sums.min())))) + 1 - 7, 0)
    best, least = widest, np.inf
    for shift in range(widest, max(widest - NARROWER, 0) - 1, -1):
        error = float((_errors(sums, shift) / energy).mean())
        if error <= least:
            best, least = shift, error
        elif float((_errors(sums, shift, saturated=True) / energy).mean()) > least:
            break  # what saturates alone costs more than that, and smaller shifts saturate more
    return best


def _errors(sums: NDArray[np.float64], shift: int, saturated: bool = False, limit: int = 127) -> NDArray[np.float64]:
    """Squared error of codes up to a limit of each sample's sums, or the part of it of those that saturate: [N]."""
    errors = np.empty(len(sums))
    step = max(CACHED // sums.shape[1], 1)
    for first in range(0, len(sums), step):  # samples whose sums stay in a processor's cache
        part = sums[first : first + step]
        codes = np.empty_like(part)
        if saturated:
            np.subtract(np.abs(part, out=codes), limit * 2.0**shift, out=codes)
            np.maximum(codes, 0, out=codes)
        else:
            np.multiply(part, 2.0**-shift, out=codes)
            np.floor(np.add(codes, 0.5, out=codes), out=codes)
            np.minimum(np.maximum(codes, -limit, out=codes), limit, out=codes)
            np.subtract(np.multiply(codes, 2.0**shift, out=codes), part, out=codes)
        errors[first : first + step] = np.square(codes, out=codes).sum(1)
    return errors


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
