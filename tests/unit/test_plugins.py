"""Methods from outside: the example's IA3 through both doors, and what is refused at them."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from golden.reference import Reference, samples, tiny

import kilotune as kt
from kiloc import ops, peft, pipeline
from kiloc.export import tflite
from kiloc.ir import interp
from kiloc.options import Options
from kilotune import plugins
from kilotune.cli import main
from kilotune.commands.methods import method_options
from kilotune.config import Config, load_config
from kilotune.search.families import Piece, TrainableSet, families

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "extending" / "ia3.py"

METHOD = """
from dataclasses import dataclass
from typing import ClassVar
from kiloc.ir.graph import Parameter
from kiloc.peft import GAIN, Layers, Method, Part, Role, ScaleShift, option, register, with_gain, select

{decorators}
class Mine(Method):
    name: ClassVar = "mine"
    part: ClassVar = GAIN
    roles: ClassVar = dict(gain=ScaleShift.roles["gain"])
    layers: Layers = "all"
    {body}

    def attach(self, graph, calibration):
        for node in select(graph, self.layers, type(self)):
            graph = with_gain(graph, graph.node(node.name), type(self))
        return graph
"""


def source(decorators: str = "@register\n@dataclass(frozen=True)", body: str = "") -> str:
    return METHOD.format(decorators=decorators, body=body)


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    tables: tuple[dict[str, Any], ...] = (peft.REGISTRY, ops.REGISTRY)
    before, modules = [dict(t) for t in tables], set(sys.modules)
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)
    for name in set(sys.modules) - modules:
        if name == "ia3" or name.startswith(("kilotune_plugin_", "broken")):
            del sys.modules[name]
    plugins._installed.clear()


@pytest.fixture
def model(tmp_path: Path) -> kt.Model:
    (tmp_path / "tiny.tflite").write_bytes(tflite.write(tiny()))
    return kt.load(tmp_path / "tiny.tflite")


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


def written(folder: Path, text: str, name: str = "mine.py") -> Path:
    (folder / name).write_text(text)
    return folder / name


# ---- A file ----


def test_a_file_brings_a_method_that_trains(model: kt.Model, tmp_path: Path) -> None:
    """The generated C on the host against the interpreter, step by step; the loss falls; the adapter fits a second device."""
    ia3: Any = kt.load_plugin(EXAMPLE)
    assert kt.load_plugin(EXAMPLE) is ia3 and peft.REGISTRY["ia3"] is ia3.IA3
    x = samples(tiny(), 40)
    y = np.asarray(x[:, 0] > 0, np.int32)
    build = kt.build(model, tmp_path / "build", method=ia3.IA3(), calibration=(x, y), measure=False)
    options = Options(methods=(ia3.IA3(),), calibration=x, calibration_target=y)
    reference = Reference(pipeline.compile_graph(model.graph, options, kt.__version__))
    assert [p.name for p in reference.c.graph.parameters] == ["first.gain", "second.gain", "logits.gain"], "gains alone"
    with build.open("host") as device:
        before = device.evaluate(x, y)["loss"]
        assert np.array_equal(device.infer(x), interp.infer(model.graph, x)[0]), "the identity at the start"
        for sample, label in zip(x[:8], y[:8], strict=True):
            device.train_step(sample, label)
            device.apply()
            reference.train_step(sample, label)
            reference.apply()
        assert device.state() == reference.state()
        device.reset()
        device.fit(x, y, epochs=10)
        assert device.evaluate(x, y)["loss"] < 0.9 * before
        device.export_adapter().save(tmp_path / "a.kta")
        trained = device.infer(x)
    with build.open("host") as other:
        other.load_adapter(kt.Adapter.load(tmp_path / "a.kta"))
        assert np.array_equal(other.infer(x), trained)


def test_its_gradients_are_those_of_jax() -> None:
    from gradients.test_gradients_against_jax import check, targets

    ia3: Any = kt.load_plugin(EXAMPLE)
    check(tiny(), (ia3.IA3(),), "cross_entropy", samples(tiny(), 32), targets(tiny(), "cross_entropy", np.random.default_rng(0)))


def test_the_command_line_knows_a_method_of_a_file(model: kt.Model, tmp_path: Path) -> None:
    command = ("build", model.path, "-o", tmp_path / "b", "--method", "ia3", "--least-channels", 8)
    refused = run(*command)
    assert refused.exit_code == 2 and "--least-channels" in refused.stderr
    made = run("--plugin", EXAMPLE, *command)
    assert made.exit_code == 0, made.output
    table = (tmp_path / "b" / "graph.txt").read_text()
    assert "first.gain" in table and "second.gain" in table and "logits.gain" not in table
    assert json.loads((tmp_path / "b" / "manifest.json").read_text())["options"]["methods"] == ["ia3 all"]
    text = " ".join(run("--plugin", EXAMPLE, "build", "--help").output.split())
    assert "keep their gains (--method ia3; default 1)" in text and "Rank of the addend to the weights (--method lora; default 4)" in text


def test_a_configuration_and_a_search_know_it(tmp_path: Path) -> None:
    ia3: Any = kt.load_plugin(EXAMPLE)
    config = Config((ia3.IA3(layers="last:2", least_channels=3),), kt.SGD())
    config.save(tmp_path / "c.json")
    assert load_config(tmp_path / "c.json") == config
    assert "ia3" in families()
    alone = TrainableSet.of([Piece("ia3", "first")])
    assert alone.plus(Piece("scale-shift", "first")) is None and TrainableSet.of([Piece("scale-shift", "first")]).plus(Piece("ia3", "first")) is None
    both = alone.plus(Piece("lora", "first", 2))
    assert both is not None and both.methods(tiny()) == (kt.LoRA(rank=2, layers=("first",)), ia3.IA3(layers=("first",)))


def test_a_method_without_rates_gets_the_careful_ones(model: kt.Model, tmp_path: Path) -> None:
    mine: Any = kt.load_plugin(written(tmp_path, source()))
    rates = [kt.build(model, tmp_path / "b", method=m, measure=False).manifest["learning_rate"] for m in (mine.Mine("last:2"), kt.Full("last:1"))]
    assert rates[0] == rates[1] < kt.SGD().usual_rate(["scale-shift"] * 2), "two tensors each"


def test_a_method_that_is_not_registered_is_refused(model: kt.Model, tmp_path: Path) -> None:
    text = source("@dataclass(frozen=True)") + "\n@register\n@dataclass(frozen=True)\nclass Other(Mine):\n    name: ClassVar = 'other'\n"
    mine: Any = kt.load_plugin(written(tmp_path, text))
    for optimizer in (None, kt.SGD(lr=0.1)):
        with pytest.raises(kt.CompileError, match="not among the methods that are registered") as caught:
            kt.build(model, tmp_path / "b", method=mine.Mine(), optimizer=optimizer)
        assert "Mine" in caught.value.where and "@register" in caught.value.hint


def test_a_tensor_without_a_role_is_refused(model: kt.Model, tmp_path: Path) -> None:
    mine: Any = kt.load_plugin(written(tmp_path, source().replace("with_gain(graph, graph.node(node.name), type(self))", "renamed(graph)") + RENAMED))
    with pytest.raises(kt.CompileError, match="no role of an adapter") as caught:
        kt.build(model, tmp_path / "b", method=mine.Mine("first"))
    assert "Mine" in caught.value.where and "roles" in caught.value.hint


RENAMED = """
def renamed(graph):
    from dataclasses import replace
    graph = with_gain(graph, graph.node("first"), Mine)
    return replace(graph, parameters=tuple(replace(p, name="first.factor") for p in graph.parameters))
"""


# ---- Refused files ----


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import kiloc.peft", "registers no method"),
        ("def", "SyntaxError"),
        (source() + "\n1 / 0", "ZeroDivisionError"),
        (source().replace('"mine"', '"lora"'), "lora is the name of kiloc.peft.lora.LoRA"),
        (source().replace("class Mine", "class LoRA"), "LoRA is the name of"),
        (source().replace('"mine"', '"My Method"'), "My Method"),
        (source("@register"), "no dataclass"),
        (source().replace('ScaleShift.roles["gain"]', "Role(40)"), "contradicts"),
        (source().replace('gain=ScaleShift.roles["gain"]', "vector=Role(5)"), "contradicts 'gain'"),
        (source().replace('gain=ScaleShift.roles["gain"]', "vector=Role(64)"), "has the code 64"),
        (source().replace('gain=ScaleShift.roles["gain"]', "vector=Role(40, rank_axis=0)"), "has a rank_axis"),
    ],
)
def test_refused_files_leave_nothing(text: str, why: str, tmp_path: Path) -> None:
    before, modules = dict(peft.REGISTRY), set(sys.modules)
    file = written(tmp_path, text)
    with pytest.raises(kt.CompileError, match=why) as caught:
        kt.load_plugin(file)
    assert str(file) in caught.value.where and caught.value.hint
    assert before == peft.REGISTRY and not {m for m in set(sys.modules) - modules if m.startswith("kilotune_plugin_")}


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    for path in (tmp_path / "none.py", tmp_path):
        with pytest.raises(kt.CompileError, match="no Python file"):
            kt.load_plugin(path)
    failed = run("--plugin", tmp_path / "none.py", "ops")
    assert failed.exit_code == 3 and "none.py" in failed.stderr


@pytest.mark.parametrize(("body", "why"), [("seed: int = option(1, 'A seed.')", "--seed"), ("part_of: tuple = option((), 'Parts.')", "part_of")])
def test_options_that_the_command_line_cannot_have(body: str, why: str, tmp_path: Path) -> None:
    failed = run("--plugin", written(tmp_path, source(body=body)), "build", "model.tflite", "-o", tmp_path / "b")
    assert failed.exit_code == 2 and why in failed.stderr and "mine" in failed.stderr


# ---- Installed packages ----


def installed(folder: Path, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package as an installer leaves it, with the module as its plugin."""
    information = folder / "kilotune_extending-1.0.dist-info"
    information.mkdir(exist_ok=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: kilotune-extending\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{module} = {module}\n")
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()


def test_the_plugin_of_an_installed_package_is_found(model: kt.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(EXAMPLE, tmp_path)
    installed(tmp_path, "ia3", monkeypatch)
    assert "ia3" not in peft.REGISTRY
    kt.load(model.path)
    assert peft.REGISTRY["ia3"].__module__ == "ia3"
    made = run("build", model.path, "-o", tmp_path / "b", "--method", "ia3")
    assert made.exit_code == 0, made.output
    assert kt.load_plugin(tmp_path / "ia3.py") is sys.modules["ia3"], "the same file by the other door"


def test_a_broken_package_is_named(model: kt.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, source() + "\nimport no_such_module", "broken.py")
    installed(tmp_path, "broken", monkeypatch)
    for _ in range(2):
        with pytest.raises(kt.CompileError, match="no_such_module") as caught:
            kt.load(model.path)
        assert "broken" in caught.value.where and "kilotune-extending" in caught.value.where
        assert "mine" not in peft.REGISTRY
    failed = run("ops")
    assert failed.exit_code == 3 and "kilotune-extending" in failed.stderr


# ---- One name ----


def test_a_method_has_one_name() -> None:
    """On the command line, in reports, in a configuration and in the graph."""
    assert [list(o.type.choices) for o in method_options(set()) if o.name == "methods"] == [["none", *peft.REGISTRY]]  # type: ignore[attr-defined]
    assert list(families()) == list(peft.REGISTRY)
    for name, method in peft.REGISTRY.items():
        settings = {"layers": "all"} if "layers" in method.__dataclass_fields__ else {}  # type: ignore[attr-defined]
        config = Config((method(**settings),), kt.SGD(lr=0.1))
        assert config.methods[0].describe().split()[0] == config.to_dict()["methods"][0]["method"] == name
        graph = pipeline.compile_graph(tiny(), Options(methods=config.methods), "0").graph
        assert {p.method for p in graph.parameters} == {name}


def test_devices_know_which_roles_have_a_rank() -> None:
    """The numbers in the runtime are those of the classes."""
    text = (EXAMPLE.parents[2] / "runtime" / "src" / "core" / "adapter.c").read_text()
    known = {name.lower(): int(code) for name, code in re.findall(r"ROLE_(\w+) = (\d+)", text)}
    assert known == {name: role.code for name, role in peft.roles().items() if role.rank_axis is not None}
    for name, axis in (("by_row", 0), ("by_column", 1)):
        roles = re.findall(r"ROLE_(\w+)", text.partition(f"const int {name} =")[2].partition(";")[0])
        assert {r.lower() for r in roles} == {n for n, role in peft.roles().items() if role.rank_axis == axis}
