"""Counting on the emulated chip: which builds are counted, so that estimates of all candidates rest on what was counted."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from kiloc import CompileError
from kiloc.forecast import Call, Counts, Kind, uncounted

from ..building import build
from ..counting import counted_calls, machine
from ..devices import DeviceError
from ..model import Model
from .candidates import Candidate
from .setting import Data, Setting

STEPS = 5
"""Of a training that is counted, the first two of which do not count."""
REACH = 1.5
"""Candidates within so many times a budget of time or energy are worth counting: fitted costs may be off by as much."""
BUILDS = 8
"""That are counted at most."""
SHARE = 0.1
"""Of a step that may be in calls that were not counted."""
ALIKE = 0.25
"""What a call that was not counted weighs where another one of its kernel was: it has the ratio of that one."""

Count = Callable[[int], Sequence[float] | None]
"""Instructions of each call of a candidate, by its number; None where it cannot be counted."""


def calibrate(
    counts: Counts, candidates: Sequence[Sequence[Call]], count: Count, accumulate: int = 1, spared: Collection[int] = (), most: int | None = None
) -> list[int]:
    """Count candidates until each has at most `SHARE` of its step in calls that were not counted, or `most`, else `BUILDS`, were counted; says which.

    The next is the one with the most in calls that were not counted, as shares of a step, those of all candidates that have too many of them: a
    call that many candidates have counts for each, and less where another call of its kernel was counted. spared: candidates that are not counted
    themselves.
    """
    tried, done = set(spared), list[int]()
    while len(done) < (BUILDS if most is None else most):
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


class Counter:
    """Builds candidates and counts them on samples of the user's data. Raises DeviceError where the core is not emulated, or a tool is missing."""

    def __init__(self, model: Model, data: Data, calibration: Data, setting: Setting) -> None:
        machine(setting.target)
        self.model, self.calibration, self.setting = model, calibration, setting
        self.samples = data.taken(np.arange(STEPS) % len(data))
        self.refused: list[str] = []

    def count(self, candidate: Candidate) -> list[float] | None:
        """Instructions of each call of its step; None, and `refused` says why, where it has no room on the machine, or makes other calls than were
        foreseen."""
        setting, base = self.setting, self.calibration
        with tempfile.TemporaryDirectory() as folder:
            try:
                made = build(
                    self.model, Path(folder) / "build", method=candidate.methods, optimizer=setting.optimizer, loss=setting.loss,
                    storage=setting.storage, accumulate=setting.accumulate, target=setting.target, seed=setting.seed, offload=setting.offload,
                    calibration=base.x if base.targets is None else (base.x, base.targets), measure=False,
                )  # fmt: skip
                found = matched(candidate.calls, counted_calls(made.directory, self.samples.inputs, self.samples.targets))
            except (CompileError, DeviceError) as error:
                self.refused.append(f"{candidate.name}: {error.where}: {error.what}")
                return None
        if found is None:
            self.refused.append(f"{candidate.name}: a build makes other kernel calls than were foreseen")
        return found


@cache
def accuracy() -> dict[str, dict[str, float]]:
    """By target, how far estimates of real models are off, in the mean and at most, as parts: by the table alone, and with counting. Written by
    `make bench-step-time`."""
    found: dict[str, dict[str, float]] = json.loads((Path(__file__).parent / "accuracy.json").read_text(encoding="utf-8"))
    return found


def off(target: str, way: str) -> str:
    """The same as words, nothing for a core that was not measured. way: "table" or "counting"."""
    known = accuracy().get(target, {})
    if f"{way} mean" not in known:
        return ""
    return f"; of real models such estimates were off by {known[f'{way} mean']:.1%} in the mean, {known[f'{way} most']:.1%} at most"
