"""How trained tensors are stored: int32 biases, and tensors in 16 or 8 bits with one power of two.

The methods make 16-bit tensors; `with_storage` turns them into 8-bit ones, whatever the method.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..ir.graph import Graph, Parameter
from ..ops._sums import output_scales
from ..ops.model.svdf import Svdf
from ..ops.update.storage_step import StepBlock8, StepBlock16, StepInt32, StorageStep

STORAGES = ("block16", "block8")


def with_storage(graph: Graph, storage: str) -> Graph:
    """The graph with its block tensors in this format. "block8" drops the remainders: the codes are all there is."""
    if storage != "block8":
        return graph
    dropped: set[str] = set()
    parameters: list[Parameter] = []
    for p in graph.parameters:
        if p.storage == "block16":
            dropped.add(p.values["remainder"])
            p = replace(p, storage="block8", values={r: v for r, v in p.values.items() if r != "remainder"})
        parameters.append(p)
    return replace(graph, parameters=tuple(parameters), values={k: v for k, v in graph.values.items() if k not in dropped})


def rounds_stochastically(graph: Graph) -> bool:
    return any(p.storage == "block8" for p in graph.parameters)


def storage_step(graph: Graph, p: Parameter, decay: float, stream: int) -> StorageStep:
    """The operator that takes the step of a parameter."""
    if p.storage == "int32":
        return StepInt32(_bias_units(graph, p), decay=decay)
    return StepBlock8(stream, decay=decay) if p.storage == "block8" else StepBlock16(decay=decay)


def _bias_units(graph: Graph, p: Parameter) -> tuple[float, ...]:
    """Real value of one step of each bias: s_x * s_w[c], of an SVDF those of its state and time weights, as a normal float32, so that steps can be
    divided by it."""
    node = graph.node(p.layer)
    channels, (x, weights) = graph.type(p.values["value"]).size, ("state", "time") if isinstance(node.op, Svdf) else ("x", "weights")
    scales = output_scales(graph.type(node.inputs[x]), graph.type(node.inputs[weights]), channels)
    return tuple(float(max(np.float32(s), np.finfo(np.float32).tiny)) for s in scales)
