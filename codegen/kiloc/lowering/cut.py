"""Long kernels of a training step in slices, cut by rows: a slice cannot end inside of a kernel, but between two calls for some rows each."""

from __future__ import annotations

from collections.abc import Mapping

from ..ir.graph import Graph
from ..passes.row_stripes import in_stripes, stripes_of
from ..passes.stripes import STRIPE
from ..plan.slice import Slice

MOST_MORE = 2
"""Times the instructions of a node that its stripes may take together."""


def dearer(taken: Mapping[str, int], stripes: Mapping[str, int]) -> frozenset[str]:
    """Nodes that are not worth it: their rows one by one take another kernel, or read too much more than once. Instructions of nodes by name,
    whole, and where some are cut."""
    together = dict.fromkeys(taken, 0)
    for name, n in stripes.items():
        of = name.partition(STRIPE)[0]
        if STRIPE in name and of in together:
            together[of] += n
    return frozenset(name for name, n in together.items() if n > MOST_MORE * taken[name])


def with_long_kernels_cut(train: Slice, instructions: Mapping[str, int], most: int, aim: int) -> Graph:
    """The slice's graph with each node that takes more than `most` instructions in stripes of its rows, of about `aim` instructions.

    instructions: of each node, by name. What cannot be cut stays whole: an operator without rows, or one that already runs in stripes.
    """
    part = train.graph
    for node in train.graph.nodes:
        taken = instructions.get(node.name, 0)
        if taken <= most or STRIPE in node.name:
            continue
        count = min(stripes_of(part, node), -(-taken // aim))
        if count > 1:
            part = in_stripes(part, {node.name}, count, least=1) or part
    return part
