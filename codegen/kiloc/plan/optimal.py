"""Placement by constraint programming: the lowest arena there is, or how far from it the plan may be.

One integer a buffer, one choice a pair that lives at the same time: before or after. The solver (CP-SAT of OR-Tools) starts from
the greedy placement, runs on one thread with a fixed seed, and stops after a fixed amount of work, not of time: the same
problem gives the same plan.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

from ..errors import CompileError
from .first_fit import Placement
from .problem import Problem

WORK_LIMIT = 5.0
"""Of the solver's deterministic time: a second takes some seconds of a processor."""


def optimal(p: Problem, start: Placement) -> tuple[Placement, int]:
    """The best placement found from `start`, and the bound proved: no placement is lower. Raises CompileError without OR-Tools."""
    cp_model = _solver()
    if start.height == p.bound:
        return start, p.bound
    unit, highest = p.alignment, start.height // p.alignment
    model = cp_model.CpModel()
    offsets = [model.new_int_var(0, highest - size // unit, f"offset_{i}") for i, size in enumerate(p.sizes)]
    for offset, fixed in zip(offsets, p.fixed, strict=True):
        if fixed is not None:
            model.add(offset == fixed // unit)
    height = model.new_int_var(p.bound // unit, highest, "height")
    for i, size in enumerate(p.sizes):
        model.add(offsets[i] + size // unit <= height)
        model.add_hint(offsets[i], start.offsets[i] // unit)
        for d in p.distances[i]:
            if d.other > i:
                before = model.new_bool_var(f"{i}_before_{d.other}")
                model.add(offsets[i] + d.before // unit <= offsets[d.other]).only_enforce_if(before)
                model.add(offsets[d.other] + d.after // unit <= offsets[i]).only_enforce_if(before.negated())
                model.add_hint(before, start.offsets[i] + d.before <= start.offsets[d.other])
    model.add_hint(height, highest)
    model.minimize(height)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = WORK_LIMIT
    status = solver.solve(model)
    assert status != cp_model.INFEASIBLE, "the greedy placement is a solution"
    proved = max(p.bound, math.ceil(solver.best_objective_bound - 1e-6) * unit)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return start, proved
    found = tuple(int(solver.value(offset)) * unit for offset in offsets)
    placed = Placement(found, max(offset + size for offset, size in zip(found, p.sizes, strict=True)))
    return min(start, placed, key=lambda x: x.height), proved


def _solver() -> Any:
    try:
        return importlib.import_module("ortools.sat.python.cp_model")
    except ImportError as error:
        raise CompileError(
            "optimal", f"needs OR-Tools, which cannot be imported ({error})", "pip install 'kilotune[optimal]', or plan without it"
        ) from None
