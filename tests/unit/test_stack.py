"""Bounds of the stack: followed through programs made for it, held against the compiler's own figures, and as a budget."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from golden.reference import image, tiny

import kilotune as kt
from kiloc.cores import CORES
from kiloc.export import tflite
from kiloc.ir.graph import Graph
from kilotune import compilers, stack, toolchain
from kilotune.cli import main
from kilotune.devices.manifest import Manifest
from kilotune.stack import Bound, Code, Program

BOUNDED = ("cortex-m0plus", "cortex-m4", "cortex-m55", "rv32imc")

Linked = Callable[..., Program]


def compiler(core: str) -> list[str]:
    return [compilers.cross_compiler(core).program, *compilers.library_flags(core), *CORES[core].flags()]


@pytest.fixture
def linked(tmp_path: Path, arm_gcc: str, riscv_gcc: str) -> Linked:
    """linked(core, source, pointers={...}): a program of this C, whose function `start` keeps all others."""

    def build(core: str, source: str, flags: Sequence[str] = (), **options: Any) -> Program:
        path, elf = tmp_path / "program.c", tmp_path / "program.elf"
        path.write_text("#define APART __attribute__((noinline, noclone, noipa))\nvolatile int sink;\n" + source)
        command = [*compiler(core), "-std=gnu99", "-O2", "-nostartfiles", "-Wl,--entry=start", *flags]
        subprocess.run([*command, str(path), "-o", str(elf)], check=True)
        options.setdefault("pointers", {})
        return Program(Code(elf, toolchain.disassembly(elf)), **options)

    return build


def frames(source: str, core: str, folder: Path) -> dict[str, int]:
    """Frames as the compiler says them."""
    path = folder / "alone.c"
    path.write_text("#define APART __attribute__((noinline, noclone, noipa))\nvolatile int sink;\n" + source)
    command = [*compiler(core), "-std=gnu99", "-O2", "-fstack-usage", "-c", str(path), "-o", str(folder / "alone.o")]
    subprocess.run(command, check=True)
    return {name: int(size) for name, size in re.findall(r":(\w+)\t(\d+)\t", (folder / "alone.su").read_text())}


# ---- Programs made for it ----

CHAIN = """
APART int inner(int *p) { volatile int x[{inner}]; x[p[0]] = 1; return x[p[2]]; }
APART int outer(int *p) { volatile int x[{outer}]; x[p[0]] = 2; return inner(p) + x[p[2]]; }
int start(int *p) { return outer(p) + 1; }
"""


@pytest.mark.parametrize("core", BOUNDED)
@pytest.mark.parametrize(("inner", "outer"), [(4, 9), (200, 40), (2000, 3000), (20000, 128)])
def test_a_chain_is_the_sum_of_its_frames(linked: Linked, core: str, inner: int, outer: int, tmp_path: Path) -> None:
    """Also frames whose size no immediate holds."""
    source = CHAIN.replace("{inner}", str(inner)).replace("{outer}", str(outer))
    sizes = frames(source, core, tmp_path)
    found = linked(core, source).bound("start")
    assert found.chain == tuple((name, sizes[name]) for name in ("start", "outer", "inner"))
    assert found.bytes == sum(sizes[name] for name in ("start", "outer", "inner")) >= 4 * (inner + outer)


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55"])
def test_a_tail_call_leaves_nothing_of_its_caller(linked: Linked, core: str) -> None:
    """ARMv6-M makes none where the caller has a frame."""
    source = """
    APART int last(int *p) { volatile int x[32]; x[p[0]] = 1; sink = x[p[1]]; return x[p[2]]; }
    APART int first(int *p) { volatile int x[64]; x[p[0]] = 1; sink = x[p[1]]; return last(p); }
    int start(int *p) { return first(p); }
    """
    program = linked(core, source)
    first, last = (program.bound(name).bytes for name in ("first", "last"))
    assert first == program.bodies("first")[0].depth >= 4 * 64 > 4 * 40 > (last or 0) >= 4 * 32


UNBOUNDED = {
    "recursion": ("APART int f(int n) { return n ? f(n - 1) * sink + 1 : 0; } int start(int n) { return f(n); }", r"^f is recursive: f > f$"),
    "two that call each other": (
        "int g(int); APART int f(int n) { return n ? g(n - 1) * sink + 1 : 0; } APART int g(int n) { return f(n) + sink; }"
        "int start(int n) { return f(n) + 1; }",
        r"^g is recursive: f > g > f$",
    ),
    "alloca": (
        "APART int f(int n) { volatile int x[n]; x[0] = n; return x[0]; } int start(int n) { return f(n) + 1; }",
        r"^f moves its stack .* variable",
    ),
    "pointer": ("APART int f(int (*p)(void)) { return p() + 1; } int start(int (*p)(void)) { return f(p) + 1; }", r"^f calls through a pointer$"),
    "tail call by pointer": (
        "APART int f(int (*p)(void)) { sink = 1; return p(); } int start(int (*p)(void)) { return f(p) + 1; }",
        r"^f calls through",
    ),
}


@pytest.mark.parametrize("core", BOUNDED)
@pytest.mark.parametrize("case", list(UNBOUNDED))
def test_what_has_no_bound_is_named(linked: Linked, core: str, case: str) -> None:
    source, message = UNBOUNDED[case]
    found = linked(core, source).bound("start")
    assert found.bytes is None and re.search(message, found.unbounded), found.unbounded
    assert found.chain[0][0] == "start" and found.as_data()["unbounded"] == found.unbounded


@pytest.mark.parametrize("core", BOUNDED)
def test_a_pointer_counts_what_it_may_hold(linked: Linked, core: str) -> None:
    source = """
    APART int deep(int *p) { volatile int x[100]; x[p[0]] = 1; sink = x[p[1]]; return x[p[2]]; }
    APART int flat(int *p) { return p[0]; }
    int (*volatile held)(int *) = deep;
    APART int f(int *p) { return held(p) + flat(p); }
    int start(int *p) { return f(p) + 1; }
    """
    known = linked(core, source, pointers={"f": ("deep", "flat", "not linked")}).bound("start")
    assert known.bytes is not None and known.bytes >= 400 and known.chain[-1][0] == "deep"
    less = linked(core, source, pointers={"f": ("flat",)}).bound("start")
    assert less.bytes is not None and less.bytes < 100


@pytest.mark.parametrize("core", BOUNDED)
def test_functions_that_parameters_rule_out_are_left_out_below_their_kernel_only(linked: Linked, core: str) -> None:
    source = """
    APART int large(int *p) { volatile int x[100]; x[p[0]] = 1; sink = x[p[1]]; return x[p[2]]; }
    APART int way(int *p) { return large(p) + 1; }
    APART int kernel(int *p) { return p[0] ? way(p) + 1 : 2; }
    APART int other(int *p) { return way(p) + 3; }
    int start(int *p) { return kernel(p) + (p[1] ? 1 : other(p)); }
    """
    program = linked(core, source, unreached={"kernel": ("large",)})
    assert (program.bound("kernel").bytes or 0) < 100 and (program.bound("other").bytes or 0) > 400
    assert program.bound("start").chain[1][0] == "other"


@pytest.mark.parametrize("core", BOUNDED)
def test_switches_and_far_branches_are_followed(linked: Linked, core: str) -> None:
    """A table behind a computed jump, and on ARMv6-M `bl` within a function."""
    cases = "\n".join(f"case {i}: p[{i}] = leaf{i}(p) / (p[{i}] | 1) * {i * 7919}; break;" for i in range(40))
    leaves = "\n".join(f"APART int leaf{i}(int *p) {{ return p[{i}] + {i}; }}" for i in range(40) if i != 17)
    deep = "APART int leaf17(int *p) { volatile int x[100]; x[p[0]] = 1; sink = x[p[1]]; return x[p[2]]; }"
    filler = " ".join(f"p[{i}] += p[{i + 1}] * {i + 12345}; sink = p[{i + 2}];" for i in range(150))
    source = f"{leaves}\n{deep}\nAPART int f(int n, int *p) {{ do {{ switch (n) {{ {cases} }} {filler} n--; }} while (p[n]); return n; }}"
    found = linked(core, source + "\nint start(int n, int *p) { return f(n, p) + 1; }").bound("start")
    assert [name for name, _ in found.chain] == ["start", "f", "leaf17"] and (found.bytes or 0) > 400


def test_functions_of_libraries_count(linked: Linked) -> None:
    """Soft float of a core without: nothing that was compiled here has these frames."""
    program = linked("cortex-m0plus", "float start(float *p) { return p[0] / p[1] + p[2]; }")
    found = program.bound("start")
    assert found.bytes is not None and found.bytes > program.bodies("start")[0].depth + 16 and found.chain[-1][0].startswith("__aeabi_f")


# ---- Builds, against the compiler ----


def written(graph: Graph, folder: Path) -> kt.Model:
    path = folder / f"{graph.name}.tflite"
    path.write_bytes(tflite.write(graph))
    return kt.load(path)


NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?(?:(\d+) bytes \((\w+)\)[^"]*)?"')
EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')


def said_by_the_compiler(build: kt.Build, core: str, folder: Path) -> tuple[dict[str, int], dict[str, set[str]]]:
    """Frames and calls of every source of a build, by -fcallgraph-info."""
    manifest = Manifest.load(build.directory)
    flags = [*toolchain.COMMON_FLAGS, *toolchain.BARE_METAL_FLAGS, "-fcallgraph-info=su"]
    flags += [f"-I{build.directory / include}" for include in manifest.include]
    sizes, calls = dict[str, int](), dict[str, set[str]]()
    for i, source in enumerate(manifest.sources):
        subprocess.run([*compiler(core), *flags, "-c", str(build.directory / source), "-o", str(folder / f"{i}.o")], check=True)
        text = (folder / f"{i}.ci").read_text()
        for name, size, kind in NODE.findall(text):
            if size:
                assert kind == "static", f"{name} has no bound"
                sizes[plain(name)] = max(sizes.get(plain(name), 0), int(size))
        for caller, callee in EDGE.findall(text):
            calls.setdefault(plain(caller), set()).add(plain(callee))
    return sizes, calls


def plain(name: str) -> str:
    return name.rpartition(":")[2].partition(".")[0]


METHODS: Mapping[str, Any] = {
    "cortex-m0plus": (kt.Full(), kt.BiasOnly()), "cortex-m4": (kt.LoRA(layers="all"), kt.BiasOnly()), "cortex-m55": (kt.Full(),),
    "rv32imc": (kt.LoRA(layers="all"), kt.BiasOnly()),
}  # fmt: skip
ASSEMBLY = re.compile(
    r"kt_product_|kt_band_|kt_dot_|add_products$|kt_channel_sums|kt_fill_three|kt_gradient_words?|kt_((last_)?(left|right)|start|next)_fours|kt_start_any$|kt_(add_fours_of_rows|fill_fours_of_columns)$|project_fours$|kt_lanes_positions_|kt_dense_sums$|kt_sums_of_four_rows$|kt_projection_words$"
    r"|kt_walk_gained_starts$|kt_move_(scaled_|grown_)?until_doubt$|kt_move_lanes$|kt_add_(lanes|fours)_of_(plain_)?squares$"
    r"|kt_(move|store)_words$|kt_(add_squares_of|multiply)_fours$|kt_(take|largest_of|largest_step_of)_lanes$"
    r"|kt_triple_(sums|half_up|away|results_\w+|row_words|window_words|back|two_rows_\w+|three_rows_\w+)$"
)
"""Functions written in assembly, whose frames the compiler does not see."""


def is_assembly(core: str, name: str) -> bool:
    return CORES[core].family == "arm" and ASSEMBLY.match(name) is not None


def split_argument(code: Code, name: str) -> int:
    """Bytes of an argument's registers that a function stores above its frame, next to the rest of it; the compiler does not count them."""
    first = code.instructions[code.entries(name)[0]]
    found = re.match(r"sp, (?:sp, )?#(\d+)$", first.operands) if first.operation.startswith("sub") else None
    return int(found[1]) if found and int(found[1]) <= 16 else 0


def own(names: set[str]) -> set[str]:
    """Without functions of libgcc, which have several names each."""
    return {name for name in names if not name.startswith("__")}


@pytest.mark.parametrize("core", BOUNDED)
def test_frames_and_calls_are_the_compilers(core: str, arm_gcc: str, riscv_gcc: str, tmp_path: Path) -> None:
    build = kt.build(written(image(), tmp_path), tmp_path / "b", method=METHODS[core], target=core, loss="mse")
    sizes, calls = said_by_the_compiler(build, core, tmp_path)
    roots = [f"{build.manifest['name']}_{root}" for root in (*toolchain.INFERENCE_ROOTS, *toolchain.TRAINING_ROOTS)]
    elf = toolchain.library(build.directory, roots)
    code = Code(elf, toolchain.disassembly(elf))
    program, seen = Program(code, stack.POINTERS), 0
    for name in sorted(set(code.names.values())):
        body = max(program.bodies(name), key=lambda b: b.depth, default=None)
        if body is None or plain(name) not in sizes or is_assembly(core, name):
            continue
        seen += 1
        assert not body.fault
        assert body.depth - split_argument(code, name) == sizes[plain(name)], name
        called = {plain(code.names[target]) for each in program.bodies(name) for _, target in each.calls}  # of every file that has it
        assert own(called) == own(calls.get(plain(name), set())), name
    assert seen > 25


# ---- The budget and the report ----


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> kt.Model:
    return written(tiny(), tmp_path_factory.mktemp("model"))


def test_a_budget_is_met_or_names_the_calls_that_exceed_it(model: kt.Model, tmp_path: Path, arm_gcc: str) -> None:
    with pytest.raises(kt.BudgetError) as caught:
        kt.build(model, tmp_path / "b", method=kt.BiasOnly(), stack=100)
    assert list(tmp_path.iterdir()) == []
    found = re.match(r"(\w+) may take ([\d,]+) bytes of stack, exception frames not counted$", caught.value.what)
    assert found is not None and caught.value.where.startswith("stack=100: tiny_") and found[2] in caught.value.hint
    needed = int(found[2].replace(",", ""))
    links = re.findall(r"(\w[\w.]*) \(([\d,]+)\)", caught.value.where)
    assert sum(int(size.replace(",", "")) for _, size in links) == needed and links[0][0] == f"tiny_{found[1]}"
    with pytest.raises(kt.BudgetError):
        kt.build(model, tmp_path / "b", method=kt.BiasOnly(), stack=needed - 1)
    build = kt.build(model, tmp_path / "b", method=kt.BiasOnly(), stack=needed)
    assert build.report["stack"]["largest"] == needed and build.manifest["options"]["stack"] == needed
    assert build.report["stack"]["calls"][found[1]]["bytes"] == needed


def test_a_budget_takes_what_it_is_held_against(model: kt.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(kt.CompileError, match="measure=False") as caught:
        kt.build(model, tmp_path / "b", stack="4K", measure=False)
    assert type(caught.value) is kt.CompileError and "leave stack out" in caught.value.hint

    def missing(core: str) -> None:
        raise kt.DeviceError("arm-none-eabi-gcc", "the program is not installed", "on Debian: apt install it")

    monkeypatch.setattr(compilers, "cross_compiler", missing)
    with pytest.raises(kt.CompileError, match="arm-none-eabi-gcc is not installed"):
        kt.build(model, tmp_path / "b", stack="4K")
    assert list(tmp_path.iterdir()) == []
    build = kt.build(model, tmp_path / "b")
    assert build.report["stack"] == {"calls": {}, "largest": None, "unknown": "arm-none-eabi-gcc is not installed (on Debian: apt install it)"}
    assert "stack        not known: arm-none-eabi-gcc is not installed" in build.report_text()


def test_a_call_without_bound_meets_no_budget() -> None:
    calls = {"infer": Bound(80, (("m_infer", 80),)).as_data(), "apply": Bound(None, (("m_apply", 8), ("f", 0)), "f is recursive: f > f").as_data()}
    report = {"calls": calls, "largest": None, "unknown": None}
    stack.check(report, None)
    with pytest.raises(kt.BudgetError, match="the stack of apply has no bound: f is recursive") as caught:
        stack.check(report, 1 << 20)
    assert "m_apply (8) > f (0)" in caught.value.where and caught.value.hint


def test_every_call_is_reported(model: kt.Model, tmp_path: Path, arm_gcc: str) -> None:
    options = kt.AdapterOptions(resident=2, slots=True)
    build = kt.build(model, tmp_path / "b", method=kt.BiasOnly(), train=False, adapters=options)
    calls = build.report["stack"]["calls"]
    headers = ("tiny.h", "runtime/include/kt/adapter_pool.h", "runtime/include/kt/adapter_slots.h")
    header = "".join((build.directory / name).read_text() for name in headers)
    status = set(re.findall(r"^kt_status (\w+)\(", header, re.MULTILINE))
    assert {f"tiny_{call}" if not call.startswith("kt_") else call for call in calls} >= status
    assert all(call["unbounded"] is None and call["bytes"] == sum(link["bytes"] for link in call["chain"]) for call in calls.values())
    assert calls["kt_slots_boot"]["bytes"] > calls["adapter_select"]["bytes"]
    assert build.report["stack"]["largest"] == max(call["bytes"] for call in calls.values())


def test_the_report_shows_it(model: kt.Model, tmp_path: Path, arm_gcc: str) -> None:
    runner, folder = CliRunner(), str(tmp_path / "b")
    command = ["build", str(model.path), "-o", folder, "--method", "bias"]
    refused = runner.invoke(main, [*command, "--stack", "64"])
    assert refused.exit_code == 1 and "bytes of stack" in refused.output and not Path(folder).exists()
    assert runner.invoke(main, [*command, "--stack", "8K"]).exit_code == 0
    calls = kt.open_build(folder).report["stack"]["calls"]
    page = tmp_path / "page.html"
    lines = runner.invoke(main, ["report", folder, "--html", str(page)]).output.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("stack"))
    text = " ".join(" ".join(lines[start : start + 3]).split())
    assert all(f"{name} {calls[name]['bytes']:,}" in text for name in ("infer", "train_step", "apply")) and "exception frames" in text
    rows = dict(re.findall(r"<tr><td>(\w+)<td>([\d,]+)<td", page.read_text().partition("Stack, bytes")[2]))
    assert {name: f"{call['bytes']:,}" for name, call in calls.items()} == rows
