"""Accuracy of what `kilotune search` chooses, beside LoRA r=4 on the last layers in the same memory.

    make bench-search
    .venv/bin/python benchmarks/search.py --scenario gas --draws 2

The budget is what "last:2 LoRA r=4" (then "last:4") takes. The search sees the samples of the draw that the device trains on, and nothing
else: evaluation rows never reach it. LoRA is trained at its default rate, and at the rate that the search's own
validation picks for it. Exit code 1 where the search is behind in mean score on more than a quarter of the rows.
"""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
from accuracy import shuffled, trained
from rich.console import Console
from rich.table import Table
from scenarios import DATA, SCENARIOS, Scenario

import kilotune as kt
from kilotune.search import Search
from kilotune.search.trials import FIRST, FOLDS, RATES, Trial, ranked

NAMES = ("fsdd", "gas", "gas6", "ecg", "kws")
DEPTHS = (2, 4)
MARGIN = 0.0005
"""Scores that differ by less are equal."""


@dataclass
class Line:
    """One scenario at one budget: a score for each draw."""

    scenario: Scenario
    depth: int
    ram: int = 0
    before: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    tuned: list[float] = field(default_factory=list)
    chosen: list[float] = field(default_factory=list)
    sets: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        difference = float(np.mean(self.chosen) - np.mean(self.plain))
        return "equal" if abs(difference) < MARGIN else "search" if difference > 0 else "LoRA"


def tuned_rate(search: Search, lora: kt.LoRA) -> float:
    """The rate that the search's validation picks for a given method."""
    plan = next(c for c in search.space.candidates(kt_budget()) if c.methods == (lora,))
    trials = [Trial(plan, plan.set.lr * rate) for rate in RATES]
    search.trainer.run(trials, [FIRST, *((0, f) for f in range(1, FOLDS))], lambda: None)
    return ranked(trials)[0].lr


def kt_budget() -> object:
    raise NotImplementedError
