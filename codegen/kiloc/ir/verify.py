"""The invariants of a graph, checked after every pass in tests and before code is written; and what operators say of their nodes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..errors import CompileError
from .graph import KINDS, Graph, Node
from .operator import NodeTypes


def node_types(graph: Graph, node: Node) -> NodeTypes:
    """Types of the operands and results of a node."""
    return NodeTypes({o: graph.type(v) for o, v in node.inputs.items()}, tuple(graph.type(v) for v in node.outputs))


def total_macs(graph: Graph, nodes: Iterable[Node] | None = None) -> int:
    """Multiply-accumulates of one sample in some of the graph's nodes, or in all; what is computed twice counts twice."""
    return sum(node.op.macs(node_types(graph, node)) for node in (graph.nodes if nodes is None else nodes))


def verify(graph: Graph) -> Graph:
    """Check the graph and return it. Raises CompileError naming the node (its origin) that breaks a rule."""
    known = {v.name for v in graph.values.values() if v.kind in ("input", "constant") or v.is_state}
    for name, value in graph.values.items():
        _require(name == value.name, value.origin or name, f"value {name} is filed under another name")
        _require(value.kind in KINDS, value.origin or name, f"value {name} has kind {value.kind}")
        if value.data is not None:
            shaped = value.data.shape == value.type.shape and value.data.dtype == np.dtype(value.type.dtype)
            _require(shaped, value.origin or name, f"value {name} holds {value.data.dtype}{value.data.shape}, not {value.type}")
    names: set[str] = set()
    for node in graph.nodes:
        where = node.origin or node.name
        _require(node.name not in names, where, f"two nodes are called {node.name}")
        names.add(node.name)
        _check_operands(graph, node, known, where)
        known.update(node.outputs)
    for name in graph.outputs:
        _require(name in known, graph.origin, f"the result {name} is never computed")
    return graph


def _check_operands(graph: Graph, node: Node, known: set[str], where: str) -> None:
    required = set(node.op.required(node.inputs))
    _require(required <= set(node.inputs) <= required | set(node.op.optional), where, f"operands {sorted(node.inputs)} of {node.op.mnemonic}")
    for value in node.inputs.values():
        _require(value in known, where, f"{value} is used before it is computed")
    for value in node.outputs:
        _require(value in graph.values and value not in known, where, f"{value} is computed twice or unknown")
    for value in node.updates:
        changeable = graph.values[value].is_state or (graph.values[value].kind == "gradient" and node.phase != "forward")
        _require(changeable and value in node.inputs.values(), where, f"{value} is nothing that {node.name} reads and may change")
    for value in (*node.inputs.values(), *node.outputs):
        known_type = graph.values[value].kind not in ("input", "activation") or graph.type(value).quantization is None
        fits = known_type or graph.type(value).dtype in node.op.element_types
        _require(fits, where, f"{node.op.mnemonic} does not compute with the {graph.type(value).dtype} of {value}")
    types = node_types(graph, node)
    inferred = node.op.infer(types)
    if inferred is not None:
        same = len(inferred) == len(types.results) and all(a == b for a, b in zip(inferred, types.results, strict=True))
        _require(same, where, f"results are {types.results}, {node.op.mnemonic} gives {inferred}")
    complaint = node.op.check(types)
    _require(complaint is None, where, f"{node.op.mnemonic}: {complaint}")


def _require(condition: bool, where: str, what: str) -> None:
    if not condition:
        raise CompileError(where, what, "the model is inconsistent: export it again, or report this if a pass made it so")
