"""What can be trained: families of methods, pieces (one family on one layer) and sets of pieces.

A new method becomes searchable by one line in FAMILIES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from kiloc.ir.graph import Graph, Node
from kiloc.ops.model._linear import Linear
from kiloc.peft import BiasOnly, BottleneckAdapter, Full, Head, LoRA, Method, ScaleShift, SparseUpdate, has_weights
from kiloc.peft._method import Layers
from kiloc.peft.lora import largest_rank

Array = NDArray[Any]


def _linear(graph: Graph) -> list[Node]:
    return [n for n in graph.nodes if isinstance(n.op, Linear)]


def _weighted(graph: Graph) -> list[Node]:
    return [n for n in graph.nodes if has_weights(n)]


DELTAS = frozenset({"head", "sparse", "full"})
"""Families that train a delta of the weights: a layer takes one, and no LoRA beside it."""


@dataclass(frozen=True)
class Family:
    """A method that can be tried on any selection of its layers.

    make: the method of a variant on some layers. layers: those that it applies to. variants: its sizes (ranks), each more capable
    than the one before. largest: the largest variant of a layer. share: the part of the largest variant's gradient [N, ...] that a
    smaller one has. companion: cheap and worth trying together with every other family. alone_on: families that cannot have the same
    layer. includes: families whose tensors of a layer it trains as well.
    """

    name: str
    make: Callable[[int, Layers], Method]
    layers: Callable[[Graph], list[Node]]
    variants: tuple[int, ...] = (0,)
    largest: Callable[[Graph, Node], int] = lambda graph, node: 0
    share: Callable[[Array, int], Array] = lambda gradient, variant: gradient
    companion: bool = False
    alone_on: frozenset[str] = frozenset()
    includes: frozenset[str] = frozenset()


FAMILIES: dict[str, Family] = {
    f.name: f
    for f in (
        Family("bias", lambda _, layers: BiasOnly(layers=layers), _weighted, companion=True),
        Family(
            "head", lambda _, layers: Head(), lambda g: _linear(g)[-1:],
            alone_on=frozenset({"lora"}) | DELTAS, includes=frozenset({"bias"}),
        ),
        Family(
            "lora", lambda rank, layers: LoRA(rank=rank, layers=layers), _linear, variants=(1, 2, 4, 8), largest=largest_rank,
            share=lambda gradient, rank: gradient[..., :rank], alone_on=DELTAS,
        ),
        Family("scale", lambda _, layers: ScaleShift(layers=layers), _weighted, includes=frozenset({"bias"})),
        Family(
            "sparse", lambda percent, layers: SparseUpdate(layers=layers, fraction=percent / 100), _weighted, variants=(25,),
            largest=lambda graph, node: 25, alone_on=frozenset({"lora"}) | DELTAS, includes=frozenset({"bias"}),
        ),
        Family(
            "full", lambda _, layers: Full(layers=layers), _weighted,
            alone_on=frozenset({"lora"}) | DELTAS, includes=frozenset({"bias"}),
        ),
        Family(
            "adapter", lambda width, layers: BottleneckAdapter(width=width, layers=layers), _weighted, variants=(4, 8),
            largest=lambda graph, node: graph.type(node.inputs["bias"]).size, share=lambda gradient, width: gradient[..., :width],
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, order=True)
class Piece:
    """One family on one layer."""

    family: str
    layer: str
    variant: int = 0


@dataclass(frozen=True)
class TrainableSet:
    """Pieces that are trained together: one variant of a family a layer. Make it with `of`."""

    pieces: frozenset[Piece]

    @staticmethod
    def of(pieces: Iterable[Piece]) -> TrainableSet:
        """Without the pieces that another one includes."""
        given = frozenset(pieces)
        included = {Piece(name, p.layer) for p in given for name in FAMILIES[p.family].includes}
        return TrainableSet(given - included)

    @property
    def kind(self) -> str:
        """Its families, as in "bias+lora"."""
        return "+".join(name for name in FAMILIES if any(p.family == name for p in self.pieces))

    def methods(self, graph: Graph) -> tuple[Method, ...]:
        """One method for each family and variant, with layers written as a person would."""
        found = []
        for family in FAMILIES.values():
            for variant in family.variants:
                chosen = {p.layer for p in self.pieces if (p.family, p.variant) == (family.name, variant)}
                if chosen:
                    chosen |= {p.layer for p in self.pieces if family.name in FAMILIES[p.family].includes}
                    every = [n.name for n in family.layers(graph)]
                    found.append(family.make(variant, _selection([n for n in every if n in chosen], every)))
        return tuple(found)

    def plus(self, piece: Piece) -> TrainableSet | None:
        """The set with a piece added, or with its larger variant; None where the layer cannot take it."""
        same = [p for p in self.pieces if p.layer == piece.layer]
        if any(p.family in FAMILIES[piece.family].alone_on or (p.family == piece.family and p.variant >= piece.variant) for p in same):
            return None
        return TrainableSet.of(self.pieces - {p for p in same if p.family == piece.family} | {piece})


def _selection(layers: list[str], every: list[str]) -> Layers:
    """Layers as a person would write them."""
    if layers == every:
        return "all"
    return f"last:{len(layers)}" if layers == every[-len(layers) :] else tuple(layers)


def pieces_of(graph: Graph, family: Family, reachable: Iterable[str]) -> list[list[Piece]]:
    """The pieces of each layer, in the order of layers and then of variants; equal ones (rank above the largest) once."""
    found = []
    for node in family.layers(graph):
        if node.name in reachable:
            sizes = sorted({min(v, family.largest(graph, node)) for v in family.variants} & set(family.variants))
            found.append([Piece(family.name, node.name, v) for v in sizes])
    return [p for p in found if p]
