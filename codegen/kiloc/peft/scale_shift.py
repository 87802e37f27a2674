"""ScaleShift: a trained gain and bias for each output channel, on the int32 accumulator. Formulas: `ops/_gain.py`.

The gain is 1 + s with int8 codes of s and one power of two; s = 0 is the identity, bit for bit. Two values a channel: the cheapest way to
train a depthwise layer, whose weights are few and see one channel each. The gradient of s needs the layer's int8 result.
Source: Lian et al., "Scaling & Shifting Your Features: A New Baseline for Efficient Model Tuning" (2022).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..ir.graph import Graph, Node, Parameter
from ._combine import require_free
from ._method import block16, replace_node, select, with_trainable_bias
from ._registry import BIAS_ROLE, Calibration, Layers, Method, Part, Rates, Role, register

GAIN = Part("gain", "a trained gain", ("gain",))


@register
@dataclass(frozen=True)
class ScaleShift(Method):
    """Train gain and bias of convolutions, depthwise convolutions and fully connected layers."""

    name: ClassVar = "scale-shift"
    order: ClassVar = 40
    rates: ClassVar = Rates(2, 0.3, 0.01, 0.0003)
    part: ClassVar = GAIN
    roles: ClassVar = {**BIAS_ROLE, "gain": Role(5)}
    includes: ClassVar = ("bias",)

    layers: Layers = "all"

    def attach(self, graph: Graph, calibration: Calibration) -> Graph:
        for node in select(graph, self.layers, type(self)):
            graph = with_gain(with_trainable_bias(graph, node, self.name), graph.node(node.name), type(self))
        return graph


def with_gain(graph: Graph, node: Node, method: type[Method]) -> Graph:
    """The layer with a trained gain for each output channel, which starts as the identity."""
    require_free(graph, node, method)
    name, channels = f"{node.name}.gain", graph.type(node.inputs["bias"]).size
    roles, values = block16(name, np.zeros(channels, np.int8), -24)
    changed = replace(node, inputs={**node.inputs, "gain": name, "gain_exponent": roles["exponent"]})
    graph = replace_node(graph.with_values(values), changed)
    return replace(graph, parameters=(*graph.parameters, Parameter(name, node.name, method.name, "block16", roles)))
