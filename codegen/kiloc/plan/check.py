"""An independent check of a plan: runs the steps on a shadow of the arena that knows whose bytes are whose.

It shares no code with the planner: lifetimes are not derived but observed, and a result that lies over an operand is written
piece by piece into bytes that must have been read for the last time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..ir.graph import Graph, Node
from ..ir.types import ELEMENT_BYTES
from ..ir.verify import node_types

SCRATCH_ALIGNMENT = 4


class PlanError(AssertionError):
    """A step of a plan reads bytes that another value has overwritten, or writes where it reads."""


def check_plan(graph: Graph, steps: Sequence[Node], offsets: Mapping[str, int], arena_bytes: int, scratch: Callable[[Node], int]) -> None:
    """Raises PlanError naming the step, the value and the owner of its bytes.

    The caller writes the inputs before the first step, and reads the results at the end.
    """
    shadow: list[str | None] = [None] * arena_bytes
    identity: dict[str, str] = {}
    for name, offset in offsets.items():
        width = ELEMENT_BYTES[graph.type(name).dtype] if name in graph.values else SCRATCH_ALIGNMENT
        if offset % width:
            raise PlanError(f"{name} at {offset} is not aligned to {width} bytes")

    def extent(name: str, size: int) -> range:
        start = offsets[name]
        if start < 0 or start + size > arena_bytes:
            raise PlanError(f"{name} at {start}, {size} bytes, leaves the arena of {arena_bytes}")
        return range(start, start + size)

    for name in graph.inputs:
        if name not in offsets:
            continue
        if any(shadow[i] is not None for i in extent(name, graph.type(name).bytes)):
            raise PlanError(f"the input {name} lies over another")
        for byte in extent(name, graph.type(name).bytes):
            shadow[byte] = name

    for number, node in enumerate(steps):
        reads: list[tuple[str, range]] = []
        for operand, name in node.inputs.items():
            if name not in offsets:
                continue
            bytes_ = extent(name, graph.type(name).bytes)
            owners = {shadow[i] for i in bytes_} - {identity.get(name, name)}
            if owners:
                raise PlanError(f"step {number} {node.name} reads {name}, whose bytes hold {sorted(map(str, owners))}")
            reads.append((operand, bytes_))
        writes = [(name, extent(name, graph.type(name).bytes)) for name in node.outputs if name in offsets]
        if node.op.view:
            for name, _ in writes:
                identity[name] = identity.get(node.inputs["x"], node.inputs["x"])
            continue
        if scratch(node):
            writes.append((f"{node.name} scratch", extent(f"{node.name} scratch", scratch(node))))
        for i, (name, bytes_) in enumerate(writes):
            for operand, other in reads:
                overlaps = bytes_.start < other.stop and other.start < bytes_.stop
                if overlaps and not (i == 0 and name in node.outputs and _may_overwrite(graph, node, operand, bytes_, other)):
                    raise PlanError(f"step {number} {node.name} writes {name} over its operand {operand}")
            for _, other in writes[:i]:
                if bytes_.start < other.stop and other.start < bytes_.stop:
                    raise PlanError(f"step {number} {node.name}: two results overlap at {name}")
        for name, bytes_ in writes:
            for byte in bytes_:
                shadow[byte] = name
    for name in graph.outputs:
        if name in offsets and {shadow[i] for i in extent(name, graph.type(name).bytes)} - {identity.get(name, name)}:
            raise PlanError(f"the result {name} is overwritten before the caller reads it")


def _may_overwrite(graph: Graph, node: Node, operand: str, result: range, read: range) -> bool:
    """Whether the first result may be written to these bytes while the operand is read from those."""
    if operand == node.op.in_place and result == read:
        return True
    reached = node.op.reach(node_types(graph, node))
    if reached is None or node.inputs[reached[0]] != node.inputs[operand]:
        return False
    reach = reached[1]
    walk = range(len(reach.first)) if result.start <= read.start else range(len(reach.first) - 1, -1, -1)
    last_read = np.full(len(read), -1)
    for time, piece in enumerate(walk):
        last_read[reach.first[piece] : reach.end[piece]] = time
    for time, piece in enumerate(walk):
        start = result.start + piece * reach.piece - read.start
        if (last_read[max(start, 0) : max(start + reach.piece, 0)] >= time).any():
            return False
    return True
