"""Slow memory: where it has what, and the transfers that move moments into the arena and back, each byte once.

Transfers are evaluated twice: as data, and as the lines of C that are made of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from gradients.graphs import Maker

import kilotune as kt
from kiloc.emit.c_names import Identifiers
from kiloc.emit.steps import WHOLE, CFunction, Constants, CPart, CStep, FunctionWriter, _paged_parts, _Part
from kiloc.ir.graph import Graph, Node, Value
from kiloc.ir.kernel_call import Argument, KernelCall, Scratch
from kiloc.ir.operator import Names, NodeTypes
from kiloc.ops.paging.page import Page, PageOut
from kiloc.ops.update.optimizer import PAGE, Adam
from kiloc.options import Options
from kiloc.passes.page_updates import paged_moments
from kiloc.passes.slices import training_slice
from kiloc.pipeline import Compilation, compile_graph
from kiloc.plan.lifetimes import scratch_name
from kiloc.plan.paging import page_layout, pages_of

OPTIMIZERS = {"adam": kt.Adam(), "adam8": kt.Adam(state_bits=8), "lion8": kt.Lion(state_bits=8), "momentum": kt.SGD(momentum=0.9)}
Move = tuple[str, int, int, int]
"""Way, address in slow memory, address in the arena, bytes; or "call" and the element that it begins at, -1 where it takes all."""


@cache
def built(optimizer: str) -> Compilation:
    """A bias of 300 elements (a page and a rest), one of 512 (two pages), one of 5; all their moments in slow memory."""
    m = Maker("wide", (1, 4), 3)
    y = m.dense(m.dense(m.dense("input", "ragged", 300, "relu"), "even", 512, "relu"), "short", 5)
    options = Options(methods=(kt.BiasOnly(),), optimizer=OPTIMIZERS[optimizer], offload="optimizer", accumulate=2)
    return compile_graph(m.finish(y), options, "0")


def trained(optimizer: str) -> Graph:
    return built(optimizer).graph


def updates(graph: Graph) -> dict[str, Node]:
    """Layer -> the node that updates its bias."""
    return {layer: next(n for n in graph.nodes if layer in n.name and paged_moments(graph, n)) for layer in ("ragged", "even", "short")}


def writer(graph: Graph, scratch: int = 0) -> FunctionWriter:
    """For updates with their scratch at this place of the arena."""
    places = {scratch_name(n): scratch for n in graph.nodes}
    return FunctionWriter(Constants(graph, Identifiers("wide")), places, {}, page_layout(graph), "state")


def moves(function: CFunction, step: CStep) -> list[list[Move]]:
    """What a step moves, of each turn of its loop and each part behind it."""
    where = {b.name: b.offset for b in function.buffers.values()}

    def turn(part: CPart, at: int) -> Iterator[Move]:
        for t in part.before:
            yield t.way, t.first + (at * t.factor // t.divisor if t.factor else 0), where[t.buffer], t.bytes
        if part.call is not None:
            begins = {a.behind for a in part.call.arguments} - {""}
            yield "call", eval(begins.pop(), {"at": at}) if begins else -1, 0, 0
        for t in part.after:
            yield t.way, t.first + (at * t.factor // t.divisor if t.factor else 0), where[t.buffer], t.bytes

    return [list(turn(part, at)) for part in step.parts for at in range(0, part.loop or 1, part.page)]


# ---- As a compiler reads it ----

ENDS = ("    return KT_OK;", "    s->accumulated = 0;", "    if (loss != NULL) {")
LOOP = re.compile(r"for \(uint32_t at = (\d+); at < (\d+); at \+= (\d+)\) \{")
TRANSFER = re.compile(r"if \(kt_port_page_(in|out)\(m, (.*), (\w+), (\d+)\) != 0\) \{")


def written(text: str, name: str) -> list[list[Move]]:
    """The same of a step by its name, from the text of the file. A transfer that fails must end the function."""
    where = {found[1]: int(found[2]) for found in re.finditer(r"(\w+) = in_arena\(arena, (\d+)\);", text)}
    lines = re.sub(r",\n +", ", ", text).split("\n")
    (at,) = [i for i, line in enumerate(lines) if re.search(rf"/\* step \d+: {re.escape(name)} \*/$", line)]
    if lines[at].lstrip().startswith("/*"):
        end = next(i for i in range(at + 1, len(lines)) if not lines[i] or "/* step " in lines[i] or lines[i] in ENDS)
        lines = [line for line in lines[at + 1 : end] if "in_arena" not in line]
    else:
        lines = [lines[at].partition(" /*")[0]]
    found: list[list[Move]] = []
    margin, ats, start = "    ", [0], 0
    for number, line in enumerate([*lines, ""]):
        loop = LOOP.fullmatch(line.strip())
        if loop or (line == "    }" and margin == " " * 8) or number == len(lines):
            assert all(x.startswith(margin) for x in lines[start:number])
            found += [turn for at in ats if (turn := _turn(lines[start:number], at, where))]
            margin, start = (" " * 8 if loop else "    "), number + 1
            ats = list(range(*map(int, loop.groups()))) if loop else [0]
    return found


def _turn(lines: list[str], at: int, where: dict[str, int]) -> list[Move]:
    moved: list[Move] = []
    rest = iter(x.strip() for x in lines)
    for line in rest:
        transfer = TRANSFER.fullmatch(line)
        if transfer:
            assert (next(rest), next(rest)) == ("return KT_ERROR_PAGE;", "}")
            moved.append((transfer[1], eval(transfer[2].replace("/", "//"), {"at": at}), where[transfer[3]], int(transfer[4])))
        elif "(" in line:
            begins = re.search(r"_accumulator \+ (\w+)", line)
            moved.append(("call", eval(begins[1], {"at": at}) if begins else -1, 0, 0))
    return moved


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("layer", ["ragged", "even", "short"])
def test_an_update_moves_every_byte_of_its_moments_once(optimizer: str, layer: str) -> None:
    """In before the call, out behind it, to the place where it came from; parts of the arena that do not overlap."""
    graph = trained(optimizer)
    node, layout = updates(graph)[layer], page_layout(graph)
    seen: dict[str, list[int]] = {"in": [], "out": []}
    begins = []
    made = writer(graph, 96)
    (step,) = made.add([node])
    for turn in moves(made.function, step):
        (at,) = [i for i, m in enumerate(turn) if m[0] == "call"]
        before, after = turn[:at], turn[at + 1 :]
        begins.append(turn[at][1])
        assert [m[0] for m in before] == ["in"] * len(before) and [("in", *m[1:]) for m in after] == before
        arena = [byte for _, _, start, size in before for byte in range(start, start + size)]
        assert len(arena) == len(set(arena)) and min(arena) >= 96 and max(arena) < 96 + pages_of(graph, node)[1]
        assert all(start % 4 == 0 for _, _, start, _ in before)
        for way, place, _, size in (*before, *after):
            seen[way] += range(place, place + size)
    expected = [layout.offsets[v] + i for v in paged_moments(graph, node) for i in range(graph.type(v).bytes)]
    assert sorted(seen["in"]) == sorted(seen["out"]) == sorted(expected)
    assert begins == {"ragged": [0, 256], "even": [0, 256], "short": [-1]}[layer]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_lines_of_an_update_are_its_transfers(optimizer: str) -> None:
    c = built(optimizer)
    text = c.files["wide.c"].split("wide_apply(", 1)[1]
    assert len(c.context.apply.steps) > 6
    for step in c.context.apply.steps:
        found = moves(c.context.apply, step)
        assert written(text, step.name) == found, step.name
        for buffer in step.buffers:
            assert f"{buffer.ctype} *const {buffer.name} = in_arena(arena, {buffer.offset}); /* {buffer.bytes:,} byte" in text


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_parts_cover_a_parameter(optimizer: str) -> None:
    graph = trained(optimizer)
    nodes = updates(graph)
    assert _paged_parts(graph, nodes["short"]) == (_Part("0", 5),)
    assert _paged_parts(graph, nodes["even"]) == (_Part("at", PAGE),)
    assert _paged_parts(graph, nodes["ragged"]) == (_Part("at", PAGE), _Part("256", 44))
    assert [p.name for p in _paged_parts(graph, nodes["ragged"])] == ["", "_rest"] and _Part("0", 5).name == WHOLE.name == ""
    page = replace(
        graph, values={**graph.values, "x": Value("x", replace(graph.type(nodes["short"].inputs["accumulator"]), shape=(PAGE,)), "accumulator")}
    )
    full = replace(nodes["short"], inputs={**nodes["short"].inputs, "accumulator": "x"})
    assert _paged_parts(page, full) == (_Part("0", PAGE),), "one whole page needs no loop"
    clipped = replace(nodes["even"], op=replace(nodes["even"].op, clip=1.0))
    with pytest.raises(AssertionError, match="needs all elements for its norm"):
        _paged_parts(graph, clipped)


@pytest.mark.parametrize("layer", ["ragged", "even", "short"])
def test_calls_of_parts_have_their_size_and_pages(layer: str) -> None:
    """A parameter struct of the page and another of the rest; moments are read where they were put, the gradient from its first element on."""
    graph = trained("adam8")
    made = writer(graph)
    (step,) = made.add([updates(graph)[layer]])
    sizes = {"ragged": [256, 44], "even": [256], "short": [5]}[layer]
    structs = {s.name: {m.name: m.text for f in s.fields for m in (f, *f.members)} for s in made.constants.structs}
    pages = [b.name for b in made.function.buffers.values()]
    assert len(pages) == 4 and [b.first for b in made.function.buffers.values()] == [1] * 4 == [b.last for b in step.buffers]
    assert [(p.loop, p.page) for p in step.parts] == {"ragged": [(256, 256), (0, 256)], "even": [(512, 256)], "short": [(0, 256)]}[layer]
    firsts = []
    for part, size in zip(step.parts, sizes, strict=True):
        assert part.call is not None
        first, *others = part.call.arguments
        assert first.kind == "params" and structs[first.name]["size"] == str(size)
        assert sorted(a.name for a in others if a.name in pages) == sorted(pages) and {a.kind for a in others if a.name in pages} == {"name"}
        assert [a.behind for a in part.call.arguments if "accumulator" in a.name] == {"short": [""]}.get(layer, ["at" if part.loop else "256"])
        assert not any(a.behind for a in part.call.arguments if "accumulator" not in a.name)
        firsts.append(part.call.arguments[-1])
    assert [(a.kind, a.name) for a in firsts] == {
        "ragged": [("index", "at"), ("text", "256")],
        "even": [("index", "at")],
        "short": [("text", "0")],
    }[layer], "stochastic rounding counts elements through all parts"


@dataclass(frozen=True)
class Scratching(Adam):
    """An optimizer with scratch of its own."""

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        arguments = (Argument(n.inputs["first_moment"]), Argument(n.inputs["second_moment"]), Scratch())
        return KernelCall("scratching", "", {}, arguments, scratch=24, source="optim/adam.c")


def test_pages_lie_behind_the_scratch_of_the_kernel() -> None:
    graph = trained("adam")
    node = replace(updates(graph)["ragged"], op=Scratching(clip=0.0))
    made = writer(graph, 40)
    (step,) = made.add([node])
    assert [(b.ctype, b.offset, b.bytes) for b in step.buffers] == [("float", 64, 1024), ("float", 1088, 1024), ("void", 40, 24)]
    assert {m[2] for turn in moves(made.function, step) for m in turn if m[0] != "call"} == {64, 1088}
    call = step.parts[0].call
    assert call is not None and [(a.kind, a.name) for a in call.arguments] == [("name", b.name) for b in step.buffers], "without parameters"


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
    graph, offsets = c.train.kernels, c.train.plan.offsets
    layout = page_layout(graph)
    steps = {s.name: s for s in c.context.train.steps}
    seen: dict[str, list[tuple[int, int]]] = {"in": [], "out": []}
    text = c.files["kept.c"].split("kept_train_step(", 1)[1]
    for node in graph.nodes:
        if isinstance(node.op, Page):
            out = isinstance(node.op, PageOut)
            slow, near = (node.outputs[0], node.inputs["x"]) if out else (node.inputs["x"], node.outputs[0])
            expected = ("out" if out else "in", layout.offsets[slow], offsets[near], graph.type(slow).bytes)
            (part,) = steps[node.name].parts
            assert part.call is None and not part.after and moves(c.context.train, steps[node.name]) == [[expected]]
            assert written(text, node.name) == [[expected]]
            seen[expected[0]].append((expected[1], expected[3]))
    assert seen["out"] and set(seen["in"]) == set(seen["out"]) and len(np.unique(list(layout.offsets.values()))) == len(layout.offsets)
