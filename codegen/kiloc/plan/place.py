"""Offsets in the arena: greedy first fit under several orders, the best taken; deterministic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..ir.graph import Graph, Node
from .lifetimes import Buffer, Lifetimes, Overlap, lifetimes

ALIGNMENT = 8


@dataclass(frozen=True)
class Plan:
    """Where everything lies.

    offsets: value (or scratch name) -> byte offset. arena_bytes: the peak. lower_bound: the most bytes that are alive at
    one step, which no placement can beat. live: bytes alive at each step by kind; what a result shares with the operand
    that it overwrites counts for the operand.
    """

    offsets: dict[str, int]
    arena_bytes: int
    lower_bound: int
    steps: tuple[Node, ...]
    live: tuple[dict[str, int], ...]
    buffers: tuple[Buffer, ...]

    @property
    def peak_step(self) -> int:
        totals = [sum(kinds.values()) for kinds in self.live]
        return totals.index(max(totals)) if totals else 0


def aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def plan_memory(graph: Graph, scratch: Callable[[Node], int], outside: frozenset[str]) -> Plan:
    """Place every value of a slice in the arena."""
    found = lifetimes(graph, scratch, outside)
    live = live_bytes(found, len(graph.nodes))
    bound = max((sum(k.values()) for k in live), default=0)
    offsets, height = _best(found, bound)
    named = {name: offset for b, offset in zip(found.buffers, offsets, strict=True) for name in b.values}
    return Plan(named, height, bound, graph.nodes, tuple(live), found.buffers)


def live_bytes(found: Lifetimes, steps: int) -> list[dict[str, int]]:
    """Bytes alive at each step, by kind."""
    live: list[dict[str, int]] = [{} for _ in range(steps)]
    for b in found.buffers:
        for step in range(b.first, b.last + 1):
            live[step][_kind(b)] = live[step].get(_kind(b), 0) + aligned(b.size)
    for overlap in found.overlaps:
        result = found.buffers[overlap.result]
        live[result.first][_kind(result)] -= _shared_bytes(found, overlap)
    return live


def _kind(b: Buffer) -> str:
    """The kind a shared buffer is reported under."""
    return next(k for k in ("scratch", "gradient", "activation", "saved", "scalar") if k in b.kinds)


def _shared_bytes(found: Lifetimes, overlap: Overlap) -> int:
    """What the two buffers save by lying as near as they may."""
    result, operand = aligned(found.buffers[overlap.result].size), aligned(found.buffers[overlap.operand].size)
    before = max(result, aligned(overlap.below) + operand)
    after = max(operand, aligned(overlap.above) + result)
    return result + operand - min(before, after)


def _best(found: Lifetimes, bound: int) -> tuple[list[int], int]:
    buffers = found.buffers
    orders: list[Callable[[int], tuple[int, ...]]] = [
        lambda i: (-buffers[i].size, buffers[i].first),
        lambda i: (-(buffers[i].last - buffers[i].first), -buffers[i].size),
        lambda i: (-buffers[i].size * (buffers[i].last - buffers[i].first + 1), buffers[i].first),
        lambda i: (buffers[i].first, -buffers[i].size),
        lambda i: (-buffers[i].last, -buffers[i].size),
    ]
    conflicts = _conflicts(found)
    best: tuple[list[int], int] | None = None
    for key in orders:
        placed = _first_fit(buffers, conflicts, sorted(range(len(buffers)), key=key))
        if best is None or placed[1] < best[1]:
            best = placed
        if best[1] == bound:
            break
    assert best is not None
    return best


Conflicts = list[dict[int, tuple[int, int]]]
"""For each buffer i, the buffers j alive with it: i must begin at least d[0] bytes before j, or d[1] after it."""


def _conflicts(found: Lifetimes) -> Conflicts:
    sizes = [aligned(b.size) for b in found.buffers]
    conflicts: Conflicts = [{} for _ in sizes]
    by_start = sorted(range(len(sizes)), key=lambda i: found.buffers[i].first)
    alive: list[int] = []
    for i in by_start:
        alive = [j for j in alive if found.buffers[j].last >= found.buffers[i].first]
        for j in alive:
            conflicts[i][j], conflicts[j][i] = (sizes[i], sizes[j]), (sizes[j], sizes[i])
        alive.append(i)
    for o in found.overlaps:
        below, above = aligned(o.below), aligned(o.above)
        conflicts[o.result][o.operand], conflicts[o.operand][o.result] = (below, above), (above, below)
    return conflicts


def _first_fit(buffers: Sequence[Buffer], conflicts: Conflicts, order: Sequence[int]) -> tuple[list[int], int]:
    offsets: dict[int, int] = {}
    height = 0
    for i in order:
        taken = sorted((offsets[j] - before, offsets[j] + after) for j, (before, after) in conflicts[i].items() if j in offsets)
        position = 0
        for low, high in taken:
            if position <= low:
                break
            position = max(position, high)
        offsets[i] = position
        height = max(height, position + aligned(buffers[i].size))
    return [offsets[i] for i in range(len(buffers))], height
