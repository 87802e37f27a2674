"""Interval arithmetic: the least and the greatest value that each channel of an activation can hold, whatever the input.

Sums are bounded from the weights, the bias and the bounds of the input, for each part of a window that lies inside the image, and both ends are
requantised as the layer does it. Operators that grow with every operand are evaluated at both ends. What trained values change, or an
operator that is not known here makes, can hold anything.

A trained layer, too, has channels that are constant for every int8 input, and training leaves them so (`decays`): where the layer's clamp holds
every result, the gradient is masked, so that nothing of the channel has one, neither its bias and its gain nor its row of LoRA's B. An update
moves what has no gradient by weight decay alone, which draws a bias towards 0, and into +-2^30. So a channel counts as constant if it stays at
the same end of the clamp for every bias on that way. This holds for all of them together, by induction over the updates.
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
from ..ops._activation import clamp_range
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
from ..ops.paging.bounded_channels import BoundedChannels
from ..ops.update.storage_step import BIAS_LIMIT

MONOTONE = (Add, AveragePool2D, Maximum, MaxPool2D, Mean, Minimum, Pad, Requantize, Reshape, Transpose)
"""No result becomes less where an operand becomes greater."""

NARROWABLE = {"x", "weights", "bias", "lora_u", "lora_b", "lora_b_exponent", "lora_range", "gain", "gain_exponent"}
"""Operands of a trained layer of which channels can be told apart: those of a delta are others."""

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


def channel_bounds(graph: Graph, decays: bool | None = None) -> dict[str, Bounds]:
    """Of every input of the model and every result of the forward phase that is an activation.

    decays: None: what is trained can hold anything. Else channels of trained layers are bounded, too, as long as training starts from the
    graph's values or others that `limits` lets through; it says whether weight decay moves biases.
    """
    found = {name: anything(graph.type(name)) for name in graph.model_inputs}
    unmasked = set[str]() if decays is None else read_by_a_loss(graph)
    for node in graph.phase("forward"):
        if isinstance(node.op, BoundedChannels):  # of what is trained
            continue
        results = [name for name in node.outputs if graph.type(name).dtype in RANGES]
        known = all(v in found or graph.values[v].kind == "constant" for v in node.inputs.values())
        for name in results:
            if known:
                found[name] = _result(graph, node, found)
            elif decays is not None and is_narrowable(graph, node) and node.inputs["x"] in found:
                found[name] = _lasting(graph, node, found[node.inputs["x"]], decays, name in unmasked)
            else:
                found[name] = anything(graph.type(name))
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


def is_narrowable(graph: Graph, node: Node) -> bool:
    """Whether a layer is trained in a way of which channels can be told apart: by a bias, a gain or LoRA, at more than one position."""
    if not isinstance(node.op, Linear | DepthwiseConv2D) or not set(node.inputs) <= NARROWABLE:
        return False
    weights = graph.type(node.inputs["weights"])
    channels = weights.shape[3 if isinstance(node.op, DepthwiseConv2D) else 0]
    several = 1 < channels == graph.type(node.outputs[0]).shape[-1] < graph.type(node.outputs[0]).size
    return several and any(graph.values[v].is_state for v in node.inputs.values())


def clamp_of(graph: Graph, node: Node) -> tuple[int, int]:
    """The ends at which a layer's gradient is masked."""
    assert isinstance(node.op, Linear | DepthwiseConv2D)
    return clamp_range(node.op.activation, graph.type(node.outputs[0]))


def read_by_a_loss(graph: Graph) -> set[str]:
    """Results of layers whose gradient may not be masked: those that a loss reads, also through operators that are no layers."""
    producers, pending, found = graph.producers(), list(graph.outputs), set[str]()
    while pending:
        name = pending.pop()
        if name in found or name not in producers:
            continue
        found.add(name)
        if not isinstance(producers[name].op, Linear | DepthwiseConv2D):
            pending += producers[name].inputs.values()
    return found


def _lasting(graph: Graph, node: Node, x: Bounds, decays: bool, unmasked: bool) -> Bounds:
    """Of a trained layer: its clamp, and of channels that stay at an end of it that end."""
    low, high = clamp_of(graph, node)
    channels = graph.type(node.outputs[0]).shape[-1]
    free = Bounds(np.full(channels, low, np.int64), np.full(channels, high, np.int64))
    addends = [graph.values[node.inputs[o]] for o in ("lora_b", "gain") if o in node.inputs]
    if unmasked or any(v.data is None or np.any(v.data) for v in addends):
        return free
    data = graph.values[node.inputs["bias"]].data
    assert data is not None
    start = data.astype(np.int64)
    way = [start, *([np.clip(start, -BIAS_LIMIT, BIAS_LIMIT)] if graph.values[node.inputs["bias"]].is_state else [])]
    way += [np.zeros_like(start)] if decays and len(way) > 1 else []
    found = _sums(graph, node, x, (np.minimum.reduce(way), np.maximum.reduce(way)))
    still = found.constant & ((found.low == low) | (found.low == high))
    return Bounds(np.where(still, found.low, low), np.where(still, found.high, high))


def bias_limits(graph: Graph, node: Node, x: Bounds, still: Bounds) -> Ints:
    """Of each channel that stays at an end of its layer's clamp, the last bias that keeps it there: the greatest of those at the lower end,
    the least at the upper one; 0 of any other."""
    low = clamp_of(graph, node)[0]
    at_low = still.low == low
    near, far = np.where(at_low, -BIAS_LIMIT, BIAS_LIMIT).astype(np.int64), np.where(at_low, BIAS_LIMIT, -BIAS_LIMIT).astype(np.int64)
    sums = _products(graph, node, x)
    while (np.abs(far - near) > 1).any():
        middle = (near + far) // 2
        found = _requantized(graph, node, (sums[0] + middle, sums[1] + middle))
        holds = (found.low == still.low) & (found.high == still.high)
        near, far = np.where(holds, middle, near), np.where(holds, far, middle)
    return np.where(still.constant, near, 0)


def _sums(graph: Graph, node: Node, x: Bounds, biases: tuple[Ints, Ints] | None = None) -> Bounds:
    """Of a layer with constant weights and bias; biases: the least and the greatest, where it is trained."""
    bias = graph.values[node.inputs["bias"]].data
    assert bias is not None
    lower, upper = biases or (bias.astype(np.int64), bias.astype(np.int64))
    least, most = _products(graph, node, x)
    return _requantized(graph, node, (least + lower, most + upper))


def _products(graph: Graph, node: Node, x: Bounds) -> tuple[Ints, Ints]:
    """The least and the greatest sum of a layer with constant weights, without its bias: [channels] both."""
    t, op = node_types(graph, node), node.op
    assert isinstance(op, Linear | DepthwiseConv2D)
    z = t.type("x").zero_point
    if isinstance(op, DepthwiseConv2D):
        weights = constant_weights(graph, node)[0].reshape(-1, t.type("weights").shape[3])
        low, high = (np.repeat(end - z, op.multiplier_of_depth(t)) for end in (x.low, x.high))
        least, most = np.minimum(weights * low, weights * high), np.maximum(weights * low, weights * high)
    else:
        taps = tap_weights(graph, node)
        low, high = x.low - z, x.high - z
        if taps.shape[2] != len(low):  # a row of the product is no whole number of channels
            low, high = low.min(), high.max()
        least, most = (end(taps * low, taps * high).sum(2).T for end in (np.minimum, np.maximum))
    inside = parts_inside(graph, node)
    return (inside @ least).min(0), (inside @ most).max(0)


def _requantized(graph: Graph, node: Node, sums: tuple[Ints, Ints]) -> Bounds:
    """What a layer makes of the least and the greatest sum of each channel."""
    t, op, channels = node_types(graph, node), node.op, len(sums[0])
    assert isinstance(op, Linear | DepthwiseConv2D)
    ends = [np.broadcast_to(op.requantized(t, s), (t.result().size // channels, channels)).reshape(-1, t.result().shape[-1]) for s in sums]
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
