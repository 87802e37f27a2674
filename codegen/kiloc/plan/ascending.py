"""Placement from below: buffers in the order of their offsets, given up as soon as a step cannot fit any more.

In a placement where nothing can be moved down, every buffer lies directly above one that lives at the same time, or at the beginning.
Placed in the order of their offsets, each therefore begins where the highest of those already placed below it ends, and never lower
than the one before it. So a step is lost as soon as what is placed there, and what is still to come, together exceed the arena: the
search goes back long before a buffer fails to fit. The idea is that of Moffitt, "MiniMalloc: A Lightweight Memory Allocator for
Hardware-Accelerated Machine Learning" (ASPLOS 2023).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .problem import Problem

WORK = 60_000
"""Buffers and steps looked at before one search ends: where it finds an order, it mostly does so at once."""


def ascending(p: Problem, height: int) -> list[int] | None:
    """Offsets of an arena of no more than `height` bytes, or None where none of a few searches finds them."""
    for prefer in _preferences(p):
        if found := _Search(p, height, prefer).run():
            return found
    return None


@dataclass(frozen=True)
class _Change:
    """What placing a buffer changed: the floors of its steps, and how low others may lie."""

    buffer: int
    floors: list[int]
    lowest: list[tuple[int, int]] = field(default_factory=list)


class _Search:
    """Depth first over the buffers that may come next, those that lie lowest first, and among them as `prefer` says."""

    def __init__(self, p: Problem, height: int, prefer: list[int]) -> None:
        self.p, self.height, self.prefer = p, height, prefer
        self.work = 0
        self.offsets = [-1] * len(p.sizes)
        self.lowest = [0] * len(p.sizes)
        self.left = set(range(len(p.sizes)))
        self.floors = [0] * len(p.live)
        self.missing = list(p.totals)
        """Bytes that are still to come at each step; what a result shares with its operand counts as placed from the start."""

    def run(self) -> list[int] | None:
        for i, offset in enumerate(self.p.fixed):
            if offset is not None:
                self.put(i, offset)
        changes: list[_Change] = []
        waiting = [self.candidates(0)]
        while self.left and self.work < WORK:
            if not waiting[-1]:
                waiting.pop()
                if not changes:
                    return None
                self.take(changes.pop())
                continue
            offset, _, i = waiting[-1].pop()
            change = self.put(i, offset)
            if self.fits(offset, change):
                changes.append(change)
                waiting.append(self.candidates(offset))
            else:
                self.take(change)
        return None if self.left else self.offsets

    def candidates(self, offset: int) -> list[tuple[int, int, int]]:
        """Offset, preference and number of those that may come next, the first one last.

        One that begins where another could already have ended may wait for that other.
        """
        self.work += len(self.left)
        at = {i: max(self.lowest[i], offset) for i in self.left}
        before = min((at[i] + self.p.sizes[i] for i in self.left), default=0)
        return sorted(((at[i], self.prefer[i], i) for i in self.left if at[i] < before), reverse=True)

    def put(self, i: int, offset: int) -> _Change:
        b, end = self.p.buffers[i], offset + self.p.sizes[i]
        steps = slice(b.first, b.last + 1)
        change = _Change(i, self.floors[steps])
        self.floors[steps] = [max(floor, end) for floor in change.floors]
        self.missing[steps] = [bytes_ - self.p.sizes[i] for bytes_ in self.missing[steps]]
        self.offsets[i] = offset
        self.left.discard(i)
        for d in self.p.distances[i]:
            if d.other in self.left and offset + d.before > self.lowest[d.other]:
                change.lowest.append((d.other, self.lowest[d.other]))
                self.lowest[d.other] = offset + d.before
        self.work += len(self.p.near[i]) + len(change.floors)
        return change

    def take(self, change: _Change) -> None:
        """Undo `put`."""
        i = change.buffer
        b = self.p.buffers[i]
        steps = slice(b.first, b.last + 1)
        self.floors[steps] = change.floors
        self.missing[steps] = [bytes_ + self.p.sizes[i] for bytes_ in self.missing[steps]]
        self.offsets[i] = -1
        self.left.add(i)
        for other, lowest in change.lowest:
            self.lowest[other] = lowest

    def fits(self, offset: int, change: _Change) -> bool:
        """Whether there is room for this buffer and for what is left, no lower than `offset`, as far as buffers and steps by themselves tell."""
        if offset + self.p.sizes[change.buffer] > self.height or any(self.lowest[i] + self.p.sizes[i] > self.height for i, _ in change.lowest):
            return False
        self.work += len(self.floors)
        return all(missing <= 0 or max(floor, offset) + missing <= self.height for floor, missing in zip(self.floors, self.missing, strict=True))


def _preferences(p: Problem) -> list[list[int]]:
    """Large and long-lived first, large first, long-lived first, as made."""
    sizes, lengths = p.sizes, [b.last - b.first + 1 for b in p.buffers]
    keys: list[Callable[[int], int]] = [
        lambda i: -sizes[i] * lengths[i],
        lambda i: -sizes[i],
        lambda i: -lengths[i],
        lambda i: p.buffers[i].first,
    ]
    return [[key(i) for i in range(len(sizes))] for key in keys]
