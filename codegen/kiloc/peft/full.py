"""Full: train all weights of layers, as a delta beside the frozen ones, and their biases.

The base weights stay in flash; the state holds 6 bytes a weight (int8 code and remainder, float32 accumulator). Bit-exact with the base
model at the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..ir.graph import Graph
from ..ops.model.lstm import Lstm
from ._delta import DELTA, LSTM_DELTA_ROLES, attach_delta
from ._method import select
from ._registry import Calibration, Layers, Method, Rates, register


@register
@dataclass(frozen=True)
class Full(Method):
    """Train weights and biases of convolutions, depthwise convolutions, fully connected layers and LSTMs."""

    name: ClassVar = "full"
    order: ClassVar = 60
    rates: ClassVar = Rates(0.3, 0.3, 0.001, 0.0003)
    part: ClassVar = DELTA
    roles: ClassVar = LSTM_DELTA_ROLES
    kinds: ClassVar = (*Method.kinds, Lstm)
    includes: ClassVar = ("bias",)

    layers: Layers = "all"

    def attach(self, graph: Graph, calibration: Calibration) -> Graph:
        for node in select(graph, self.layers, type(self)):
            graph = attach_delta(graph, graph.node(node.name), type(self), merging=True)
        return graph
