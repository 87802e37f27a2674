"""Counting on the emulated chip: which builds are counted, so that estimates of all candidates rest on what was counted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from kiloc.forecast import Call, Counts, Kind, uncounted

BUILDS = 8
"""That are counted at most."""
SHARE = 0.1
"""Of a step that may be in calls that were not counted."""
ALIKE = 0.25
"""What a call that was not counted weighs where another one of its kernel was: it has the ratio of that one."""

Count = Callable[[int], Sequence[float] | None]
"""Instructions of each call of a candidate, by its number; None where it cannot be counted."""


def calibrate(
    counts: Counts, candidates: Sequence[Sequence[Call]], count: Count, accumulate: int = 1, spared: Collection[int] = (), most: int = BUILDS
) -> list[int]:
    """Count candidates until each has at most `SHARE` of its step in calls that were not counted, or `most` were counted; says which.

    The next is the one with the most in calls that were not counted, as shares of a step, those of all candidates that have too many of them: a
    call that many candidates have counts for each, and less where another call of its kernel was counted. spared: candidates that are not counted
    themselves.
    """
    tried, done = set(spared), list[int]()
    while len(done) < most:
        missing = [uncounted(c, counts, accumulate) for c in candidates]
        weights: dict[Kind, float] = {}
        for kinds in missing:
            if sum(kinds.values()) > SHARE:
                for kind, share in kinds.items():
                    weights[kind] = weights.get(kind, 0.0) + share * (ALIKE if counts.knows(kind.kernel) else 1.0)
        gains = {i: sum(weights.get(kind, 0.0) for kind in kinds) for i, kinds in enumerate(missing) if i not in tried}
        best = max(gains, key=lambda i: gains[i], default=None)
        if best is None or gains[best] <= 0:
            break
        tried.add(best)
        taken = count(best)
        if taken is not None:
            counts.add(candidates[best], taken)
            done.append(best)
    return done


def matched(expected: Sequence[Call], found: Sequence[tuple[str, float]]) -> list[float] | None:
    """Instructions of the calls that were foreseen, of those that a build makes; None where it makes others than were foreseen.

    Calibration of a build chooses shifts that a forecast does not know, and with them here and there another kernel in the same place: its count is
    that of the place.
    """
    return [instructions for _, instructions in found] if len(found) == len(expected) else None
