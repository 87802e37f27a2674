"""BottleneckAdapter: a small network with a residual connection on the int8 result of a layer. Formulas: `ops/model/bottleneck.py`.

U starts at zero, so the model starts bit-exact; D starts uniform, scaled so that D y has unit root mean square on the calibration
samples and each hidden unit passes at least half of what it gets; its range holds the largest D y with one bit to spare.
Source: Houlsby et al., "Parameter-Efficient Transfer Learning for NLP" (2019).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..errors import CompileError
from ..ir.graph import Graph, Node, Parameter, Value
from ..ir.types import TensorType
from ..ops._activation import clamp_range
from ..ops._window import Window
from ..ops.model._linear import Linear
from ..ops.model.bottleneck import BottleneckDown, BottleneckUp
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ._combine import require_free
from ._method import block16, initial_projection, select
from ._registry import Calibration, Layers, Method, Part, Rates, Role, Sizes, option, register

LARGEST_WIDTH = 1024


def largest_width(graph: Graph, node: Node) -> int:
    """A layer's output channels: more hidden ones say nothing more."""
    return graph.type(node.inputs["bias"]).size


@register
@dataclass(frozen=True)
class BottleneckAdapter(Method):
    """Adapters of `width` hidden channels behind convolutions, depthwise convolutions and fully connected layers."""

    name: ClassVar = "adapter"
    order: ClassVar = 70
    rates: ClassVar = Rates(2, 0.3, 0.01, 0.0003)
    part: ClassVar = Part("adapter", "a bottleneck adapter", ("adapter",))
    roles: ClassVar = {"adapter_down": Role(6, rank_axis=0), "adapter_up": Role(7, rank_axis=1)}
    sizes: ClassVar = Sizes("width", (4, 8), largest_width)

    width: int = option(8, "Hidden channels of each adapter.", least=1)
    layers: Layers = "last:4"

    def attach(self, graph: Graph, calibration: Calibration) -> Graph:
        if not 1 <= self.width <= LARGEST_WIDTH:
            raise CompileError(f"BottleneckAdapter(width={self.width})", f"a width lies between 1 and {LARGEST_WIDTH}", "8 suits small models")
        for node in select(graph, self.layers, type(self)):
            graph = self._attach_layer(graph, graph.node(node.name), calibration)
        return graph

    def describe(self) -> str:
        return f"{self.name} w={self.width} {self.layers}"

    def _attach_layer(self, graph: Graph, node: Node, calibration: Calibration) -> Graph:
        assert isinstance(node.op, Linear | DepthwiseConv2D)
        require_free(graph, node, type(self))
        result, plain, scope = node.outputs[0], f"{node.outputs[0]}.plain", f"{node.name}.adapter"
        y, channels = graph.values[result], largest_width(graph, node)
        width = min(self.width, channels)
        if width < self.width:
            graph = replace(graph, notes=(*graph.notes, f"the adapter behind '{node.name}' has width {width}: there are no more channels"))
        positions = y.type.size // channels
        rows = calibration.activations[result].astype(np.int64).reshape(-1, channels) - y.type.zero_point
        codes, exponent, reach = initial_projection(rows, y.type.scale, (width, channels), scope, calibration.seed, rectified=True)

        down, up = f"{scope}_down", f"{scope}_up"
        down_roles, down_values = block16(down, codes, exponent)
        up_roles, up_values = block16(up, np.zeros((channels, width), np.int8), -24)
        reached = Value(f"{scope}_range", TensorType((1,), "int8"), "exponent", np.array([reach], np.int8))
        saturated = Value(f"{scope}_saturated", TensorType((1,), "int8"), "control", np.zeros(1, np.int8))
        hidden = Value(f"{scope}_h", TensorType((1, positions, width), "int8"), "activation")
        low, high = clamp_range(node.op.activation, y.type)
        h_node = Node(
            f"{scope}_h",
            BottleneckDown(Window((1, 1)), (positions, 1, channels), (positions, 1, width)),
            {"x": plain, "down": down, "down_exponent": down_roles["exponent"], "range": reached.name, "saturated": saturated.name},
            (hidden.name,),
            (saturated.name,),
            origin=node.origin,
        )
        add = {"x": plain, "h": hidden.name, "up": up, "up_exponent": up_roles["exponent"], "range": reached.name}
        up_node = Node(scope, BottleneckUp(low, high), add, (result,), origin=node.origin)
        graph = graph.with_values([*down_values, *up_values, reached, saturated, hidden, replace(y, name=plain)])
        nodes: list[Node] = []
        for old in graph.nodes:
            nodes += [replace(node, outputs=(plain,)), h_node, up_node] if old.name == node.name else [old]
        parameters = (
            Parameter(down, node.name, self.name, "block16", {**down_roles, "range": reached.name, "saturated": saturated.name}),
            Parameter(up, node.name, self.name, "block16", up_roles),
        )
        return replace(graph, nodes=tuple(nodes), parameters=(*graph.parameters, *parameters))
