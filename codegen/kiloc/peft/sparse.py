"""SparseUpdate: train the weights of a share of each layer's output channels, and all its biases.

The channels are chosen when the model is compiled: those whose real weights have the largest Euclidean norm, ties to the lower
index. The delta is compact, [n, ...]; a table in flash tells which of its rows a channel uses. Biases cost four bytes of state and
no saved activation, so every channel's bias is trained.
Source: Lin et al., "On-Device Training Under 256KB Memory" (2022), which chooses by measured contribution instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Graph, Node
from ..ops.model._linear import Linear
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ._delta import attach_delta, channel_axis
from ._method import Calibration, Layers, Method, select


@dataclass(frozen=True)
class SparseUpdate(Method):
    """Train `fraction` of the output channels (at least one) of convolutions, depthwise convolutions and fully connected layers."""

    layers: Layers = "all"
    fraction: float = 0.25

    def attach(self, graph: Graph, calibration: Calibration) -> Graph:
        if not 0 < self.fraction <= 1:
            raise CompileError(f"SparseUpdate(fraction={self.fraction})", "is not above 0 and at most 1", "0.25 trains every fourth channel")
        for node in select(graph, self.layers, (Linear, DepthwiseConv2D), "SparseUpdate"):
            graph = attach_delta(graph, graph.node(node.name), "sparse", "SparseUpdate", largest_channels(graph, node, self.fraction))
        return graph

    def describe(self) -> str:
        return f"sparse {self.fraction:g} {self.layers}"


def largest_channels(graph: Graph, node: Node, fraction: float) -> NDArray[np.int64]:
    """Output channels with the largest norm of their real weights, ascending."""
    weights = graph.values[node.inputs["weights"]]
    assert weights.data is not None
    codes = np.moveaxis(np.asarray(weights.data, np.float64), channel_axis(node), 0)
    norms = np.sqrt((codes.reshape(len(codes), -1) ** 2).sum(1)) * np.array(weights.type.channel_scales)
    count = max(1, int(np.ceil(fraction * len(norms) - 1e-9)))
    return np.sort(np.argsort(-norms, kind="stable")[:count])
