"""Which part of a slice runs in stripes of rows, forward or backward: the fewest rows computed twice that bring the peak within a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ..ir.graph import Graph, Node
from ..ir.verify import node_types, total_macs
from ..ops.model.lora import LoRAInnerGradient
from ..passes.recompute import AGAIN
from ..passes.row_stripes import in_stripes, stripes_of
from ..passes.stripes import STRIPE
from .lifetimes import lifetimes
from .problem import WORD, total_bytes

COUNTS = (2, 4, 8, 12, 16, 24)
FIRST_COUNTS = (8, 4)
"""Stripes of every part that is looked at, the second where rows are too few for the first; other numbers are tried of the best parts."""
LONGEST = 7
"""Groups of nodes before the peak, and after it, that a part has at most."""
MOST_SWEEPS = 2
"""Gradients of LoRA's inner values in a part: what is in front of each is computed once more."""
FOLLOWED = 2
"""Parts that are looked at with other numbers of stripes."""


def row_stripes(part: Graph, budget: int, scratch: Callable[[Node], int], outside: frozenset[str], align: int = WORD) -> Graph:
    """The slice with parts in stripes until its bytes alive are within the budget, or none lowers the peak any more.

    scratch: of each node of the slice; a stripe of it is taken to need as much.
    """
    own = {n.name: scratch(n) for n in part.nodes}

    def profile(graph: Graph) -> list[int]:
        found = lifetimes(graph, lambda n: own.get(AGAIN.sub("", n.name.partition(STRIPE)[0]), 0) if not n.op.view else 0, outside)
        return total_bytes(found, len(graph.nodes), align)

    now = profile(part)
    while max(now, default=0) > budget:
        best = _best(part, now, budget, profile)
        if best is None:
            break
        part, now = best
    return part


def _best(part: Graph, now: list[int], budget: int, profile: Callable[[Graph], list[int]]) -> tuple[Graph, list[int]] | None:
    usual, peak = total_macs(part), max(now)

    def look(names: frozenset[str], counts: Sequence[int]) -> Iterator[tuple[tuple[int, ...], Graph, list[int]]]:
        for count in counts:
            graph = in_stripes(part, names, count)
            if graph is None:
                continue
            after = profile(graph)
            if max(after) < peak:
                own = max(total for total, node in zip(after, graph.nodes, strict=True) if STRIPE in node.name)
                more = total_macs(graph) - usual
                # Where only other steps are above the budget, these are next.
                yield (0, more, len(graph.nodes)) if own <= budget else (1, max(after), own), graph, after

    regions = list(_regions(part, now.index(peak)))
    first = sorted((found[0], i) for i, region in enumerate(regions) for found in [next(look(region, FIRST_COUNTS), None)] if found)
    found = [f for _, i in first[:FOLLOWED] for f in look(regions[i], COUNTS)]
    return min(found, key=lambda f: f[0])[1:] if found else None


def _regions(part: Graph, step: int) -> Iterator[frozenset[str]]:
    """Parts around a step: from one node that makes an image to the end of what follows another."""
    phase = part.nodes[step].phase
    if phase == "update":
        phase = "backward"
    nodes = [(i, n) for i, n in enumerate(part.nodes) if n.phase == phase]
    groups: list[list[Node]] = []
    at, readers = 0, part.consumers()
    for i, node in nodes:
        possible = stripes_of(part, node) > 1 and STRIPE not in node.name
        if not groups or (possible and _begins(part, node)):
            groups.append([])
        if possible:
            groups[-1].append(node)
        if i <= step:
            at = len(groups) - 1
    for first in range(max(0, at - LONGEST), at + 1):
        for end in range(at + 1, min(len(groups), at + LONGEST) + 1):
            for last in _ends(part, groups[end - 1], readers):
                chosen = [n for group in (*groups[first : end - 1], last) for n in group]
                sweeps = sum(isinstance(n.op, LoRAInnerGradient) for n in chosen)
                if groups[first] and last and len(chosen) > 1 and sweeps <= MOST_SWEEPS:
                    yield frozenset(n.name for n in chosen)


def _ends(part: Graph, group: Sequence[Node], readers: Mapping[str, Sequence[Node]]) -> Iterator[Sequence[Node]]:
    """A group as the last of a part: all of it, and as far as a gradient that goes on along several paths."""
    yield group
    for i, node in enumerate(group[:-1]):
        if node.outputs and part.values[node.outputs[0]].kind == "gradient" and len(readers.get(node.outputs[0], ())) > 1:
            yield group[: i + 1]
            return


def _begins(part: Graph, node: Node) -> bool:
    """Whether a node makes an image anew: a layer, its gradient, or what spreads a pool's."""
    t = node_types(part, node)
    return bool(node.outputs) and (node.op.macs(t) > 0 or (node.op.height(t) > 0 and not node.op.stripe(t, node.op.least_rows(t, (0, 1))).needs))
