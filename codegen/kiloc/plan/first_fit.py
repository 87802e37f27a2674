"""Greedy placement: each buffer at the lowest offset that is free for it, in an order that is then improved step by step.

Where the arena ends above the bound, and placement from below (`ascending`) finds none that reaches it, one buffer after the other is
moved in the order: mostly one that ends above the bound to an earlier place, sometimes one that is in its way to any place. A move that
makes the arena no larger stays; where moves bring nothing for a while, the search goes on from the next order, and at last from the best
one with a few buffers moved at random. All of it is done twice with other moves, because where it ends is chance. The moves come from a
seeded generator, and their number from work counted, never from a clock: a plan depends on the problem and nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .ascending import ascending
from .problem import Problem

RUNS = 2
"""Searches with moves of their own."""
WORK = 1_800_000
"""Distances looked at before one of them ends: about a quarter of a second. Most problems reach the bound far earlier."""
MOVES = 12_000
"""Moves before one of them ends: where buffers are few, more find nothing."""
PATIENCE = 40
"""Moves without gain before the search goes on elsewhere."""
SHAKEN = 4
"""Buffers moved at random then."""
ABOVE = 0.7
"""Share of moves that take a buffer above the bound."""


@dataclass(frozen=True)
class Placement:
    """Offset of each buffer, and where the last one ends."""

    offsets: tuple[int, ...]
    height: int


@dataclass(frozen=True)
class _Found:
    height: int
    order: list[int]
    offsets: list[int]


def greedy(p: Problem, patience: int = 1) -> Placement:
    """The lowest arena that several orders, placement from below and the orders' improvement find. patience: times the usual work."""
    if not p.sizes:
        return Placement((), 0)
    search = _Search(p)
    starts = search.starts()
    best = starts[0]
    if best.height > p.bound and (offsets := ascending(p, p.bound)):
        return Placement(tuple(offsets), p.bound)
    for seed in range(RUNS):
        if best.height > p.bound:
            best = min(best, search.run(starts, seed, patience), key=lambda f: f.height)
    return Placement(tuple(best.offsets), best.height)


class _Search:
    """Orders of one problem, placed by first fit; counts its work."""

    def __init__(self, p: Problem) -> None:
        self.p = p
        self.count = len(p.sizes)
        self.start = [-1 if offset is None else offset for offset in p.fixed]
        self.choose = random.Random(0)
        self.work = 0

    def run(self, orders: list[_Found], seed: int, patience: int) -> _Found:
        """The lowest arena that moves of this seed find from these orders."""
        self.choose, self.work = random.Random(seed), 0
        starts = iter(orders)
        best = current = next(starts)
        waited = 0
        for _ in range(MOVES * patience):
            if best.height == self.p.bound or self.work > WORK * patience:
                break
            moved = self.moved(current)
            waited = waited + 1 if moved is None or moved.height == current.height else 0
            current = moved or current
            if waited > PATIENCE:
                current, waited = self.elsewhere(starts, best), 0
            if current.height < best.height:
                best = current
        return best

    def starts(self) -> list[_Found]:
        """The orders, lowest arena first; where one reaches the bound, that one alone."""
        found: list[_Found] = []
        for order in _orders(self.p):
            found.append(self.placed(order))
            if found[-1].height == self.p.bound:
                return found[-1:]
        return sorted(found, key=lambda f: f.height)

    def placed(self, order: list[int]) -> _Found:
        offsets = list(self.start)
        height = self.fit(order, offsets, 0, None)
        assert height is not None
        return _Found(height, order, offsets)

    def fit(self, order: list[int], offsets: list[int], start: int, limit: int | None) -> int | None:
        """Set the offsets of order[start:], each the lowest that is free, and return the height; None as soon as it exceeds `limit`."""
        sizes = self.p.sizes
        height = max((offsets[i] + sizes[i] for i in order[:start]), default=0)
        for i in order[start:]:
            if self.start[i] < 0:
                offsets[i] = self.lowest(i, offsets)
            height = max(height, offsets[i] + sizes[i])
            if limit is not None and height > limit:
                return None
        return height

    def lowest(self, i: int, offsets: list[int]) -> int:
        """The lowest offset that is free for a buffer, given those of others (-1: not placed yet)."""
        near, sizes, size = self.p.near[i], self.p.sizes, self.p.sizes[i]
        self.work += len(near) + 1
        if closer := self.p.closer[i]:
            both = [(offsets[j], *closer.get(j, (size, sizes[j]))) for j in near if offsets[j] >= 0]
            taken = [(offset - before, offset + after) for offset, before, after in both]
        else:
            taken = [(offsets[j] - size, offsets[j] + sizes[j]) for j in near if offsets[j] >= 0]
        taken.sort()
        position = 0
        for low, high in taken:
            if position <= low:
                break
            if high > position:
                position = high
        return position

    def moved(self, found: _Found) -> _Found | None:
        """One buffer elsewhere in the order; None where that makes the arena larger."""
        p, choose, order = self.p, self.choose, found.order
        top = choose.choice([i for i in range(self.count) if found.offsets[i] + p.sizes[i] > p.bound])
        near = p.near[top]
        if not near or choose.random() < ABOVE:
            source = order.index(top)
            target = choose.randrange(source + 1)
        else:
            source = order.index(choose.choice(near))
            target = choose.randrange(self.count)
        changed, first = list(order), min(source, target)
        changed.insert(target, changed.pop(source))
        offsets = list(found.offsets)
        for i in changed[first:]:
            offsets[i] = self.start[i]
        height = self.fit(changed, offsets, first, found.height)
        return None if height is None else _Found(height, changed, offsets)

    def elsewhere(self, starts: Iterator[_Found], best: _Found) -> _Found:
        """The next order, or after the last the best one shaken."""
        found = next(starts, None)
        if found is not None:
            return found
        order = list(best.order)
        for _ in range(SHAKEN):
            order.insert(self.choose.randrange(self.count), order.pop(self.choose.randrange(self.count)))
        return self.placed(order)


def _orders(p: Problem) -> list[list[int]]:
    """Large first, long-lived first, both, as made, as freed; and the first two with what lives in fuller steps in front."""
    buffers, sizes, totals = p.buffers, p.sizes, p.totals
    fullest = [max(totals[b.first : b.last + 1]) for b in buffers]
    length = [b.last - b.first + 1 for b in buffers]
    keys: list[Callable[[int], tuple[int, ...]]] = [
        lambda i: (-sizes[i], buffers[i].first),
        lambda i: (-length[i], -sizes[i]),
        lambda i: (-sizes[i] * length[i], buffers[i].first),
        lambda i: (buffers[i].first, -sizes[i]),
        lambda i: (-buffers[i].last, -sizes[i]),
        lambda i: (-fullest[i], -sizes[i], buffers[i].first),
        lambda i: (-fullest[i], -length[i], -sizes[i]),
        lambda i: (fullest[i] < p.bound, -sizes[i], buffers[i].first),
        lambda i: (fullest[i] < p.bound, -length[i], -sizes[i]),
    ]
    return [sorted(range(len(buffers)), key=key) for key in keys]
