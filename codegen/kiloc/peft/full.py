"""Full: train all weights of layers, as a delta beside the frozen ones, and their biases.

The base weights stay in flash; the state holds 7 bytes a weight (int8 code, 16-bit master value, float32 accumulator). Bit-exact with the base
model at the start.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.graph import Graph
from ..ops.model._linear import Linear
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ._delta import attach_delta
from ._method import Calibration, Layers, Method, select


@dataclass(frozen=True)
class Full(Method):
    """Train weights and biases of convolutions, depthwise convolutions and fully connected layers."""

    layers: Layers = "all"

    def attach(self, graph: Graph, calibration: Calibration) -> Graph:
        for node in select(graph, self.layers, (Linear, DepthwiseConv2D), "Full"):
            graph = attach_delta(graph, graph.node(node.name), "full", "Full")
        return graph

    def describe(self) -> str:
        return f"full {self.layers}"
