"""Models with channels that hold one value for every input: planted in a graph, and a small MobileNet full of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from gradients.graphs import Maker

from kiloc.ir.graph import Graph, Node, Value
from kiloc.ops._window import Window
from kiloc.ops.model._linear import Linear
from kiloc.ops.model.average_pool_2d import AveragePool2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.softmax import Softmax

SATURATED = 2**24
"""A bias beside which no product counts."""


def layers_of(graph: Graph) -> Iterator[tuple[Node, Value, Value]]:
    """Its layers with their weights and biases."""
    for node in graph.nodes:
        if isinstance(node.op, Linear | DepthwiseConv2D):
            yield node, graph.values[node.inputs["weights"]], graph.values[node.inputs["bias"]]


def with_dead_channels(graph: Graph, seed: int, share: float) -> Graph:
    """A share of each layer's channels made constant, in one of three ways: no weights, a bias far below or above, weights that nobody reads."""
    rng = np.random.default_rng(seed)
    values: list[Value] = []
    for node, weights, bias in layers_of(graph):
        assert weights.data is not None and bias.data is not None
        w, b = np.array(weights.data), np.array(bias.data)
        by_channel = w[0].transpose(2, 0, 1) if isinstance(node.op, DepthwiseConv2D) else w
        for c in np.flatnonzero(rng.random(len(b)) < share):
            kind = rng.integers(0, 4)
            if kind == 0:
                by_channel[c] = 0
            elif kind < 3:
                b[c] = (-SATURATED, SATURATED)[rng.integers(0, 2)] if kind == 1 else -SATURATED
            elif isinstance(node.op, Linear):
                w[..., rng.integers(0, w.shape[-1])] = 0
        values += [Value(v.name, v.type, v.kind, d, v.origin) for v, d in ((weights, w), (bias, b))]
    return graph.with_values(values)


def with_small_multipliers(graph: Graph, seed: int, share: float) -> Graph:
    """A share of each layer's channels with weights of scales far below the others', and a bias as before."""
    rng = np.random.default_rng(seed)
    values: list[Value] = []
    for node, weights, bias in layers_of(graph):
        assert bias.data is not None and weights.type.quantization is not None
        far = np.where(rng.random(bias.data.size) < share, rng.integers(8, 22, bias.data.size), 0)
        far[int(rng.integers(far.size))] = 0  # the largest scale stays
        scales = tuple(float(np.float32(s)) for s in np.broadcast_to(np.array(weights.type.channel_scales), far.shape) * 2.0**-far)
        axis = 3 if isinstance(node.op, DepthwiseConv2D) else 0
        type_ = replace(weights.type, quantization=replace(weights.type.quantization, scale=scales, axis=axis))
        start = np.clip(bias.data.astype(np.int64) * 2**far, -(2**30), 2**30).astype(np.int32)
        values += [replace(weights, type=type_), replace(bias, data=start)]
    return graph.with_values(values)


def mobilenet(seed: int = 3, activation: str = "relu6") -> Graph:
    """A stem, four depthwise separable blocks, a global pool and a head, with dead channels in all but the head: 16x16x3 in, 3 classes out."""
    m = Maker("mobile", (1, 16, 16, 3), seed)
    same, half = Window((3, 3), (1, 1), (1, 1, 1, 1)), Window((3, 3), (2, 2), (0, 0, 1, 1))
    y = m.conv("input", "stem", 8, half, activation)
    for i, (channels, window) in enumerate(((16, same), (32, half), (32, same), (64, half))):
        y = m.depthwise(y, f"spread_{i}", 1, window, activation)
        y = m.conv(y, f"mix_{i}", channels, Window((1, 1)), activation)
    y = m.op(y, "pool", AveragePool2D(Window((2, 2), (2, 2))), (1, 1, 1, 64))
    y = m.op(y, "flat", Reshape((1, 64)), (1, 64))
    y = m.dense(y, "logits", 3)
    return m.finish(m.op(y, "classes", Softmax(), (1, 3), 1 / 256, -128))


def mobilenet_with_dead_channels(seed: int = 3, share: float = 0.45, activation: str = "relu6") -> Graph:
    whole = mobilenet(seed, activation)
    dead = with_dead_channels(whole, seed, share)
    head = {k: v for k, v in whole.values.items() if k.startswith("logits.")}
    return dead.with_values(head.values())


def extremes(graph: Graph, count: int, seed: int = 0) -> np.ndarray:
    """Random inputs, and with them what lies at the ends: least, greatest, the zero point, and corners of the range."""
    t = graph.type(graph.inputs[0])
    rng = np.random.default_rng(seed)
    shape = (count, *t.shape[1:])
    corners = np.where(rng.random(shape) < 0.5, -128, 127)
    ends = [np.full((1, *t.shape[1:]), v) for v in (-128, 127, t.zero_point)]
    return np.concatenate([rng.integers(-128, 128, shape), corners, *ends]).astype(np.int8)
