"""BiasOnly: train the biases. Needs no activation in the backward pass, only one bit an element where results clamp.

Source: Cai et al., "TinyTL: Reduce Memory, Not Parameters for Efficient On-Device Learning" (2020).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.graph import Graph
from ..ops.model._linear import Linear
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ._method import Calibration, Layers, Method, select, with_trainable_bias


@dataclass(frozen=True)
class BiasOnly(Method):
    """Train the int32 biases of convolutions, depthwise convolutions and fully connected layers."""

    layers: Layers = "all"

    def attach(self, graph: Graph, calibration: Calibration) -> Graph:
        for node in select(graph, self.layers, (Linear, DepthwiseConv2D), "BiasOnly"):
            graph = with_trainable_bias(graph, node, "bias")
        return graph

    def describe(self) -> str:
        return f"bias {self.layers}"
