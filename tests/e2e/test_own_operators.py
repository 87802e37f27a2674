"""An operator with a kernel of its own, from outside of kilotune: MUL of examples/extending, from a model file to an emulated core."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases._parts import ACTIVATIONS, Meaning, one, typed
from golden.reference import Reference, samples
from gradients import jax_model
from gradients.graphs import Maker
from test_operators_against_tflm import difference, rng_of, run_tflm
from test_operators_against_tflm import samples as inputs_of

import kilotune as kt
from kiloc import frontend, ops, pipeline
from kiloc.export import onnx, tflite
from kiloc.frontend import tflite as reader
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ops._window import Window
from kiloc.options import Options
from kiloc.peft import BiasOnly, ScaleShift
from kilotune import plugins

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "extending"


@pytest.fixture
def registry() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    before, modules = dict(ops.REGISTRY), set(sys.modules)
    yield
    ops.REGISTRY.clear()
    ops.REGISTRY.update(before)
    for name in set(sys.modules) - modules:
        if name.startswith(("kilotune_plugin_", "mul")):
            del sys.modules[name]
    plugins._installed.clear()


@pytest.fixture
def mul(registry: None) -> Any:
    return kt.load_plugin(EXAMPLE / "mul" / "mul.py")


def gated(mul: Any) -> Graph:
    """Two branches whose results are multiplied, as in a gate, and a product of a value with itself."""
    m = Maker("gated", (1, 6, 6, 2), 5)
    x = m.conv("input", "first", 4, Window((3, 3), (1, 1), (1, 1, 1, 1)), "relu")
    left, right = m.conv(x, "left", 6, Window((1, 1))), m.conv(x, "right", 6, Window((3, 3), (1, 1), (1, 1, 1, 1)), "relu")
    y = m.op(left, "gate", mul.Mul(), m.type(left).shape, 0.03, -4, other=right)
    y = m.op(y, "square", mul.Mul("relu"), m.type(y).shape, 0.06, -100, other=y)
    return m.finish(m.dense(y, "logits", 3))


@pytest.fixture
def model(mul: Any, tmp_path: Path) -> kt.Model:
    (tmp_path / "gated.tflite").write_bytes(tflite.write(gated(mul)))
    return kt.load(tmp_path / "gated.tflite")


def test_a_model_file_with_it_needs_the_plugin(model: kt.Model, mul: Any) -> None:
    for name in ("mul", "mul_gradient"):
        del ops.REGISTRY[name]
    with pytest.raises(kt.CompileError, match="operator MUL is not supported"):
        kt.load(model.path)


@pytest.mark.parametrize("act", ACTIVATIONS[:3])
def test_it_equals_tflm(mul: Any, act: str) -> None:
    for scales, zeros in (((0.02, 0.03, 0.04), (3, -128, 0)), ((1.0, 1.0, 0.5), (0, 127, -7)), ((0.5, 0.5, 0.25), (0, 0, 0))):
        x, other, y = (typed((1, 4, 5, 6), s, z) for s, z in zip(scales, zeros, strict=True))
        graph, rng = one(mul.Mul(act), x, y, other), rng_of(f"mul-{scales}-{act}")
        inputs, data = inputs_of(graph, rng), tflite.write(graph)
        ours = interp.infer(graph, *inputs)[0]
        assert difference(ours, run_tflm(data, inputs)) == ""
        assert difference(interp.infer(reader.load(data, "case", "case.tflite"), *inputs)[0], ours) == ""


def test_an_onnx_file_holds_it(mul: Any, tmp_path: Path) -> None:
    graph = gated(mul)
    (tmp_path / "m.onnx").write_bytes(onnx.write(graph))
    found = pipeline.simplify(frontend.load(tmp_path / "m.onnx"))
    assert [n.op.mnemonic for n in found.nodes].count("mul") == 2
    x = samples(graph, 10)
    assert np.array_equal(interp.infer(found, x)[0], interp.infer(graph, x)[0])


def test_its_gradient_is_that_of_jax(mul: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradients.test_gradients_against_jax import check, targets

    monkeypatch.setitem(jax_model.MEANINGS, "mul", Meaning(lambda op, x, other: x * other))
    graph = gated(mul)
    check(graph, (BiasOnly(), ScaleShift()), "cross_entropy", samples(graph, 32), targets(graph, "cross_entropy", np.random.default_rng(0)))


def trained_in_step(model: kt.Model, build: kt.Build, device: str, steps: int) -> None:
    x = samples(model.graph, 24)
    y = np.asarray(x.reshape(len(x), -1)[:, 0] > 0, np.int32)
    options = Options(methods=(BiasOnly(),), calibration=(x,), calibration_target=y)
    reference = Reference(pipeline.compile_graph(model.graph, options, kt.__version__))
    with build.open(device) as running:
        assert np.array_equal(running.infer(x[:4]), interp.infer(model.graph, x[:4])[0])
        for sample, label in zip(x[:steps], y[:steps], strict=True):
            assert running.train_step(sample, label) == pytest.approx(reference.train_step(sample, label), abs=0)
            running.apply()
            reference.apply()
        assert running.state() == reference.state()


def built(model: kt.Model, folder: Path) -> kt.Build:
    x = samples(model.graph, 24)
    y = np.asarray(x.reshape(len(x), -1)[:, 0] > 0, np.int32)
    return kt.build(model, folder, method=kt.BiasOnly(), calibration=(x, y), measure=False)


def test_it_trains_on_the_host_in_step_with_the_interpreter(model: kt.Model, tmp_path: Path) -> None:
    trained_in_step(model, built(model, tmp_path / "b"), "host", 8)


def test_it_trains_on_an_emulated_core(model: kt.Model, tmp_path: Path, qemu: str) -> None:
    trained_in_step(model, built(model, tmp_path / "b"), "qemu:mps2-an386", 2)


def test_its_files_are_in_the_build_directory(model: kt.Model, tmp_path: Path) -> None:
    build = built(model, tmp_path / "b")
    folder, own = build.directory, ["packages/extending/mul.c", "packages/extending/mul.h"]
    for name in own:
        assert (folder / name).read_bytes() == (EXAMPLE / "mul" / Path(name).name).read_bytes()
    assert own[0] in build.manifest["sources"] and "packages" in build.manifest["include"]
    assert set(own) < set(build.manifest["files"]) and build.changed_files() == []
    bill = {c["bom-ref"]: c for c in json.loads((folder / "sbom.cdx.json").read_text())["components"]}
    assert [f["name"] for f in bill["package:extending"]["components"]] == own
    assert not [f for f in bill["runtime"]["components"] if f["name"].startswith("packages")]
    flags = json.loads((folder / "library.json").read_text())["build"]
    assert "-Ipackages" in flags["flags"] and "+<packages/**/*.c>" in flags["srcFilter"]
    (folder / own[0]).write_text("/* changed */\n")
    assert build.changed_files() == [f"{own[0]} has changed"]


def test_cmake_compiles_it(model: kt.Model, tmp_path: Path) -> None:
    cmake = shutil.which("cmake", path=Path(sys.executable).parent) or shutil.which("cmake")
    if cmake is None:
        pytest.skip("cmake is not installed")
    build = built(model, tmp_path / "b")
    for command in ([cmake, "-S", build.directory, "-B", tmp_path / "c"], [cmake, "--build", tmp_path / "c"]):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    symbols = subprocess.run(["nm", next((tmp_path / "c").glob("*.a"))], capture_output=True, text=True, check=True).stdout
    assert " T extending_mul_s8" in symbols and " T extending_mul_gradient_s8" in symbols


def test_an_installed_package_brings_its_sources(registry: None, tmp_path: Path) -> None:
    """As pip leaves it: the operator with its C, found by its entry point."""
    shutil.copytree(EXAMPLE, tmp_path / "extending", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    command = [sys.executable, *"-m pip install -q --no-deps --no-build-isolation --target".split(), tmp_path / "site", tmp_path / "extending"]
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not installed")
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    program = "import kilotune as kt, kiloc.ops as o; from kilotune.plugins import load_installed as l; l(); print(o.REGISTRY['mul'].__module__)"
    root = EXAMPLE.parents[1]
    path = ":".join(map(str, (tmp_path / "site", root / "codegen", root / "python")))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env={"PYTHONPATH": path}, cwd=tmp_path)
    assert done.stdout == "mul.mul\n", done.stderr
    assert (tmp_path / "site/mul/mul.c").is_file() and (tmp_path / "site/mul/mul.h").is_file()


# ---- Refused ----


def test_a_source_that_is_missing_is_named(model: kt.Model, mul: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mul, "PACKAGE", replace(mul.PACKAGE, folder=tmp_path))
    with pytest.raises(kt.CompileError, match=r"mul\.c is no file") as caught:
        built(model, tmp_path / "b")
    assert "extending" in caught.value.where and not (tmp_path / "b").exists()


def test_two_packages_of_one_name_are_refused(model: kt.Model, mul: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(EXAMPLE / "mul", tmp_path / "mul")
    correct = mul.MulGradient.kernel_call
    other = replace(mul.PACKAGE, folder=tmp_path / "mul")
    monkeypatch.setattr(mul.MulGradient, "kernel_call", lambda self, t, n: replace(correct(self, t, n), package=other))
    with pytest.raises(kt.CompileError, match="has the name 'extending' too"):
        built(model, tmp_path / "b")


@pytest.mark.parametrize(
    ("given", "changed", "why"),
    [
        ('mnemonic: ClassVar[str] = "mul"', 'mnemonic: ClassVar[str] = "add"', r"add is the name of kiloc\.ops\.model\.add\.Add"),
        ('{"MUL": 2}', '{"ADD": 2}', r"ADD is the name of kiloc\.ops\.model\.add\.Add"),
        ('OnnxBinding(("Mul",))', 'OnnxBinding(("Add",))', r"Add is the name of kiloc\.ops\.model\.add\.Add"),
        ('mnemonic: ClassVar[str] = "mul"', 'mnemonic: ClassVar[str] = "My Mul"', "no name of lower-case letters"),
        ('KernelPackage("extending"', 'KernelPackage("../elsewhere"', "no name of lower-case letters"),
        ('KernelPackage("extending"', 'KernelPackage("kt"', "or is kt"),
    ],
)
def test_names_that_are_taken_or_none(given: str, changed: str, why: str, registry: None, tmp_path: Path) -> None:
    before = dict(ops.REGISTRY)
    file = tmp_path / "mul.py"
    file.write_text((EXAMPLE / "mul" / "mul.py").read_text().replace(given, changed))
    with pytest.raises(kt.CompileError, match=why) as caught:
        kt.load_plugin(file)
    assert str(file) in caught.value.where and caught.value.hint
    assert before == ops.REGISTRY
