"""The plans of a build as data: what `plan.json` holds, and what the pictures of the report are drawn from."""

from __future__ import annotations

from typing import Any

from ..pipeline import Compilation
from ..plan import Plan, kind_of


def timeline(c: Compilation) -> dict[str, Any]:
    """Both plans: `infer`, and `train` (None where nothing is trained). Bytes throughout; steps count from 0, `last` is included."""
    return {"alignment": c.infer.plan.alignment, "infer": _plan(c.infer.plan), "train": _plan(c.train.plan) if c.train else None}


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "arena_bytes": plan.arena_bytes,
        "lower_bound": plan.lower_bound,
        "peak_step": plan.peak_step,
        "steps": [{"name": n.name, "phase": n.phase, "live": live} for n, live in zip(plan.steps, plan.live, strict=True)],
        "buffers": [
            {"values": b.values, "kind": kind_of(b), "offset": plan.offsets[b.values[0]], "bytes": b.size, "first": b.first, "last": b.last}
            for b in plan.buffers
        ],
    }
