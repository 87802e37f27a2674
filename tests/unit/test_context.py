"""What the templates are told: decided from the graph and its plan, so each fact is compared with the graph, the plan or the other builds."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import numpy as np
import pytest
from golden.reference import image, tiny
from gradients.graphs import Maker, every_operator
from kiloc.emit.paging import pages_of
from kiloc.ops.model.add import Add
from kiloc.ops.model.reshape import Reshape

import kilotune as kt
from kiloc.emit.context import CStep, caller_buffers, kernel_call, scratch_bytes, update_bytes
from kiloc.emit.state_layout import StateLayout, is_scalar, state_layout
from kiloc.emit.write import _statement, _wrapped
from kiloc.ir.graph import Graph, Value
from kiloc.ir.types import TensorType
from kiloc.optim import LEARNING_RATE
from kiloc.options import Options
from kiloc.pipeline import Compilation, compile_graph
from kiloc.plan.lifetimes import scratch_name

LORA = (kt.LoRA(rank=2, layers="all"), kt.BiasOnly())


def two_inputs() -> Graph:
    """Two inputs, and three results: a sum, and two views of it."""
    m = Maker("several", (1, 4, 2), 1)
    other = m.b.input(m.type("input"), "other")
    y = m.op("input", "sum", Add(), (1, 4, 2), 0.05, 0, other=other)
    flat = m.op(y, "flat", Reshape((1, 8)), (1, 8))
    return m.finish(m.dense(flat, "head", 3), flat)


GRAPHS = {"tiny": tiny, "image": image, "every_operator": every_operator, "several": two_inputs}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "infer": ("tiny", {}),
    "lora": ("tiny", {"methods": LORA}),
    "mse": ("image", {"methods": (kt.Full(),), "loss": "mse", "target": "cortex-m7"}),
    "accumulated": ("tiny", {"methods": LORA, "accumulate": 2, "optimizer": kt.SGD(momentum=0.9)}),
    "portable": ("every_operator", {"methods": (kt.BiasOnly(),), "target": "cortex-m0plus"}),
    "only adapters": ("tiny", {"methods": LORA, "train": False}),
    "in the arena": ("tiny", {"methods": LORA, "buffers": "arena"}),
    "several": ("several", {}),
    "paged": ("image", {"methods": LORA, "loss": "mse", "offload": "all", "optimizer": kt.Adam()}),
    "paged later": ("image", {"methods": LORA, "loss": "mse", "offload": "optimizer", "optimizer": kt.Adam(), "accumulate": 2}),
}


@cache
def built(case: str) -> Compilation:
    name, options = CASES[case]
    return compile_graph(GRAPHS[name](), Options(**options), "1.2.3")


def steps(c: Compilation) -> list[CStep]:
    m = c.context
    return [*m.infer_steps, *m.forward_steps, *m.backward_steps, *m.update_steps]


# ---- Steps ----


@pytest.mark.parametrize("case", CASES)
def test_steps_are_the_nodes_that_do_something_numbered_through(case: str) -> None:
    c = built(case)
    m = c.context

    def named(part: Any, *phases: str) -> list[str]:
        nodes = part.phase(*phases) if phases else part.nodes
        return [n.name for n in nodes if kernel_call(c.graph.with_values(part.values.values()), n) is not None or "page" in n.op.mnemonic]

    expected = {"infer": named(c.infer.kernels)}
    if c.train is not None:
        expected |= {"forward": named(c.train.kernels, "forward"), "backward": named(c.train.kernels, "backward", "update")}
        expected["update"] = [] if c.graph.updates_at_once else named(c.graph, "update")
    found = {"infer": m.infer_steps, "forward": m.forward_steps, "backward": m.backward_steps, "update": m.update_steps}
    for kind, names in expected.items():
        first = 1 + (len(m.forward_steps) if kind == "backward" else 0)
        assert [s.comment for s in found[kind]] == [f"step {first + i}: {name}" for i, name in enumerate(names)], kind
    assert m.training == (c.train is not None) and m.updates_at_once == (m.training and c.graph.updates_at_once)


@pytest.mark.parametrize("case", CASES)
def test_every_address_is_that_of_the_plan(case: str) -> None:
    """All offsets into the arena are offsets of the plan, or lie in a node's scratch; names behind "s->" are members of the state."""
    c = built(case)
    members = {s.name for s in c.context.state}
    for part, found in ((c.infer, c.context.infer_steps), (c.train, [*c.context.forward_steps, *c.context.backward_steps])):
        known = set(part.plan.offsets.values()) if part else set()
        for step in found:
            node = step.comment.split(": ")[1]
            start = part.plan.offsets.get(f"{node} scratch", -1) if part else -1
            for offset in map(int, re.findall(r"\ba \+ (\d+)", step.text)):
                assert offset in known or 0 <= start < offset, step
            assert set(re.findall(r"\b[st]->(\w+)", step.text)) <= members
            if part:
                written = part.kernels.node(node).outputs
                mine = caller_buffers(part.graph)
                for name in written:
                    assert mine[name] in step.text if name in mine else name not in part.plan.offsets or f"a + {part.plan.offsets[name]}" in step.text
    for step in c.context.update_steps:
        assert all(int(o) % 4 == 0 for o in re.findall(r"\ba \+ (\d+)", step.text)), "scratch begins where the arena does"
        assert {int(o) for o in re.findall(r"\ba \+ (\d+)", step.text)} <= set(range(update_bytes(c.graph) + 1))


def arguments(text: str) -> list[str]:
    """What stands between the brackets of a call, by commas outside of further brackets."""
    found, depth = [""], 0
    for character in text[text.index("(") + 1 : text.rindex(")")]:
        depth += (character in "([{") - (character in ")]}")
        found = [*found, ""] if character == "," and depth == 0 else [*found[:-1], found[-1] + character]
    return [f.strip() for f in found]


@pytest.mark.parametrize("case", CASES)
def test_calls_pass_every_argument(case: str) -> None:
    """As many as the kernel asks for, none empty; moments that were paged in are read where they were put."""
    c = built(case)
    for part, found in (
        (c.infer, c.context.infer_steps),
        (c.train, [*c.context.forward_steps, *c.context.backward_steps]),
        (None, c.context.update_steps),
    ):
        graph = part.kernels if part else c.graph
        for step in found:
            node = graph.node(step.comment.split(": ")[1])
            call = kernel_call(c.graph.with_values(graph.values.values()), node)
            calls = [line.strip() for line in step.text.split("\n") if call and line.strip().startswith(call.symbol)]
            assert bool(call) == bool(calls)
            pages = {int(o) for o in re.findall(r"kt_port_page_in\(m, [^\n]*, a \+ (\d+), \d+\)", step.text)}
            for line in calls:
                passed = arguments(line)
                assert call is not None and len(passed) == len(call.arguments) + bool(call.struct) and all(passed), step
                assert pages <= {int(o) for a in passed for o in re.findall(r"a \+ (\d+)\)$", a)}, "moments"


def test_a_part_of_an_update_knows_its_first_element() -> None:
    """Stochastic rounding counts elements through all parts: in a loop from the variable, behind it from a number."""
    m = Maker("wide", (1, 20), 3)
    options = Options((kt.Head(),), optimizer=kt.Adam(state_bits=8), storage="block8", offload="optimizer", accumulate=2)
    texts = [s.text for s in compile_graph(m.finish(m.dense("input", "head", 15)), options, "0").context.update_steps]
    looped = next(t for t in texts if "for (" in t)
    calls = [line for line in looped.split("\n") if "kt_port" not in line and line.rstrip().endswith(");")]
    assert len(calls) == 2
    first, rest = ([a for a in arguments(line) if a in ("(int32_t)at", "at", "256", "0")] for line in calls)
    assert first == ["(int32_t)at"] and rest == ["256"], "300 weights: a page, and 44 more"


@pytest.mark.parametrize("case", CASES)
def test_every_constant_and_struct_that_a_step_names_is_there_once(case: str) -> None:
    m = built(case).context
    arrays, structs = [a.name for a in m.arrays], [s.name for s in m.structs]
    assert len(set(arrays)) == len(arrays) and len(set(structs)) == len(structs)
    contents = [(a.ctype, a.text) for a in m.arrays]
    assert len(set(contents)) == len(contents), "equal contents share one array"
    assert len({(s.type, s.fields) for s in m.structs}) == len(structs), "and one struct"
    used = "\n".join([*(s.text for s in steps(built(case))), *(v for s in m.structs for _, v in s.fields), *(s.initial for s in m.state)])
    words = set(re.findall(r"\w+", used))
    assert words >= set(arrays) and words >= set(structs)
    assert {name for s in steps(built(case)) for name in re.findall(r"&(\w+_params)\b", s.text)} == set(structs)
    for a in m.arrays:
        count = len([w for w in a.text.replace("\n", " ").split(",") if w.strip()])
        assert count == a.size and a.bytes == a.size * {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "int32_t": 4, "float": 4}[a.ctype]
    assert m.constant_bytes == sum(a.bytes for a in m.arrays)


# ---- Facts of the header ----


@pytest.mark.parametrize("case", CASES)
def test_sizes_and_flags(case: str) -> None:
    c = built(case)
    m, graph = c.context, c.graph
    assert (m.name, m.prefix, m.version) == (graph.name, graph.name.upper(), "1.2.3") and m.target == c.infer.target
    assert m.arena_infer == c.infer.plan.arena_bytes
    trained = c.train.plan.arena_bytes if c.train else 0
    assert m.arena_train == (max(trained, m.arena_infer, update_bytes(graph)) if c.train else 0)
    layout = state_layout(graph)
    assert m.state_bytes == (layout.bytes if layout.values else 0)
    assert m.adapter_payload == sum(v.type.bytes for v in layout.adapter)
    assert [s.adapter for s in m.state] == [v.kind in ("trainable", "exponent") for v in layout.values]
    offset = 0
    for s, v in zip(m.state, layout.values, strict=True):
        assert (s.size, s.bytes, s.scalar, s.comment) == (v.type.size, v.type.bytes, is_scalar(v), v.kind)
        if s.adapter:
            assert s.adapter_offset == offset
            offset += s.bytes
        assert s.cleared == (v.kind in ("accumulator", "optimizer") or (v.kind == "control" and v.name != LEARNING_RATE))
    assert m.adapters == (case == "only adapters")
    assert m.packed == any(s.startswith("product/") for s in m.sources) and m.sources == sorted(set(m.sources))
    text = "\n".join(s.text for s in m.infer_steps)
    assert (m.infer_uses_arena, m.infer_uses_state, m.infer_uses_adapter) == ("a + " in text.replace("ta + ", ""), "s->" in text, "t->" in text)
    calls = "\n".join(s.text for s in [*m.forward_steps, *m.backward_steps])
    assert m.pages_in_step == ("kt_port_page" in calls) and m.pages_in_apply == any("kt_port_page" in s.text for s in m.update_steps)
    assert (m.page_bytes > 0) == case.startswith("paged") and (m.moment_bytes > 0) == case.startswith("paged")
    if m.training:
        assert c.train is not None and m.loss_offset == c.train.plan.offsets["loss.value"]
        assert m.train_peak == c.train.plan.steps[c.train.plan.peak_step].name
    assert m.infer_peak == c.infer.plan.steps[c.infer.plan.peak_step].name


def test_targets_are_labels_or_values() -> None:
    assert {case: (built(case).context.classes, built(case).context.target_values) for case in ("infer", "lora", "mse")} == {
        "infer": (0, 0),
        "lora": (3, 0),
        "mse": (0, 4),
    }
    assert built("lora").context.target_range == () and built("infer").context.loss == ""
    low, high = (float(end[:-1]) for end in built("mse").context.target_range)
    assert low < 0 < high and built("mse").context.loss == "mse"


def test_the_macro_of_a_target() -> None:
    macros = {built(case).context.target: built(case).context.target_macro for case in ("lora", "mse", "portable")}
    assert macros.pop("cortex-m4", None) in ("KT_TARGET_CORTEX_M4", None) and macros.pop("cortex-m7", None) in ("KT_TARGET_CORTEX_M7", None)
    assert all(macro == (f"KT_TARGET_{t.upper().replace('-', '_')}" if t else "") for t, macro in macros.items())


def test_initial_values_of_the_state() -> None:
    """Zero needs no text, a scalar is a literal, an array has a constant; masters are made from codes. Without training all stand there."""
    m = built("lora").context
    by_name = {v.name.replace(".", "_"): v for v in built("lora").graph.state()}
    arrays = {a.name: a for a in m.arrays}
    kinds = set()
    for s in m.state:
        v = by_name[s.name]
        assert v.data is not None
        zero = not v.data.any() or v.kind == "master"
        assert (s.initial == "") == zero and s.array_initial == (not zero and not s.scalar)
        if s.array_initial:
            values = [int(x) for x in arrays[s.initial].text.replace("\n", " ").split(",") if x.strip()]
            assert values == v.data.ravel().tolist()
        elif not zero:
            assert np.float32(s.initial.removesuffix("f")) == v.data.ravel()[0] and s.initial.endswith("f") == (v.type.dtype == "float32")
        kinds.add((zero, s.scalar))
    assert kinds == {(True, True), (True, False), (False, True), (False, False)}
    only = built("only adapters")
    data = {v.name.replace(".", "_"): v.data for v in only.graph.state()}
    for s in only.context.state:
        assert [int(x) for x in s.initial.replace("\n", " ").split(",") if x.strip()] == np.ravel(data[s.name]).tolist()  # type: ignore[arg-type]
        assert s.array_initial == (not s.scalar)


def test_blocks_are_the_16_bit_parameters() -> None:
    c = built("lora")
    expected = [p for p in c.graph.parameters if p.storage == "block16"]
    assert expected and [(b.master, b.size) for b in c.context.blocks] == [
        (p.values["master"].replace(".", "_"), c.graph.type(p.values["value"]).size) for p in expected
    ]
    assert [b.codes for b in c.context.blocks] == [p.values["value"].replace(".", "_") for p in expected]


# ---- The caller's buffers ----


def test_inputs_and_results_of_the_caller() -> None:
    """Views have the buffer of what they show, through as many as there are; the loss is read from the arena."""
    c = built("several")
    assert [n for n, _ in c.context.inputs] == ["input", "input_2"] and [n for n, _ in c.context.outputs] == ["output", "output_2"]
    assert c.context.input_parameters == ", const int8_t *input, const int8_t *input_2"
    assert c.context.output_parameters == ", int8_t *output, int8_t *output_2"
    graph = c.infer.graph
    mine = caller_buffers(graph)
    assert [mine[n] for n in graph.inputs] == ["input", "input_2"] and [mine[n] for n in graph.outputs] == ["output", "output_2"]
    assert mine["sum"] == "output_2", "what a view shows is written where the view lies"
    assert (mine["label"], mine["target"]) == ("&target->label", "target->values")
    train = built("lora").train
    assert train is not None and set(caller_buffers(train.graph)) == {"input", "label", "target"} and "loss.value" in train.plan.offsets


def test_views_behind_an_input_have_its_buffer() -> None:
    m = Maker("turned", (1, 4, 2), 1)
    flat = m.op("input", "flat", Reshape((1, 8)), (1, 8))
    again = m.op(flat, "again", Reshape((1, 2, 4)), (1, 2, 4))
    c = compile_graph(m.finish(m.dense(m.op(again, "line", Reshape((1, 8)), (1, 8)), "head", 3)), Options(), "0")
    mine = caller_buffers(c.infer.graph)
    assert {v for n in c.infer.graph.nodes if n.op.view for v in n.outputs} <= {v for v, where in mine.items() if where == "input"}


def test_buffers_in_the_arena() -> None:
    c = built("in the arena")
    assert c.train is not None
    assert set(caller_buffers(c.infer.graph)) == {"label", "target"}
    assert c.context.offsets == {"input": 0, "output": c.infer.plan.offsets[c.infer.graph.outputs[0]]}
    assert (c.context.input_parameters, c.context.output_parameters) == ("", "") and built("lora").context.offsets == {}


# ---- Scratch ----


def test_scratch_is_that_of_the_kernel_and_the_pages_behind_it() -> None:
    c = built("paged later")
    updates = c.graph.phase("update")
    assert any(pages_of(c.graph, n)[1] for n in updates)
    for n in c.graph.nodes:
        call = kernel_call(c.graph, n)
        assert scratch_bytes(c.graph, n) == (call.scratch if call else 0) + pages_of(c.graph, n)[1]
    paged = built("paged").train
    assert paged is not None
    transfers = [n for n in paged.kernels.nodes if kernel_call(paged.kernels, n) is None and not n.op.view]
    assert transfers and all(scratch_bytes(paged.kernels, n) == 0 for n in transfers)
    assert update_bytes(c.graph) == max(scratch_bytes(c.graph, n) for n in updates) > 0
    assert update_bytes(built("paged").graph) == 0, "updates within a step have their scratch in its plan"
    assert scratch_name(updates[0]) == f"{updates[0].name} scratch"


# ---- The state ----


def test_the_state_has_no_holes() -> None:
    """The widest members first, so that each is aligned to its elements; 12 bytes in front, filled up to 4 behind."""
    kinds = {
        "a": ("int8", "trainable"),
        "b": ("float32", "control"),
        "c": ("int16", "master"),
        "d": ("int32", "trainable"),
        "e": ("uint8", "optimizer"),
    }
    values = {n: Value(n, TensorType((3,), d), k) for n, (d, k) in kinds.items()}
    paged = Value("p", TensorType((3,), "float32"), "paged")
    layout = state_layout(Graph("g", {**values, "p": paged}, (), (), ()))
    assert [v.name for v in layout.values] == ["b", "d", "c", "a", "e"] and [v.name for v in layout.adapter] == ["d", "a"]
    assert layout.bytes == 12 + 12 + 12 + 6 + 3 + 3 and StateLayout(()).bytes == StateLayout.HEADER == 12
    assert [StateLayout((Value("v", TensorType((n,), "int8"), "trainable"),)).bytes for n in (1, 4, 5)] == [16, 16, 20]


def test_members_that_are_no_arrays() -> None:
    def scalar(kind: str, dtype: str) -> bool:
        return is_scalar(Value("v", TensorType((1,), dtype), kind))

    assert scalar("exponent", "int8") and scalar("control", "float32") and scalar("control", "int32") and scalar("master", "int8")
    assert not scalar("master", "int16") and not scalar("trainable", "int8") and not scalar("optimizer", "int8")


# ---- Files ----


def test_a_comment_stands_behind_a_short_call_and_above_a_long_one() -> None:
    call = "f(" + "x" * 90 + ");"
    short = _statement(CStep(call, "step 1: a"))
    assert short == f"    {call} /* step 1: a */"
    room = 120 - len(f"    {call} /*  */")
    assert "\n" not in _statement(CStep(call, "c" * room)) and len(_statement(CStep(call, "c" * room))) == 120
    assert _statement(CStep(call, "c" * (room + 1))) == f"    /* {'c' * (room + 1)} */\n    {call}"
    assert _statement(CStep("a;\nb;", "two")) == "    /* two */\n    a;\n    b;"


def test_only_code_is_broken() -> None:
    words = "f(" + "argument, " * 20 + "last);"
    for margin in ("/* ", " * ", "#define X "):
        assert _wrapped(margin + words) == margin + words
    assert _wrapped(f"a;\n{words}").count("\n") == 2 and _wrapped("a;\n\nb;\n") == "a;\n\nb;\n"


def test_the_files_of_a_build() -> None:
    c = built("lora")
    assert set(c.files) >= {"tiny.h", "tiny.c", "tiny_weights.h", "tiny_interface.c", "CMakeLists.txt", "kilotune_tiny-config.cmake", "library.json"}
    for name, text in c.files.items():
        assert text.endswith("\n") and not text.endswith("\n\n"), name
        code = [line for line in text.split("\n") if not line.lstrip().startswith(("/*", "*", "#"))]
        assert not name.endswith((".c", ".h")) or all(len(line) <= 120 for line in code)
    library = json.loads(c.files["library.json"])
    assert library["name"] == "kilotune_tiny" and "1.2.3" in library["description"] and "monocypher" not in c.files["library.json"]
    assert library["build"]["flags"] == ["-I.", "-Iruntime/include", "-ffp-contract=off"]
    key = kt.AdapterOptions(public_key=bytes(32))
    signed = json.loads(compile_graph(tiny(), Options(methods=LORA, adapters=key), "0").files["library.json"])["build"]
    assert "-Imonocypher" in signed["flags"] and "+<monocypher/*.c>" in signed["srcFilter"] and "-ffp-contract=off" in signed["flags"]
