"""Meeting a memory budget: recomputation first, and where that is not enough, what would help."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from .emit.context import Slice, caller_buffers, scratch_bytes
from .errors import CompileError
from .ir.graph import Graph, Node
from .plan import WORD, check_plan, plan_memory
from .plan.recompute import Choice, Recomputations

Options = Any
"""`pipeline.Options`, which stands after this stage."""

ATTEMPTS = 4
"""Placements may need a few bytes more than are alive at once: so often a smaller budget is tried."""


def planned(part: Graph, align: int = WORD, prove: bool = False, check: bool = True) -> Slice:
    """A slice with its plan (align, prove: see `plan_memory`); the plan is checked independently."""

    def scratch(node: Node) -> int:
        return scratch_bytes(part, node)

    plan = plan_memory(part, scratch, frozenset(caller_buffers(part)), align, prove)
    if check:
        check_plan(part, part.nodes, plan.offsets, plan.arena_bytes, scratch)
    return Slice(part, plan)


def recomputations(train: Slice) -> Recomputations:
    """What a training slice may recompute."""
    part = train.graph
    return Recomputations(part, lambda node: scratch_bytes(part, node), frozenset(caller_buffers(part)), train.plan.alignment)


def _with(choice: Choice, train: Slice) -> Slice:
    """The slice with what was chosen recomputed, planned as it was itself."""
    return planned(choice.apply(train.graph), train.plan.alignment, train.plan.proved)


def fitted(train: Slice, arena: int) -> Slice | None:
    """The training slice with the fewest extra MACs whose plan fits the arena; None where none was found."""
    if train.plan.arena_bytes <= arena:
        return train
    possible, budget = recomputations(train), arena
    for _ in range(ATTEMPTS):
        choice = possible.choose(budget)
        if choice is None:
            return None
        found = _with(choice, train)
        if found.plan.arena_bytes <= arena:
            return found
        budget -= found.plan.arena_bytes - arena
    return None


def smallest(train: Slice) -> Slice:
    """The least memory that recomputation reaches, whatever it costs."""
    plans = [train, _with(recomputations(train).front()[-1], train)]
    return min(plans, key=lambda s: s.plan.arena_bytes)


def front(train: Slice) -> list[Choice]:
    return recomputations(train).front()


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
