"""Flash: which gradients to inputs read the weights of inference instead of a transposed copy, which is faster."""

from __future__ import annotations

from dataclasses import replace

from ..errors import BudgetError, FlashBudgetError
from ..ir.graph import Graph
from ..ops.backward.input_gradient import LinearInputGradient
from ..options import Options
from ..passes.kernels import second_copy, shared_on_stack
from ..plan.slice import Slice
from .kernels import repack_at_little_cost, share_at_no_cost, share_weights


def with_shared_weights(part: Graph, options: Options, chosen: frozenset[str] = frozenset(), repeated: bool = False) -> Graph:
    """The training slice with those gradients marked. chosen: their names where the budget decides (backward_weights="auto"); repeated: whether
    others may make their weights several times in a step, for the budget too."""
    if options.backward_weights == "auto":
        shared = chosen | share_at_no_cost(part, options.kernels)
        crowded = options.pages_activations  # values leave the arena for want of room: it has none for weights
        repacked = frozenset[str]() if crowded else repack_at_little_cost(part, options.kernels) - shared
        return replace(part, shared=shared, repacked=repacked, repeated=repacked if repeated else frozenset())
    every = frozenset(n.name for n in part.nodes if isinstance(n.op, LinearInputGradient))
    return replace(part, shared={"transposed": frozenset[str](), "shared": every}[options.backward_weights])


def repeats_for_flash(train: Slice | None, error: BudgetError, options: Options) -> bool:
    """Whether gradients that have no room for all of their transposed weights at once should make them in parts, to meet the budget of flash."""
    if train is None or not isinstance(error, FlashBudgetError) or options.backward_weights != "auto" or train.graph.repeated:
        return False
    return any(second_copy(train.graph, n, train.target, train.saving) for n in train.graph.nodes if n.name in train.graph.repacked)


def shared_for_flash(train: Slice | None, error: BudgetError, options: Options) -> frozenset[str]:
    """The gradients that have to share their weights to meet the budget of flash; none where that is not asked for, or would not help."""
    if train is None or not isinstance(error, FlashBudgetError) or options.backward_weights != "auto":
        return frozenset()
    return share_weights(train, error.excess)


def shared_for_memory(train: Slice, options: Options) -> frozenset[str]:
    """The gradients that memory leaves a portable kernel although they could share their weights, where nothing else is asked for."""
    if options.backward_weights != "auto":
        return frozenset()
    portable = (n for n, k in zip(train.graph.nodes, train.kernels.nodes, strict=True) if k.op is n.op and n.name not in train.graph.shared)
    return frozenset(n.name for n in portable if shared_on_stack(train.graph, n, train.target, {}) is not None)


def check_flash(used: int, options: Options) -> None:
    """Raises FlashBudgetError. used: bytes of flash, as linked or as counted."""
    if options.flash is not None and used > options.flash:
        raise FlashBudgetError(options.flash, used)
