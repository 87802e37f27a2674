"""The steps of generated functions: names, offsets and uses of buffers, calls, transfers, parameter structs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from emitted import CASES, built, functions, of_nodes, passed, steps, whole

from kiloc.emit.c_names import Code, Identifiers
from kiloc.emit.state_layout import is_scalar
from kiloc.emit.steps import CArgument, CField, CFunction, Constants
from kiloc.ir.graph import Graph, Node, Value
from kiloc.ir.kernel_call import Argument, First, KernelCall, Scratch, Table
from kiloc.ir.types import TensorType
from kiloc.pipeline import Compilation
from kiloc.plan.paging import pages_of
from kiloc.plan.slice import Slice, caller_buffers, kernel_call

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
            elif " " in value:
                node, _, name = value.rpartition(" ")
                call = kernel_call(whole(c), (part.kernels if part else graph).node(node))
                assert call is not None and call.made is not None and part is not None
                member = next(m for m in call.made.members if m.name.endswith(name))
                assert (b.offset, b.ctype) == (part.plan.offsets[f"{node} scratch"] + member.offset, ctypes[member.dtype])
                assert b.bytes == member.count * np.dtype(member.dtype).itemsize and member.offset + b.bytes <= call.scratch
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
                struct = p.call.made.constant if p.call.made else p.call.arguments[0].name
                assert (p.call.made is None) == (call.made is None)
                assert not call.struct or (p.call.arguments[0].kind == "params" and struct.endswith("_params"))
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
    called = [call for s in steps(c) if (call := kernel_call(whole(c), _node(c, s.name)))]
    headers = {call.header for call in (*called, *(call.made.call for call in called if call.made))}
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
