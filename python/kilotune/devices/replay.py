"""What a state says of its replay buffer (`kt.Replay`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc.continual import COUNTS, DRAWN, ENTRIES, HELD, KEEPS, LABEL_BYTES, OFFERED, POLICIES


@dataclass(frozen=True)
class ReplayLayout:
    """Of a build. at: member of the buffer -> bytes from the beginning of the state. slow: whether its entries lie in slow memory."""

    samples: int
    policy: str
    keep: str
    entry_bytes: int
    at: Mapping[str, int]
    slow: bool = False


@dataclass(frozen=True)
class ReplayContent:
    """What a buffer holds.

    offered: samples so far; drawn: replayed steps so far. labels [held]: classes of the entries, None where targets are no class numbers.
    entries [held, bytes]: what is kept of each sample, two values a byte with bits=4; [held, 0] where that lies in slow memory.
    """

    held: int
    offered: int
    drawn: int
    labels: NDArray[np.uint8] | None
    entries: NDArray[np.uint8]


def replay_layout(data: Any) -> ReplayLayout:
    """Of a manifest. Raises ValueError, TypeError or KeyError where it is damaged."""
    at, slow = {k: int(v) for k, v in data["at"].items()}, data.get("memory", "state") == "slow"
    found = ReplayLayout(int(data["samples"]), data["policy"], data["keep"], int(data["entry_bytes"]), at, slow)
    if found.samples < 1 or found.policy not in POLICIES or found.keep not in KEEPS or not {COUNTS, *([] if slow else [ENTRIES])} <= set(at):
        raise ValueError("the replay buffer is none")
    return found


def content_of(state: bytes, layout: ReplayLayout) -> ReplayContent:
    """Of a whole state of the build."""
    counts = np.frombuffer(state, np.int32, 3, layout.at[COUNTS])
    held = int(np.clip(counts[HELD], 0, layout.samples))
    labels = np.frombuffer(state, np.uint8, held, layout.at[LABEL_BYTES]).copy() if LABEL_BYTES in layout.at else None
    size = 0 if layout.slow else layout.entry_bytes
    entries = np.frombuffer(state, np.uint8, held * size, layout.at.get(ENTRIES, 0)).reshape(held, size)
    return ReplayContent(held, int(counts[OFFERED]), int(counts[DRAWN]), labels, entries.copy())
