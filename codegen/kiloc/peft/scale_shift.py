"""ScaleShift: a trained gain and bias for each output channel, on the int32 accumulator. Formulas: `ops/_gain.py`.

The gain is 1 + s with int8 codes of s and one power of two; s = 0 is the identity, bit for bit. Two values a channel: the cheapest way to
train a depthwise layer, whose weights are few and see one channel each. The gradient of s needs the layer's int8 result.
Source: Lian et al., "Scaling & Shifting Your Features: A New Baseline for Efficient Model Tuning" (2022).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..ir.graph import Graph, Node, Parameter
from ..ops.model._linear import Linear
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ._combine import require_free
from ._method import Calibration, Layers, Method, block16, replace_node, select, with_trainable_bias


@dataclass(frozen=True)
class ScaleShift(Method):
    """Train gain and bias of convolutions, depthwise convolutions and fully connected layers."""

    layers: Layers = "all"

    def attach(self, graph: Graph, calibration: Calibration) -> Graph:
        for node in select(graph, self.layers, (Linear, DepthwiseConv2D), "ScaleShift"):
            graph = _attach_layer(graph, graph.node(node.name))
        return graph

    def describe(self) -> str:
        return f"scale-shift {self.layers}"


def _attach_layer(graph: Graph, node: Node) -> Graph:
    require_free(graph, node, "gain", "ScaleShift")
    graph = with_trainable_bias(graph, node, "scale-shift")
    name, channels = f"{node.name}.gain", graph.type(node.inputs["bias"]).size
    roles, values = block16(name, np.zeros(channels, np.int8), -24)
    changed = replace(node, inputs={**node.inputs, "gain": name, "gain_exponent": roles["exponent"]})
    graph = replace_node(graph.with_values(values), changed)
    return replace(graph, parameters=(*graph.parameters, Parameter(name, node.name, "scale-shift", "block16", roles)))
