"""What values of adapters have to keep of channels that a build computes without, for the generated code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..ir.graph import Graph
from ..passes.narrowed_training import Limits
from ..plain_text import plain
from .c_names import Code, c_array
from .state_layout import state_layout

AT_MOST = 0x8000
"""KT_AT_MOST of the runtime."""


@dataclass(frozen=True)
class CChannelLimits:
    """What a value of an adapter has to keep: `passes/narrowed_training.py`."""

    entry: int
    count: int
    channels: Code
    limits: Code
    """"" of codes."""
    comment: str


def channel_limits(graph: Graph, limits: Sequence[Limits]) -> tuple[CChannelLimits, ...]:
    """Limits as the generated code has them."""
    numbers, found = {v.name: i for i, v in enumerate(state_layout(graph).adapter)}, []
    for limit in limits:
        marks = limit.at_low or (False,) * len(limit.channels)
        channels = [c | (AT_MOST if low else 0) for c, low in zip(limit.channels, marks, strict=True)]
        found.append(
            CChannelLimits(
                entry=numbers[limit.value],
                count=len(channels),
                channels=c_array(np.array(channels, np.uint16)),
                limits=c_array(np.array(limit.limit, np.int32)) if limit.limit else Code(),
                comment=plain(limit.value),
            )
        )
    return tuple(found)
