"""Where in a state lies what devices exchange that train together, and what each holds for itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ..ir.graph import ACCUMULATED, Graph
from ..optim import Optimizer, Shard, own_part
from .state_layout import state_layout


def shard_layout(graph: Graph, optimizer: Optimizer, shard: Shard) -> dict[str, Any]:
    """For the manifest. at: byte of the number of samples, an int32, with the accumulators of all parameters behind it, `elements` of 32 bits.

    own: the elements [first, end) that this device steps; sums: those of the whole parameters that these are of, which it needs the sums of, for
    their norms. flags: (byte, bytes) of the marks of what saturated in a forward pass, which count for all if one device has set them.
    moments: (byte, bytes) of what no other device holds. used: bytes of the state without padding.
    """
    layout, own = state_layout(graph), own_part(graph, optimizer, shard)
    at, starts, ends, sums = 0, list[int](), list[int](), list[int]()
    for p in graph.parameters:
        size = graph.type(p.values["accumulator"]).size
        assert layout.offset(p.values["accumulator"]) == layout.offset(ACCUMULATED) + 4 + 4 * at
        if p.name in own:
            first, number = own[p.name]
            starts.append(at + first)
            ends.append(at + first + number)
            sums += [at, at + size]
        at += size
    flags = list(dict.fromkeys(p.values["saturated"] for p in graph.parameters if "saturated" in p.values))
    assert all(layout.offset(b) == layout.offset(a) + 1 for a, b in pairwise(flags))
    moments = [[layout.offset(v.name), v.type.bytes] for v in layout.values if v.kind == "optimizer"]
    return {
        "index": shard[0], "count": shard[1], "at": layout.offset(ACCUMULATED), "elements": at, "own": [starts[0], ends[-1]],
        "sums": [sums[0], sums[-1]], "moments": moments, "flags": [layout.offset(flags[0]) if flags else 0, len(flags)],
        "used": layout.HEADER + sum(v.type.bytes for v in layout.values),
    }  # fmt: skip
