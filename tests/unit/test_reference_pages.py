"""The reference pages say what the code says, and every key of a report is described."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import tiny
from gradients.graphs import Maker, every_operator, residual
from property.dead_channels import mobilenet, mobilenet_with_dead_channels, with_small_multipliers

import kilotune as kt
from kiloc.autodiff import GradientBuilder
from kiloc.features import LogMel
from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph, Node
from kiloc.ir.operator import NoGradient
from kiloc.ir.types import activation
from kiloc.ops._window import Window
from kiloc.ops.model.concatenate import Concatenate
from kiloc.ops.model.keep import Keep
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.slice import Slice
from kiloc.pipeline import Options, compile_graph
from kiloc.report import figures
from kiloc.report.schema import GROUPS, KEYS, paths

ROOT = Path(__file__).resolve().parents[2]
GENERATOR = ROOT / "docs" / "generate"
LINKED = {"constants": 100, "code": 200, "kernels": {"kt_conv2d_s8": 50}}
"""What `toolchain.measure` reads from a linked program."""


@pytest.fixture(scope="module")
def generator() -> Any:
    """The modules of docs/generate, by name."""
    sys.path.insert(0, str(GENERATOR))
    try:
        import c_api
        import operator_table
        import python_api

        yield {"c": c_api, "python": python_api, "operators": operator_table}
    finally:
        sys.path.remove(str(GENERATOR))


def test_pages_are_up_to_date() -> None:
    done = subprocess.run([sys.executable, GENERATOR, "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_public_name_says_what_it_is(generator: Any) -> None:
    assert list(generator["python"].undocumented()) == []


def test_docstrings_name_parameters_that_exist(generator: Any) -> None:
    """A line of a public docstring that begins with "word:" is about a parameter or an attribute of this name."""
    python = generator["python"]
    for name in python.names():
        thing = getattr(kt, name)
        known = {*python.parameters(thing), *(python._attribute_docs(thing) if isinstance(thing, type) else ())}
        for words in re.findall(r"^([a-z_]+(?:, [a-z_]+)*): ", python.doc(thing), re.MULTILINE):
            assert set(words.split(", ")) <= known, f"{name}: {words}"


def test_every_function_of_a_public_header_is_in_the_reference(generator: Any) -> None:
    page = (ROOT / "docs/reference/c.md").read_text(encoding="utf-8")
    found = 0
    for header in generator["c"].HEADERS:
        text = re.sub(r"/\*.*?\*/", "", generator["c"]._read(header), flags=re.DOTALL)
        for function in re.findall(r"\b(kt_\w+)\(", text):
            found += 1
            assert f"{function}(" in page, function
    assert found > 25


def test_every_operator_of_models_has_its_names(generator: Any) -> None:
    """Names are found by looking at what the handlers of the importers call."""
    bound = generator["operators"].bindings()
    for graph in (every_operator(), residual()):
        for node in graph.nodes:
            assert bound.get(node.op.mnemonic, (set(), set()))[0], f"no TFLite name leads to {node.op.mnemonic}"


# ---- The report ----


class NoWayBack(Reshape):
    """A reshape that cannot be trained through."""

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        raise NoGradient("no way back")


def half_trainable() -> Graph:
    """Only what follows the reshape can be trained."""
    graph = every_operator()
    nodes = (replace(n, op=NoWayBack(n.op.shape)) if isinstance(n.op, Reshape) else n for n in graph.nodes)
    return replace(graph, nodes=tuple(nodes))


STACK: dict[str, Any] = {
    "calls": {"infer": {"bytes": 96, "chain": [{"function": "tiny_infer", "bytes": 96}], "unbounded": None}},
    "largest": 96,
    "unknown": None,
}
"""As `kilotune.stack.bounds` gives it."""


def streaming() -> Graph:
    """Keeps one of its two rows for the next call."""
    t = activation((1, 2, 3), 0.5, 0)
    b = GraphBuilder("streaming", "streaming.test")
    x, kept = b.input(t, "x"), b.stream("kept", activation((1, 1, 3), 0.5, 0), np.zeros((1, 1, 3), np.int8), "kept")
    y = b.node("window", Concatenate(1), {"x": kept, "x1": x}, activation((1, 3, 3), 0.5, 0), "window")
    b.nodes.append(Node("kept.keep", Keep(Slice.along((1, 3, 3), 1, 2, 1)), {"x": y, "kept": kept}, (), (kept,)))
    return b.finish([y])


def small_image() -> Graph:
    """One row under a window of three."""
    m = Maker("small", (1, 1, 4, 2), 3)
    return m.finish(m.conv("input", "layer", 2, Window((3, 3), pad=(1, 1, 1, 1)), "relu"))


def build_reports() -> dict[str, dict[str, Any]]:
    """Of builds that differ in what their reports have."""
    capped, last = kt.LoRA(rank=8, layers="last:2"), kt.BiasOnly(layers="last:1")
    cases: dict[str, tuple[Graph, Options]] = {
        "inference": (tiny(), Options()),
        "training": (every_operator(), Options(methods=(capped, kt.BiasOnly()), optimizer=kt.Adam(), offload="all", front=True)),
        "channels": (mobilenet_with_dead_channels(), Options(methods=(last,))),
        "bounds": (with_small_multipliers(mobilenet(5, "relu"), 2, 0.2), Options(methods=(kt.BiasOnly(),))),
        "named": (tiny(), Options(class_names=("low", "middle", "high"))),
        "features": (tiny(), Options(features=LogMel(samples=64, window=32, hop=32, bands=4, low=0.0, high=8000.0))),
        "adapters": (tiny(), Options(methods=(last,), train=False)),
        "refused": (half_trainable(), Options(methods=(last,))),
        "streaming": (streaming(), Options()),
        "replay": (tiny(), Options(methods=(last,), replay=kt.Replay(4))),
        "sliced": (tiny(), Options(methods=(last,), slice_instructions=100)),
        "small": (small_image(), Options()),
    }
    measured = {name: (LINKED, STACK) if name == "training" else (None, None) for name in cases}
    return {name: figures(compile_graph(graph, options, "0"), *measured[name]) for name, (graph, options) in cases.items()}


def test_every_key_of_a_report_is_described_and_every_described_key_exists() -> None:
    found = {name: set(paths(report)) for name, report in build_reports().items()}
    assert {name: sorted(keys - set(KEYS)) for name, keys in found.items() if keys - set(KEYS)} == {}
    assert sorted(set(KEYS) - set().union(*found.values())) == []
    assert [group for report in build_reports().values() for group in report if group not in GROUPS] == []


def test_a_key_that_nobody_described_is_found() -> None:
    assert set(paths({"memory": {"state": 1, "by_kind": {"heap": 2}}, "kernels": {"infer": [{"step": "a", "speed": 3}]}})) - set(KEYS) == {
        "memory.by_kind.heap",
        "kernels.infer[].speed",
    }
