"""Kernels and placement: the fastest kernels that the arena has room for, and gradients that share weights with inference for flash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..ir.graph import Graph
from ..ir.verify import node_types
from ..passes.kernels import forms, second_copy, spend_flash, with_kernels
from ..plan import WORD, check_plan, plan_memory
from ..plan.slice import Slice, caller_buffers, scratch_of

INFERENCE_GROWTH = 0.05, 1024
TRAINING_GROWTH = 0.01, 0
"""Share of the arena and bytes that faster kernels may add to it; the same share of the caller's buffers where that is more bytes, since beside large
inputs or results of a small model its arena says little."""

SHARING_CODE = 4096
"""Bytes of code that the first gradient brings that shares its weights with inference, while others do not."""

ROUNDS = 12
"""Forms are given up in so many rounds at most; then every kernel is portable."""


def place(
    part: Graph, align: int = WORD, prove: bool = False, check: bool = True, target: str = "", saving: Mapping[str, int] | None = None
) -> Slice:
    """A slice with its plan (align, prove: see `plan_memory`), for the kernels of a target; the plan is checked independently."""
    kernels = with_kernels(part, target, saving)
    scratch = scratch_of(kernels)
    plan = plan_memory(kernels, scratch, frozenset(caller_buffers(kernels)), align, prove)
    if check:
        check_plan(kernels, kernels.nodes, plan.offsets, plan.arena_bytes, scratch)
    return Slice(part, plan, kernels, target, saving or {})


def choose_kernels(
    parts: Sequence[Graph], align: int, prove: bool, target: str, ram: int = 0, check: bool = True, speed: bool = False
) -> list[Slice]:
    """The slices of a build, which share an arena, with the fastest kernels that the arena has room for. speed: flash does not count.

    Kernels may add to what portable ones take: `INFERENCE_GROWTH` where nothing is trained, `TRAINING_GROWTH` otherwise, or up to `ram`
    bytes. Where a step takes more, its node gets the next form, which takes less; both slices use the same.
    """
    least = [place(part, align, check=False, target=target, saving=_portable(part, target)) for part in parts]
    arena = max(part.plan.arena_bytes for part in least)
    growth, spare = TRAINING_GROWTH if len(parts) > 1 else INFERENCE_GROWTH
    limit = max(int(arena * (1 + growth)) + max(spare, int(growth * _caller_bytes(parts))), ram)
    saving = {name: level for part in parts for name, level in spend_flash(part, target).items()} if speed else {}
    for _ in range(ROUNDS):
        found = [place(part, align, check=False, target=target, saving=saving) for part in parts]
        wide = [part for part in found if part.plan.arena_bytes > limit]
        changed = [name for part in wide for name in _at_fault(part, limit)]
        if not changed:
            break
        saving |= {name: saving.get(name, 0) + 1 for name in changed}
    if wide:
        found = least
    return [place(part.graph, align, prove, check, target, part.saving) for part in found]


def share_weights(part: Slice, excess: int) -> frozenset[str]:
    """Gradients of a training slice that share their weights with inference, with so many more that `excess` bytes of flash are saved, if
    there are any more: those first that save most for a MAC, each of which takes longer. The kernel that they share takes flash itself."""
    bytes_of = {node.name: second_copy(part.graph, node, part.target, part.saving) for node in part.graph.nodes}
    macs = {node.name: node.op.macs(node_types(part.graph, node)) for node in part.graph.nodes if bytes_of[node.name]}
    shared, left = set(part.graph.shared), excess + (0 if part.graph.shared else SHARING_CODE)
    for name in sorted(macs.keys() - shared, key=lambda n: (-bytes_of[n] / macs[n], n)):
        if left <= 0:
            break
        shared.add(name)
        left -= bytes_of[name]
    return frozenset(shared)


def _caller_bytes(parts: Sequence[Graph]) -> int:
    """Bytes of inputs and results that lie in buffers of the caller; 0 where something is trained."""
    if len(parts) > 1 or parts[0].buffers != "caller":
        return 0
    return sum(parts[0].type(name).bytes for name in (*parts[0].inputs, *parts[0].outputs))


def _portable(part: Graph, target: str) -> dict[str, int]:
    """Every node in its last form."""
    return {node.name: forms(node, target) - 1 for node in part.nodes}


def _at_fault(part: Slice, limit: int) -> list[str]:
    """Nodes with a form left that takes less, at steps whose bytes do not fit, or where all fit but the placement, at the largest, or
    at those that the placement leaves no room."""
    totals = [sum(kinds.values()) for kinds in part.plan.live]
    count = {node.name: forms(node, part.target) for node in part.graph.nodes}
    gap = part.plan.arena_bytes - max(totals)
    for threshold in (limit, max(totals) - 1, limit - gap):
        crowded = [node.name for node, total in zip(part.graph.nodes, totals, strict=True) if total > threshold]
        found = [name for name in crowded if part.saving.get(name, 0) + 1 < count[name]]
        if found:
            return found
    return []


def use_portable(part: Slice) -> Slice:
    """The slice with the kernels that take least memory."""
    return place(part.graph, part.plan.alignment, part.plan.proved, target=part.target, saving=_portable(part.graph, part.target))
