"""The part of a training step that depends on nothing trained, and the values that it hands on: where a replayed step begins.

`frozen_first` puts it in front of everything else. `front_length` finds it in any order, also with kernels, by position: the nodes before the
first one that reads or changes state, reads the target, or moves a value to slow memory. `handed_on` names what lives across a position.
"""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Node
from ..ops.paging.page import Page

TARGETS = ("label", "target")


def frozen_first(part: Graph) -> Graph:
    """The same nodes, those of the frozen front first; both parts keep their order."""
    frozen = _frozen(part)
    ordered = sorted(part.nodes, key=lambda node: node.name not in frozen)
    return replace(part, nodes=tuple(ordered))


def front_length(part: Graph) -> int:
    """Nodes at the beginning that are frozen."""
    frozen = _frozen(part)
    return next((i for i, node in enumerate(part.nodes) if node.name not in frozen), len(part.nodes))


def handed_on(part: Graph, position: int, caller: dict[str, str]) -> list[str]:
    """Values that nodes from a position on read, and that are there before: inputs, and results of the nodes in front.

    A view of an input in the caller's buffer counts as the input. caller: value -> name of the caller's buffer.
    """
    there = [*part.inputs, *(out for node in part.nodes[:position] for out in node.outputs)]
    read = {value for node in part.nodes[position:] for value in node.inputs.values()}
    found = (input_of(part, name) if name in caller else name for name in there if name in read and name not in TARGETS)
    return list(dict.fromkeys(found))


def _frozen(part: Graph) -> set[str]:
    """Names of the nodes that depend on inputs and constants alone."""
    moving = {v.name for v in part.values.values() if v.is_state} | set(TARGETS)
    frozen: set[str] = set()
    for node in part.nodes:
        if _moves(node) or moving & set(node.inputs.values()):
            moving.update(node.outputs)
        else:
            frozen.add(node.name)
    return frozen


def _moves(node: Node) -> bool:
    return node.phase != "forward" or bool(node.updates) or isinstance(node.op, Page)


def input_of(part: Graph, name: str) -> str:
    """The input that a view is one of."""
    producers = part.producers()
    while name in producers:
        name = producers[name].inputs["x"]
    return name
