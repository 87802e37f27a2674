"""What recomputation would take from the arena of training, and what it would cost: a Pareto front, planned for real.

Stripes and segments are not among its choices, nor is what the build's own budget made of it.
"""

from __future__ import annotations

from typing import Any

from ..ir.verify import total_macs
from ..lowering import order_training, place, recomputations
from ..pipeline import Compilation


def recompute_front(c: Compilation) -> dict[str, Any]:
    """The front, from nothing computed twice to the least memory, and whether every set of saved values was tried for it.

    arena_bytes: of inference and training, which share it; extra_macs: of a training step; extra: as a share of its usual MACs. A budget
    (`ram`) of arena_bytes and the state is met with at most these MACs.
    """
    part, align = order_training(c.reduced, c.options.kernels, c.options.buffers), c.infer.plan.alignment
    saving = c.train.saving if c.train else {}
    front = recomputations(part, align, c.options.kernels, saving).shown(c.options.optimal)
    usual, inference = total_macs(part), c.infer.plan.arena_bytes
    points: list[dict[str, Any]] = []
    for choice in front.choices:
        arena = max(place(choice.apply(part), align, check=False, target=c.options.kernels, saving=saving).plan.arena_bytes, inference)
        if not points or arena < points[-1]["arena_bytes"]:
            points.append({"arena_bytes": arena, "extra_macs": choice.macs, "extra": round(choice.macs / usual, 6)})
    return {"recompute_front": points, "recompute_front_exact": front.exact}
