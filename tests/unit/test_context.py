"""What templates read beside the steps: sizes, the caller's buffers, scratch, the state, the files of a build."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from emitted import CASES, LORA, built
from golden.reference import tiny
from gradients.graphs import Maker

import kiloc
import kilotune as kt
from kiloc.emit.c_names import Code
from kiloc.emit.memory import arena_budget, check_slow_memory, resident_bytes
from kiloc.emit.state_layout import StateLayout, is_scalar, state_layout
from kiloc.emit.write import _finalized, _statement, _wrapped, render
from kiloc.ir.graph import Graph, Value
from kiloc.ir.kernel_call import PACKAGES, KernelPackage
from kiloc.ir.types import TensorType
from kiloc.ops.model.reshape import Reshape
from kiloc.optim import LEARNING_RATE
from kiloc.options import Options, SlowMemory
from kiloc.pipeline import compile_graph
from kiloc.plan.lifetimes import scratch_name
from kiloc.plan.paging import pages_of
from kiloc.plan.slice import caller_buffers, kernel_call, scratch_bytes, update_bytes
from kilotune import resources

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
        assert s.cleared == (v.kind in ("remainder", "accumulator", "optimizer") or (v.kind == "control" and v.name != LEARNING_RATE))
    assert m.adapters == (case == "only adapters")
    packed = any(s.startswith("product/") and "triple" not in s for s in m.sources)
    assert m.packed == packed and m.sources == sorted(set(m.sources))
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
    """Zero needs no text, a scalar is a literal, an array has a constant; remainders are zero. Without training all stand there."""
    m = built("lora").context
    by_name = {v.name.replace(".", "_"): v for v in built("lora").graph.state()}
    arrays = {a.name: a for a in m.arrays}
    kinds = set()
    for s in m.state:
        v = by_name[s.name]
        assert v.data is not None
        zero = not v.data.any()
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
        "c": ("int16", "stream"),
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

    assert scalar("exponent", "int8") and scalar("control", "float32") and scalar("control", "int32")
    assert not scalar("remainder", "int8") and not scalar("trainable", "int8") and not scalar("optimizer", "int8")


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


@pytest.mark.parametrize(
    ("target", "absent"), [("", ["dsp", "mve"]), ("cortex-m3", ["armv6m", "dsp", "mve"]), ("cortex-m7", ["mve"]), ("cortex-m55", [])]
)
def test_the_header_of_a_target_says_which_kernels_are_absent(target: str, absent: list[str]) -> None:
    text = compile_graph(tiny(), Options(target=target), "0").files["runtime/include/kt/target.h"]
    assert re.findall(r"^#define KT_WITHOUT_(\w+)", text, re.MULTILINE) == [name.upper() for name in absent]


@pytest.mark.parametrize(
    ("rank", "target", "alone"), [(4, "cortex-m4", True), (2, "cortex-m4", False), (8, "cortex-m4", False), (4, "cortex-m3", False)]
)
def test_kernels_of_other_ranks_are_left_out_where_every_rank_is_four(rank: int, target: str, alone: bool) -> None:
    methods = (kt.LoRA(rank=rank, layers=("first", "second")),)
    text = compile_graph(tiny(), Options(target=target, methods=methods), "0").files["runtime/include/kt/target.h"]
    assert ("#define KT_RANK_FOUR " in text) is alone


def test_what_the_header_of_a_target_defines_names_nothing_else() -> None:
    """Sources of a build for size and of others are one runtime where two models share it."""
    template = (Path(kiloc.__file__).parent / "emit" / "templates" / "target.h.j2").read_text()
    defined = re.findall(r"^#define (KT_[A-Z_]+) ", template, re.MULTILINE)
    assert {"KT_SMALL", "KT_RANK_FOUR"} <= {*defined}
    for source in [*resources.runtime().rglob("*.[ch]")]:
        assert not re.search(rf"\b({'|'.join(defined)})\s*=", source.read_text()), source


def test_sources_of_packages_are_part_of_the_library() -> None:
    """Kernels from outside of kilotune lie in a folder of their own, with headers of their own."""
    library = json.loads(render(replace(built("lora").context, packages=[(KernelPackage("own", Path(".")), "a.c")]))["library.json"])["build"]
    assert f"-I{PACKAGES}" in library["flags"] and f"+<{PACKAGES}/**/*.c>" in library["srcFilter"]


def test_offsets_into_the_state_have_the_smallest_type() -> None:
    sizes = {size: replace(built("lora").context, state_bytes=size).offset_type for size in (4, 0xFFFF, 0x10000)}
    assert sizes == {4: "uint16_t", 0xFFFF: "uint16_t", 0x10000: "uint32_t"}


# ---- Memory beside the arena ----


def test_the_budget_of_the_arena_is_what_state_and_resident_adapters_leave() -> None:
    graph, waiting = built("lora").graph, kt.AdapterOptions(resident=3)
    assert arena_budget(graph, Options()) == 0
    assert arena_budget(built("infer").graph, Options(ram=10_000)) == 10_000
    assert arena_budget(graph, Options(ram=10_000)) == 10_000 - state_layout(graph).bytes
    slot = built("lora").context.adapter
    assert slot is not None and resident_bytes(graph, Options(adapters=waiting)) == 3 * slot.slot_bytes
    assert arena_budget(graph, Options(ram=10_000, adapters=waiting)) == 10_000 - state_layout(graph).bytes - 3 * slot.slot_bytes


def test_slow_memory_that_is_too_small_is_refused() -> None:
    check_slow_memory(10**9, Options())
    check_slow_memory(4096, Options(slow=SlowMemory(size=4096)))
    with pytest.raises(kt.CompileError, match="4,097 bytes are to be offloaded, to a memory of 4,096"):
        check_slow_memory(4097, Options(slow=SlowMemory(size=4096)))
