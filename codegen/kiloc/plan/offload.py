"""Which saved values wait in slow memory: for a budget the fewest bytes to move that were found.

All of them to begin with; then each, the largest first, stays in the arena after all where the fullest step has room for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property

from ..ir.graph import Graph, Node
from ..passes.offload import offload
from ..passes.recompute import saved_values
from .lifetimes import lifetimes
from .problem import WORD, total_bytes


@dataclass(frozen=True)
class Offloads:
    """A training slice whose saved values may leave the arena. scratch, outside, align: as for `plan_memory`."""

    part: Graph
    scratch: Callable[[Node], int]
    outside: frozenset[str]
    align: int = WORD

    def candidates(self) -> list[str]:
        """The largest first, in the order of computation among equals."""
        return sorted((v for v in saved_values(self.part) if v not in self.outside), key=lambda v: -self.part.type(v).bytes)

    def bytes(self, names: Collection[str]) -> int:
        """The most bytes alive at one step with these values in slow memory."""
        part = offload(self.part, names)
        return max(total_bytes(lifetimes(part, self._scratch_of, self.outside), len(part.nodes), self.align), default=0)

    def _scratch_of(self, node: Node) -> int:
        """A transfer takes none."""
        return self._sizes.get(node.name, 0)

    @cached_property
    def _sizes(self) -> dict[str, int]:
        return {node.name: self.scratch(node) for node in self.part.nodes}

    def choose(self, budget: int) -> tuple[str, ...] | None:
        """Values whose absence brings the bytes alive down to the budget; None where that of all of them does not."""
        chosen = self.candidates()
        if self.bytes(chosen) > budget:
            return None
        for name in tuple(chosen):
            fewer = [v for v in chosen if v != name]
            if self.bytes(fewer) <= budget:
                chosen = fewer
        return tuple(chosen)

    def least(self) -> int:
        """The fewest bytes alive that offloading reaches."""
        return self.bytes(self.candidates())
