"""SparseUpdate: train the weights of a share of each layer's output channels, and all its biases.

The channels are chosen when the model is compiled: those whose real weights have the largest Euclidean norm, ties to the lower
index. The delta is compact, [n, ...]; a table in flash tells which of its rows a channel uses. Biases cost four bytes of state and
no saved activation, so every channel's bias is trained.
Source: Lin et al., "On-Device Training Under 256KB Memory" (2022), which chooses by measured contribution instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Graph, Node
from ..ops.model.lstm import Lstm
from ._delta import DELTA, LSTM_DELTA_ROLES, attach_delta, channel_axis
from ._method import select
from ._registry import Calibration, Layers, Method, Rates, option, register


@register
@dataclass(frozen=True)
class SparseUpdate(Method):
    """Train `fraction` of the output channels (at least one) of convolutions, depthwise convolutions, fully connected layers and LSTMs."""

    name: ClassVar = "sparse"
    order: ClassVar = 50
    rates: ClassVar = Rates(2, 0.3, 0.001, 0.0003)
    part: ClassVar = DELTA
    roles: ClassVar = LSTM_DELTA_ROLES
    kinds: ClassVar = (*Method.kinds, Lstm)
    includes: ClassVar = ("bias",)

    layers: Layers = "all"
    fraction: float = option(0.25, "Fraction of the output channels of a layer to train.", above=0, most=1)

    def attach(self, graph: Graph, calibration: Calibration) -> Graph:
        if not 0 < self.fraction <= 1:
            raise CompileError(f"SparseUpdate(fraction={self.fraction})", "is not above 0 and at most 1", "0.25 trains every fourth channel")
        for node in select(graph, self.layers, type(self)):
            graph = attach_delta(graph, graph.node(node.name), type(self), largest_channels(graph, node, self.fraction), merging=True)
        return graph

    def describe(self) -> str:
        return f"{self.name} {self.fraction:g} {self.layers}"


def largest_channels(graph: Graph, node: Node, fraction: float) -> NDArray[np.int64]:
    """Output channels with the largest norm of their real weights, ascending."""
    norms = _norms(graph, node, "weights")
    if "recurrent" in node.inputs:
        norms = np.hypot(norms, _norms(graph, node, "recurrent"))
    count = max(1, int(np.ceil(fraction * len(norms) - 1e-9)))
    return np.sort(np.argsort(-norms, kind="stable")[:count])


def _norms(graph: Graph, node: Node, operand: str) -> NDArray[np.float64]:
    weights = graph.values[node.inputs[operand]]
    assert weights.data is not None
    codes = np.moveaxis(np.asarray(weights.data, np.float64), channel_axis(node), 0)
    return np.asarray(np.sqrt((codes.reshape(len(codes), -1) ** 2).sum(1)) * np.array(weights.type.channel_scales))
