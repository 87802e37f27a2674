"""Learning one thing after another: a buffer of old samples, and classes that are added."""

from .new_classes import NewClassPlan, new_class, plan_new_classes
from .replay import (
    COUNTS,
    DRAWN,
    ENTRIES,
    HELD,
    KEEPS,
    LABEL_BYTES,
    MEMORIES,
    OFFERED,
    POLICIES,
    WORD,
    Replay,
    ReplayBuffer,
    ReplayPlan,
    offsets,
    plan_replay,
)

__all__ = [
    "COUNTS",
    "DRAWN",
    "ENTRIES",
    "HELD",
    "KEEPS",
    "LABEL_BYTES",
    "MEMORIES",
    "OFFERED",
    "POLICIES",
    "WORD",
    "NewClassPlan",
    "Replay",
    "ReplayBuffer",
    "ReplayPlan",
    "new_class",
    "offsets",
    "plan_new_classes",
    "plan_replay",
]
