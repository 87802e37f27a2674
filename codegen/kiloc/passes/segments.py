"""Gradients of recurrent layers in segments: fewer states stand in memory at a time, and the forward steps between them are computed twice.

Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016), along the steps of one sequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

from ..ir.graph import Graph
from ..ir.verify import node_types
from ..ops.backward._through_time import Segmented


def segmentations(part: Graph) -> Iterator[Graph]:
    """The slice as it is, then with ever shorter segments, as long as they need less memory."""
    choices = {n.name: n.op.segmentations(node_types(part, n)) for n in part.nodes if isinstance(n.op, Segmented)}
    yield part
    for number in range(1, max(map(len, choices.values()), default=0)):
        chosen = {name: every[min(number, len(every) - 1)] for name, every in choices.items()}
        yield part.with_nodes(
            replace(n, op=replace(cast(Any, n.op), every=chosen[n.name])) if isinstance(n.op, Segmented) and len(choices[n.name]) > 1 else n
            for n in part.nodes
        )
