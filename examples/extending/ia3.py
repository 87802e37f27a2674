"""IA3, a method that lives outside of kilotune: a trained gain for each output channel, and nothing else.

    kilotune --plugin examples/extending/ia3.py build MODEL -o DIR --method ia3

It is ScaleShift without the biases. The operators compute with a gain already, so the method has no kernel of its own; it says which layers
get one, and what the rest of kilotune needs to know about it.
Source: Liu et al., "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning" (2022), which scales the keys, the
values and the inner activations of transformers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kiloc.errors import CompileError
from kiloc.ir.graph import Graph
from kiloc.peft import GAIN, Calibration, Layers, Method, Rates, ScaleShift, option, register, select, with_gain


@register
@dataclass(frozen=True)
class IA3(Method):
    """Train the gains of convolutions, depthwise convolutions and fully connected layers with enough output channels."""

    name: ClassVar = "ia3"
    rates: ClassVar = Rates(reach=2, highest=0.3, adam=0.01, lion=0.0003)
    part: ClassVar = GAIN
    roles: ClassVar = {"gain": ScaleShift.roles["gain"]}

    layers: Layers = "all"
    least_channels: int = option(1, "Layers with fewer output channels than this keep their gains.", least=1)

    def attach(self, graph: Graph, calibration: Calibration) -> Graph:
        chosen = [n for n in select(graph, self.layers, type(self)) if graph.type(n.inputs["bias"]).size >= self.least_channels]
        if not chosen:
            where = f"IA3(layers={self.layers!r}, least_channels={self.least_channels})"
            raise CompileError(where, "no layer has so many output channels", "name other layers, or a lower number")
        for node in chosen:
            graph = with_gain(graph, graph.node(node.name), type(self))
        return graph
