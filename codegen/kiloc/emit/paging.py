"""Transfers to slow memory and back, as C.

A transfer that fails ends the function, before anything computes with what did not arrive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..ir.graph import Graph, Node
from ..ops.paging.page import Page, PageOut
from ..ops.update.optimizer import PAGE, Optimizer
from ..plan.paging import Layout, page_of, pages_of


@dataclass(frozen=True)
class Part:
    """The elements [at, at + size) of a parameter in an update. at: a number, or where a loop goes over parts the variable `at`."""

    at: str
    size: int

    @property
    def name(self) -> str:
        """What tells parts of one node apart."""
        return "_rest" if self.at not in ("0", "at") else ""

    def behind(self, address: str) -> str:
        """C of the address of the parameter's element `at`, from that of its first."""
        return address if self.at == "0" else f"{address} + {self.at}"


def parts(graph: Graph, node: Node) -> Sequence[Part]:
    """Of an update with paged moments: the whole, or a loop over pages and what it leaves."""
    size = graph.type(node.inputs["accumulator"]).size
    if size <= PAGE:
        return (Part("0", size),)
    assert isinstance(node.op, Optimizer) and node.op.clip == 0, f"{node.name} needs all elements for its norm"
    rest = (Part(str(size - size % PAGE), size % PAGE),) if size % PAGE else ()
    return (Part("at", PAGE), *rest)


def looped(part: Part, size: int, body: Sequence[str]) -> list[str]:
    """Lines of C of one part, in the loop that goes over all like it. size: elements of the parameter."""
    if part.at != "at":
        return list(body)
    return [f"for (uint32_t at = 0; at < {size - size % PAGE}; at += {PAGE}) {{", *(f"    {line}" for line in body), "}"]


def around(graph: Graph, node: Node, part: Part, layout: Layout, scratch: int, call: str) -> list[str]:
    """Lines of C: the moments of a part into the arena, the call, and the moments out again. scratch: offset of the pages in the arena."""
    moves = []
    for name, offset in pages_of(graph, node)[0].items():
        size = page_of(graph, node, name, part.size).bytes
        first = _first(graph, node, name, part, layout.offsets[name])
        moves.append(f"m, {first}, a + {scratch + offset}, {size}")
    return [*_moved("in", moves), call, *_moved("out", moves)]


def transfer(graph: Graph, node: Node, layout: Layout, address: str) -> list[str]:
    """Lines of C of a transfer of a saved value. address: of the value in the arena."""
    assert isinstance(node.op, Page)
    out = isinstance(node.op, PageOut)
    slow = node.outputs[0] if out else node.inputs["x"]
    return list(_moved("out" if out else "in", [f"m, {layout.offsets[slow]}, {address}, {graph.type(slow).bytes}"]))


def _first(graph: Graph, node: Node, name: str, part: Part, start: int) -> str:
    """C of the place in slow memory of a part's first byte."""
    page = page_of(graph, node, name, PAGE).bytes
    if part.at != "at":
        return str(start + int(part.at) * page // PAGE)
    if page == PAGE:
        return f"{start} + at"
    return f"{start} + at * {page // PAGE}" if page > PAGE else f"{start} + at / {PAGE // page}"


def _moved(way: str, arguments: Sequence[str]) -> Iterator[str]:
    for a in arguments:
        yield f"if (kt_port_page_{way}({a}) != 0) {{"
        yield "    return KT_ERROR_PAGE;"
        yield "}"
