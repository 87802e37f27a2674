"""An independent check of a plan: runs the steps on a shadow of the arena that knows whose bytes are whose.

It shares no code with the planner: lifetimes are not derived but observed, and a result that lies over an operand is written
piece by piece into bytes that must have been read for the last time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import Graph, Node
from ..ir.reach import Reach
from ..ir.types import ELEMENT_BYTES
from ..ir.verify import node_types

SCRATCH_ALIGNMENT = 4

Times = NDArray[np.int64]


class PlanError(AssertionError):
    """A step of a plan reads bytes that another value has overwritten, or writes where it reads."""


class _Shadow:
    """Whose value each byte of the arena holds."""

    def __init__(self, size: int) -> None:
        self.names: list[str | None] = [None]
        self.numbers = np.zeros(size, np.int32)

    def take(self, name: str, bytes_: range) -> None:
        self.names.append(name)
        self.numbers[bytes_.start : bytes_.stop] = len(self.names) - 1

    def owners(self, bytes_: range) -> set[str | None]:
        return {self.names[i] for i in np.unique(self.numbers[bytes_.start : bytes_.stop])}


def check_plan(graph: Graph, steps: Sequence[Node], offsets: Mapping[str, int], arena_bytes: int, scratch: Callable[[Node], int]) -> None:
    """Raises PlanError naming the step, the value and the owner of its bytes.

    The caller writes the inputs before the first step, and reads the results at the end.
    """
    shadow, identity = _Shadow(arena_bytes), dict[str, str]()
    _check_alignment(graph, offsets)

    def extent(name: str, size: int) -> range:
        start = offsets[name]
        if start < 0 or start + size > arena_bytes:
            raise PlanError(f"{name} at {start}, {size} bytes, leaves the arena of {arena_bytes}")
        return range(start, start + size)

    def strangers(name: str, bytes_: range) -> set[str | None]:
        return shadow.owners(bytes_) - {identity.get(name, name)}

    for name in graph.inputs:
        if name not in offsets:
            continue
        if shadow.owners(extent(name, graph.type(name).bytes)) - {None}:
            raise PlanError(f"the input {name} lies over another")
        shadow.take(name, extent(name, graph.type(name).bytes))

    for number, node in enumerate(steps):
        reads: list[tuple[str, range]] = []
        for operand, name in node.inputs.items():
            if name not in offsets:
                continue
            bytes_ = extent(name, graph.type(name).bytes)
            if owners := strangers(name, bytes_):
                raise PlanError(f"step {number} {node.name} reads {name}, whose bytes hold {sorted(map(str, owners))}")
            reads.append((operand, bytes_))
        writes = [(name, extent(name, graph.type(name).bytes)) for name in node.outputs if name in offsets]
        if node.op.view:
            for name, bytes_ in writes:
                if bytes_.start != offsets[node.inputs["x"]] + node.op.view_offset(node_types(graph, node)):
                    raise PlanError(f"step {number} {node.name}: {name} at {bytes_.start} is no view of {node.inputs['x']}")
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
            shadow.take(name, bytes_)
    for name in graph.outputs:
        if name in offsets and strangers(name, extent(name, graph.type(name).bytes)):
            raise PlanError(f"the result {name} is overwritten before the caller reads it")


def _check_alignment(graph: Graph, offsets: Mapping[str, int]) -> None:
    for name, offset in offsets.items():
        width = ELEMENT_BYTES[graph.type(name).dtype] if name in graph.values else SCRATCH_ALIGNMENT
        if offset % width:
            raise PlanError(f"{name} at {offset} is not aligned to {width} bytes")


def _may_overwrite(graph: Graph, node: Node, operand: str, result: range, read: range) -> bool:
    """Whether the first result may be written to these bytes while the operand is read from those."""
    if operand == node.op.in_place and result == read:
        return True
    reached = node.op.reach(node_types(graph, node))
    if reached is None or node.inputs[reached[0]] != node.inputs[operand]:
        return False
    reach = reached[1]
    times = np.arange(len(reach.first))
    times = times if result.start <= read.start else times[::-1]
    largest = _largest_of(_last_reads(reach, times, len(read)), reach.piece)
    starts = result.start - read.start + reach.piece * np.arange(len(times))
    return not (largest[np.clip(starts, -reach.piece, len(read)) + reach.piece] >= times).any()


def _last_reads(reach: Reach, times: Times, size: int) -> Times:
    """When each of `size` bytes is read for the last time, by pieces at these times; -1 where never.

    A span of bytes is two that overlap and have a power of two each; those of each length are halved until single bytes are left.
    """
    end = np.minimum(reach.end, size)
    some = reach.first < end
    first, end, times = reach.first[some], end[some], times[some]
    found = np.full(size, -1, np.int64)
    if not len(times):
        return found
    levels = np.frexp(end - first)[1] - 1
    for level in range(int(levels.max()), -1, -1):
        now, half = levels == level, 1 << level
        if found.size > half:
            whole = found.copy()
            np.maximum(found[half:], whole[:-half], out=found[half:])
        for start in (first[now], end[now] - half):
            np.maximum.at(found, start, times[now])
    return found


def _largest_of(values: Times, width: int) -> Times:
    """Of each `width` neighbours, the first ones `width` before the first value; outside there is -1."""
    outside = np.full(width, -1, values.dtype)
    found, reached = np.concatenate([outside, values, outside]), 1
    while reached < width:
        step = min(reached, width - reached)
        found[:-step] = np.maximum(found[:-step], found[step:])
        reached += step
    return found
