"""What can be trained: families (the methods that a search tries), pieces (one of them on one layer) and sets of pieces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from kiloc.ir import Graph, Node
from kiloc.peft import REGISTRY, Layers, Method, exclude

Array = NDArray[Any]
Family = type[Method]


def families() -> dict[str, Family]:
    """The methods that a search tries, by name; their classes say what it needs to know."""
    return {name: method for name, method in REGISTRY.items() if method.searched}


def variants(family: Family) -> tuple[int, ...]:
    """The sizes that are tried, each more capable than the one before."""
    return (0,) if family.sizes is None else family.sizes.values


def share(family: Family, gradient: Array, variant: int) -> Array:
    """The part of the largest variant's gradient [N, ...] that a variant has."""
    return gradient if family.sizes is None else gradient[..., :variant]


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
        included = {Piece(name, p.layer) for p in given for name in families()[p.family].includes}
        return TrainableSet(given - included)

    @property
    def kind(self) -> str:
        """Its families, as in "bias+lora"."""
        return "+".join(name for name in families() if any(p.family == name for p in self.pieces))

    def methods(self, graph: Graph) -> tuple[Method, ...]:
        """One method for each family and variant, with layers written as a person would."""
        found = []
        for family in families().values():
            for variant in variants(family):
                chosen = {p.layer for p in self.pieces if (p.family, p.variant) == (family.name, variant)}
                if chosen:
                    chosen |= {p.layer for p in self.pieces if family.name in families()[p.family].includes}
                    every = [n.name for n in family.fitting(graph)]
                    found.append(family.sized(variant, _selection([n for n in every if n in chosen], every)))
        return tuple(found)

    def plus(self, piece: Piece) -> TrainableSet | None:
        """The set with a piece added, or with its larger variant; None where the layer cannot take it."""
        same = [p for p in self.pieces if p.layer == piece.layer]
        if any(p.variant >= piece.variant if p.family == piece.family else _excluded(p, piece) for p in same):
            return None
        return TrainableSet.of(self.pieces - {p for p in same if p.family == piece.family} | {piece})


def _excluded(one: Piece, other: Piece) -> bool:
    return exclude(families()[one.family].part, families()[other.family].part)


def _selection(layers: list[str], every: list[str]) -> Layers:
    """Layers as a person would write them."""
    if layers == every:
        return "all"
    return f"last:{len(layers)}" if layers == every[-len(layers) :] else tuple(layers)


def pieces_of(graph: Graph, family: Family, reachable: Iterable[str]) -> list[list[Piece]]:
    """The pieces of each layer, in the order of layers and then of variants; equal ones (rank above the largest) once."""
    found = []
    for node in family.fitting(graph):
        if node.name in reachable:
            found.append([Piece(family.name, node.name, v) for v in _sizes(graph, node, family)])
    return [p for p in found if p]


def _sizes(graph: Graph, node: Node, family: Family) -> list[int]:
    if family.sizes is None:
        return [0]
    tried = family.sizes.values
    return sorted({min(v, family.sizes.largest(graph, node)) for v in tried} & set(tried))
