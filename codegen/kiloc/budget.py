"""Meeting a memory budget with stripes, recomputation and offloading, and where that is not enough, what would help."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .emit.context import Slice, caller_buffers, scratch_bytes
from .errors import CompileError
from .ir.graph import Graph, Node
from .ir.verify import node_types, total_macs
from .passes.kernels import forms, lavish, second_copy, with_kernels
from .passes.offload import moved_bytes, offload
from .passes.slices import inference_slice, training_slice
from .plan import WORD, alignment, check_plan, plan_memory
from .plan.offload import Offloads
from .plan.order import best_order, branches, forward_in_order
from .plan.recompute import Recomputations
from .plan.stripes import stripe

Options = Any
"""`pipeline.Options`, which stands after this stage."""

INFERENCE_GROWTH = 0.05, 1024
TRAINING_GROWTH = 0.01, 0
"""Share of the arena and bytes that faster kernels may add to it."""

SHARING_CODE = 4096
"""Bytes of code that the first gradient brings that shares its weights with inference, while others do not."""

ROUNDS = 12
"""Forms are given up in so many rounds at most; then every kernel is portable."""

ATTEMPTS = 6
"""Placements may need more bytes than are alive at once: so often graphs with fewer of them are tried."""


def inference(whole: Graph, target: str, buffers: str) -> Graph:
    """What inference runs, in an order of few bytes alive at once. buffers: see `Graph`."""
    part = inference_slice(whole, buffers)
    if not branches(part):
        return part
    kernels = with_kernels(part, target)
    order = best_order(kernels, _scratch_of(kernels), frozenset(caller_buffers(kernels)), alignment(target))
    named = {n.name: n for n in part.nodes}
    return part.with_nodes(named[n.name] for n in order)


def training(whole: Graph, target: str, buffers: str) -> Graph:
    """What one training sample runs: forward in the order of inference, where that keeps no more bytes alive at once."""
    part = training_slice(whole, buffers)
    usual, order = inference_slice(whole, buffers).nodes, inference(whole, target, buffers).nodes
    if order == usual:
        return part
    other = forward_in_order(part, order)
    return min(part, other, key=lambda p: recomputations(p, alignment(target), target).look(frozenset())[0].bytes)


def planned(
    part: Graph, align: int = WORD, prove: bool = False, check: bool = True, target: str = "", saving: Mapping[str, int] | None = None
) -> Slice:
    """A slice with its plan (align, prove: see `plan_memory`), for the kernels of a target; the plan is checked independently."""
    kernels = with_kernels(part, target, saving)
    scratch = _scratch_of(kernels)
    plan = plan_memory(kernels, scratch, frozenset(caller_buffers(kernels)), align, prove)
    if check:
        check_plan(kernels, kernels.nodes, plan.offsets, plan.arena_bytes, scratch)
    return Slice(part, plan, kernels, target, saving or {})


def economical(
    parts: Sequence[Graph], align: int, prove: bool, target: str, ram: int = 0, check: bool = True, speed: bool = False
) -> list[Slice]:
    """The slices of a build, which share an arena, with the fastest kernels that the arena has room for. speed: flash does not count.

    Kernels may add to what portable ones take: `INFERENCE_GROWTH` where nothing is trained, `TRAINING_GROWTH` otherwise, or up to `ram`
    bytes. Where a step takes more, its node gets the next form, which takes less; both slices use the same.
    """
    least = [planned(part, align, check=False, target=target, saving=_portable(part, target)) for part in parts]
    arena = max(part.plan.arena_bytes for part in least)
    growth, spare = TRAINING_GROWTH if len(parts) > 1 else INFERENCE_GROWTH
    limit = max(int(arena * (1 + growth)) + spare, ram)
    saving = {name: level for part in parts for name, level in lavish(part, target).items()} if speed else {}
    for _ in range(ROUNDS):
        found = [planned(part, align, check=False, target=target, saving=saving) for part in parts]
        wide = [part for part in found if part.plan.arena_bytes > limit]
        changed = [name for part in wide for name in _at_fault(part, limit)]
        if not changed:
            break
        saving |= {name: saving.get(name, 0) + 1 for name in changed}
    if wide:
        found = least
    return [planned(part.graph, align, prove, check, target, part.saving) for part in found]


def sharing(part: Slice, excess: int) -> frozenset[str]:
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


def _portable(part: Graph, target: str) -> dict[str, int]:
    """Every node in its last form."""
    return {node.name: forms(node, target) - 1 for node in part.nodes}


def _at_fault(part: Slice, limit: int) -> list[str]:
    """Nodes with a form left that takes less, at steps whose bytes do not fit, or where all fit but the placement, at the largest."""
    totals = [sum(kinds.values()) for kinds in part.plan.live]
    threshold = min(limit, max(totals) - 1, limit - (part.plan.arena_bytes - max(totals)))
    crowded = [node.name for node, total in zip(part.graph.nodes, totals, strict=True) if total > threshold]
    count = {node.name: forms(node, part.target) for node in part.graph.nodes}
    return [name for name in crowded if part.saving.get(name, 0) + 1 < count[name]]


def recomputations(part: Graph, align: int = WORD, target: str = "", saving: Mapping[str, int] | None = None) -> Recomputations:
    """What a training slice may recompute, with the memory of a target's kernels."""
    kernels = with_kernels(part, target, saving)
    return Recomputations(kernels, _scratch_of(kernels), frozenset(caller_buffers(kernels)), align)


def _scratch_of(kernels: Graph) -> Callable[[Node], int]:
    return lambda node: scratch_bytes(kernels, node)


def offloads(part: Slice, graph: Graph) -> Offloads:
    """What a training slice, or a variant of its graph, may offload, with the memory of a target's kernels."""
    kernels = with_kernels(graph, part.target, part.saving)
    return Offloads(kernels, _scratch_of(kernels), frozenset(caller_buffers(kernels)), part.plan.alignment)


def offloaded(part: Slice, least: int) -> Slice:
    """The slice with as little in the arena as offloading reaches, but not below `least` bytes, for the fewest bytes to move."""
    choices = offloads(part, part.graph)
    chosen = choices.choose(max(choices.least(), least))
    return min(part, _like(part, offload(part.graph, chosen or ())), key=lambda s: s.plan.arena_bytes)


def fitted(part: Slice, arena: int, transfer_cost: float | None = None) -> Slice | None:
    """The slice whose plan fits the arena for the fewest extra MACs that were found, with layers in stripes and values computed again.

    transfer_cost: MACs that a byte moved to slow memory or back counts as; None: nothing may be offloaded. None where none was found.
    """
    if part.plan.arena_bytes <= arena:
        return part
    if arena <= 0:
        return None
    budget = arena
    for _ in range(ATTEMPTS):
        found = [_like(part, graph) for graph in _variants(part, budget, transfer_cost is not None)]
        if not found:
            return None
        fitting = [f for f in found if f.plan.arena_bytes <= arena]
        if fitting:
            return min(fitting, key=lambda f: (total_macs(f.graph) + (transfer_cost or 0) * moved_bytes(f.graph), f.plan.arena_bytes))
        budget = min(budget, *(f.plan.lower_bound for f in found)) - 1
    return None


def _variants(part: Slice, budget: int, offloading: bool) -> Iterator[Graph]:
    """Graphs whose bytes alive are within the budget: with recomputation or offloading, with stripes, with both."""
    in_stripes = _striped(part, budget)
    for graph in (part.graph, in_stripes) if in_stripes is not part.graph else (part.graph,):
        choice = recomputations(graph, part.plan.alignment, part.target, part.saving).choose(budget)
        if choice is not None:
            yield choice.apply(graph)
        moved = offloads(part, graph).choose(budget) if offloading else None
        if moved is not None:
            yield offload(graph, moved)


def _striped(part: Slice, budget: int) -> Graph:
    scratch = {node.name: scratch_bytes(part.kernels, node) for node in part.kernels.nodes}
    return stripe(part.graph, budget, lambda node: scratch[node.name], frozenset(caller_buffers(part.graph)), part.plan.alignment)


def _like(part: Slice, graph: Graph) -> Slice:
    """Another graph of a slice, planned as the slice is."""
    return planned(graph, part.plan.alignment, part.plan.proved, target=part.target, saving=part.saving)


def portable(part: Slice) -> Slice:
    """The slice with the kernels that take least memory."""
    return planned(part.graph, part.plan.alignment, part.plan.proved, target=part.target, saving=_portable(part.graph, part.target))


def smallest(part: Slice, offloading: bool = False) -> Slice:
    """The least memory that stripes and recomputation, or offloading, reach, whatever they cost."""
    in_stripes = _striped(part, 0)
    found = [part]
    for graph in (part.graph, in_stripes) if in_stripes is not part.graph else (part.graph,):
        found.append(_like(part, graph))
        found.append(_like(part, recomputations(graph, part.plan.alignment, part.target, part.saving).least().apply(graph)))
        if offloading:
            found.append(_like(part, offload(graph, offloads(part, graph).candidates())))
    return min(found, key=lambda s: s.plan.arena_bytes)


def advice(options: Options, total: Callable[[Options], int], now: int) -> str:
    """The three changes that save most, each planned for real. total: bytes that training takes with other options."""
    saved: list[tuple[int, str]] = []
    for words, other in _changes(options):
        try:
            need = total(other)
        except CompileError:
            continue
        if need < now:
            saved.append((need, words))
    saved.sort()
    return "; ".join(f"{words}: {need:,} bytes" for need, words in saved[:3]) or "train fewer layers, or choose a smaller model"


def _changes(options: Options) -> Iterator[tuple[str, Options]]:
    if options.accumulate > 1:
        yield "accumulate=1", replace(options, accumulate=1)
    if options.storage == "block16":
        yield 'storage="block8"', replace(options, storage="block8")
    if options.optimizer.moments_per_parameter:
        if options.optimizer.state_bits == 32:
            yield "state_bits=8", replace(options, optimizer=replace(options.optimizer, state_bits=8))
        if getattr(options.optimizer, "momentum", 0):
            yield "momentum=0", replace(options, optimizer=replace(options.optimizer, momentum=0.0, nesterov=False))
    for i, method in enumerate(options.methods):
        name = type(method).__name__
        others = options.methods[:i], options.methods[i + 1 :]
        if getattr(method, "layers", "last:1") != "last:1":
            yield f'{name}(layers="last:1")', replace(options, methods=(*others[0], replace(method, layers="last:1"), *others[1]))
        if getattr(method, "rank", 1) > 1:
            yield f"{name}(rank=1)", replace(options, methods=(*others[0], replace(method, rank=1), *others[1]))
        if len(options.methods) > 1:
            yield f"without {name}", replace(options, methods=(*others[0], *others[1]))
