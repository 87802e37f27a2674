"""The rules of the house that can be checked by reading the sources. CONTRIBUTING.md says why they exist."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import kiloc

ROOT = Path(__file__).resolve().parents[2]
COMPILER = ROOT / "codegen" / "kiloc"

STAGES = (
    "frontend", "peft", "optim", "heads", "losses", "features", "continual", "options", "samples", "autodiff", "passes", "plan", "lowering", "emit",
    "forecast", "pipeline", "report",
)  # fmt: skip
"""In the order of the data's way. A module may import what stands to the left of its own stage."""

COMMON = {"errors", "numerics", "plain_text", "cores", "ir", "ops"}
"""What stages talk in: texts, graphs, operators and cores. Anyone may import them; they import no stage."""

MAX_FILE_LINES = 500
MAX_TEST_LINES = 800
"""Tests may be longer: a table of cases reads better in one piece."""
MAX_FUNCTION_LINES = 60
LONG_FUNCTIONS: dict[str, str] = {}
"""file:function -> why it may be longer."""


@cache
def tracked(*suffixes: str) -> tuple[Path, ...]:
    """The repository's files, also those that are new and not yet committed."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("the rules are about the files of a git repository, and this is none")
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return tuple(path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes))


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ---- Who imports whom ----


def imports(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports when it runs; `if TYPE_CHECKING:` is left out."""
    package = ("kiloc", *path.relative_to(COMPILER).parent.parts)
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            pending += node.orelse
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from . import frontend` names modules, `from .frontend import load` what is in one.
            yield from (f"{module}.{alias.name}" for alias in node.names) if node.module is None else (module,)
        else:
            pending += ast.iter_child_nodes(node)


def stage_of(path: Path) -> str:
    return path.relative_to(COMPILER).parts[0].removesuffix(".py")


COMPILER_FILES = sorted(COMPILER.rglob("*.py"))


@pytest.mark.parametrize("path", COMPILER_FILES, ids=lambda p: p.relative_to(COMPILER).as_posix())
def test_data_flows_one_way(path: Path) -> None:
    own = stage_of(path)
    for name in imports(path):
        assert name.split(".")[0] != "kilotune", f"the compiler must not know its users: it imports {name}"
        if not name.startswith("kiloc."):
            continue
        other = name.split(".")[1]
        assert own != "ir" or other != "ops", f"operators are written in terms of ir, which knows none of them, but imports {name}"
        if other not in STAGES or other == own:
            continue
        assert own not in COMMON, f"{own} is common to all stages, but imports the stage {other}"
        if own in STAGES:
            assert STAGES.index(other) < STAGES.index(own), f"{own} reaches back to {other} ({name})"
        if own != "pipeline":
            assert other != "frontend", "only the pipeline knows that there are front ends"


@pytest.mark.parametrize("path", sorted((COMPILER / "ops").rglob("*.py")), ids=lambda p: p.relative_to(COMPILER).as_posix())
def test_operators_do_not_import_in_circles(path: Path) -> None:
    """Every import stands at the top: one inside a function would hide a circle."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = [node for f in functions for node in ast.walk(f) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in inside] == []


def test_every_part_of_the_compiler_has_its_place() -> None:
    """A new folder or module is named in STAGES or COMMON, or stands apart and is imported by no stage."""
    apart = {stage_of(path) for path in COMPILER_FILES} - set(STAGES) - COMMON - {"__init__"}
    for path in COMPILER_FILES:
        if stage_of(path) in {*STAGES, *COMMON}:
            used = {name.split(".")[1] for name in imports(path) if name.startswith("kiloc.")} & apart
            assert not used, f"{shown(path)} imports {used}, which STAGES does not place"


# ---- One door ----

USERS = sorted((ROOT / "python" / "kilotune").rglob("*.py"))


@cache
def doors() -> dict[str, frozenset[str]]:
    """The compiler, and the packages that its `__all__` names -> what each lets out."""
    packages = [f"kiloc.{name}" for name in kiloc.__all__ if isinstance(getattr(kiloc, name), ModuleType)]
    return {name: frozenset(importlib.import_module(name).__all__) for name in ("kiloc", *packages)}


def past_the_doors(source: str) -> list[str]:
    """What a module takes of the compiler that no door lets out: modules below one, names that are not in its `__all__`."""
    tree, found = ast.parse(source), []
    bound: dict[str, str] = {}
    """Names in the module -> the door that they stand for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "kiloc":
                    bound[alias.asname or "kiloc"] = alias.name if alias.asname else "kiloc"
                    found += [] if alias.name in doors() else [alias.name]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module and node.module.split(".")[0] == "kiloc":
            out = doors().get(node.module, frozenset())
            found += [f"{node.module}.{alias.name}" for alias in node.names if alias.name not in out]
            bound |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names if f"{node.module}.{a.name}" in doors()}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in bound:
            door = bound[node.value.id]
            found += [] if node.attr in doors().get(door, frozenset()) else [f"{door}.{node.attr}"]
    return found


@pytest.mark.parametrize("path", USERS, ids=lambda p: p.relative_to(ROOT / "python").as_posix())
def test_the_compiler_is_used_through_its_doors(path: Path) -> None:
    assert past_the_doors(path.read_text(encoding="utf-8")) == []


def test_the_compiler_has_no_module_for_a_door() -> None:
    """Each folder has one door, its `__init__`: a module below one is none, and no name of a door begins with an underscore."""
    assert len(doors()) > 5
    for name, out in doors().items():
        door = importlib.import_module(name)
        assert hasattr(door, "__path__") and not any(n.startswith("_") for n in out)
        assert name == "kiloc" or not any(isinstance(getattr(door, n), ModuleType) for n in out)


@pytest.mark.parametrize(
    "source",
    [
        "from kiloc.ir.graph import Graph",
        "from kiloc.ir import interp",
        "from kiloc import pipeline",
        "from kiloc.ops._sums import output_scales",
        "import kiloc.plan",
        "import kiloc.ir.text as text",
        "import kiloc\nkiloc.pipeline.load(p)",
        "from kiloc import ir\nir.graph.Graph",
        "def f():\n    from kiloc.cores import CORES",
    ],
)
def test_the_search_for_ways_past_the_doors_finds_them(source: str) -> None:
    assert past_the_doors(source)


def test_the_search_for_ways_past_the_doors_lets_doors_pass() -> None:
    assert past_the_doors("import kiloc\nfrom kiloc import ir, load\nfrom kiloc.ir import Graph\nir.run, kiloc.load, ir.Graph, kiloc.ir.run") == []


# ---- Size ----


def python_functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def c_functions(path: Path) -> Iterator[tuple[str, int]]:
    """Bodies between braces in the first column, named by the line before."""
    name, start = "", 0
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if line == "{":
            name, start = lines[number - 2].strip(), number
        elif line == "}" and start:
            yield name, number - start + 2
            start = 0


def is_product(path: Path) -> bool:
    return "fake_model" not in path.parts and "golden" not in path.parts


def test_files_are_short() -> None:
    limits = {path: MAX_TEST_LINES if shown(path).startswith("tests/") else MAX_FILE_LINES for path in tracked(".py", ".c", ".h", ".S", ".ld", ".j2")}
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in limits if is_product(path)}
    assert len(lengths) > 50
    assert {shown(path): length for path, length in lengths.items() if length > limits[path]} == {}


def test_functions_are_short() -> None:
    found = {
        f"{shown(path)}:{name}": length
        for path in tracked(".py", ".c", ".h")
        if is_product(path)
        for name, length in (python_functions(path) if path.suffix == ".py" else c_functions(path))
    }
    assert len(found) > 200
    assert {name: length for name, length in found.items() if length > MAX_FUNCTION_LINES and name not in LONG_FUNCTIONS} == {}


MAX_MARKDOWN_LINE = 110
"""Prose wraps at about 100 characters; tables, code and what cannot be broken (a link, a path) may be longer."""


def prose_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines of a Markdown page that can be wrapped: no tables, no code, more than one word beside the mark of a list."""
    fenced = in_list = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and line.strip():
            in_list = bool(re.match(r"\s*(?:[-*]|\d+\.) ", line)) or (in_list and line.startswith(" "))
            code = line.startswith("    ") and not in_list
            if not code and not line.startswith("|") and len(re.sub(r"^\s*(?:[-*] )?", "", line).split()) > 1:
                yield number, line


def test_prose_is_wrapped() -> None:
    pages = tracked(".md")
    assert len(pages) > 20
    long = [f"{shown(p)}:{n}" for p in pages for n, line in prose_lines(p.read_text(encoding="utf-8")) if len(line) > MAX_MARKDOWN_LINE]
    assert long == []


def test_the_search_for_long_lines_knows_tables_and_code() -> None:
    long = "word " * 30
    text = f"    {long}\n\n{long}\n\n- {long}\n  {long}\n\n| {long} |\n\n```\n{long}\n```\n" + "a" * 200
    assert [number for number, line in prose_lines(text) if len(line) > MAX_MARKDOWN_LINE] == [3, 5, 6]


# ---- The runtime runs without an operating system ----

HEADERS = {
    "arm_acle.h",
    "arm_mve.h",
    "arm_neon.h",
    "emmintrin.h",
    "float.h",
    "immintrin.h",
    "limits.h",
    "stdbool.h",
    "stddef.h",
    "stdint.h",
    "string.h",
}
"""The standard headers that need no operating system, memcpy and its like, and the intrinsics of the cores."""

FORBIDDEN = re.compile(
    r"\b(?:malloc|calloc|realloc|free|alloca|\w*printf|puts|putchar|fopen|fwrite|fread|exit|abort|assert"
    r"|(?:exp|exp2|expm1|log|log2|log10|log1p|pow|sqrt|cbrt|sin|cos|tan|tanh|sinh|cosh|erf|floor|ceil|round|rint|nearbyint"
    r"|lround|lrint|trunc|fmod|fabs|fma|fmin|fmax|ldexp|frexp|scalbn|hypot|copysign)f?)\s*\("
)


def c_code(text: str) -> str:
    """The text without comments and strings."""
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', " ", text, flags=re.DOTALL)


@pytest.mark.parametrize("path", sorted((ROOT / "runtime").rglob("*.[ch]")), ids=lambda p: p.relative_to(ROOT / "runtime").as_posix())
def test_runtime_needs_no_operating_system(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"^\s*#\s*include\s*<([^>]+)>", text, re.MULTILINE)) <= HEADERS
    assert FORBIDDEN.findall(c_code(text)) == []


def test_the_search_for_forbidden_calls_finds_them() -> None:
    assert FORBIDDEN.search(c_code("x = expf (y);")) and FORBIDDEN.search("p = malloc(4)") and FORBIDDEN.search("snprintf(b, n, f)")
    assert not FORBIDDEN.search(c_code("/* free() */ kt_exp(x); kt_sqrt(y); no_malloc(z);"))


# ---- No traces of one computer ----

MACHINE_PATH = re.compile(rb"(?<![\w.])/(?:work|root|home|Users)/[A-Za-z]|\b[A-Z]:\\(?:Users|home)")


def test_no_paths_of_a_machine() -> None:
    found = []
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data:
            found += [f"{shown(path)}: {line.decode(errors='replace').strip()[:120]}" for line in data.splitlines() if MACHINE_PATH.search(line)]
    assert found == []


def test_the_search_for_machine_paths_finds_them() -> None:
    slash = b"/"
    assert MACHINE_PATH.search(b"see " + slash + b"home/someone/file") and MACHINE_PATH.search(b'"' + slash + b"root/x")
    assert not MACHINE_PATH.search(b".." + slash + b"work" + slash + b"x") and not MACHINE_PATH.search(b"build" + slash + b"home/x")
