"""A training step that can be left after any of its steps and gone on with later: its place in the arena, what each step costs and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..ir.graph import Graph, Node
from ..ir.kernel_call import KernelCall
from ..plan.slice import Slice, kernel_call
from .state_layout import StateLayout
from .steps import CStep

ALIGNMENT = 8


@dataclass(frozen=True)
class Written:
    """Bytes that a step leaves behind: of a value in the arena, or of a member of the state."""

    value: str
    area: str
    """"arena" or "state"."""
    offset: int
    bytes: int


@dataclass(frozen=True)
class SlicedStep:
    """One call of a kernel: what a training step may be left behind.

    instructions: an estimate. layer: where the model's file has it.
    """

    name: str
    kernel: str
    phase: str
    instructions: int
    writes: tuple[Written, ...]


@dataclass(frozen=True)
class CSliced:
    """What the templates read. begin: bytes of the arena in front of the step's own, which are inference's. budget: instructions of a slice."""

    begin: int
    budget: int
    steps: tuple[SlicedStep, ...]


def describe(train: Slice, steps: Sequence[CStep], layout: StateLayout, budget: int, instructions: Mapping[str, int], arena_infer: int) -> CSliced:
    """The sliced form of a training step. instructions: of each node, by name. arena_infer: bytes that inference and the front end take."""
    begin = -(-arena_infer // ALIGNMENT) * ALIGNMENT
    nodes = {node.name: node for node in train.kernels.nodes}
    found = [_step(train, nodes[step.name], layout, begin, instructions[step.name]) for step in steps]
    return CSliced(begin, budget, tuple(found))


def _step(train: Slice, node: Node, layout: StateLayout, begin: int, instructions: int) -> SlicedStep:
    call = kernel_call(train.kernels, node)
    writes = tuple(w for name in (*node.outputs, *node.updates) if (w := _written(train, name, layout, begin)))
    return SlicedStep(node.name, _symbol(call), node.phase, instructions, writes)


def _symbol(call: KernelCall | None) -> str:
    return "transfer" if call is None else call.symbol


def _written(train: Slice, name: str, layout: StateLayout, begin: int) -> Written | None:
    """Where a value lies; None for one in slow memory, or in a buffer of the caller."""
    graph: Graph = train.kernels
    value = graph.values[name]
    if value.is_state:
        known = {v.name for v in layout.values}
        return Written(name, "state", layout.offset(name), value.type.bytes) if name in known else None
    if name not in train.plan.offsets:
        return None
    return Written(name, "arena", begin + train.plan.offsets[name], value.type.bytes)
