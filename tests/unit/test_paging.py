"""Slow memory: the lines of C that move moments into the arena and back, evaluated as a compiler would, move each byte once."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from gradients.graphs import Maker
from kiloc.emit.paging import Layout, Part, around, looped, page_layout, pages_of, parts, transfer
from kiloc.ops.update.optimizer import PAGE
from kiloc.ops.paging.page import Page, PageOut

import kilotune as kt
from kiloc.ir.graph import Graph, Node, Value
from kiloc.passes.page_updates import paged_moments
from kiloc.passes.slices import training_slice
from kiloc.options import Options
from kiloc.pipeline import compile_graph

OPTIMIZERS = {"adam": kt.Adam(), "adam8": kt.Adam(state_bits=8), "lion8": kt.Lion(state_bits=8), "momentum": kt.SGD(momentum=0.9)}


@cache
def trained(optimizer: str) -> Graph:
    """A bias of 300 elements (a page and a rest), one of 512 (two pages), one of 5; all their moments in slow memory."""
    m = Maker("wide", (1, 4), 3)
    y = m.dense(m.dense(m.dense("input", "ragged", 300, "relu"), "even", 512, "relu"), "short", 5)
    options = Options(methods=(kt.BiasOnly(),), optimizer=OPTIMIZERS[optimizer], offload="optimizer", accumulate=2)
    return compile_graph(m.finish(y), options, "0").graph


def updates(graph: Graph) -> dict[str, Node]:
    """Layer -> the node that updates its bias."""
    return {layer: next(n for n in graph.nodes if layer in n.name and paged_moments(graph, n)) for layer in ("ragged", "even", "short")}


def moves(graph: Graph, node: Node, part: Part, layout: Layout, scratch: int = 96) -> list[list[tuple[str, int, int, int]]]:
    """Of each turn of a part's loop what its lines move: way, address in slow memory, address in the arena, bytes."""
    size = graph.type(node.inputs["accumulator"]).size
    lines = looped(part, size, around(graph, node, part, layout, scratch, "work();"))
    turns: list[int] = [0]
    if lines[0].startswith("for"):
        first, end, step = map(int, re.fullmatch(r"for \(uint32_t at = (\d+); at < (\d+); at \+= (\d+)\) \{", lines[0]).groups())  # type: ignore[union-attr]
        assert lines[-1] == "}" and all(line.startswith("    ") for line in lines[1:-1])
        turns, lines = list(range(first, end, step)), [line[4:] for line in lines[1:-1]]
    found = []
    for at in turns:
        moved = []
        for line, returned, closed in zip(lines, [*lines[1:], ""], [*lines[2:], "", ""], strict=True):
            call = re.fullmatch(r"if \(kt_port_page_(in|out)\(m, (.*), a \+ (.*), (\d+)\) != 0\) \{", line)
            if call:
                assert (returned, closed) == ("    return KT_ERROR_PAGE;", "}"), "a transfer that fails ends the function"
                place = eval(call[2].replace("/", "//"), {"at": at})
                moved.append((call[1], place, eval(call[3]), int(call[4])))
            elif line == "work();":
                moved.append(("work", 0, 0, 0))
        found.append(moved)
    return found


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("layer", ["ragged", "even", "short"])
def test_an_update_moves_every_byte_of_its_moments_once(optimizer: str, layer: str) -> None:
    """In before the call, out behind it, to the place where it came from; parts of the arena that do not overlap."""
    graph = trained(optimizer)
    node, layout = updates(graph)[layer], page_layout(graph)
    seen: dict[str, list[int]] = {"in": [], "out": []}
    for part in parts(graph, node):
        for turn in moves(graph, node, part, layout):
            at = turn.index(("work", 0, 0, 0))
            before, after = turn[:at], turn[at + 1 :]
            assert [m[0] for m in before] == ["in"] * len(before) and [("in", *m[1:]) for m in after] == before
            arena = [byte for _, _, start, size in before for byte in range(start, start + size)]
            assert len(arena) == len(set(arena)) and min(arena) >= 96 and max(arena) < 96 + pages_of(graph, node)[1]
            assert all(start % 4 == 0 for _, _, start, _ in before)
            for way, place, _, size in (*before, *after):
                seen[way] += range(place, place + size)
    expected = [layout.offsets[v] + i for v in paged_moments(graph, node) for i in range(graph.type(v).bytes)]
    assert sorted(seen["in"]) == sorted(seen["out"]) == sorted(expected)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_parts_cover_a_parameter(optimizer: str) -> None:
    graph = trained(optimizer)
    nodes = updates(graph)
    assert parts(graph, nodes["short"]) == (Part("0", 5),)
    assert parts(graph, nodes["even"]) == (Part("at", PAGE),)
    assert parts(graph, nodes["ragged"]) == (Part("at", PAGE), Part("256", 44))
    assert [p.name for p in parts(graph, nodes["ragged"])] == ["", "_rest"] and Part("0", 5).name == ""
    assert [Part(at, 1).behind("p") for at in ("0", "at", "256")] == ["p", "p + at", "p + 256"]
    page = replace(
        graph, values={**graph.values, "x": Value("x", replace(graph.type(nodes["short"].inputs["accumulator"]), shape=(PAGE,)), "accumulator")}
    )
    full = replace(nodes["short"], inputs={**nodes["short"].inputs, "accumulator": "x"})
    assert parts(page, full) == (Part("0", PAGE),), "one whole page needs no loop"


def test_an_update_without_moments_in_slow_memory_needs_no_pages() -> None:
    graph = trained("adam")
    assert all(pages_of(graph, n) == ({}, 0) for n in graph.nodes if not paged_moments(graph, n))
    found, size = pages_of(graph, updates(graph)["ragged"])
    assert list(found.values()) == [0, 4 * PAGE] and size == 8 * PAGE, "a page each of two float32 moments"
    found, size = pages_of(graph, updates(graph)["short"])
    assert list(found.values()) == [0, 20] and size == 40


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_slow_memory_has_moments_in_front_and_no_value_over_another(optimizer: str) -> None:
    whole = trained(optimizer)
    saved = next(v for v in training_slice(whole).values.values() if v.kind == "saved")
    moment = next(v for v in whole.values.values() if v.kind == "paged")
    odd = [Value("a", replace(saved.type, shape=(1, 5)), "offloaded"), Value("b", replace(saved.type, shape=(1, 8)), "offloaded")]
    graph = replace(whole, values={**{v.name: v for v in odd}, **whole.values})
    layout = page_layout(graph)
    kinds = [v for v in graph.values.values() if v.kind in ("paged", "offloaded")]
    assert set(layout.offsets) == {v.name for v in kinds} and layout.offsets[moment.name] == 0
    end = 0
    for name, offset in sorted(layout.offsets.items(), key=lambda item: item[1]):
        assert offset == end and offset % 4 == 0, "one behind the other"
        end = offset + -(-graph.type(name).bytes // 4) * 4
    assert layout.bytes == end and layout.moments == layout.offsets["a"] == end - 16
    assert page_layout(whole).moments == page_layout(whole).bytes == layout.moments


def test_a_saved_value_goes_out_and_comes_back_to_the_same_place() -> None:
    """Both ways name the value in slow memory: the result of the way out, the operand of the way in."""
    m = Maker("kept", (1, 4), 3)
    y = m.dense(m.dense(m.dense("input", "first", 30, "relu"), "second", 20, "relu"), "third", 3)
    c = compile_graph(m.finish(y), Options(methods=(kt.BiasOnly(),), offload="all"), "0")
    assert c.train is not None
    graph = c.train.graph
    layout = Layout({v.name: 64 * i for i, v in enumerate(v for v in graph.values.values() if v.kind == "offloaded")}, 0, 0)
    assert layout.offsets
    seen: dict[str, list[tuple[int, int]]] = {"in": [], "out": []}
    for node in graph.nodes:
        if isinstance(node.op, Page):
            slow = node.outputs[0] if isinstance(node.op, PageOut) else node.inputs["x"]
            lines = transfer(graph, node, layout, "a + 8")
            assert lines[1:] == ["    return KT_ERROR_PAGE;", "}"]
            way, place, size = re.fullmatch(r"if \(kt_port_page_(in|out)\(m, (\d+), a \+ 8, (\d+)\) != 0\) \{", lines[0]).groups()  # type: ignore[union-attr]
            assert way == ("out" if isinstance(node.op, PageOut) else "in")
            assert (int(place), int(size)) == (layout.offsets[slow], graph.type(slow).bytes)
            seen[way].append((int(place), int(size)))
    assert seen["out"] and set(seen["in"]) == set(seen["out"]) and len(np.unique(list(layout.offsets.values()))) == len(layout.offsets)
