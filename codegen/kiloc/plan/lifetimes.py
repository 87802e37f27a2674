"""Buffers, their lifetimes, and how near two of them may lie.

Views share their operand's bytes and elementwise operators reuse an operand that dies. Any other result that is written while an
operand dies may still overlap it, as far as the kernel's reading stays ahead of its writing (`Op.reach`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..ir.graph import Graph, Node
from ..ir.operator import Op
from ..ir.verify import node_types

ARENA_KINDS = ("activation", "saved", "gradient", "scalar")


@dataclass
class Buffer:
    """Bytes that hold `values` from step `first` to step `last`, both included."""

    values: list[str]
    size: int
    first: int
    last: int
    kinds: set[str] = field(default_factory=set)
    pinned: bool = False
    """An input of the arena: its offset is the same in every slice of the model."""
    at: dict[str, int] = field(default_factory=dict)
    """Of a value that is a view of some rows: bytes from the beginning of the buffer; 0 of any other."""


@dataclass(frozen=True)
class Overlap:
    """Two buffers, by number, of which one dies in the step that makes the other.

    The result may begin at least `below` bytes before the operand, or at least `above` bytes after it.
    """

    result: int
    operand: int
    below: int
    above: int


@dataclass(frozen=True)
class Lifetimes:
    buffers: tuple[Buffer, ...]
    overlaps: tuple[Overlap, ...]


def lifetimes(graph: Graph, scratch: Callable[[Node], int], outside: frozenset[str], sharing: bool = True) -> Lifetimes:
    """Every buffer of the arena.

    outside: values in buffers of the caller (targets; inputs and results by default). sharing: False lets only views share bytes.
    What waits in slow memory has no buffer.
    """
    last_use = _last_uses(graph)
    owner: dict[str, Buffer | None] = dict.fromkeys(outside)
    owner.update((v.name, None) for v in graph.values.values() if v.kind == "offloaded")
    found = [Buffer([i], graph.type(i).bytes, 0, last_use.get(i, 0), {"activation"}, True) for i in graph.inputs if i not in owner]
    owner.update((b.values[0], b) for b in found)
    for step, node in enumerate(graph.nodes):
        for position, name in enumerate(node.outputs):
            if name in owner:
                continue
            if node.op.view and owner.get(node.inputs["x"], found) is None:
                owner[name] = None
                continue
            source = _shared(node, position, step, owner, graph) if sharing or node.op.view else None
            if source is None:
                source = Buffer([], graph.type(name).bytes, step, step)
                found.append(source)
            owner[name] = source
            source.values.append(name)
            if node.op.view and (offset := source.at.get(node.inputs["x"], 0) + node.op.view_offset(node_types(graph, node))):
                source.at[name] = offset
            source.kinds.add(graph.values[name].kind)
            source.last = max(source.last, last_use.get(name, step))
        size = scratch(node)
        if size:
            found.append(Buffer([scratch_name(node)], size, step, step, {"scratch"}))
    return Lifetimes(tuple(found), tuple(_overlaps(graph, owner, found)) if sharing else ())


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
    buffer = owner.get(node.inputs.get(operand, ""))
    if buffer is None or not _dies(buffer, step, graph) or buffer.size != graph.type(node.outputs[0]).bytes:
        return None
    others = [owner.get(v) for o, v in node.inputs.items() if o != operand]
    return None if any(other is buffer for other in others) else buffer


def _dies(buffer: Buffer, step: int, graph: Graph) -> bool:
    """Whether nobody reads a buffer after this step: no later node, and not the caller."""
    return buffer.last == step and not any(name in graph.outputs for name in buffer.values)


def _overlaps(graph: Graph, owner: dict[str, Buffer | None], found: list[Buffer]) -> list[Overlap]:
    number = {id(b): i for i, b in enumerate(found)}
    overlaps = []
    for step, node in enumerate(graph.nodes):
        result = owner.get(node.outputs[0]) if node.outputs else None
        if result is None or result.first != step or type(node.op).reach is Op.reach:
            continue
        reached = node.op.reach(node_types(graph, node))
        operand = owner.get(node.inputs[reached[0]]) if reached else None
        if reached is None or operand is None or operand is result or not _dies(operand, step, graph):
            continue
        if any(owner.get(v) is operand for o, v in node.inputs.items() if v != node.inputs[reached[0]]):
            continue
        if graph.type(node.inputs[reached[0]]).bytes != operand.size or graph.type(node.outputs[0]).bytes != result.size:
            continue  # a view of some rows
        overlaps.append(Overlap(number[id(result)], number[id(operand)], *reached[1].distances(result.size, operand.size)))
    return overlaps
