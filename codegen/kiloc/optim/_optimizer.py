"""The update phase: for each parameter an optimizer node, then the node of its storage format."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..ir.graph import Graph, Node, Parameter, Value
from ..ir.types import TensorType
from ..ops import Op
from ..ops._linear import output_scales
from ..ops.lora import AdaptRange
from ..ops.optimizer import StepBlock16, StepInt32

LEARNING_RATE = "learning_rate"
COUNT = "accumulated"


class Optimizer:
    """Base of all optimizers."""

    @property
    def initial_learning_rate(self) -> float:
        raise NotImplementedError

    def moments(self, parameter: str, shape: tuple[int, ...]) -> list[Value]:
        """State that the optimizer keeps for a parameter."""
        raise NotImplementedError

    def operator(self) -> Op:
        raise NotImplementedError

    def describe(self) -> str:
        """One line for reports."""
        raise NotImplementedError


def with_accumulators(graph: Graph, optimizer: Optimizer) -> Graph:
    """Add what training keeps besides the parameters: accumulators, moments, learning rate, count of samples."""
    rate = np.array([optimizer.initial_learning_rate], np.float32)
    values = [
        Value(LEARNING_RATE, TensorType((1,), "float32"), "control", rate),
        Value(COUNT, TensorType((1,), "int32"), "control", np.zeros(1, np.int32)),
    ]
    parameters: list[Parameter] = []
    for p in graph.parameters:
        shape = graph.type(p.values["value"]).shape
        accumulator = Value(f"{p.name}.accumulator", TensorType(shape, "float32"), "accumulator", np.zeros(shape, np.float32))
        moments = optimizer.moments(p.name, shape)
        roles = {**p.values, "accumulator": accumulator.name, **{m.name.rsplit(".", 1)[1]: m.name for m in moments}}
        parameters.append(replace(p, values=roles))
        values += [accumulator, *moments]
    return replace(graph.with_values(values), parameters=tuple(parameters))


def with_updates(graph: Graph, optimizer: Optimizer) -> Graph:
    """Append the update phase."""
    nodes: list[Node] = []
    for p in graph.parameters:
        v = p.values
        moments = {role: v[role] for role in optimizer.operator().optional if role in v}
        inputs = {"accumulator": v["accumulator"], "count": COUNT, "learning_rate": LEARNING_RATE, **moments}
        changed = (v["accumulator"], *moments.values())
        nodes.append(Node(f"{p.name}.optimizer", optimizer.operator(), inputs, (), changed, "update"))
        nodes.append(_step(graph, p))
        if "saturated" in v:
            inputs = {"lora_range": v["range"], "saturated": v["saturated"]}
            nodes.append(Node(f"{p.name}.range", AdaptRange(), inputs, (), tuple(inputs.values()), "update"))
    return replace(graph, nodes=(*graph.nodes, *nodes))


def _step(graph: Graph, p: Parameter) -> Node:
    v = p.values
    op: Op
    roles: tuple[str, ...]
    if p.storage == "int32":
        op, roles = StepInt32(_bias_units(graph, p)), ("value", "accumulator")
    else:
        op, roles = StepBlock16(), ("value", "exponent", "master", "master_exponent", "accumulator")
    inputs = {r: v[r] for r in roles}
    return Node(f"{p.name}.step", op, inputs, (), tuple(inputs.values()), "update")


def _bias_units(graph: Graph, p: Parameter) -> tuple[float, ...]:
    """Real value of one step of each bias: s_x * s_w[c] as a normal float32, so that steps can be divided by it."""
    node = graph.node(p.layer)
    channels = graph.type(p.values["value"]).size
    scales = output_scales(graph.type(node.inputs["x"]), graph.type(node.inputs["weights"]), channels)
    return tuple(float(max(np.float32(s), np.finfo(np.float32).tiny)) for s in scales)
