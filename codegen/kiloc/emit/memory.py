"""Memory beside the arena: the state, the adapters that wait, and a board's slow memory."""

from __future__ import annotations

from ..errors import CompileError
from ..ir.graph import Graph
from ..options import Options
from .adapter_table import slot_bytes
from .state_layout import state_layout


def arena_budget(graph: Graph, options: Options) -> int:
    """Bytes that the budget of memory leaves for the arena; 0 without one."""
    if options.ram is None:
        return 0
    return options.ram - (state_layout(graph).bytes + resident_bytes(graph, options) if graph.state() else 0)


def resident_bytes(graph: Graph, options: Options) -> int:
    """Bytes of the adapters that wait beside the active one."""
    if not graph.trained_state():
        return 0
    return options.adapters.resident * slot_bytes(sum(v.type.bytes for v in state_layout(graph).adapter))


def check_slow_memory(needed: int, options: Options) -> None:
    """Raises CompileError where a board's slow memory is smaller than what is offloaded to it."""
    if options.slow.size is not None and needed > options.slow.size:
        what = f"{needed:,} bytes are to be offloaded, to a memory of {options.slow.size:,}"
        raise CompileError(f"offload={options.offload!r}", what, "offload less, train fewer layers, or name a larger memory")


def check_arena(graph: Graph, needed: int, options: Options) -> None:
    """Raises CompileError where the front end needs more of the arena than the budget leaves; the model's own part is fitted before."""
    if options.ram is not None and options.features is not None and needed > arena_budget(graph, options):
        what = f"the front end needs an arena of {needed:,} bytes, the budget leaves {arena_budget(graph, options):,}"
        raise CompileError(f"ram={options.ram}", what, "a larger budget, or a front end with a shorter window")
