"""Reversible blocks: in the backward phase the operand of a coupling is reconstructed from its result, so that no activation of a block is kept.

A coupling is a sum y = x + F(u) of int16 tensors, where F reads other values than x: parameters, and operands or results of couplings. If the sum is
exact and can never leave int16 (`ops/_wide_ranges.py`), x = y - F(u) holds bit for bit. F is computed again for it, which its own gradients need
anyway. So of any number of blocks only the results of the last are kept, for the price of running every F once more.

Source: Gomez et al., "The Reversible Residual Network: Backpropagation Without Storing Activations" (2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..ir.graph import Graph, Node
from ..ir.types import RANGES
from ..ir.verify import node_types
from ..ops._wide_ranges import intervals, is_exact, sum_interval
from ..ops.backward.gradient_mask import SaveMask
from ..ops.model.add import Add
from ..ops.wide.elementwise import WideAdd, WideSub, WideSum
from .recompute import AGAIN, Again, saved_values


class NotReversible(Exception):
    """Why a sum stays as it is; the message belongs into a note."""


@dataclass(frozen=True)
class Coupling:
    """node: y = x + other, or x - other. inside: names of the nodes that make `other` of what couplings read and give."""

    node: Node
    inside: frozenset[str]

    @property
    def operand(self) -> str:
        return self.node.inputs["x"]

    @property
    def branch(self) -> str:
        return self.node.inputs["other"]

    def inverse(self) -> Node:
        """The node that makes x of y and other."""
        op = WideSub() if isinstance(self.node.op, WideAdd) else WideAdd()
        return replace(
            self.node, name=f"{self.node.name}.inverse", op=op, inputs={"x": self.node.outputs[0], "other": self.branch}, outputs=(self.operand,)
        )


def reconstruct(part: Graph) -> Graph:
    """The training slice with the operands of couplings reconstructed; as it is where there are none. Notes say what is almost a coupling."""
    found, notes = couplings(part)
    part = replace(part, notes=tuple(dict.fromkeys((*part.notes, *notes)))) if notes else part
    covered = {c.operand for c in found} | {v for n in part.phase("forward") for c in found if n.name in c.inside for v in n.outputs}
    dropped = frozenset(v for v in saved_values(part) if v in covered)
    if not dropped:
        return part
    return _without_unread(_Reconstruction(part, dropped, found).graph())


def couplings(part: Graph) -> tuple[list[Coupling], list[str]]:
    """The couplings of a training slice in forward order, and notes on sums between them that are none, or on those that would be in int16."""
    forward = part.phase("forward")
    limits, candidates, reasons = intervals(part), list[Node](), dict[str, str]()
    for node in (_with_branch_behind(part, n) for n in forward if isinstance(n.op, WideSum)):
        if why := _inexact(part, node, sum_interval(part, node, limits)):
            reasons[node.name] = why
        else:
            candidates.append(node)
    found = _closed(part, candidates, reasons)
    if found:
        return found, [f"'{name}': what it adds to is kept, not reconstructed: {why}" for name, why in reasons.items()]
    narrow = _closed(part, [n for n in forward if type(n.op) is Add], {})
    names = ", ".join(repr(c.node.name) for c in narrow[:3]) + (", ..." if len(narrow) > 3 else "")
    return [], [f"{names}: blocks are not reconstructed, because sums of int8 may saturate: export the halves as int16"] if len(narrow) > 1 else []


def _closed(part: Graph, candidates: list[Node], reasons: dict[str, str]) -> list[Coupling]:
    """Those sums that are couplings among themselves; reasons: filled with why the others are none."""
    while True:
        ends = {v for n in candidates for v in (n.inputs["x"], *n.outputs)}
        found, left = list[Coupling](), list[Node]()
        for node in candidates:
            try:
                found.append(Coupling(node, _inside(part, node, candidates, ends)))
                left.append(node)
            except NotReversible as why:
                reasons[node.name] = str(why)
        if len(left) == len(candidates):
            return found
        candidates = left


def _with_branch_behind(part: Graph, node: Node) -> Node:
    """A sum with what its int8 layers give as the second operand: addends change places."""
    if isinstance(node.op, WideAdd) and _is_branch(part, node.inputs["x"]) and not _is_branch(part, node.inputs["other"]):
        return replace(node, inputs={"x": node.inputs["other"], "other": node.inputs["x"]})
    return node


def _is_branch(part: Graph, value: str) -> bool:
    """Whether a value is made, through some of int8, of int16 ones and parameters."""
    producers = part.producers()
    while value in producers and producers[value].op.view:
        value = producers[value].inputs["x"]
    pending = list(producers[value].inputs.values()) if value in producers else []
    if not pending or any(part.type(v).dtype == "int16" for v in pending):
        return False
    seen = set[str]()
    for v in pending:
        if v in part.inputs:
            return False
        if v in producers and v not in seen and part.type(v).dtype != "int16":
            seen.add(v)
            pending += producers[v].inputs.values()
    return True


def _inexact(part: Graph, node: Node, reached: tuple[int, int]) -> str:
    """Why x cannot be computed from the result, "" where it can."""
    t, (low, high) = node_types(part, node), RANGES["int16"]
    assert isinstance(node.op, WideSum)
    if node.op.activation != "none" or not is_exact(node.op, t):
        return "its operands and its result have different scales, or it is clamped"
    if t.type("x").shape != t.result().shape or t.type("other").shape != t.result().shape:
        return "one of its operands is stretched"
    if reached[0] < low or reached[1] > high:
        return f"its result may reach {reached[0] if reached[0] < low else reached[1]:,}, beyond int16"
    return ""


def _inside(part: Graph, node: Node, sums: list[Node], ends: set[str]) -> frozenset[str]:
    """The nodes that make what a sum adds. Raises NotReversible."""
    producers, order = part.producers(), {n.name: i for i, n in enumerate(part.nodes)}
    inside, pending = set[str](), [node.inputs["other"]]
    while pending:
        value = pending.pop()
        if value in ends:
            if value == node.inputs["x"]:
                raise NotReversible("what is added is computed from it")
            earlier = [n for n in sums if n.inputs["x"] == value and order[n.name] < order[node.name]]
            if earlier:
                raise NotReversible(f"what is added reads {value}, to which '{earlier[-1].name}' has added before")
        elif value in producers:
            if producers[value].name not in inside:
                inside.add(producers[value].name)
                pending += producers[value].inputs.values()
        elif value in part.inputs or part.values[value].kind == "stream":
            raise NotReversible(f"what is added reads {value}, which no coupling gives")
    saves = [
        n for n in part.phase("forward") if isinstance(n.op, SaveMask) and producers.get(n.inputs["y"]) and producers[n.inputs["y"]].name in inside
    ]
    return frozenset(inside | {n.name for n in saves})


class _Reconstruction(Again):
    """Operands of couplings come from the inverse; and each as soon as something of its block is computed again, which lets the result go."""

    def __init__(self, part: Graph, dropped: frozenset[str], found: list[Coupling]) -> None:
        super().__init__(part, dropped, nested=False)
        self.kept |= {v for c in found for v in c.node.outputs}
        self.kept -= {c.operand for c in found}
        self.inverses: Mapping[str, Node] = {c.operand: c.inverse() for c in found}
        inside = {name: c for c in found for name in c.inside}
        self.blocks = {v: inside[n.name] for n in part.phase("forward") if n.name in inside for v in n.outputs}

    def demanded(self, name: str) -> str:
        if name in self.blocks and self.blocks[name].operand not in self.names:
            super().demanded(self.blocks[name].operand)
        return super().demanded(name)

    def _producer(self, name: str) -> Node:
        return self.inverses[name] if name in self.inverses else super()._producer(name)


def _without_unread(part: Graph) -> Graph:
    """Without what was reconstructed for nothing, in front of the first block that is trained."""
    nodes = list(part.nodes)
    while True:
        read = {v for n in nodes for v in n.inputs.values()} | set(part.outputs)
        left = [n for n in nodes if n.phase == "forward" or n.updates or not AGAIN.search(n.name) or read & set(n.outputs)]
        if len(left) == len(nodes):
            return part.with_nodes(nodes)
        nodes = left
