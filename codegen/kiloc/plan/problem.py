"""What is to be placed: how many bytes each buffer takes, and how near two that live at the same time may lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from ..cores import bus_of
from .lifetimes import Buffer, Lifetimes, Overlap

WORD = 4
"""Bytes of the largest element there is."""


def alignment(target: str) -> int:
    """Bytes that every offset is a multiple of."""
    return max(WORD, bus_of(target))


class Distance(NamedTuple):
    """A buffer must begin at least `before` bytes before `other`, or at least `after` bytes after it."""

    other: int
    before: int
    after: int


@dataclass(frozen=True)
class Problem:
    """Buffers by number. Sizes and distances are bytes, rounded up to the alignment.

    near: of each buffer those that live at the same time; they lie apart by their sizes, but for those in `closer`, where a result may lie
    over its operand: there are `Distance.before` and `Distance.after`.
    fixed: the offset of each buffer that has one from the start: inputs lie one behind the other at the beginning of the arena.
    live: bytes alive at each step by kind; what a result shares with the operand that it overwrites counts for the operand.
    """

    buffers: tuple[Buffer, ...]
    sizes: tuple[int, ...]
    near: tuple[tuple[int, ...], ...]
    closer: tuple[dict[int, tuple[int, int]], ...]
    live: tuple[dict[str, int], ...]
    alignment: int
    fixed: tuple[int | None, ...]

    @cached_property
    def distances(self) -> tuple[tuple[Distance, ...], ...]:
        """Of each buffer how far it lies from those that live at the same time, in the order of `near`."""
        sizes = self.sizes
        return tuple(
            tuple(Distance(j, *closer.get(j, (sizes[i], sizes[j]))) for j in near)
            for i, (near, closer) in enumerate(zip(self.near, self.closer, strict=True))
        )

    @cached_property
    def totals(self) -> list[int]:
        """Bytes alive at each step."""
        return [sum(kinds.values()) for kinds in self.live]

    @cached_property
    def bound(self) -> int:
        """The most bytes alive at one step: no placement takes less, and some problems allow none that takes so little."""
        return max(self.totals, default=0)


def problem(found: Lifetimes, steps: int, align: int) -> Problem:
    """The placement of these buffers in an arena, over so many steps."""
    sizes = tuple(rounded(b.size, align) for b in found.buffers)
    live = tuple(live_bytes(found, steps, align))
    return Problem(found.buffers, sizes, _near(found), _closer(found, align), live, align, tuple(_fixed(found, sizes)))


def live_bytes(found: Lifetimes, steps: int, align: int) -> list[dict[str, int]]:
    """Bytes alive at each step, by kind."""
    sizes = tuple(rounded(b.size, align) for b in found.buffers)
    live: list[dict[str, int]] = [{} for _ in range(steps)]
    for b, size in zip(found.buffers, sizes, strict=True):
        kind = kind_of(b)
        for kinds in live[b.first : b.last + 1]:
            kinds[kind] = kinds.get(kind, 0) + size
    for overlap in found.overlaps:
        result = found.buffers[overlap.result]
        live[result.first][kind_of(result)] -= shared_bytes(overlap, sizes, align)
    return live


def total_bytes(found: Lifetimes, steps: int, align: int) -> list[int]:
    """Bytes alive at each step: the sums of `live_bytes`, for searches that look at many graphs."""
    sizes = tuple(rounded(b.size, align) for b in found.buffers)
    changes = [0] * (steps + 1)
    for b, size in zip(found.buffers, sizes, strict=True):
        changes[b.first] += size
        changes[b.last + 1] -= size
    for overlap in found.overlaps:
        step, shared = found.buffers[overlap.result].first, shared_bytes(overlap, sizes, align)
        changes[step] -= shared
        changes[step + 1] += shared
    return list(accumulate(changes[:-1]))


def kind_of(b: Buffer) -> str:
    """The kind a shared buffer is reported under."""
    return next(k for k in ("scratch", "gradient", "activation", "saved", "scalar") if k in b.kinds)


def rounded(size: int, align: int) -> int:
    """Bytes up to the next multiple of the alignment."""
    return -(-size // align) * align


def _fixed(found: Lifetimes, sizes: tuple[int, ...]) -> Iterator[int | None]:
    end = 0
    for b, size in zip(found.buffers, sizes, strict=True):
        yield end if b.pinned else None
        end += size if b.pinned else 0


def _near(found: Lifetimes) -> tuple[tuple[int, ...], ...]:
    """Of each buffer those that live at the same time."""
    near: list[list[int]] = [[] for _ in found.buffers]
    last, alive = [b.last for b in found.buffers], list[int]()
    for i in sorted(range(len(near)), key=lambda i: found.buffers[i].first):
        first = found.buffers[i].first
        alive = [j for j in alive if last[j] >= first]
        near[i] = list(alive)
        for j in alive:
            near[j].append(i)
        alive.append(i)
    return tuple(map(tuple, near))


def _closer(found: Lifetimes, align: int) -> tuple[dict[int, tuple[int, int]], ...]:
    """Of each buffer those that it may overlap, with the bytes that it must begin before or after them."""
    closer: list[dict[int, tuple[int, int]]] = [{} for _ in found.buffers]
    for o in found.overlaps:
        below, above = rounded(o.below, align), rounded(o.above, align)
        closer[o.result][o.operand], closer[o.operand][o.result] = (below, above), (above, below)
    return tuple(closer)


def shared_bytes(overlap: Overlap, sizes: tuple[int, ...], align: int) -> int:
    """What the two buffers save by lying as near as they may."""
    result, operand = sizes[overlap.result], sizes[overlap.operand]
    before = max(result, rounded(overlap.below, align) + operand)
    after = max(operand, rounded(overlap.above, align) + result)
    return result + operand - min(before, after)
