"""Interval arithmetic: the least and the greatest value that each channel of an activation can hold, whatever the input.

Sums are bounded from the weights, the bias and the bounds of the input, for each part of a window that lies inside the image, and both ends are
requantised as the layer does it. Operators that grow with every operand are evaluated at both ends. What trained values change, or an
operator that is not known here makes, can hold anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import Graph, Node
from ..ir.operator import Environment
from ..ir.types import RANGES, TensorType
from ..ir.verify import node_types
from ..ops._window import Window
from ..ops._window_reach import inside
from ..ops.model._linear import Linear
from ..ops.model.add import Add
from ..ops.model.average_pool_2d import AveragePool2D
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ..ops.model.max_pool_2d import MaxPool2D
from ..ops.model.maximum import Maximum
from ..ops.model.mean import Mean
from ..ops.model.minimum import Minimum
from ..ops.model.pad import Pad
from ..ops.model.requantize import Requantize
from ..ops.model.reshape import Reshape
from ..ops.model.transpose import Transpose

MONOTONE = (Add, AveragePool2D, Maximum, MaxPool2D, Mean, Minimum, Pad, Requantize, Reshape, Transpose)
"""No result becomes less where an operand becomes greater."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Bounds:
    """Least and greatest value of each index of the last axis: [channels] both."""

    low: Ints
    high: Ints

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Channels that hold one value, in every position and for every input."""
        return np.asarray(self.low == self.high)


def channel_bounds(graph: Graph) -> dict[str, Bounds]:
    """Of every input of the model and every result of the forward phase that is an activation."""
    found = {name: anything(graph.type(name)) for name in graph.model_inputs}
    for node in graph.phase("forward"):
        results = [name for name in node.outputs if graph.type(name).dtype in RANGES]
        known = all(v in found or graph.values[v].kind == "constant" for v in node.inputs.values())
        for name in results:
            found[name] = _result(graph, node, found) if known else anything(graph.type(name))
    return found


def anything(t: TensorType) -> Bounds:
    low, high = RANGES[t.dtype]
    return Bounds(np.full(t.shape[-1], low, np.int64), np.full(t.shape[-1], high, np.int64))


def _result(graph: Graph, node: Node, found: Mapping[str, Bounds]) -> Bounds:
    if isinstance(node.op, Linear | DepthwiseConv2D):
        return _sums(graph, node, found[node.inputs["x"]])
    if isinstance(node.op, MONOTONE):
        return _ends(graph, node, found)
    return anything(graph.type(node.outputs[0]))


def _ends(graph: Graph, node: Node, found: Mapping[str, Bounds]) -> Bounds:
    """Of an operator that grows with its operands: what it makes of the least and of the greatest."""
    t = node_types(graph, node)

    def at(end: str) -> Ints:
        arrays = dict[str, NDArray[Any]]()
        for operand, v in node.inputs.items():
            data = graph.values[v].data
            arrays[operand] = np.broadcast_to(getattr(found[v], end), t.type(operand).shape).astype(t.type(operand).dtype) if data is None else data
        result = node.op.evaluate(Environment(t.operands, t.results, arrays))[0]
        return result.astype(np.int64).reshape(-1, t.result().shape[-1])

    return Bounds(at("low").min(0), at("high").max(0))


def _sums(graph: Graph, node: Node, x: Bounds) -> Bounds:
    """Of a layer with constant weights and bias."""
    t, op = node_types(graph, node), node.op
    assert isinstance(op, Linear | DepthwiseConv2D)
    z, bias = t.type("x").zero_point, graph.values[node.inputs["bias"]].data
    assert bias is not None
    if isinstance(op, DepthwiseConv2D):
        weights = constant_weights(graph, node)[0].reshape(-1, len(bias))
        low, high = (np.repeat(end - z, op.multiplier_of_depth(t)) for end in (x.low, x.high))
        least, most = np.minimum(weights * low, weights * high), np.maximum(weights * low, weights * high)
    else:
        taps = tap_weights(graph, node)
        low, high = x.low - z, x.high - z
        if taps.shape[2] != len(low):  # a row of the product is no whole number of channels
            low, high = low.min(), high.max()
        least, most = (end(taps * low, taps * high).sum(2).T for end in (np.minimum, np.maximum))
    inside = parts_inside(graph, node)
    sums = (inside @ least).min(0) + bias, (inside @ most).max(0) + bias
    ends = [np.broadcast_to(op.requantized(t, s), (t.result().size // len(bias), len(bias))).reshape(-1, t.result().shape[-1]) for s in sums]
    return Bounds(ends[0].min(0), ends[1].max(0))


def constant_weights(graph: Graph, node: Node) -> Ints:
    data = graph.values[node.inputs["weights"]].data
    assert data is not None
    return data.astype(np.int64)


def tap_weights(graph: Graph, node: Node) -> Ints:
    """Of a convolution or a fully connected layer: [results, taps, channels of x]. One tap where a row of the product is no whole number of them."""
    weights, channels = constant_weights(graph, node), graph.type(node.inputs["x"]).shape[-1]
    per_tap = channels if weights[0].size % channels == 0 else weights[0].size
    return weights.reshape(len(weights), -1, per_tap)


def parts_inside(graph: Graph, node: Node) -> Ints:
    """The different parts of a window that lie inside the image: rows of 0 and 1 for each tap."""
    window = getattr(node.op, "window", None)
    if not isinstance(window, Window):
        return np.ones((1, tap_weights(graph, node).shape[1]), np.int64)
    rows, columns = (_lines_inside(window, size, axis) for axis, size in enumerate(graph.type(node.inputs["x"]).shape[1:3]))
    return (rows[:, None, :, None] * columns[None, :, None, :]).reshape(len(rows) * len(columns), -1)


def _lines_inside(window: Window, size: int, axis: int) -> Ints:
    """The same along one axis."""
    ends = {(taps.start, taps.stop) for taps in (inside(window, axis, size, o) for o in range(window.output(size, size)[axis]))}
    tap = np.arange(window.kernel[axis])
    return np.unique([(tap >= first) & (tap < end) for first, end in ends], axis=0).astype(np.int64)
