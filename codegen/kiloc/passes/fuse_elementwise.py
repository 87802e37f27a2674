"""Fuses chains of element-wise operators with constants, as batch normalisation leaves them, into one pass over the data, with the same bits.

Neighbours that compute the same function of one code for every element become one table of 256 codes: tables, requantisations, and MUL, ADD, SUB,
MAXIMUM, MINIMUM by one number. What MUL, ADD and SUB by a value a channel compute is another function for each channel: a chain of them runs
step by step on each element. Results that something else reads, as a mask of the backward pass does, end a chain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import Graph, Node, Value
from ..ir.operator import Environment
from ..ir.types import TensorType
from ..ir.verify import node_types
from ..ops.fast.elementwise_chain import CONSTANTS, MOST_STEPS, LookupTable, Step, chain_of, constant_type, step_of
from ..ops.model._elementwise import Elementwise
from ..ops.model._lookup import CODES, Lookup
from ..ops.model._sum import Sum
from ..ops.model.mul import Mul
from ..ops.model.requantize import Requantize

Belongs = Callable[[Graph, Node], bool]
Fuse = Callable[[Graph, Sequence[Node]], tuple[Node, list[Value]]]


def fuse_elementwise(part: Graph) -> Graph:
    """The slice with chains of the forward phase fused."""
    return _fused(_fused(part, one_function, 1, len(CODES), _table), _by_channel, 2, MOST_STEPS, _chain)


def _fused(part: Graph, belongs: Belongs, least: int, most: int, fuse: Fuse) -> Graph:
    """Every run of nodes that belong, each the only reader of the one before, as one node, in the place of the last."""
    readers = part.consumers()
    runs: list[list[Node]] = []
    run_of: dict[str, list[Node]] = {}
    for node in part.phase("forward"):
        if not belongs(part, node):
            continue
        x = node.inputs["x"]
        if part.values[x].data is not None:  # kept from call to call: it may change before the last of a run
            continue
        run = run_of.get(x)
        if run is not None and len(readers[x]) == 1 and x not in part.outputs and len(run) < most:
            run.append(node)
        else:
            run = [node]
            runs.append(run)
        run_of[node.outputs[0]] = run
    replaced: dict[str, Node | None] = {}
    values: list[Value] = []
    for run in runs:
        if len(run) < least or all(isinstance(node.op, Requantize) for node in run) or (len(run) == 1 and isinstance(run[0].op, Lookup)):
            continue
        replaced.update(dict.fromkeys(n.name for n in run[:-1]))
        replaced[run[-1].name], added = fuse(part, run)
        values += added
    nodes = [replaced.get(n.name, n) for n in part.nodes]
    return part.with_values(values).with_nodes(n for n in nodes if n is not None) if values else part


# -- one function for all elements --------------------------------------------------------------------
def one_function(part: Graph, node: Node) -> bool:
    """Whether each code of x becomes one code, the same everywhere."""
    if isinstance(node.op, Requantize | Lookup):
        return all(part.type(v).dtype == "int8" for v in (node.inputs["x"], node.outputs[0]))
    if not isinstance(node.op, Elementwise):
        return False
    other = part.values[node.inputs["other"]]
    return other.kind == "constant" and other.type.size == 1 and part.type(node.inputs["x"]).size == part.type(node.outputs[0]).size


def codes_of(part: Graph, run: Sequence[Node], codes: NDArray[np.int8], other: int | None = None) -> NDArray[np.int8]:
    """What a run of nodes makes of codes of the first operand, [N], computed by the operators themselves. other: in place of a constant, one code."""
    codes = codes.reshape(1, -1)
    for node in run:
        t = node_types(part, node)
        arrays: dict[str, NDArray[np.generic]] = {"x": codes}
        types = {"x": replace(t.type("x"), shape=codes.shape)}
        if "other" in node.inputs:
            data = part.values[node.inputs["other"]].data
            assert data is not None
            constant = data if other is None else np.array(other, np.int8)
            arrays["other"], types["other"] = constant.reshape(1, 1), replace(t.type("other"), shape=(1, 1))
        codes = node.op.evaluate(Environment(types, (replace(t.result(), shape=codes.shape),), arrays))[0]
    return codes.reshape(-1)


def _table(part: Graph, run: Sequence[Node]) -> tuple[Node, list[Value]]:
    """One table in place of a run."""
    last, table = run[-1], codes_of(part, run, CODES.astype(np.int8))
    name = part.fresh(f"{last.name}.table")
    inputs = {"x": run[0].inputs["x"], "table": name}
    return replace(last, op=LookupTable(), inputs=inputs), [Value(name, TensorType((256,), "int8"), "constant", table)]


# -- a function for each channel ----------------------------------------------------------------------
def _by_channel(part: Graph, node: Node) -> bool:
    """Whether it is a step of a chain."""
    if not isinstance(node.op, Mul | Sum):
        return False
    other, x, y = (part.values[v] for v in (node.inputs["other"], node.inputs["x"], node.outputs[0]))
    fixed = other.kind == "constant" and x.type.size == y.type.size
    return fixed and other.type.size == other.type.shape[-1] and other.type.size in (1, y.type.shape[-1])


def _chain(part: Graph, run: Sequence[Node]) -> tuple[Node, list[Value]]:
    last, channels = run[-1], part.type(run[-1].outputs[0]).shape[-1]
    steps, values, inputs = list[Step](), list[Value](), {"x": run[0].inputs["x"]}
    for node, operand in zip(run, CONSTANTS, strict=False):
        data = part.values[node.inputs["other"]].data
        assert data is not None
        step, k = step_of(node.op, node_types(part, node), data)
        k = np.ascontiguousarray(np.broadcast_to(k, (channels,)))
        inputs[operand] = part.fresh(f"{node.inputs['other']}.{operand}", [v.name for v in values])
        steps.append(step)
        values.append(Value(inputs[operand], constant_type(k), "constant", k))
    return replace(last, op=chain_of(steps), inputs=inputs), values
