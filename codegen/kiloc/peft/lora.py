"""LoRA: a trained low-rank addend B A to frozen weights, inside the integer accumulator.

A is the layer's own window to `rank` channels, B is 1x1. B starts at zero, so the model starts bit-exact; A starts uniform,
scaled so that A x has unit root mean square on the calibration samples.
Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..errors import CompileError
from ..ir.graph import Graph, Node, Parameter, Value
from ..ir.types import TensorType
from ..ir.verify import node_types
from ..ops.model._linear import Linear
from ..ops.model.gru import Gru
from ..ops.model.lora import LoRADown
from ._combine import require_free
from ._method import block16, initial_projection, replace_node, select
from ._registry import Calibration, Layers, Method, Part, Rates, Role, Sizes, option, register


def largest_rank(graph: Graph, node: Node) -> int:
    """Rows or columns of a layer's weights, whichever are fewer."""
    weights = graph.type(node.inputs["weights"])
    return min(weights.shape[0], weights.size // weights.shape[0])


@register
@dataclass(frozen=True)
class LoRA(Method):
    """Rank-`rank` adaptation of convolutions, fully connected layers and the input of GRUs; alpha defaults to the rank (factor 1)."""

    name: ClassVar = "lora"
    order: ClassVar = 30
    rates: ClassVar = Rates(2, 0.3, 0.01, 0.0003)
    part: ClassVar = Part("lora", "a low-rank addend", ("lora", "delta"))
    roles: ClassVar = {"lora_a": Role(2, rank_axis=0), "lora_b": Role(3, rank_axis=1)}
    kinds: ClassVar = (Linear, Gru)
    sizes: ClassVar = Sizes("rank", (1, 2, 4, 8), largest_rank)
    by_hand: ClassVar = 4

    rank: int = option(4, "Rank of the addend to the weights.", least=1)
    layers: Layers = "last:4"
    alpha: float | None = option(None, "The addend counts alpha / rank times; alpha is the rank by default.", above=0, below=1e18)

    def attach(self, graph: Graph, calibration: Calibration) -> Graph:
        nodes = select(graph, self.layers, type(self))
        self._check(graph, nodes)
        for node in nodes:
            rank = min(self.rank, largest_rank(graph, node))
            if rank < self.rank:
                note = f"LoRA on '{node.name}' has rank {rank}: its weights have no more rows or columns"
                graph = replace(graph, notes=(*graph.notes, note))
            graph = self._attach_layer(graph, graph.node(node.name), rank, calibration)
        return graph

    def describe(self) -> str:
        return f"{self.name} r={self.rank} {self.layers}"

    def _check(self, graph: Graph, nodes: list[Node]) -> None:
        where = f"LoRA(rank={self.rank}, layers={self.layers!r})"
        limit = max(largest_rank(graph, n) for n in nodes)
        if not 1 <= self.rank <= limit:
            raise CompileError(where, f"the layers take a rank between 1 and {limit}", "choose a rank in that range, or other layers")
        if self.alpha is not None and not (np.isfinite(self.alpha) and self.alpha > 0):
            raise CompileError(where, f"alpha {self.alpha} is not a positive number", "leave it out, or pass about the rank")
        for node in nodes:
            require_free(graph, node, type(self))

    def _attach_layer(self, graph: Graph, node: Node, rank: int, calibration: Calibration) -> Graph:
        assert isinstance(node.op, Linear | Gru)
        t = node_types(graph, node)
        window, (x_image, y_image) = node.op.window_of(t), node.op.images(t)
        channels, depth = t.type("weights").shape[0], t.type("weights").size // t.type("weights").shape[0]
        shape = (rank, depth)
        x = calibration.activations[node.inputs["x"]].astype(np.int64) - t.type("x").zero_point
        codes, exponent, reach = initial_projection(window.patches(x.reshape(-1, *x_image)), t.type("x").scale, shape, node.name, calibration.seed)

        a, b, scope = f"{node.name}.lora_a", f"{node.name}.lora_b", f"{node.name}.lora"
        a_roles, a_values = block16(a, codes, exponent)
        b_roles, b_values = block16(b, np.zeros((channels, rank), np.int8), -24)
        u_range = Value(f"{scope}_range", TensorType((1,), "int8"), "exponent", np.array([reach], np.int8))
        saturated = Value(f"{scope}_saturated", TensorType((1,), "int8"), "control", np.zeros(1, np.int8))
        u_image = (y_image[0], y_image[1], rank)
        down = Node(
            f"{scope}_down",
            LoRADown(window, x_image, u_image),
            {"x": node.inputs["x"], "lora_a": a, "lora_a_exponent": a_roles["exponent"], "lora_range": u_range.name, "saturated": saturated.name},
            (f"{scope}_u",),
            (saturated.name,),
            origin=node.origin,
        )
        u = Value(f"{scope}_u", TensorType((1, u_image[0] * u_image[1], rank), "int8"), "activation")
        addend = {"lora_u": u.name, "lora_b": b, "lora_b_exponent": b_roles["exponent"], "lora_range": u_range.name}
        op = replace(node.op, lora_scale=1.0 if self.alpha is None else self.alpha / self.rank)
        graph = graph.with_values([*a_values, *b_values, u_range, saturated, u])
        graph = replace_node(graph, replace(node, op=op, inputs={**node.inputs, **addend}), down)
        parameters = (
            Parameter(a, node.name, self.name, "block16", {**a_roles, "range": u_range.name, "saturated": saturated.name}),
            Parameter(b, node.name, self.name, "block16", b_roles),
        )
        return replace(graph, parameters=(*graph.parameters, *parameters))
