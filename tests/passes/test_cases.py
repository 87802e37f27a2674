"""Each pass on graphs of a few nodes: <pass>/<case>.txt says what it shows, with the graph before, the arguments and the graph after.

Graphs are in the brief form of kiloc/ir/text.py. Beside the text, what the pass has to keep is compared bit for bit in the interpreter. `make
golden` writes the graphs after anew; a person reads the difference before it is committed.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

from kiloc import lowering, passes, peft
from kiloc.errors import CompileError
from kiloc.ir.graph import Graph
from kiloc.ir.text import parse_graph, print_graph
from kiloc.ir.verify import verify

from .runners import PASSES, arguments_of, behaviour

HERE = Path(__file__).parent
CASES = sorted(str(path.relative_to(HERE)) for path in HERE.glob("*/*.txt"))
HEADING = re.compile(r"^--- (\w+)\n", re.M)


def sections(path: Path) -> dict[str, str]:
    """Heading -> text; what stands before the first heading says what the case shows."""
    shows, *rest = HEADING.split(path.read_text(encoding="utf-8"))
    return {"shows": shows, **dict(zip(rest[::2], rest[1::2], strict=True))}


@pytest.mark.parametrize("case", CASES)
def test_case(case: str, request: pytest.FixtureRequest) -> None:
    path, found = HERE / case, sections(HERE / case)
    before = verify(parse_graph(found["before"]))
    arguments = arguments_of(found.get("arguments", ""))
    step = PASSES[path.parent.name]
    keeps = arguments.pop("keeps", step.keeps)
    try:
        after: Graph | None = verify(step.run(before, **arguments))
        heading, text = "after", print_graph(after, brief=True) if after is not None else ""
    except CompileError as error:
        after, heading, text = None, "refused", f"{error.where}: {error.what}\n{error.hint}\n"
    if request.config.getoption("update_snapshots"):  # --snapshot-update, the option of syrupy
        end = re.split(r"^--- (?:after|refused)\n", path.read_text(encoding="utf-8"), flags=re.M)[0]
        path.write_text(f"{end}--- {heading}\n{text}", encoding="utf-8")
        found = sections(path)
    assert found.get(heading, "").splitlines() == text.splitlines(), "see `make golden`"
    if after is not None:
        assert parse_graph(text) == after
        kept_bits(before, after, keeps)


def kept_bits(before: Graph, after: Graph, keeps: str) -> None:
    """Both compute the same, as far as the pass has to keep it."""
    if keeps == "nothing":
        return
    phases = {"results": ("forward",), "everything": tuple(dict.fromkeys(node.phase for node in after.nodes))}[keeps]
    expected, found = behaviour(before, phases), behaviour(after, phases)
    assert {name for name in found if not name.startswith("state")} <= set(expected), "a result of its own"
    assert found
    for name in found.keys() & expected.keys():
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_a_case_says_what_it_shows(case: str) -> None:
    shows = sections(HERE / case)["shows"].strip()
    assert shows.endswith(".") and len(shows.split()) >= 6, "one or two sentences"
    assert len(parse_graph(sections(HERE / case)["before"]).nodes) > 0


def stages() -> set[str]:
    """The public functions of kiloc/passes and kiloc/lowering that make a graph, or a slice, of one."""
    modules = [importlib.import_module(f"{passes.__name__}.{module.name}") for module in pkgutil.iter_modules(passes.__path__)]
    found = [f for module in modules for f in vars(module).values() if inspect.isfunction(f) and f.__module__ == module.__name__]
    found += [getattr(lowering, name) for name in lowering.__all__]
    return {f.__name__ for f in found if not f.__name__.startswith("_") and f.__annotations__.get("return") in ("Graph", "Slice", "Slice | None")}


def test_every_pass_and_every_stage_has_a_case() -> None:
    folders = {path.parent.name for path in HERE.glob("*/*.txt")}
    assert stages() <= set(PASSES), "a pass that runners.py does not know"
    assert folders == set(PASSES), "each with a folder of cases"


def test_every_method_has_a_case() -> None:
    own = {name for name, method in peft.REGISTRY.items() if method.__module__.startswith("kiloc.")}
    assert own == {arguments_of(sections(path)["arguments"])["method"] for path in (HERE / "attach").glob("*.txt")}
