"""What a state says of classes that were added (`kt.Head(extra_classes=...)`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class NewClasses:
    """Of a build. known: classes that are never closed; closed: biases of those that are; biases_at: where in the state the biases begin."""

    known: int
    closed: tuple[int, ...]
    biases_at: int

    def open(self, state: bytes) -> list[int]:
        """Numbers of the classes that are open in a state."""
        biases = np.frombuffer(state, np.int32, len(self.closed), self.biases_at + 4 * self.known)
        return [*range(self.known), *(self.known + int(i) for i in np.flatnonzero(biases > np.array(self.closed)))]


def new_classes(data: Any) -> NewClasses:
    """Of a manifest. Raises ValueError, TypeError or KeyError where it is damaged."""
    return NewClasses(int(data["known"]), tuple(int(bias) for bias in data["closed"]), int(data["biases_at"]))
