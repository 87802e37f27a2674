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

import kilotune as kt
from kiloc.emit.c_names import Code, Identifiers
from kiloc.emit.state_layout import StateLayout, is_scalar, state_layout
from kiloc.emit.steps import CArgument, CField, CFunction, Constants, CStep, FunctionWriter
from kiloc.emit.write import _finalized, _statement, _wrapped
from kiloc.ir.graph import Graph, Node, Value
from kiloc.ir.kernel_call import Argument, First, KernelCall, Scratch, Table
from kiloc.ir.types import TensorType
from kiloc.ops.model.add import Add
from kiloc.ops.model.reshape import Reshape
from kiloc.optim import LEARNING_RATE
from kiloc.options import Options
from kiloc.pipeline import Compilation, compile_graph
from kiloc.plan.lifetimes import scratch_name
from kiloc.plan.paging import page_layout, pages_of
from kiloc.plan.slice import Slice, caller_buffers, kernel_call, scratch_bytes, update_bytes

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


def functions(c: Compilation) -> list[tuple[Slice | None, CFunction]]:
    """Each function that there is, and the slice whose nodes it runs: none for an update, which runs between slices."""
    found: list[tuple[Slice | None, CFunction]] = [(c.infer, c.context.infer)]
    if c.train is not None:
        found.append((c.train, c.context.train))
    if c.train is not None and not c.graph.updates_at_once:
        found.append((None, c.context.apply))
    return found


def of_nodes(c: Compilation, nodes: Any, offsets: Any, caller: Any, held: str) -> CFunction:
    """A function that runs these."""
    writer = FunctionWriter(Constants(whole(c), Identifiers(c.graph.name)), offsets, caller, page_layout(whole(c)), held)
    writer.add(nodes)
    return writer.function


def whole(c: Compilation) -> Graph:
    return c.graph.with_values([v for part in (c.infer, c.train) if part for v in part.kernels.values.values()])


def steps(c: Compilation) -> list[CStep]:
    return [s for _, function in functions(c) for s in function.steps]


def passed(step: CStep) -> list[CArgument]:
    return [a for p in step.parts if p.call for a in p.call.arguments]


# ---- Steps ----


@pytest.mark.parametrize("case", CASES)
def test_steps_are_the_nodes_that_do_something_numbered_through(case: str) -> None:
    c = built(case)
    m = c.context

    def named(part: Any, *phases: str) -> list[str]:
        nodes = part.phase(*phases) if phases else part.nodes
        return [n.name for n in nodes if kernel_call(whole(c), n) is not None or "page" in n.op.mnemonic]

    expected = {"infer": named(c.infer.kernels)}
    if c.train is not None:
        expected |= {"forward": named(c.train.kernels, "forward"), "backward": named(c.train.kernels, "backward", "update")}
        expected["update"] = [] if c.graph.updates_at_once else named(c.graph, "update")
    found = {"infer": m.infer.steps, "forward": m.forward_steps, "backward": m.backward_steps, "update": m.apply.steps}
    for kind, names in expected.items():
        first = 1 + (len(m.forward_steps) if kind == "backward" else 0)
        assert [(s.number, s.name) for s in found[kind]] == [(first + i, name) for i, name in enumerate(names)], kind
    assert m.train.steps == [*m.forward_steps, *m.backward_steps]
    assert m.training == (c.train is not None) and m.updates_at_once == (m.training and c.graph.updates_at_once)


@pytest.mark.parametrize("case", CASES)
def test_buffers_are_the_bytes_of_the_plan_while_steps_use_them(case: str) -> None:
    """Each has the offset of its value, its bytes and type, and the first and last step that names it; the first declares it."""
    c = built(case)
    ctypes = {"int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t", "float32": "float"}
    for part, function in functions(c):
        graph = part.kernels if part else c.graph
        names = [b.name for b in function.buffers.values()]
        assert len(set(names)) == len(names) and [b for s in function.steps for b in s.buffers] == list(function.buffers.values())
        uses: dict[str, list[int]] = {name: [] for name in names}
        for step in function.steps:
            moved = [t.buffer for p in step.parts for t in (*p.before, *p.after)]
            fields = [name for name in [a.name for a in passed(step) if a.kind == "name"] + moved if name in uses]
            for name in fields:
                uses[name].append(step.number)
            assert all(b.first == step.number for b in step.buffers)
        if part is c.train and part is not None:
            uses[c.context.loss_buffer].append(len(function.steps))
        for value, b in function.buffers.items():
            assert (b.first, b.last) == (min(uses[b.name]), max(uses[b.name])), b
            if value in graph.values:
                assert part is not None and (b.offset, b.bytes, b.ctype) == (
                    part.plan.offsets[value],
                    graph.type(value).bytes,
                    ctypes[graph.type(value).dtype],
                )
            elif value.endswith(" scratch"):
                call = kernel_call(whole(c), graph.node(value.removesuffix(" scratch")))
                offset = part.plan.offsets[value] if part is not None else 0
                assert call is not None and (b.offset, b.bytes, b.ctype) == (offset, call.scratch, "void") and call.scratch > 0
            else:
                assert value.removesuffix("_page") in c.graph.values and case.startswith("paged")
        assert function.uses_arena == bool(names)


@pytest.mark.parametrize("case", CASES)
def test_calls_pass_what_kernels_ask_for(case: str) -> None:
    """Every argument in its order: values where they lie, literals as they are, scratch under the name of the node."""
    c = built(case)
    graph, constants = whole(c), {a.name for a in c.context.arrays}
    members = {s.name: s.scalar for s in c.context.state}
    for part, function in functions(c):
        caller = caller_buffers(part.graph) if part else {}
        for step in function.steps:
            node = (part.kernels if part else c.graph).node(step.name)
            call, paged = kernel_call(graph, node), pages_of(graph, node)[0]
            assert paged or (len(step.parts) == 1 and step.parts[0].loop == 0), "no loop but over pages"
            for p in step.parts:
                assert (p.call is None) == (call is None)
                if p.call is None or call is None:
                    continue
                assert p.call.symbol == call.symbol and len(p.call.arguments) == len(call.arguments) + bool(call.struct)
                found = p.call.arguments[1:] if call.struct else p.call.arguments
                assert not call.struct or (p.call.arguments[0].kind == "params" and p.call.arguments[0].name.endswith("_params"))
                for asked, given in zip(call.arguments, found, strict=True):
                    _check(asked, given, node, part, graph, caller, constants, members)


def _check(
    asked: Any, given: CArgument, node: Node, part: Slice | None, graph: Graph, caller: dict[str, str], constants: set[Code], members: Any
) -> None:
    assert isinstance(given.name, Code), "templates write it as it is"
    assert not given.scalar or given.kind in ("state", "values"), "only a member has an address that is meant"
    if isinstance(asked, str):
        assert (given.kind, given.name) == ("text", asked)
    elif isinstance(asked, First):
        assert (given.kind, given.name) in (("text", "0"), ("text", "256"), ("index", "at"))
    elif isinstance(asked, Scratch):
        assert given.kind == "name" and given.name == re.sub(r"\W", "_", f"{node.name}_scratch")
    elif asked.value in caller:
        where = caller[asked.value]
        assert (given.kind, given.name) == (where if where in ("label", "target") else "name", where)
    elif graph.values[asked.value].kind == "paged":
        assert given.kind == "name" and given.name.endswith("_page")
    elif graph.values[asked.value].is_state:
        assert given.kind in ("state", "values") and given.scalar == members[given.name] == is_scalar(graph.values[asked.value])
        assert given.name == re.sub(r"\W", "_", asked.value)
    elif graph.values[asked.value].kind == "constant":
        assert given.kind == "name" and given.name in constants
    else:
        assert part is not None and given.kind == "name" and asked.value in part.plan.offsets


@pytest.mark.parametrize("case", CASES)
def test_what_a_function_reads_is_declared_in_it_and_nothing_else(case: str) -> None:
    """The arena, the state and an adapter's values, in the file: each where a step names it; a variable that none reads is a warning."""
    c = built(case)
    text = c.files[f"{c.graph.name}.c"]
    kinds = [{a.kind for s in function.steps for a in passed(s)} for _, function in functions(c)]
    for (_, function), found in zip(functions(c), kinds, strict=True):
        assert (function.state, function.values) == ("state" in found, "values" in found)
        moved = any(p.before or p.after for s in function.steps for p in s.parts)
        assert function.uses_model == (function.uses_arena or function.state or function.values or moved)
    infer = text[text.index(f"kt_status {c.graph.name}_infer(") :].split("\n}\n")[0]
    declared = ["uint8_t *const arena = m->arena;", f"const {c.graph.name}_state *const s", f"const {c.graph.name}_values *const t"]
    m = c.context.infer
    assert [d in infer for d in declared] == [m.uses_arena, m.state, m.values] and ("(void)m;" in infer) == (not m.uses_model)
    assert ["in_arena(arena" in infer, "s->" in infer, "t->" in infer] == [m.uses_arena, m.state, m.values]
    assert c.context.adapters == m.values == (case == "only adapters")


def test_a_function_that_moves_bytes_alone_reads_the_model() -> None:
    paged = built("paged")
    assert paged.train is not None
    transfers = [n for n in paged.train.kernels.nodes if "page" in n.op.mnemonic]
    near = {v: "input" for n in transfers for v in (*n.inputs.values(), *n.outputs)}
    function = of_nodes(paged, transfers, {}, near, "state")
    assert len(function.steps) == len(transfers) > 0 and not function.uses_arena and function.uses_model
    assert CFunction().uses_model is False and CFunction(state=True).uses_model and CFunction(values=True).uses_model
    assert [s for s in of_nodes(paged, [], {}, {}, "state").steps] == []


@pytest.mark.parametrize("case", CASES)
def test_every_constant_and_struct_that_a_step_names_is_there_once(case: str) -> None:
    c = built(case)
    m = c.context
    arrays, structs = [a.name for a in m.arrays], [s.name for s in m.structs]
    buffers = {b.name for _, f in functions(c) for b in f.buffers.values()}
    assert len(set(arrays) | set(structs) | buffers) == len(arrays) + len(structs) + len(buffers), "no name means two things"
    contents = [(a.ctype, a.text) for a in m.arrays]
    assert len(set(contents)) == len(contents), "equal contents share one array"
    assert len({(s.type, s.fields) for s in m.structs}) == len(structs), "and one struct"
    words = {a.name for s in steps(c) for a in passed(s)} | {s.initial for s in m.state}
    words |= {text for s in m.structs for f in s.fields for text in (f.text, *(n.text for n in f.members))}
    assert words >= set(arrays) and words >= set(structs)
    assert {a.name for s in steps(c) for a in passed(s) if a.kind == "params"} == set(structs)
    for a in m.arrays:
        count = len([w for w in a.text.replace("\n", " ").split(",") if w.strip()])
        assert count == a.size and a.bytes == a.size * {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "int32_t": 4, "float": 4}[a.ctype]
    assert m.constant_bytes == sum(a.bytes for a in m.arrays)
    files = {n for s in steps(c) if (call := kernel_call(whole(c), _node(c, s.name))) for n in call.files}
    headers = {call.header for s in steps(c) if (call := kernel_call(whole(c), _node(c, s.name)))}
    assert m.sources == sorted(files) and m.headers == sorted(headers) and all(isinstance(h, Code) for h in m.headers)


def _node(c: Compilation, name: str) -> Node:
    graphs = [c.infer.kernels, *([c.train.kernels] if c.train else []), c.graph]
    return next(n for g in graphs for n in g.nodes if n.name == name)


def test_parameter_structs_are_shared_where_they_are_equal() -> None:
    """By type and content, however the node is called; a part of a node has a name of its own, where its content is another."""
    constants = Constants(Graph("g", {n: Value(n, TensorType((1, 2, 3), "int8"), "activation") for n in "xy"}, (), (), ()), Identifiers("g"))
    op = built("lora").infer.kernels.nodes[0].op
    one, two = (Node(name, op, {"x": "x"}, ("y",)) for name in ("a.b", "a/b"))

    def named(node: Node, struct: str = "kt_params", part: str = "", **fields: Any) -> str:
        return constants.struct(node, KernelCall("f", struct, fields, ()), part)

    assert named(one, size=3) == named(two, size=3) == "a_b_params" and named(two, size=4) == "a_b_params_2"
    assert named(one, "kt_other", size=3) == "a_b_params_3" and named(one, part="_rest", size=5) == "a_b_rest_params"
    assert [s.name for s in constants.structs] == ["a_b_params", "a_b_params_2", "a_b_params_3", "a_b_rest_params"]
    assert constants.structs[0].comment == f"a.b: {op.mnemonic} 2x3 -> 2x3" and constants.structs[0].type == "kt_params"
    empty = Node("n", op, {"g": "x"}, ())
    named(empty, size=9)
    assert constants.structs[-1].comment == f"n: {op.mnemonic}", "nothing flows out of it"
    named(Node("k", op, {"g": "x"}, ("y", "x")), size=10)
    assert constants.structs[-1].comment == f"k: {op.mnemonic} 2x3 -> 2x3, 2x3"
    named(Node("o", op, {"z": "x"}, ("y",)), size=11)
    assert constants.structs[-1].comment == f"o: {op.mnemonic}"


def test_initialisers_of_every_kind() -> None:
    """Numbers, lists, constants, tables and structs within; a scalar of the graph is "1" in comments."""
    data = np.array([[1, 2, 3]], np.int16)
    values = {"w": Value("w", TensorType((1, 3), "int16"), "constant", data, "layer/w"), "x": Value("x", TensorType((1,), "int8"), "activation")}
    constants = Constants(Graph("g", values, (), (), ()), Identifiers("g"))
    node = Node("conv", built("lora").infer.kernels.nodes[0].op, {"x": "x"}, ("x",))
    fields: dict[str, Any] = {"n": 3, "f": 0.5, "e": "KT_SAME", "pads": (1, -2), "w": Argument("w"), "inner": {"a": 1, "deep": {"b": (4,)}}}
    fields["table"] = Table("shifts", "int16_t", np.array([7, 8], np.int16))
    constants.struct(node, KernelCall("f", "kt_params", fields, ()))
    found = {f.name: f for f in constants.structs[0].fields}
    assert list(found) == list(fields) and [found[n].text for n in ("n", "f", "e", "w", "table")] == ["3", "0.5f", "KT_SAME", "w", "conv_shifts"]
    assert found["pads"].items == ("1", "-2") and found["inner"].members == (
        CField("a", Code("1")),
        CField("deep", members=(CField("b", items=(Code("4"),)),)),
    )
    assert [(a.name, a.ctype, a.size, a.bytes, a.comment) for a in constants.arrays] == [
        ("w", "int16_t", 3, 6, "1x3, layer/w"),
        ("conv_shifts", "int16_t", 2, 4, "shifts of conv"),
    ]
    assert constants.structs[0].comment.endswith(" 1 -> 1")
    assert constants.array("other", "int16_t", data, "") == "w" and constants.array("other", "uint16_t", data, "") == "other"
    bare = Constants(Graph("g", {"w": Value("w", TensorType((2, 3), "int8"), "constant", np.zeros((2, 3), np.int8))}, (), (), ()), Identifiers("g"))
    bare.constant("w")
    assert bare.arrays[0].comment == "2x3"


def initialiser(f: CField) -> str:
    inside = [f".{m.name}={initialiser(m)}" for m in f.members]
    return f.text or "{" + ",".join(inside or f.items) + "}"


def test_structs_in_the_file_have_their_fields() -> None:
    c = built("mse")
    text = re.sub(r"\s+", "", c.files["image.c"])
    assert any(f.items for s in c.context.structs for m in s.fields for f in m.members for f in f.members), "lists within structs within structs"
    for s in c.context.structs:
        body = "".join(f".{f.name}={initialiser(f)}," for f in s.fields)
        assert f"staticconst{s.type}{s.name}={{{body}}};" in text


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
    for s, v in zip(m.state, layout.values, strict=True):
        assert (s.size, s.bytes, s.scalar, s.comment) == (v.type.size, v.type.bytes, is_scalar(v), v.kind)
        assert s.cleared == (v.kind in ("accumulator", "optimizer") or (v.kind == "control" and v.name != LEARNING_RATE))
    assert m.adapters == (case == "only adapters")
    assert m.packed == any(s.startswith("product/") for s in m.sources) and m.sources == sorted(set(m.sources))
    in_step, in_apply = (any(p.before for s in f.steps for p in s.parts) for f in (m.train, m.apply))
    assert m.pages_in_step == in_step and m.pages_in_apply == in_apply
    assert (m.page_bytes > 0) == case.startswith("paged") and (m.moment_bytes > 0) == case.startswith("paged")
    if m.training:
        loss = m.train.buffers["loss.value"]
        assert c.train is not None and (loss.name, loss.offset, loss.last) == (m.loss_buffer, c.train.plan.offsets["loss.value"], len(m.train.steps))
        assert f"*loss = *{m.loss_buffer};" in c.files[f"{m.name}.c"] and isinstance(m.loss_buffer, Code)
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
    assert c.context.input_parameters == ", const int8_t input[SEVERAL_INPUT_BYTES], const int8_t input_2[SEVERAL_INPUT_2_BYTES]"
    assert c.context.output_parameters == ", int8_t output[SEVERAL_OUTPUT_BYTES], int8_t output_2[SEVERAL_OUTPUT_2_BYTES]"
    graph = c.infer.graph
    mine = caller_buffers(graph)
    assert [mine[n] for n in graph.inputs] == ["input", "input_2"] and [mine[n] for n in graph.outputs] == ["output", "output_2"]
    assert mine["sum"] == "output_2", "what a view shows is written where the view lies"
    assert (mine["label"], mine["target"]) == ("label", "target")
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
    call = "f(" + "x" * 60 + ");"
    short = _statement(call, "step 1: a")
    assert short == f"    {call} /* step 1: a */" and isinstance(short, Code)
    room = 120 - len(f"    {call} /*  */")
    assert "\n" not in _statement(call, "c" * room) and len(_statement(call, "c" * room)) == 120
    assert _statement(call, "c" * (room + 1)) == f"    /* {'c' * (room + 1)} */\n    {call}"
    assert _statement("a;\nb;", "two") == "    /* two */\n    a;\n    b;" and _statement("a;\nb;") == "    a;\n    b;"
    assert _statement("a;", "b*/c") == "    a; /* b_.c */" and _statement("a;\nb;", "b*/c").startswith("    /* b_.c */")


def test_what_is_no_code_is_made_plain() -> None:
    assert _finalized("a*/b") == "a_.b" and _finalized(Code("a*/b")) == "a*/b" and _finalized(12) == "12" and isinstance(_finalized("x"), str)


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
    assert c.files["library.json"].startswith('{\n  "name": ')
    assert library["name"] == "kilotune_tiny" and "1.2.3" in library["description"] and "monocypher" not in c.files["library.json"]
    assert library["build"]["flags"] == ["-I.", "-Iruntime/include", "-ffp-contract=off"]
    key = kt.AdapterOptions(public_key=bytes(32))
    signed = json.loads(compile_graph(tiny(), Options(methods=LORA, adapters=key), "0").files["library.json"])["build"]
    assert "-Imonocypher" in signed["flags"] and "+<monocypher/*.c>" in signed["srcFilter"] and "-ffp-contract=off" in signed["flags"]
