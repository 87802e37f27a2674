"""Bounds on trained biases where a layer has no fast kernel without them.

The fast kernels multiply with sums of 24 bits (`ops/fast/_packing.py`). A trained bias may be any int32. In nearly all channels that makes no
difference: a bias that leaves no room for the sum has the result at its clamp. In a channel with a small multiplier it has not, and one such
channel would leave its whole layer a slow kernel, on every core and for every bias that it ever has. So a trained bias of such a channel

- keeps within what leaves the sum room, where that is at least `LEAST_ROOM` of a result and twice what it starts from;
- or, where the multiplier is too small for that or the bias starts beyond it, is held where it starts, provided that the result is one value, or
  two neighbouring ones, for every input: such a channel says next to nothing about the input, and what its bias does is done by those of the layers
  behind it.

In a layer with a gain, which makes multipliers smaller and biases in front of it larger, the gain of such a channel is held at 1. What is held has no
gradient.

This is a part of what a layer computes, the same on every core and in every build of a model and its methods. Layers with LoRA or a delta that is
not merged, with other clamps, and those in which a channel takes neither, keep any bias, and their kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import Graph, Node, Value
from ..ir.types import TensorType
from ..ir.verify import node_types
from ..ops._merged import MERGED
from ..ops.fast import _packing as packing
from ..ops.fast.packed import requantization
from ..ops.model._linear import Linear
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ..ops.paging.bounded_channels import BoundedChannels, ClearChannels
from ..ops.paging.some_channels import MOST_CHANNELS, TakeChannels

LEAST_ROOM = 64
"""Codes of a result either way that a trained bias which keeps within bounds can add."""

UNMERGED = ("lora_u", "delta")
"""Operands of layers whose sums are not those of their weights and bias alone."""


def with_bounded_biases(graph: Graph, whole: Graph | None = None) -> Graph:
    """The graph whose forward layers read trained biases within bounds where they need them; the graph itself where none does.

    whole: the same with all channels, which the bounds are of, where the graph has fewer.
    """
    values, nodes, held = dict[str, Value](), list[Node](), dict[str, tuple[int, ...]]()
    layers = {} if whole is None else {node.name: node for node in whole.phase("forward")}
    for node in graph.nodes:
        bounds = None
        if node.phase == "forward" and isinstance(node.op, Linear | DepthwiseConv2D):
            bounds = _bounds(graph, node) if whole is None else _bounds(whole, layers[node.name])
        for operand, bound in (bounds or {}).items():
            trained = (node if whole is None else layers[node.name]).inputs[operand]
            held[trained] = tuple(c for c, low, high in zip(bound.chosen, bound.low, bound.high, strict=True) if low == high)
            kept = bound if whole is None else _of_taken(graph, node.inputs[operand], bound)
            if kept.chosen:
                read, bounded = node.inputs[operand], f"{node.name}.{operand}.bounded"
                values[bounded] = Value(bounded, TensorType(graph.type(read).shape, graph.type(read).dtype), "activation")
                nodes.append(Node(bounded, kept, {"x": read}, (bounded,), origin=node.origin))
                node = replace(node, inputs={**node.inputs, operand: bounded})
        nodes.append(node)
    return graph.with_values(values.values()).with_nodes(_without_gradients(graph, nodes, held)) if held else graph


def _without_gradients(graph: Graph, nodes: list[Node], held: Mapping[str, tuple[int, ...]]) -> list[Node]:
    """The nodes, and behind the last that adds to a gradient, one that clears it for the channels that are held. An update that needs no gradient
    in memory moves what is held; no layer reads it."""
    gradients = {p.values["accumulator"]: (p.name, held.get(p.values["value"], ())) for p in graph.parameters if "accumulator" in p.values}
    last = {v: i for i, node in enumerate(nodes) if node.phase == "backward" for v in node.updates if v in gradients and gradients[v][1]}
    found = list[Node]()
    for i, node in enumerate(nodes):
        found.append(node)
        for v in node.updates:
            if last.get(v) == i:
                name, channels = gradients[v]
                found.append(Node(f"{name}.held", ClearChannels(channels), {"accumulator": v}, (), (v,), "backward"))
    return found


def without_bounded_biases(graph: Graph) -> Graph:
    """The graph whose layers read what is trained as it is."""
    read = {node.outputs[0]: node.inputs["x"] for node in graph.nodes if isinstance(node.op, BoundedChannels)}
    others = (node for node in graph.nodes if not isinstance(node.op, BoundedChannels | ClearChannels))
    kept = [replace(node, inputs={o: read.get(v, v) for o, v in node.inputs.items()}) for node in others]
    return replace(graph, values={k: v for k, v in graph.values.items() if k not in read}).with_nodes(kept) if read else graph


def bounded_state(graph: Graph, state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Values of trained tensors as layers read them."""
    makers = [node for node in graph.nodes if isinstance(node.op, BoundedChannels) and node.inputs["x"] in state]
    return {**state, **{n.inputs["x"]: n.op.bounded(state[n.inputs["x"]]) for n in makers if isinstance(n.op, BoundedChannels)}}


def bounds_of(graph: Graph, value: str) -> BoundedChannels | None:
    """What bounds a bias or a gain that a layer reads."""
    maker = _maker(graph, value)
    return maker.op if maker is not None and isinstance(maker.op, BoundedChannels) else None


def _maker(graph: Graph, value: str) -> Node | None:
    """The node that makes a value of what is trained."""
    return next((n for n in graph.nodes if value in n.outputs), None) if graph.values[value].kind == "activation" else None


def _of_taken(graph: Graph, value: str, bounds: BoundedChannels) -> BoundedChannels:
    """Bounds of the channels that a graph takes of a trained tensor."""
    maker = _maker(graph, value)
    if maker is None or not isinstance(maker.op, TakeChannels):
        return bounds
    place = {channel: i for i, channel in enumerate(maker.op.chosen)}
    kept = [(place[c], low, high) for c, low, high in zip(bounds.chosen, bounds.low, bounds.high, strict=True) if c in place]
    chosen, low, high = zip(*kept, strict=True) if kept else ((), (), ())
    return BoundedChannels(chosen, low, high)


def _bounds(graph: Graph, node: Node) -> dict[str, BoundedChannels]:
    """What bounds a layer's bias and its gain; nothing where nothing has to be, or can be, bounded."""
    t, op, constant, bias = node_types(graph, node), node.op, graph.values[node.inputs["weights"]].data, graph.values[node.inputs["bias"]]
    assert isinstance(op, Linear | DepthwiseConv2D)
    if any(o in node.inputs for o in UNMERGED) or getattr(op, "rounding", "twice") != "twice" or constant is None:
        return {}
    if not bias.is_state or bias.data is None or bias.type.size > MOST_CHANNELS:
        return {}
    weights = constant.astype(np.int64)
    weights = weights.reshape(-1, weights.shape[3]).T if isinstance(op, DepthwiseConv2D) else weights.reshape(len(weights), -1)
    q = requantization(op, t)
    sums = packing.bounds_of(t, weights, t.type("x").zero_point)
    if q.clamp != (-128, 127) or packing.worst_sum(*sums) >= packing.LARGEST_SUM:
        return {}
    found = list(_of_channels(q, sums, bias.data.astype(np.int64), t.has("gain"), t.has(MERGED)))
    chosen = [(c, bounds) for c, bounds in found if bounds is not None]
    if not found or len(chosen) < len(found):
        return {}
    channels, low, high = zip(*((c, low, high) for c, (low, high) in chosen), strict=True)
    one = (0,) * len(channels)  # the code of a gain of 1
    return {"bias": BoundedChannels(channels, low, high)} | ({"gain": BoundedChannels(channels, one, one)} if t.has("gain") else {})


def _of_channels(
    q: packing.Requantization, sums: tuple[packing.Ints, packing.Ints], start: packing.Ints, gain: bool, merged: bool
) -> Iterator[tuple[int, tuple[int, int] | None]]:
    """Channels that need bounds, and these; None of one that none help. merged: weights are trained, and nothing else can be added to sums."""
    low, high = sums
    limit = packing.LARGEST_SUM - packing.worst_sum(low, high)
    free = packing.unbounded(q, low, high, gain) | (gain & ~packing.takes_gain(q))
    for c in map(int, np.flatnonzero(free)):
        bias, step = int(start[c]), float(q.multiplier[c]) * 2.0 ** (int(q.shift[c]) - 31)
        if -int(q.shift[c]) in packing.short_shifts(q) and abs(bias) <= limit // 2 and limit * step >= LEAST_ROOM:
            yield c, (-limit, limit)
        else:
            still = _is_still(q.of(c), low[[c]] + bias, high[[c]] + bias, merged) and not (merged and abs(bias) > limit)
            yield c, (bias, bias) if still else None


def _is_still(q: packing.Requantization, low: packing.Ints, high: packing.Ints, merged: bool) -> bool:
    """Whether a channel whose sums are in [low, high] has one result or two, and a short form for them."""
    first, last = (int(q.result(sums)[0]) for sums in (low, high))
    if last - first > 1:
        return False
    try:
        short = packing.epilogues(q, low, high)
    except packing.NotProved:
        return False
    return not (merged and short.added.any())
