"""Graphs for the planner alone: values of any size, and operators that say nothing but how they use memory."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from kiloc.ir.graph import Graph, Node, Value
from kiloc.ir.operator import NodeTypes, Op
from kiloc.ir.reach import Reach
from kiloc.ir.types import TensorType
from kiloc.plan.lifetimes import Lifetimes, lifetimes


@dataclass(frozen=True)
class Apart(Op):
    """Its results lie apart from its operands."""

    mnemonic: ClassVar[str] = "apart"
    cost: int = 0

    def macs(self, t: NodeTypes) -> int:
        return self.cost


@dataclass(frozen=True)
class View(Op):
    mnemonic: ClassVar[str] = "view"
    view: ClassVar[bool] = True
    offset: int = 0

    def view_offset(self, t: NodeTypes) -> int:
        return self.offset


@dataclass(frozen=True)
class InPlace(Op):
    mnemonic: ClassVar[str] = "in_place"
    in_place: ClassVar[str | None] = "x"


@dataclass(frozen=True)
class Over(Op):
    """Its first result may lie over an operand, as far as the reading of these pieces permits: (first, end) of each."""

    mnemonic: ClassVar[str] = "over"
    pieces: tuple[tuple[int, int], ...] = ()
    piece: int = 1
    operand: str = "x"

    def reach(self, t: NodeTypes) -> tuple[str, Reach] | None:
        first, end = np.array(self.pieces, np.int64).T
        return self.operand, Reach(first, end, self.piece)


@dataclass(frozen=True)
class Unreached(Op):
    """Might lie over its operand, but not with these types."""

    mnemonic: ClassVar[str] = "unreached"

    def reach(self, t: NodeTypes) -> tuple[str, Reach] | None:
        return None


def node(name: str, op: Op, inputs: str | Mapping[str, str], outputs: str, updates: str = "", phase: str = "forward") -> Node:
    """inputs: names, the first of operand "x", others of "x2", "x3"; or operand -> name."""
    if isinstance(inputs, str):
        inputs = {"x" if i == 0 else f"x{i + 1}": value for i, value in enumerate(inputs.split())}
    return Node(name, op, inputs, tuple(outputs.split()), tuple(updates.split()), phase)


def value(name: str, size: Any, kind: str = "activation") -> Value:
    """size: bytes of int8, or (elements, dtype)."""
    elements, dtype = size if isinstance(size, tuple) else (size, "int8")
    return Value(name, TensorType((elements,), dtype), kind)


def graph(sizes: Mapping[str, Any], nodes: Iterable[Node], inputs: str, outputs: str, kinds: Mapping[str, str] | None = None) -> Graph:
    """Inputs are of kind "input", all others activations where `kinds` says nothing else."""
    given = {name: "input" for name in inputs.split()} | dict(kinds or {})
    values = {name: value(name, size, given.get(name, "activation")) for name, size in sizes.items()}
    return Graph("drawn", values, tuple(nodes), tuple(inputs.split()), tuple(outputs.split()))


NEXT = Over(((0, 2), (1, 3), (2, 4), (3, 4)))
"""Each byte of the result needs the byte of the operand at its place and the next one."""


def of(g: Graph, scratch: dict[str, int] | None = None, outside: str = "", sharing: bool = True) -> Lifetimes:
    """The lifetimes of a graph. scratch: bytes of each node; outside: values of the caller."""
    return lifetimes(g, lambda n: (scratch or {}).get(n.name, 0), frozenset(outside.split()), sharing)


def random_graph(rng: random.Random) -> Graph:
    """A chain with forks, views, operators in place and over their operands; two results."""
    sizes, names, nodes = {"x": rng.randint(1, 12)}, ["x"], []
    for i in range(rng.randint(3, 10)):
        kind = rng.choice(["apart", "apart", "view", "in place", "over", "twice"])
        source, result = rng.choice(names[-3:]), f"v{i}"
        size = sizes[source]
        inputs = f"{source} {rng.choice(names)}" if kind == "twice" or rng.random() < 0.3 else source
        op = {"view": View(), "in place": InPlace(), "over": Over(tuple((j, min(size, j + rng.randint(1, 3))) for j in range(size)))}.get(
            kind, Apart()
        )
        sizes[result] = size if kind in ("view", "in place", "over") else rng.randint(1, 12)
        if kind == "in place" and rng.random() < 0.3:
            sizes[result] = rng.randint(1, 12)
        outputs = result
        if kind == "twice":
            sizes[f"w{i}"] = rng.randint(1, 5)
            outputs = f"{result} w{i}"
        nodes.append(node(f"n{i}", op, source if kind == "view" else inputs, outputs))
        names.append(result)
    return graph(sizes, nodes, "x", f"{names[-1]} {rng.choice(names[1:])}")
