"""Which saved values to recompute: the fewest extra MACs for a budget, and what each further byte costs.

A candidate is a set of saved values that are dropped. Its memory is the most bytes alive at one step, its cost the MACs of what is
computed again. Where few values are saved every set is tried; else a set grows greedily: by the cheapest value that meets the budget, or
else by the one that brings the steps above it down most for its cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import combinations
from types import MappingProxyType

from ..ir.graph import Graph, Node
from ..ir.verify import total_macs
from ..passes.postpone import postponed
from ..passes.recompute import AGAIN, recompute, saved_values
from ..passes.spread_again import spread_again
from ..passes.stripes import STRIPE
from .lifetimes import lifetimes
from .problem import WORD, total_bytes

MOST_EXACT = 8
"""Saved values up to which every set is tried."""
FRONT_WORK = 50_000
"""Nodes that the search for a report's front walks, all graphs it looks at together: about a third of a second."""
PROVING = 10
"""Times that many with `optimal`: every set of some 11 saved values."""


@dataclass(frozen=True)
class Choice:
    """Saved values to recompute. bytes: the most alive at one step; macs: of one sample, on top of the usual ones.

    nested: as in `passes.recompute`. late: in the order of `passes.postpone`.
    """

    dropped: tuple[str, ...]
    nested: bool
    bytes: int
    macs: int
    late: bool = False

    def apply(self, part: Graph) -> Graph:
        return recompute(waiting(part, self.dropped) if self.late else part, self.dropped, self.nested)


def waiting(part: Graph, dropped: Collection[str]) -> Graph:
    """The slice in the order of `passes.postpone`, where what a pool's gradient spreads does not wait for a branch."""
    return spread_again(postponed(part, dropped))


def family(node: Node) -> str:
    """The name of a node, the same for each time that something is computed again, and for each of its stripes."""
    return AGAIN.sub(".again", node.name.partition(STRIPE)[0])


@dataclass(frozen=True)
class Profile:
    """totals: bytes alive at each step. spans: first and last step of each saved value that is kept."""

    totals: list[int]
    spans: dict[str, tuple[int, int]]

    def excess(self, budget: int) -> int:
        """How far the steps lie above the budget, all together."""
        return sum(total - budget for total in self.totals if total > budget)

    def crowding(self, budget: int) -> frozenset[str]:
        """Saved values that are alive at a step above the budget: without any other the same steps stay above it."""
        above = [step for step, total in enumerate(self.totals) if total > budget]
        return frozenset(v for v, (first, last) in self.spans.items() if any(first <= step <= last for step in above))


@dataclass(frozen=True)
class Walk:
    """What does not depend on `aside`: the choice and the profile without it, and the families of the nodes."""

    choice: Choice
    profile: Profile
    families: list[str]


@dataclass(frozen=True)
class Front:
    """Choices that no other beats in both bytes and MACs, cheapest first. exact: no set does, for all were tried."""

    choices: tuple[Choice, ...]
    exact: bool


class Recomputations:
    """Memory and cost of dropping saved values of one training slice; every set is looked at once.

    late: see `Choice`. aside: by how much stripes will bring down the steps of nodes, by their `family`.
    """

    def __init__(
        self,
        part: Graph,
        scratch: Callable[[Node], int],
        outside: frozenset[str],
        align: int = WORD,
        late: bool = False,
        aside: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.part = part
        self.late = late
        self.aside = aside
        self.outside = outside
        self.align = align
        kept = part.streams()  # a state that has moved on gives other values
        moved = {v.name for v in part.values.values() if v.kind == "offloaded"}  # takes nothing of the arena
        self.candidates = [v for v in saved_values(part) if v not in outside and v not in moved and not kept]
        self._scratch = {n.name: scratch(n) for n in part.nodes}
        self._walks: dict[tuple[frozenset[str], bool], Walk] = {}
        self._known: dict[tuple[frozenset[str], bool], tuple[Choice, Profile]] = {}
        self.work = 0
        """Nodes walked so far, of all graphs looked at."""

    def scratch(self, node: Node) -> int:
        """Bytes of a node's scratch; what is computed again needs as much as the first time."""
        found = self._scratch.get(node.name)
        return self._scratch[AGAIN.sub("", node.name)] if found is None else found

    def beside(self, aside: Mapping[str, int]) -> Recomputations:
        """The same search with other steps brought down, without walking graphs again."""
        found = copy(self)
        found.aside, found._known = aside, {}
        return found

    def look(self, dropped: frozenset[str], nested: bool = False) -> tuple[Choice, Profile]:
        if (dropped, nested) not in self._known:
            walk = self._walked(dropped, nested)
            totals = walk.profile.totals
            if self.aside:
                totals = [total - self.aside.get(name, 0) for name, total in zip(walk.families, totals, strict=True)]
            self._known[dropped, nested] = replace(walk.choice, bytes=max(totals, default=0)), Profile(totals, walk.profile.spans)
        return self._known[dropped, nested]

    def _walked(self, dropped: frozenset[str], nested: bool) -> Walk:
        if (dropped, nested) not in self._walks:
            part = recompute(waiting(self.part, dropped) if self.late else self.part, dropped, nested)
            found = lifetimes(part, self.scratch, self.outside)
            totals = total_bytes(found, len(part.nodes), self.align)
            macs = total_macs(part, (n for n in part.nodes if n.name not in self._scratch))
            ordered = tuple(v for v in self.candidates if v in dropped)
            self.work += len(part.nodes)
            spans = {v: (b.first, b.last) for b in found.buffers for v in b.values}
            profile = Profile(totals, {v: spans[v] for v in self.candidates if v not in dropped})
            choice = Choice(ordered, nested, max(totals, default=0), macs, self.late)
            self._walks[dropped, nested] = Walk(choice, profile, [family(node) for node in part.nodes])
        return self._walks[dropped, nested]

    # -- search ---------------------------------------------------------------------------------------
    def choose(self, budget: int) -> Choice | None:
        """The cheapest set found whose bytes are within the budget; None where none was found."""
        if len(self.candidates) <= MOST_EXACT:
            return next((c for c in self.exact() if c.bytes <= budget), None)
        return self.greedy(budget)

    def greedy(self, budget: int, work: float = math.inf) -> Choice | None:
        """The same without trying every set; None also where so much work is done before one was found."""
        found = [c for c in (self._grown(budget, False, work), self._grown(budget, True, work)) if c is not None]
        return min(found, key=lambda c: (c.macs, c.bytes), default=None)

    def _grown(self, budget: int, nested: bool, work: float) -> Choice | None:
        dropped: frozenset[str] = frozenset()
        while self.look(dropped, nested)[0].bytes > budget:
            larger = self._larger(dropped, nested, budget) if self.work <= work else None
            if larger is None:
                return None
            dropped = larger
        return self._pruned(dropped, nested, budget)

    def _larger(self, dropped: frozenset[str], nested: bool, budget: int) -> frozenset[str] | None:
        """The set with one more value; None where none brings the steps above the budget down."""
        choice, profile = self.look(dropped, nested)
        excess, crowding = profile.excess(budget), profile.crowding(budget)
        best: tuple[tuple[int, float], frozenset[str]] | None = None
        for value in (v for v in self.candidates if v in crowding):
            found, after = self.look(dropped | {value}, nested)
            gain = excess - after.excess(budget)
            rank = (1, -float(found.macs)) if found.bytes <= budget else (0, gain / max(found.macs - choice.macs, 1))
            if gain > 0 and (best is None or rank > best[0]):
                best = rank, dropped | {value}
        return best[1] if best else None

    def _pruned(self, dropped: frozenset[str], nested: bool, budget: int) -> Choice:
        """Without what later choices have made needless."""
        for value in sorted(dropped, key=self.candidates.index):
            fewer = self.look(dropped - {value}, nested)[0]
            if fewer.bytes <= budget and fewer.macs <= self.look(dropped, nested)[0].macs:
                dropped = dropped - {value}
        return self.look(dropped, nested)[0]

    def nearest(self, budget: int) -> Choice:
        """The cheapest nested set found whose bytes are within the budget, or else one of the fewest bytes."""
        return self._grown(budget, True, math.inf) or self._emptied(True)

    def least(self) -> Choice:
        """The fewest bytes, whatever they cost; where not every set is tried, dropping one value after the other at the fullest steps."""
        if len(self.candidates) <= MOST_EXACT:
            return self.exact()[-1]
        return min(map(self._emptied, (False, True)), key=lambda c: (c.bytes, c.macs))

    def _emptied(self, nested: bool) -> Choice:
        dropped, step = frozenset[str](), self._step()
        while True:
            bytes_ = self.look(dropped, nested)[0].bytes
            larger = self._larger(dropped, nested, bytes_ - step)
            if larger is not None:
                dropped = larger
            elif step > 1:
                step //= 2
            else:
                return self._pruned(dropped, nested, bytes_)

    def shown(self, proving: bool = False) -> Front:
        """The front that a report shows, within FRONT_WORK: over every set where that is enough, else what the greedy search meets.

        proving: with PROVING times the work.
        """
        work = FRONT_WORK * (PROVING if proving else 1)
        if 2 ** (len(self.candidates) + 1) * len(self.part.nodes) <= work:
            return Front(tuple(self._every_set()), True)
        return Front(tuple(pareto(self._descended(work))), False)

    def _step(self) -> int:
        return max(self.look(frozenset())[0].bytes // 16, 8)

    def _descended(self, work: float) -> list[Choice]:
        """What the greedy search finds for budgets that fall step by step, until there is nothing, or so much work is done."""
        found = [self.look(frozenset())[0]]
        while (further := self.greedy(found[-1].bytes - self._step(), work)) is not None:
            found.append(further)
        return found

    def exact(self) -> list[Choice]:
        """The Pareto front over every set. Takes 2^(candidates + 1) looks: for at most MOST_EXACT candidates."""
        assert len(self.candidates) <= MOST_EXACT, len(self.candidates)
        return self._every_set()

    def _every_set(self) -> list[Choice]:
        return pareto([self.look(s, nested)[0] for s in _subsets(self.candidates) for nested in (False, True)])


def pareto(choices: Sequence[Choice]) -> list[Choice]:
    """Those that no other beats in both bytes and MACs, cheapest first."""
    front: list[Choice] = []
    for choice in sorted(choices, key=lambda c: (c.macs, c.bytes, len(c.dropped))):
        if not front or choice.bytes < front[-1].bytes:
            front.append(choice)
    return front


def _subsets(values: Sequence[str]) -> Iterator[frozenset[str]]:
    for size in range(len(values) + 1):
        yield from map(frozenset, combinations(values, size))
