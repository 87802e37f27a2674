"""How many instructions a training step takes, from those of its kernels as they were counted.

A step is the sum of its kernel calls. What a call takes is linear in what it has to do (`work`), with coefficients for each kernel and each kind
of core: `costs/*.json`, which `make bench-kernel-costs` counts under QEMU and fits on networks of random layers. `make bench-step-time` prints
estimates of real models beside what QEMU counts. An instruction is taken as one cycle: waiting for flash, and issuing two at once, are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..cores import kernels_of
from .work import form, work

if TYPE_CHECKING:
    from .plan import Forecast

FOLDER = Path(__file__).parent / "costs"
OUTSIDE = 40
"""Instructions of a step that no kernel takes."""
UNKNOWN = {"call": 150.0, "macs": 5.0, "results": 15.0, "inputs": 5.0}
"""Of a kernel that was never counted, and none like it: what portable C takes, about."""
ALIKE = ("_relu", "_scaled", "_one_pass", "_broadcast", "_rows")
"""Parts of a kernel's name without which it names one that takes about as long."""

EXACT, PAIRED = "kt_exact_", "kt_packed_"
"""Kernels of exact words take as many instructions as those of paired ones, on whose layers they are counted."""

Terms = dict[str, float]
COPIES: dict[str, Terms] = {"kt_write_rows_s8": {"call": 150.0, "inputs": 0.5}}
"""Of kernels that only move bytes: no more than QEMU counts on a Cortex-M4, also where all that they read is moved."""


@dataclass(frozen=True)
class Estimate:
    """instructions: of one training step with its share of an update. unknown: kernels that were never counted, and are guessed. counted: the share
    of these instructions that is in calls that were counted (`counts.py`)."""

    instructions: int
    unknown: tuple[str, ...]
    counted: float = 0.0


@cache
def costs(kernels: str) -> dict[str, Terms]:
    """Kernel -> instructions for each unit of work, of one kind of core ("dsp", ...)."""
    found: dict[str, Terms] = json.loads((FOLDER / f"{kernels}.json").read_text())
    return found


def taken(table: dict[str, Terms], name: str, amounts: Mapping[str, float]) -> float:
    """Instructions of a call. name: as `form` has it."""
    name = name.replace(EXACT, PAIRED)
    symbol, _, words = name.partition(" ")
    if symbol not in table:
        name = f"{next((other for part in ALIKE if (other := symbol.replace(part, '')) in table), symbol)} {words}"
    while name not in table and " " in name:
        name = name.rpartition(" ")[0]
    terms = table.get(name) or COPIES.get(symbol, UNKNOWN)
    return sum(value * amounts[unit] for unit, value in terms.items())


def estimate(forecast: Forecast, target: str, accumulate: int = 1) -> Estimate:
    """Of one training step: the passes of a sample, and its share of an update of so many samples. target: the core, "" for portable kernels."""
    kernels = kernels_of(target)
    table, total, unknown = costs("dsp" if kernels == "portable" else kernels), float(OUTSIDE), dict[str, None]()
    for graph, node, symbol, of_update in forecast.calls():
        if symbol.replace(EXACT, PAIRED) not in table and symbol not in COPIES:
            unknown[symbol] = None
        amounts = work(graph, node)
        instructions = taken(table, form(node, symbol, amounts), amounts)
        total += instructions / accumulate if of_update else instructions
    return Estimate(round(total), tuple(unknown))
