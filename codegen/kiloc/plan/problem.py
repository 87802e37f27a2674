"""What is to be placed: how many bytes each buffer takes, and how near two that live at the same time may lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from ..cores import bus_of
from .lifetimes import Buffer, Lifetimes, Overlap

WORD = 4
"""Bytes of the largest element there is."""


def alignment(target: str) -> int:
    """Bytes that every offset is a multiple of."""
    return max(WORD, bus_of(target))


@dataclass(frozen=True)
class Distance:
    """A buffer must begin at least `before` bytes before `other`, or at least `after` bytes after it."""

    other: int
    before: int
    after: int


@dataclass(frozen=True)
class Problem:
    """Buffers by number. Sizes and distances are bytes, rounded up to the alignment.

    fixed: the offset of each buffer that has one from the start: inputs lie one behind the other at the beginning of the arena.
    live: bytes alive at each step by kind; what a result shares with the operand that it overwrites counts for the operand.
    """

    buffers: tuple[Buffer, ...]
    sizes: tuple[int, ...]
    distances: tuple[tuple[Distance, ...], ...]
    live: tuple[dict[str, int], ...]
    alignment: int
    fixed: tuple[int | None, ...]

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
    return Problem(found.buffers, sizes, _distances(found, sizes, align), live, align, tuple(_fixed(found, sizes)))


def live_bytes(found: Lifetimes, steps: int, align: int) -> list[dict[str, int]]:
    """Bytes alive at each step, by kind."""
    sizes = tuple(rounded(b.size, align) for b in found.buffers)
    live: list[dict[str, int]] = [{} for _ in range(steps)]
    for b, size in zip(found.buffers, sizes, strict=True):
        for step in range(b.first, b.last + 1):
            live[step][kind_of(b)] = live[step].get(kind_of(b), 0) + size
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


def _distances(found: Lifetimes, sizes: tuple[int, ...], align: int) -> tuple[tuple[Distance, ...], ...]:
    apart: list[dict[int, Distance]] = [{} for _ in sizes]
    alive: list[int] = []
    for i in sorted(range(len(sizes)), key=lambda i: found.buffers[i].first):
        alive = [j for j in alive if found.buffers[j].last >= found.buffers[i].first]
        for j in alive:
            apart[i][j], apart[j][i] = Distance(j, sizes[i], sizes[j]), Distance(i, sizes[j], sizes[i])
        alive.append(i)
    for o in found.overlaps:
        below, above = rounded(o.below, align), rounded(o.above, align)
        apart[o.result][o.operand], apart[o.operand][o.result] = Distance(o.operand, below, above), Distance(o.result, above, below)
    return tuple(tuple(a.values()) for a in apart)


def shared_bytes(overlap: Overlap, sizes: tuple[int, ...], align: int) -> int:
    """What the two buffers save by lying as near as they may."""
    result, operand = sizes[overlap.result], sizes[overlap.operand]
    before = max(result, rounded(overlap.below, align) + operand)
    after = max(operand, rounded(overlap.above, align) + result)
    return result + operand - min(before, after)
