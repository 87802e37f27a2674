"""Which layers run stripe by stripe: the fewest rows computed twice that bring the peak within a budget."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ..ir.graph import Graph, Node
from ..ir.verify import total_macs
from ..passes.stripes import STRIPE, chains, striped
from .lifetimes import lifetimes
from .problem import WORD, total_bytes

COUNTS = (2, 3, 4, 6, 8, 12, 16)
STRIPED = re.compile(re.escape(STRIPE) + r"\d+$")
"""Ends the name of a node that computes one stripe; writing it into the image takes no scratch."""
LONGEST = 8
"""Layers of a chain that are looked at: every further one adds rows to each stripe."""


def stripe(part: Graph, budget: int, scratch: Callable[[Node], int], outside: frozenset[str], align: int = WORD) -> Graph:
    """The slice with chains striped until its bytes alive are within the budget, or no chain lowers the peak any more.

    scratch: of each node of the slice; a stripe of it is taken to need as much.
    """
    own = {n.name: scratch(n) for n in part.nodes}

    def profile(graph: Graph) -> list[int]:
        return total_bytes(lifetimes(graph, lambda n: own.get(STRIPED.sub("", n.name), 0), outside), len(graph.nodes), align)

    now = profile(part)
    usual = total_macs(part)
    while max(now, default=0) > budget:
        best: tuple[tuple[int, ...], Graph, list[int]] | None = None
        for graph in _candidates(part, part.nodes[now.index(max(now))].name):
            after = profile(graph)
            if max(after) >= max(now):
                continue
            fits, more = max(after) <= budget, total_macs(graph) - usual
            rank = (0, more, max(after)) if fits else (1, max(after), more)
            if best is None or rank < best[0]:
                best = rank, graph, after
        if best is None:
            break
        part, now = best[1], best[2]
    return part


def _candidates(part: Graph, peak: str) -> Iterator[Graph]:
    """Every way to stripe a part of the chain in which the peak lies."""
    for run in chains(part):
        names = [n.name for n in run]
        if peak not in names or any(STRIPE in n for n in names):
            continue
        at = names.index(peak)
        for first in range(max(0, at - LONGEST), at + 1):
            for end in range(max(at + 1, first + 2), min(len(run), first + LONGEST) + 1):
                height = part.type(run[end - 1].outputs[0]).shape[1]
                for count in COUNTS:
                    if count <= height:
                        yield striped(part, run[first:end], count)
