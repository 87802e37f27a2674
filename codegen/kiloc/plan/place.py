"""Offsets in the arena: greedy first fit under several orders, the best taken; deterministic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..ir.graph import Graph, Node
from .lifetimes import Buffer, buffers

ALIGNMENT = 8


@dataclass(frozen=True)
class Plan:
    """Where everything lies.

    offsets: value (or scratch name) -> byte offset. arena_bytes: the peak. lower_bound: the most bytes that are alive at
    one step, which no placement can beat. live: bytes alive at each step by kind.
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
    found = buffers(graph, scratch, outside)
    live: list[dict[str, int]] = [{} for _ in graph.nodes]
    for b in found:
        for step in range(b.first, b.last + 1):
            kind = _kind(b)
            live[step][kind] = live[step].get(kind, 0) + aligned(b.size)
    bound = max((sum(k.values()) for k in live), default=0)
    offsets, height = _best(found, bound)
    named = {name: offset for b, offset in zip(found, offsets, strict=True) for name in b.values}
    return Plan(named, height, bound, graph.nodes, tuple(live), tuple(found))


def _kind(b: Buffer) -> str:
    """The kind a shared buffer is reported under."""
    return next(k for k in ("scratch", "gradient", "activation", "saved", "scalar") if k in b.kinds)


def _best(found: Sequence[Buffer], bound: int) -> tuple[list[int], int]:
    orders: list[Callable[[int], tuple[int, ...]]] = [
        lambda i: (-found[i].size, found[i].first),
        lambda i: (-(found[i].last - found[i].first), -found[i].size),
        lambda i: (-found[i].size * (found[i].last - found[i].first + 1), found[i].first),
        lambda i: (found[i].first, -found[i].size),
        lambda i: (-found[i].last, -found[i].size),
    ]
    best: tuple[list[int], int] | None = None
    for key in orders:
        placed = _first_fit(found, sorted(range(len(found)), key=key))
        if best is None or placed[1] < best[1]:
            best = placed
        if best[1] == bound:
            break
    assert best is not None
    return best


def _first_fit(found: Sequence[Buffer], order: Sequence[int]) -> tuple[list[int], int]:
    offsets = [0] * len(found)
    done: list[int] = []
    height = 0
    for i in order:
        b, size = found[i], aligned(found[i].size)
        taken = sorted((offsets[j], aligned(found[j].size)) for j in done if found[j].first <= b.last and b.first <= found[j].last)
        position = 0
        for start, length in taken:
            if position + size <= start:
                break
            position = max(position, start + length)
        offsets[i] = position
        height = max(height, position + size)
        done.append(i)
    return offsets, height
