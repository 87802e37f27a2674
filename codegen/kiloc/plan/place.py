"""Offsets in the arena for everything that a slice of a graph computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..ir.graph import Graph, Node
from .first_fit import greedy
from .lifetimes import Buffer, lifetimes
from .optimal import optimal
from .problem import problem


@dataclass(frozen=True)
class Plan:
    """Where everything lies.

    offsets: value (or scratch name) -> byte offset. arena_bytes: the peak. lower_bound: no placement takes less; `proved`
    says whether the solver proved it, otherwise it is the most bytes that are alive at one step. live: bytes alive at each
    step by kind; what a result shares with the operand that it overwrites counts for the operand.
    """

    offsets: dict[str, int]
    arena_bytes: int
    lower_bound: int
    proved: bool
    steps: tuple[Node, ...]
    live: tuple[dict[str, int], ...]
    buffers: tuple[Buffer, ...]
    alignment: int

    @property
    def peak_step(self) -> int:
        totals = [sum(kinds.values()) for kinds in self.live]
        return totals.index(max(totals)) if totals else 0


def plan_memory(
    graph: Graph,
    scratch: Callable[[Node], int],
    outside: frozenset[str],
    align: int,
    prove: bool = False,
    sharing: bool = True,
    patience: int = 1,
) -> Plan:
    """Place every value of a slice in the arena, at multiples of `align`.

    outside: values in buffers of the caller. prove: search for the best placement and prove how good it is, which takes OR-Tools.
    sharing: see `lifetimes`. patience: times the usual work for a lower arena.
    """
    p = problem(lifetimes(graph, scratch, outside, sharing), len(graph.nodes), align)
    placed, bound = greedy(p, patience), p.bound
    if prove:
        placed, bound = optimal(p, placed)
    named = {name: offset + b.at.get(name, 0) for b, offset in zip(p.buffers, placed.offsets, strict=True) for name in b.values}
    return Plan(named, placed.height, bound, prove, graph.nodes, p.live, p.buffers, align)
