"""BiasOnly: train the biases. Needs no activation in the backward pass, only one bit an element where results clamp.

Source: Cai et al., "TinyTL: Reduce Memory, Not Parameters for Efficient On-Device Learning" (2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..ir.graph import Graph
from ..ops.model.gru import Gru
from ..ops.model.lstm import Lstm
from ..ops.model.svdf import Svdf
from ._method import select, with_trainable_bias
from ._registry import BIAS_ROLE, Calibration, Layers, Method, Rates, register


@register
@dataclass(frozen=True)
class BiasOnly(Method):
    """Train the int32 biases of convolutions, depthwise convolutions, fully connected layers, LSTMs, GRUs and SVDFs."""

    name: ClassVar = "bias"
    kinds: ClassVar = (*Method.kinds, Lstm, Gru, Svdf)
    order: ClassVar = 10
    rates: ClassVar = Rates(3, 0.5, 0.03, 0.002)
    roles: ClassVar = BIAS_ROLE
    companion: ClassVar = True

    layers: Layers = "all"

    def attach(self, graph: Graph, calibration: Calibration) -> Graph:
        for node in select(graph, self.layers, type(self)):
            graph = with_trainable_bias(graph, node, self.name)
        return graph
