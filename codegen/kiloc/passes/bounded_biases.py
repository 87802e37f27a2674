"""Bounds on trained biases, and on rows of LoRA's B, where a layer has no fast kernel without them.

The fast kernels multiply with sums of 24 bits (`ops/fast/_packing.py`). A trained bias may be any int32. In nearly all channels that makes no
difference: a bias that leaves no room for the sum has the result at its clamp. In a channel with a small multiplier it has not, and one such
channel would leave its whole layer a slow kernel, on every core and for every bias that it ever has. So a trained bias of such a channel

- keeps within what leaves the sum room, where that is at least `LEAST_ROOM` of a result and twice what it starts from;
- or, where the multiplier is too small for that or the bias starts beyond it, is held where it starts, provided that the result is one value, or
  two neighbouring ones, for every input: such a channel says next to nothing about the input, and what its bias does is done by those of the layers
  behind it.

In a layer with a gain, which makes multipliers smaller and biases in front of it larger, the gain of such a channel is held at 1. What LoRA adds
has the same effect as a bias: a channel for which it has no bound, and whose results are within `QUIET` codes for every input, keeps the row of B
at 0 that it starts with. What is held has no gradient.

This is a part of what a layer computes, the same on every core and in every build of a model and its methods. Layers with LoRA beside a gain or
with a delta that is not merged, with other clamps, and those in which a channel takes none of this, keep any values, and their kernel.
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
from ..ops.model.lora import LoRAInnerGradient
from ..ops.paging.bounded_channels import BoundedChannels, ClearChannels
from ..ops.paging.some_channels import MOST_CHANNELS, TakeChannels

LEAST_ROOM = 64
"""Codes of a result either way that a trained bias which keeps within bounds can add."""

QUIET = 32
"""Codes from the least to the greatest result of a channel that can do without LoRA."""


def with_bounded_biases(graph: Graph, whole: Graph | None = None) -> Graph:
    """The graph whose forward layers read trained biases within bounds where they need them; the graph itself where none does.

    whole: the same with all channels, which the bounds are of, where the graph has fewer.
    """
    values, nodes, held, rows = dict[str, Value](), list[Node](), dict[str, tuple[int, ...]](), dict[str, BoundedChannels]()
    layers = {} if whole is None else {node.name: node for node in whole.phase("forward")}
    taken = {node.outputs[0]: node.inputs["x"] for node in graph.nodes if isinstance(node.op, TakeChannels)}

    def within(node: Node, operand: str, bound: BoundedChannels) -> Node:
        """The node that reads an operand within its bounds."""
        read = node.inputs[operand]
        kept = bound if whole is None else _of_taken(graph, read, bound)
        if not kept.chosen:
            return node
        bounded = f"{node.name}.{operand}.bounded"
        type_, kind = TensorType(graph.type(read).shape, graph.type(read).dtype), "activation" if node.phase == "forward" else "gradient"
        values[bounded] = Value(bounded, type_, kind)
        nodes.append(Node(bounded, kept, {"x": read}, (bounded,), phase=node.phase, origin=node.origin))
        return replace(node, inputs={**node.inputs, operand: bounded})

    for node in graph.nodes:
        bounds = None
        if node.phase == "forward" and isinstance(node.op, Linear | DepthwiseConv2D):
            bounds = _bounds(graph, node) if whole is None else _bounds(whole, layers[node.name])
        elif isinstance(node.op, LoRAInnerGradient):
            read = node.inputs["lora_b"]
            bounds = {"lora_b": rows[taken.get(read, read)]} if taken.get(read, read) in rows else None
        for operand, bound in (bounds or {}).items():
            if node.phase == "forward":
                trained = (node if whole is None else layers[node.name]).inputs[operand]
                held[trained] = tuple(c for c, low, high in zip(bound.chosen, bound.low, bound.high, strict=True) if low == high)
                rows |= {trained: bound} if operand == "lora_b" else {}
            node = within(node, operand, bound)
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
    """What bounds a bias, a gain or a B that a layer reads."""
    maker = _maker(graph, value)
    return maker.op if maker is not None and isinstance(maker.op, BoundedChannels) else None


def _maker(graph: Graph, value: str) -> Node | None:
    """The node that makes a value of what is trained."""
    return next((n for n in graph.nodes if value in n.outputs), None) if graph.values[value].kind in ("activation", "gradient") else None


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
    """What bounds a layer's bias, its gain and its LoRA's B; nothing where nothing has to be, or can be, bounded."""
    t, op, constant, bias = node_types(graph, node), node.op, graph.values[node.inputs["weights"]].data, graph.values[node.inputs["bias"]]
    assert isinstance(op, Linear | DepthwiseConv2D)
    lora = t.has("lora_u")
    if t.has("delta") or (lora and t.has("gain")) or getattr(op, "rounding", "twice") != "twice" or constant is None:
        return {}
    if not (bias.is_state or lora) or bias.data is None or bias.type.size > MOST_CHANNELS:
        return {}
    weights = constant.astype(np.int64)
    weights = weights.reshape(-1, weights.shape[3]).T if isinstance(op, DepthwiseConv2D) else weights.reshape(len(weights), -1)
    q = requantization(op, t)
    sums, start = packing.bounds_of(t, weights, t.type("x").zero_point), bias.data.astype(np.int64)
    if q.clamp != (-128, 127) or packing.worst_sum(*sums) >= packing.LARGEST_SUM:
        return {}
    if lora:
        return _with_lora(q, sums, start, bias.is_state, t.type("lora_b").shape[1])
    limit = packing.LARGEST_SUM - packing.worst_sum(*sums)
    free = packing.unbounded(q, *sums, t.has("gain")) | (t.has("gain") & ~packing.takes_gain(q))
    found = _bounded_bias(q, sums, start, limit, free, t.has(MERGED))
    return {"bias": found} | ({"gain": _still_at(0, found)} if t.has("gain") else {}) if found else {}  # the code of a gain of 1 is 0


def _still_at(code: int, like: BoundedChannels) -> BoundedChannels:
    """The same channels, held at a code."""
    return BoundedChannels(like.chosen, (code,) * len(like.chosen), (code,) * len(like.chosen))


Sums = tuple[packing.Ints, packing.Ints]
"""The least and the greatest of each channel."""


def _with_lora(q: packing.Requantization, sums: Sums, start: packing.Ints, trained: bool, rank: int) -> dict[str, BoundedChannels]:
    """Of a layer with LoRA: rows of B that stay 0, and what then bounds a trained bias in these channels. Without the largest frozen biases there is
    more room for the others."""
    (low, high), held = sums, np.zeros(len(start), bool)
    while True:
        room = packing.lora_room(q, low, high, None if trained else start, rank, held)
        if room is None and (trained or held.all()):
            return {}
        free = room.free if room else np.arange(len(start)) == int(np.where(held, -1, np.abs(start)).argmax())
        if not free.any():
            break
        held |= free
    assert room is not None
    spread = q.result(high + start) - q.result(low + start)
    if not held.any() or (spread[held] > QUIET).any():
        return {}
    rows = _still_at(0, BoundedChannels(tuple(map(int, np.flatnonzero(held)))))
    bias = _bounded_bias(q, sums, start, room.bias, held, False) if trained else None
    if not trained and not all(_is_short(q.of(c), low[[c]] + start[c], high[[c]] + start[c]) for c in rows.chosen):
        return {}
    return {} if trained and bias is None else {"lora_b": rows} | ({"bias": bias} if bias else {})


def _bounded_bias(
    q: packing.Requantization, sums: Sums, start: packing.Ints, limit: int, free: NDArray[np.bool_], merged: bool
) -> BoundedChannels | None:
    """Bounds of the biases of the free channels; None where there are none, or a channel takes none. limit: of a bias beside its sums. merged:
    weights are trained, and nothing else can be added to sums."""
    found = list(_of_channels(q, sums, start, limit, free, merged))
    chosen = [(c, bounds) for c, bounds in found if bounds is not None]
    if not found or len(chosen) < len(found):
        return None
    channels, low, high = zip(*((c, low, high) for c, (low, high) in chosen), strict=True)
    return BoundedChannels(channels, low, high)


def _of_channels(
    q: packing.Requantization, sums: Sums, start: packing.Ints, limit: int, free: NDArray[np.bool_], merged: bool
) -> Iterator[tuple[int, tuple[int, int] | None]]:
    """The free channels, and bounds of their biases; None of one that none help."""
    low, high = sums
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
    return last - first <= 1 and _is_short(q, low, high, merged)


def _is_short(q: packing.Requantization, low: packing.Ints, high: packing.Ints, merged: bool = False) -> bool:
    """Whether a channel whose sums are in [low, high] has a short form. merged: one to which nothing is added."""
    try:
        short = packing.epilogues(q, low, high)
    except packing.NotProved:
        return False
    return not (merged and short.added.any())
