"""The interpreter: runs any graph in NumPy, exactly. It is the oracle of the generated C."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .graph import ACCUMULATED, Graph, Node
from .operator import Environment

Arrays = dict[str, NDArray[Any]]
FORWARD = ("forward",)
BLOCK = 1 << 17
"""Elements of operands and results of the samples that a node is evaluated for at once: what comes between them stays in a processor's cache."""


@dataclass(frozen=True)
class Known:
    """What the forward phase of a graph made of some inputs."""

    graph: Graph
    arrays: Mapping[str, NDArray[Any]]

    @cached_property
    def _makers(self) -> dict[str, Node]:
        return self.graph.producers()

    def has(self, graph: Graph, node: Node, arrays: Mapping[str, NDArray[Any]]) -> bool:
        """Whether the results of a node of another graph, where these arrays have been made, are among them."""
        maker = self._makers.get(node.outputs[0])
        if maker is None or maker.op != node.op or (maker.inputs, maker.outputs) != (node.inputs, node.outputs):
            return False
        types = all(graph.type(name) == self.graph.type(name) for name in (*node.inputs.values(), *node.outputs))
        return types and all(self._same(graph, name, arrays) for name in node.inputs.values())

    def _same(self, graph: Graph, name: str, arrays: Mapping[str, NDArray[Any]]) -> bool:
        if name in arrays:
            return arrays[name] is self.arrays.get(name)
        data, other = graph.values[name].data, self.graph.values[name].data
        return data is other or (data is not None and other is not None and np.array_equal(data, other))


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


def run(
    graph: Graph,
    inputs: Mapping[str, NDArray[Any]],
    state: Arrays | None = None,
    phases: tuple[str, ...] = FORWARD,
    known: Known | None = None,
) -> Arrays:
    """Run the nodes of some phases; returns every array computed.

    inputs: arrays with a batch axis, by value name. state: changed in place by nodes that update it, which needs a
    batch of one. Without it the graph's initial state is read. known: of another graph on the same inputs: nodes that both have
    are not evaluated again.
    """
    arrays: Arrays = dict(inputs)
    if state is not None:
        arrays.update(state)
    several = state is None and phases == FORWARD and not any(graph.values[name].is_state for name in inputs if name in graph.values)
    for node in graph.phase(*phases):
        if known and known.has(graph, node, arrays):
            arrays.update({name: known.arrays[name] for name in node.outputs})
            continue
        e = environment(graph, node, arrays)
        for name, array in zip(node.outputs, _in_blocks(node, e, arrays) if several else node.op.evaluate(e), strict=True):
            arrays[name] = array
        if state is None or not node.updates:
            continue
        for operand, array in node.op.evaluate_update(e).items():
            name = node.inputs[operand]
            arrays[name] = array
            if graph.values[name].is_state:
                state[name] = array
    return arrays


def _in_blocks(node: Node, e: Environment, arrays: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
    """Results of a node of the forward phase for many samples, which do not depend on each other."""
    given = {o: e.array(o) for o, name in node.inputs.items() if name in arrays}
    count = max((len(a) for a in given.values()), default=0)
    elements = sum(a.size for a in given.values()) + count * sum(t.size for t in e.results)
    step = max(count * BLOCK // max(elements, 1), 1)
    if step >= count:
        return node.op.evaluate(e)
    found = [node.op.evaluate(replace(e, arrays={**e.arrays, **{o: a[i : i + step] for o, a in given.items()}})) for i in range(0, count, step)]
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def train_step(graph: Graph, inputs: Mapping[str, NDArray[Any]], state: Arrays) -> Arrays:
    """What a device's train_step does with one sample, given the whole graph or its training slice."""
    if graph.updates_at_once:
        state[ACCUMULATED] = np.ones(1, np.int32)
        return run(graph, inputs, state, ("forward", "backward", "update"))
    arrays = run(graph, inputs, state, ("forward", "backward"))
    state[ACCUMULATED] = state[ACCUMULATED] + np.int32(1)
    return arrays


def apply(graph: Graph, state: Arrays) -> None:
    """What a device's apply does, given the whole graph."""
    if not graph.updates_at_once:
        run(graph, {}, state, ("update",))
    state[ACCUMULATED] = np.zeros(1, np.int32)


def infer(graph: Graph, *inputs: NDArray[np.int8], state: Arrays | None = None) -> list[NDArray[np.int8]]:
    """Results for a batch [N, ...] of each input. Of a model that keeps values from call to call, the samples are calls one after the other,
    from its initial state where none is given."""
    if graph.streams():
        state = initial_state(graph) if state is None else state
        rows = [infer_one(graph, [x[i : i + 1] for x in inputs], state) for i in range(len(inputs[0]))]
        return [np.concatenate(results) for results in zip(*rows, strict=True)]
    return infer_one(graph, inputs, state)


def infer_one(graph: Graph, inputs: Sequence[NDArray[Any]], state: Arrays | None) -> list[NDArray[Any]]:
    """Results of one call, of a batch where nothing is kept."""
    arrays = run(graph, dict(zip(graph.inputs, inputs, strict=False)), state)
    return [arrays[name] for name in graph.outputs]
