"""Buffers and their lifetimes: views share their operand's bytes, in-place operators reuse an operand that dies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..ir.graph import Graph, Node

ARENA_KINDS = ("activation", "saved", "gradient", "scalar")


@dataclass
class Buffer:
    """Bytes that hold `values` from step `first` to step `last`, both included."""

    values: list[str]
    size: int
    first: int
    last: int
    kinds: set[str] = field(default_factory=set)


def buffers(graph: Graph, scratch: Callable[[Node], int], outside: frozenset[str]) -> list[Buffer]:
    """Every buffer of the arena. `outside`: values in buffers of the caller (inputs, results)."""
    last_use = _last_uses(graph)
    owner: dict[str, Buffer | None] = dict.fromkeys(outside)
    found: list[Buffer] = []
    for step, node in enumerate(graph.nodes):
        for position, name in enumerate(node.outputs):
            if name in owner:
                continue
            if node.op.view and owner.get(node.inputs["x"], found) is None:
                owner[name] = None
                continue
            source = _shared(node, position, step, owner, graph)
            if source is None:
                source = Buffer([], graph.type(name).bytes, step, step)
                found.append(source)
            owner[name] = source
            source.values.append(name)
            source.kinds.add(graph.values[name].kind)
            source.last = max(source.last, last_use.get(name, step))
        size = scratch(node)
        if size:
            found.append(Buffer([scratch_name(node)], size, step, step, {"scratch"}))
    return found


def scratch_name(node: Node) -> str:
    return f"{node.name} scratch"


def _last_uses(graph: Graph) -> dict[str, int]:
    found: dict[str, int] = {}
    for step, node in enumerate(graph.nodes):
        for name in node.inputs.values():
            found[name] = step
    found.update(dict.fromkeys(graph.outputs, len(graph.nodes) - 1))
    return found


def _shared(node: Node, position: int, step: int, owner: dict[str, Buffer | None], graph: Graph) -> Buffer | None:
    """The operand's buffer that this result can live in."""
    if position > 0:
        return None
    if node.op.view:
        return owner.get(node.inputs["x"])
    operand = node.op.in_place
    if operand is None:
        return None
    buffer = owner.get(node.inputs[operand])
    if buffer is None or buffer.last != step or buffer.size != graph.type(node.outputs[0]).bytes:
        return None
    others = [owner.get(v) for o, v in node.inputs.items() if o != operand]
    return None if any(other is buffer for other in others) else buffer
