"""`kilotune validate` finds what differs from other engines, and `kilotune quantize` makes of a float model one that kilotune loads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from golden.reference import samples, tiny
from onnx import TensorProto, helper, numpy_helper

import kilotune as kt
from kiloc.export import tflite
from kilotune import oracles, validation
from kilotune.cli import main
from kilotune.survey import oracles as engines

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples/digits/digits.tflite"
RNG = np.random.default_rng(0)
PIXELS = RNG.uniform(0, 16, (30, 8, 8, 1)).astype(np.float32)


def run(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def pixels(tmp_path: Path) -> Path:
    np.savez(tmp_path / "pixels.npz", x=PIXELS)
    return tmp_path / "pixels.npz"


def float_model(path: Path, classes: int = 4) -> Path:
    """Convolution, batch normalisation, ReLU, pool, dense layer, softmax: channels first, the batch open, in float32."""
    weights = {
        "w": RNG.normal(0, 0.5, (6, 2, 3, 3)), "b": RNG.normal(0, 0.1, 6), "scale": np.full(6, 1.5), "shift": np.zeros(6), "mean": np.full(6, 0.1),
        "variance": np.ones(6), "dense": RNG.normal(0, 0.4, (classes, 24)), "bias": RNG.normal(0, 0.1, classes),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "variance"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "dense", "bias"], ["g"], transB=1),
        helper.make_node("Softmax", ["g"], ["y"], axis=1),
    ]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", ["N", 2, 4, 4]), ("y", ["N", classes]))]
    constants = [numpy_helper.from_array(np.asarray(a, np.float32), n) for n, a in weights.items()]
    graph = helper.make_graph(nodes, "net", ports[:1], ports[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def labelled(path: Path, model: Path) -> Path:
    """Samples, and as labels what the float model says of them."""
    import onnxruntime

    x = RNG.normal(0, 1, (60, 2, 4, 4)).astype(np.float32)
    y = onnxruntime.InferenceSession(str(model)).run(None, {"x": x})[0].argmax(axis=1)
    np.savez(path, x=x, y=y)
    return path


# ---- validate ----


@pytest.mark.parametrize("oracle", ["tflite-micro", "litert"])
def test_c_is_equal_to_the_engine_and_so_is_every_layer(oracle: str, pixels: Path) -> None:
    found = json.loads(run("validate", DIGITS, "--data", pixels, "--oracle", oracle, "--json").stdout)
    assert (found["output"]["equal"], found["output"]["largest"], found["same_class"], found["cosine"]) == (1.0, 0, 1.0, pytest.approx(1))
    assert found["samples"] == 30 and found["interpreter_equal"] and found["instructions"] is None
    assert [x["name"] for x in found["layers"]] == ["edges", "halve", "mix", "shapes", "features", "pool", "flat", "classes", "softmax"]
    assert all(x["equal"] == 1.0 and x["largest"] == 0 for x in found["layers"])


def test_what_differs_is_found_in_its_layer(pixels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine runs a file in which one bias is another."""
    model, other = kt.load(DIGITS), tmp_path / "other.tflite"
    value = model.graph.values["shapes.bias"]
    data = value.data.copy()  # type: ignore[union-attr]
    data[3] += 40 * 128
    other.write_bytes(tflite.write(model.graph.with_values([replace(value, data=data)])))
    for name, plain in list(engines.BY_NAME.items()):
        monkeypatch.setitem(engines.BY_NAME, name, lambda path, graph, plain=plain: plain(other, graph))
    layers: Callable[..., Any] = oracles._litert_layers
    monkeypatch.setattr(oracles, "_litert_layers", lambda given, x: layers(replace(given, path=other), x))
    result = run("validate", DIGITS, "--data", pixels, "--json", code=1)
    found = json.loads(result.stdout)
    steps = {x["name"]: x["largest"] for x in found["layers"]}
    assert steps["edges"] == steps["halve"] == steps["mix"] == 0 < steps["shapes"] and found["output"]["largest"] > 0
    assert run("validate", DIGITS, "--data", pixels, "--most", "256").exit_code == 0


def test_an_interpreter_that_differs_from_the_c_fails(pixels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = validation._interpreted

    def off(model: kt.Model, inputs: Any, profile: str) -> Any:
        arrays = plain(model, inputs, profile)
        arrays[model.graph.outputs[0]] = arrays[model.graph.outputs[0]] ^ 1
        return arrays

    monkeypatch.setattr(validation, "_interpreted", off)
    assert "DIFFERS from the C" in run("validate", DIGITS, "--data", pixels, code=1).stdout


def test_without_an_engine_the_commands_that_install_one_are_named(pixels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracles, "installed", lambda oracle: False)
    error = run("validate", DIGITS, "--data", pixels, code=1).stderr
    assert "pip install tflite-micro or pip install ai-edge-litert" in error
    monkeypatch.setattr(oracles, "installed", lambda oracle: oracle.name == "tflite-micro")
    assert "layers: pip install ai-edge-litert" in run("validate", DIGITS, "--data", pixels).stdout


@pytest.mark.qemu
def test_an_emulated_board_counts_instructions(pixels: Path, qemu: str) -> None:
    found = json.loads(run("validate", DIGITS, "--data", pixels, "--samples", "3", "--device", "qemu:mps2-an386", "--json").stdout)
    assert found["samples"] == 3 and 10_000 < found["instructions"] < 1_000_000 and found["output"]["largest"] == 0


def test_samples_that_the_model_does_not_take(tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", x=np.zeros((3, 7), np.float32))
    assert "the samples have shape [3, 7]" in run("validate", DIGITS, "--data", tmp_path / "wrong.npz", code=2).stderr


# ---- quantize ----


def test_a_float_onnx_model_is_quantised_loaded_and_validated(tmp_path: Path) -> None:
    model = float_model(tmp_path / "net.onnx")
    data = labelled(tmp_path / "data.npz", model)
    assert "kilotune quantize MODEL --data SAMPLES -o FILE" in run("analyze", model, code=3).stderr
    found = json.loads(run("quantize", model, "--data", data, "-o", tmp_path / "int8.onnx", "--samples", "40", "--json").stdout)
    assert found["accuracy_before"] == 1.0 and found["accuracy_after"] >= 0.9 and found["calibration_samples"] == 40
    loaded = kt.load(tmp_path / "int8.onnx")
    conv = next(n for n in loaded.graph.nodes if n.op.mnemonic == "conv_2d")
    scales = loaded.graph.type(conv.inputs["weights"]).quantization
    assert scales is not None and len(set(scales.scale)) == 6, "a scale a channel"
    result = json.loads(run("validate", tmp_path / "int8.onnx", "--data", data, "--json").stdout)
    assert result["oracle"].startswith("onnxruntime") and result["cosine"] > 0.95 and result["interpreter_equal"]
    assert {"conv_2d", "fully_connected", "softmax"} <= {x["operator"] for x in result["layers"]}
    assert max(x["largest"] for x in result["layers"] if x["operator"] in ("conv_2d", "fully_connected")) <= 2
    trained = run("train", tmp_path / "int8.onnx", "--data", data, "--epochs", "1", "--json")
    assert json.loads(trained.stdout)["accuracy_before"] == found["accuracy_after"]


def test_what_cannot_be_quantised_is_refused(tmp_path: Path) -> None:
    model = float_model(tmp_path / "net.onnx")
    data = labelled(tmp_path / "data.npz", model)
    run("quantize", model, "--data", data, "-o", tmp_path / "int8.onnx")
    assert "is quantised already" in run("quantize", tmp_path / "int8.onnx", "--data", data, "-o", tmp_path / "b.onnx", code=3).stderr
    assert "is quantised already" in run("quantize", DIGITS, "--data", data, "-o", tmp_path / "b.tflite", code=3).stderr
    assert "stays one" in run("quantize", model, "--data", data, "-o", tmp_path / "b.tflite", code=3).stderr
    np.savez(tmp_path / "last.npz", x=np.zeros((5, 4, 4, 2), np.float32))
    assert "expected [N, 2, 4, 4]" in run("quantize", model, "--data", tmp_path / "last.npz", "-o", tmp_path / "b.onnx", code=1).stderr
    (tmp_path / "broken.onnx").write_bytes(b"\x08\xff")
    assert "is no valid .onnx file" in run("quantize", tmp_path / "broken.onnx", "--data", data, "-o", tmp_path / "b.onnx", code=3).stderr
    (tmp_path / "broken.tflite").write_bytes(b"no")
    assert "is no valid .tflite file" in run("quantize", tmp_path / "broken.tflite", "--data", data, "-o", tmp_path / "b.tflite", code=3).stderr
    assert not list(tmp_path.glob("*b.*")) and not list(tmp_path.glob(".*")), "nothing is left of what failed"


@pytest.mark.parametrize("name", ["gas_mlp", "ecg_cnn"])
def test_a_float_tflite_model_is_quantised_and_loaded(name: str, data_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_quantizer", reason="ai-edge-quantizer not found: pip install 'kilotune[quantize]'")
    source = data_dir / "models" / f"{name}_f32.tflite"
    reference = kt.load(data_dir / "models" / f"{name}_int8.tflite").graph
    shape = reference.type(reference.inputs[0]).shape[1:]
    np.savez(tmp_path / "d.npz", x=RNG.normal(0, 1, (60, *shape)).astype(np.float32))
    run("quantize", source, "--data", tmp_path / "d.npz", "-o", tmp_path / "q.tflite")
    validated = json.loads(run("validate", tmp_path / "q.tflite", "--data", tmp_path / "d.npz", "--json").stdout)
    assert validated["output"]["largest"] == 0 and all(x["largest"] == 0 for x in validated["layers"])
    assert [n.op.mnemonic for n in kt.load(tmp_path / "q.tflite").graph.nodes] == [n.op.mnemonic for n in reference.nodes]


def test_tiny_is_the_same_with_samples_of_int8(tmp_path: Path) -> None:
    (tmp_path / "tiny.tflite").write_bytes(tflite.write(tiny()))
    np.savez(tmp_path / "d.npz", x=samples(tiny(), 8))
    assert "100.0000%" in run("validate", tmp_path / "tiny.tflite", "--data", tmp_path / "d.npz").stdout
