"""What a model ends in: probabilities, and the logits that they were made of, or a layer's own values.

A loss that is made of logits reads those in front of a softmax or a logistic function, through whatever only moves the values behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

from .ir.graph import Graph, Node

PROBABILITIES = ("softmax", "logistic")
"""Operators that turn logits x into probabilities."""

MOVES = ("transpose", "requantize", "concatenate", "slice", "gather", "pad", "pad_axes", "mean")
"""Operators behind which probabilities are still probabilities, though their logits may be out of reach."""


@dataclass(frozen=True)
class Head:
    """What a result is. kind: "softmax" or "logistic" where it holds such probabilities, element for element those of `logits`, else "".

    rows: of the softmax, of which each sums to one. beside: operators of PROBABILITIES whose results it holds out of the logits' reach,
    and `behind` the operator that is in the way.
    """

    kind: str
    logits: str
    rows: int = 1
    beside: tuple[str, ...] = ()
    behind: str = ""


def head_of(graph: Graph, result: str) -> Head:
    """The head that ends in this value."""
    producers = graph.producers()
    name = result
    while (node := producers.get(name)) is not None and _keeps_order(graph, node):
        name = node.inputs["x"]
    if node is None:
        return Head("", result)
    if node.op.mnemonic in PROBABILITIES:
        logits = node.inputs["x"]
        rows = graph.type(logits).size // graph.type(logits).shape[-1] if node.op.mnemonic == "softmax" else 1
        return Head(node.op.mnemonic, logits, rows)
    beside = _probabilities(graph, producers, node)
    return Head("", result, beside=beside, behind=node.op.mnemonic if beside else "")


def _keeps_order(graph: Graph, node: Node) -> bool:
    """Whether the result is the operand, element for element, under another shape or scale."""
    if node.op.view:
        return True
    if node.op.mnemonic == "requantize":
        return getattr(node.op, "activation", "none") == "none"
    return node.op.mnemonic == "transpose" and sum(n > 1 for n in graph.type(node.inputs["x"]).shape) <= 1


def _probabilities(graph: Graph, producers: dict[str, Node], last: Node) -> tuple[str, ...]:
    """Operators of PROBABILITIES whose results a node holds, moved."""
    found: list[str] = []
    pending, seen = [last], {last.name}
    while pending:
        node = pending.pop()
        if node.op.mnemonic in PROBABILITIES:
            found.append(node.op.mnemonic)
        elif node.op.view or node.op.mnemonic in MOVES:
            before = [producers[v] for v in node.inputs.values() if v in producers]
            pending += [n for n in before if n.name not in seen]
            seen.update(n.name for n in before)
    return tuple(sorted(set(found)))
