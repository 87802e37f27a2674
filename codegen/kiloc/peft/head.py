"""Head: train the last layer as a frozen weight plus a full delta, and its bias. Bit-exact with the base model at the start."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import CompileError
from ..ir.graph import Graph, Parameter
from ..ops._linear import Linear
from ._method import Calibration, Method, block16, replace_node, select, with_trainable_bias


@dataclass(frozen=True)
class Head(Method):
    """Train the last fully connected layer (or the convolution that stands for it)."""

    def attach(self, graph: Graph, calibration: Calibration) -> Graph:
        node = select(graph, "last:1", (Linear,), "Head")[0]
        if "lora_u" in node.inputs:
            raise CompileError(f"layer '{node.name}'", "a layer takes LoRA or a trained head, not both", 'leave the last layer out of LoRA\'s layers')
        graph = with_trainable_bias(graph, node, "head")
        name = f"{node.name}.delta"
        roles, values = block16(name, np.zeros(graph.type(node.inputs["weights"]).shape, np.int8), -24)
        changed = replace(node, inputs={**node.inputs, "delta": name, "delta_exponent": roles["exponent"]})
        graph = replace_node(graph.with_values(values), changed)
        return replace(graph, parameters=(*graph.parameters, Parameter(name, node.name, "head", "block16", roles)))

    def describe(self) -> str:
        return "head"
