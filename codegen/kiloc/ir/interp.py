"""The interpreter: runs any graph in NumPy, exactly. It is the oracle of the generated C."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ops import Environment
from .graph import Graph, Node

Arrays = dict[str, NDArray[Any]]
Observer = Callable[[Node, Mapping[str, NDArray[Any]]], None]


def environment(graph: Graph, node: Node, arrays: Mapping[str, NDArray[Any]]) -> Environment:
    """Operands and types of one node; constants come from the graph."""

    def find(name: str) -> NDArray[Any]:
        if name in arrays:
            return arrays[name]
        data = graph.values[name].data
        assert data is not None, f"{name} has no value yet"
        return data

    return Environment(
        {o: graph.type(v) for o, v in node.inputs.items()},
        tuple(graph.type(v) for v in node.outputs),
        {o: find(v) for o, v in node.inputs.items()},
    )


def initial_state(graph: Graph) -> Arrays:
    """A fresh copy of every state value."""
    return {v.name: np.array(v.data) for v in graph.state() if v.data is not None}


def run(graph: Graph, inputs: Mapping[str, NDArray[Any]], state: Arrays | None = None, phases: tuple[str, ...] = ("forward",)) -> Arrays:
    """Run the nodes of some phases; returns every array computed.

    inputs: arrays with a batch axis, by value name. state: changed in place by nodes that update it, which needs a
    batch of one. Without it the graph's initial state is read.
    """
    arrays: Arrays = dict(inputs)
    if state is not None:
        arrays.update(state)
    for node in graph.phase(*phases):
        e = environment(graph, node, arrays)
        for name, array in zip(node.outputs, node.op.evaluate(e), strict=True):
            arrays[name] = array
        if state is None or not node.updates:
            continue
        for operand, array in node.op.evaluate_update(e).items():
            state[node.inputs[operand]] = arrays[node.inputs[operand]] = array
    return arrays


def infer(graph: Graph, *inputs: NDArray[np.int8], state: Arrays | None = None) -> list[NDArray[np.int8]]:
    """Results for a batch [N, ...] of each input."""
    arrays = run(graph, dict(zip(graph.inputs, inputs, strict=False)), state)
    return [arrays[name] for name in graph.outputs]
