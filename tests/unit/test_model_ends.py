"""Inputs and outputs as the file has them, whatever their type and number: the same bytes go in and come out as with TensorFlow Lite Micro."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_files import IMAGE, FileOperator, FileTensor, build, classifier, dense, many_ends, uint8_classifier

import kilotune as kt
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kilotune.data import Wanted, load
from kilotune.devices.data import packed, quantize, unpacked
from kilotune.devices.manifest import Tensor, places

SAMPLES = 12


def model_of(data: bytes, folder: Path) -> kt.Model:
    path = folder / "ends.tflite"
    path.write_bytes(data)
    return kt.load(path)


def inputs_of(graph: Graph, seed: int = 0, count: int = SAMPLES) -> list[np.ndarray]:
    """Random values of each input's whole range, the ends among them."""
    rng, found = np.random.default_rng(seed), []
    for name in graph.inputs:
        t = graph.type(name)
        low, high = np.iinfo(t.dtype).min, np.iinfo(t.dtype).max
        x = rng.integers(low, high + 1, (count, *t.shape[1:])).astype(t.dtype)
        x[0], x[1] = low, high
        found.append(x)
    return found


def oracle(path: Path, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """What TensorFlow Lite Micro computes: [N, values] of each output."""
    runtime = pytest.importorskip("tflite_micro").runtime
    interpreter = runtime.Interpreter.from_file(str(path))
    results: list[list[np.ndarray]] = []
    for row in range(len(inputs[0])):
        for i, x in enumerate(inputs):
            interpreter.set_input(x[row : row + 1].reshape(interpreter.get_input_details(i)["shape"]), i)
        interpreter.invoke()
        row_results, number = [], 0
        while True:
            try:
                row_results.append(interpreter.get_output(number).reshape(-1).copy())
            except IndexError:
                break
            number += 1
        results.append(row_results)
    return [np.stack(found) for found in zip(*results, strict=True)]


def check(model: kt.Model, results: list[np.ndarray], inputs: list[np.ndarray]) -> None:
    expected = oracle(model.path, inputs)
    assert len(expected) == len(results) == len(model.graph.outputs)
    for name, found, wanted in zip(model.graph.outputs, results, expected, strict=True):
        assert found.dtype == wanted.dtype == model.graph.type(name).dtype
        assert np.array_equal(found.reshape(len(found), -1), wanted), name


@pytest.mark.parametrize("buffers", ["caller", "arena"])
def test_uint8_ends(buffers: str, tmp_path: Path) -> None:
    model = model_of(uint8_classifier(), tmp_path)
    inputs = inputs_of(model.graph)
    check(model, interp.infer(model.graph, *inputs), inputs)
    build = kt.build(model, tmp_path / "build", buffers=buffers, measure=False)
    header, source = ((build.directory / f"ends{suffix}").read_text() for suffix in (".h", ".c"))
    if buffers == "caller":
        assert "ends_infer(ends_model *m, const uint8_t input[ENDS_INPUT_BYTES], uint8_t output[ENDS_OUTPUT_BYTES])" in header
    else:
        assert "uint8_t *ends_input(const ends_model *m);" in header
    assert f"1 x 6 uint8, real = {np.float32(IMAGE):.9g} * (q - 0)" in header
    assert source.count("kt_turn_sign(&") == 2 and "kt_requantize" not in source
    assert [t["dtype"] for t in (*build.manifest["inputs"], *build.manifest["outputs"])] == ["uint8", "uint8"]
    with build.open("host") as device:
        check(model, [np.asarray(device.infer(inputs[0]))], inputs)
        real = (inputs[0].astype(np.float32)) * np.float32(IMAGE)
        assert np.array_equal(device.infer(real), device.infer(inputs[0]))
        assert np.array_equal(device.predict(inputs[0]), np.asarray(device.infer(inputs[0])).argmax(1))
        with pytest.raises(ValueError, match="uint8"):
            device.infer(inputs[0].astype(np.int8))


def test_many_ends(tmp_path: Path) -> None:
    """Outputs of wider types begin at multiples of their width."""
    model = model_of(many_ends(), tmp_path)
    assert [model.graph.type(n).dtype for n in model.graph.inputs] == ["uint8", "int16", "int8"]
    assert [model.graph.type(n).dtype for n in model.graph.outputs] == ["int8", "int8", "int32", "uint8", "int16"]
    inputs = inputs_of(model.graph)
    check(model, interp.infer(model.graph, *inputs), inputs)
    for buffers in ("caller", "arena"):
        build = kt.build(model, tmp_path / buffers, buffers=buffers, measure=False)
        with build.open("host") as device:
            assert device.manifest.input_bytes == 18 and device.manifest.output_bytes == 44
            results = device.infer(inputs)
            assert isinstance(results, list)
            check(model, results, inputs)
    header = (tmp_path / "caller" / "ends.h").read_text()
    assert "const int16_t input_2[ENDS_INPUT_2_BYTES / 2]" in header and "int32_t output_3[ENDS_OUTPUT_3_BYTES / 4]" in header


@pytest.mark.parametrize("source", [("INT8", 0.004, -128), ("INT16", 0.0001, 0), ("UINT8", 0.02, 7)])
@pytest.mark.parametrize("result", [("INT16", 1e-4, 0), ("INT32", 1e-6, 0), ("UINT8", 0.004, 3)])
def test_quantize_between_types(source: tuple[str, float, int], result: tuple[str, float, int], tmp_path: Path) -> None:
    ends = (FileTensor((1, n), kind, (step,), (zero,), name=kind) for n, (kind, step, zero) in ((6, source), (3, result)))
    model = model_of(classifier(*ends), tmp_path)
    inputs = inputs_of(model.graph)
    check(model, interp.infer(model.graph, *inputs), inputs)


def test_training_behind_uint8_ends(tmp_path: Path) -> None:
    """The loss reads the logits in front of softmax and QUANTIZE; the model inside, with INT8 ends, ends in the same state."""
    states, x = [], np.random.default_rng(3).integers(0, 256, (30, 6))
    for kind, zero, up in (("UINT8", 0, 0), ("INT8", -128, 128)):
        ends = FileTensor((1, 6), kind, (IMAGE,), (zero,)), FileTensor((1, 3), kind, (1 / 256,), (zero,))
        model = model_of(classifier(*ends, bare=kind == "INT8"), tmp_path)
        given = (x - up).astype(kind.lower())
        y = np.arange(30) % 3
        build = kt.build(model, tmp_path / kind, method=[kt.LoRA(rank=2, layers="first"), kt.Head()], calibration=given, measure=False)
        with build.open("host") as device:
            device.fit(given, y, epochs=3, hold_out=0)
            states.append(device.state()[12:])
            assert device.evaluate(given, y)["loss"] < 2
    assert states[0] == states[1]


def test_reconstruction_of_uint8(tmp_path: Path) -> None:
    """The loss compares the int8 tensors behind and before the QUANTIZE operators."""
    data = classifier(FileTensor((1, 6), "UINT8", (IMAGE,), (0,)), FileTensor((1, 3), "UINT8", (1 / 256,), (0,)))
    with pytest.raises(kt.CompileError, match="the result has 3 values, the input 6"):
        kt.build(model_of(data, tmp_path), tmp_path / "build", method=kt.BiasOnly(), loss=kt.MeanSquaredError(target="input"), measure=False)


def test_a_new_head_in_front_of_uint8(tmp_path: Path) -> None:
    model = model_of(uint8_classifier(), tmp_path)
    x, y = inputs_of(model.graph, count=30)[0], np.arange(30) % 4
    build = kt.build(model, tmp_path / "build", method=kt.Head(classes=4), calibration=x, measure=False)
    with build.open("host") as device:
        assert np.asarray(device.infer(x)).shape == (30, 4) and np.asarray(device.infer(x)).dtype == np.uint8
        device.fit(x, y, epochs=2)


def test_merged_models_keep_their_ends(tmp_path: Path) -> None:
    model = model_of(uint8_classifier(), tmp_path)
    x = inputs_of(model.graph, count=30)[0]
    build = kt.build(model, tmp_path / "build", method=kt.BiasOnly(), measure=False)
    with build.open("host") as device:
        device.fit(x, np.arange(30) % 3, epochs=2)
        trained, adapter = np.asarray(device.infer(x)), device.export_adapter()
    merged = kt.merge(build, adapter, tmp_path / "merged.tflite")
    assert np.array_equal(interp.infer(merged.graph, x)[0], trained)
    assert trained.dtype == np.uint8
    other = kt.merge(build, adapter, tmp_path / "merged.onnx")
    assert [other.graph.type(n).dtype for n in (*other.graph.inputs, *other.graph.outputs)] == ["uint8", "uint8"]
    assert np.array_equal(interp.infer(other.graph, x)[0], trained)


def test_a_self_test_wants_one_int8_output(tmp_path: Path) -> None:
    model = model_of(uint8_classifier(), tmp_path)
    x = inputs_of(model.graph)[0]
    options = kt.AdapterOptions(slots=True, self_test=(x, np.arange(SAMPLES) % 3))
    with pytest.raises(kt.CompileError, match="one int8 output, the model's outputs are uint8"):
        kt.build(model, tmp_path / "build", method=kt.BiasOnly(), train=False, adapters=options, measure=False)


def test_uint8_inside_is_refused() -> None:
    """A model of TensorFlow 1: its remedy is not the one for float models."""
    from kiloc.frontend import tflite as reader

    with pytest.raises(kt.CompileError) as caught:
        reader.load(dense(x={"type": "UINT8"}, y={"type": "UINT8"}), "model", "model.tflite")
    assert "TensorFlow 1" in caught.value.what and "UINT8 is taken as input and output" in caught.value.hint
    assert "quantise it to full INT8 first" not in str(caught.value)


def test_what_analyze_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from click.testing import CliRunner

    from kilotune.cli import main

    model = model_of(many_ends(), tmp_path)
    shown = CliRunner().invoke(main, ["analyze", str(model.path)]).output
    assert "input 1: 5, int16" in shown and "output 3: 5, uint8" in shown and "x0, x1" in shown and "a loss reads output 0" in shown
    found: dict[str, Any] = json.loads(CliRunner().invoke(main, ["analyze", "--json", str(model.path)]).output)
    assert [t["dtype"] for t in found["inputs"]] == ["uint8", "int16", "int8"]


def test_buffers_of_several_types() -> None:
    tensors = tuple(Tensor((1, n), 0.5, 0, dtype=dtype) for n, dtype in ((3, "uint8"), (2, "int32"), (1, "int8"), (3, "int16")))
    assert places(tensors) == ((0, 4, 12, 14), 20)
    rng = np.random.default_rng(1)
    arrays = [rng.integers(0, 100, (5, t.size)).astype(t.dtype) for t in tensors]
    rows = packed(arrays, tensors)
    assert rows.dtype == np.uint8 and rows.shape == (5, 20)
    for array, back in zip(arrays, unpacked(rows, tensors), strict=True):
        assert np.array_equal(array, back) and array.dtype == back.dtype
    assert packed([arrays[1]], (tensors[1],)).dtype == np.int32


@pytest.mark.parametrize(("dtype", "low", "high"), [("int8", -128, 127), ("uint8", 0, 255), ("int16", -32768, 32767), ("int32", -(2**31), 2**31 - 1)])
def test_real_values_are_clamped_to_the_type(dtype: str, low: int, high: int) -> None:
    tensor = Tensor((1, 3), 0.5, 0, dtype=dtype)
    assert quantize(np.array([-3e38, 3e38, 1.25]), tensor).tolist() == [low, high, 3]


def test_layers_that_no_loss_reaches_are_not_trained(tmp_path: Path) -> None:
    """The loss reads the first output: what only the others depend on has no gradient."""
    model = model_of(many_ends(), tmp_path)
    assert {x["name"]: x["trainable"] for x in model.layers() if x["operator"] == "fully_connected"} == {"first": True, "second": False}
    build = kt.build(model, tmp_path / "build", method=kt.LoRA(rank=1, layers="all"), measure=False)
    names = {e["name"] for e in build.report["parameters"]} if "parameters" in build.report else {build.manifest["options"]["methods"][0]}
    assert not any("second" in name for name in names)
    with pytest.raises(kt.CompileError, match="the first output, which the loss reads, does not depend on 'second'"):
        kt.build(model, tmp_path / "other", method=kt.LoRA(rank=1, layers="second"), measure=False)


def test_outputs_that_share_bytes_are_copied(tmp_path: Path) -> None:
    """An output that is an input, another output, or either under another shape has a buffer of its own all the same."""
    tensors = [FileTensor((1, 4), name="x"), FileTensor((1, 2, 2), name="seen"), FileTensor((1, 4), scale=(0.03,), name="h")]
    tensors += [FileTensor((1, 4, 1), scale=(0.03,), name="shaped"), FileTensor((1, 4), scale=(0.03,), name="twice")]
    operators = [
        FileOperator("RESHAPE", (0,), (1,)),
        FileOperator("RELU", (0,), (2,)),
        FileOperator("RESHAPE", (2,), (3,)),
        FileOperator("RESHAPE", (3,), (4,)),
    ]
    model = model_of(build(tensors, operators, (0,), (1, 2, 3, 4)), tmp_path)
    inputs = inputs_of(model.graph)
    check(model, interp.infer(model.graph, *inputs), inputs)
    for buffers in ("caller", "arena"):
        with kt.build(model, tmp_path / buffers, buffers=buffers, measure=False).open("host") as device:
            results = device.infer(inputs[0])
            assert isinstance(results, list)
            check(model, results, inputs)


def test_a_softmax_of_sixteen_bits(tmp_path: Path) -> None:
    """As speech models have it: INT16 in, a softmax of INT16, INT32 out. Losses of its logits train through it, others are refused."""
    ends = FileTensor((1, 6), "INT16", (0.0001,), (0,)), FileTensor((1, 3), "INT32", (1 / 32768,), (0,))
    model = model_of(classifier(*ends, wide=True), tmp_path)
    inputs = inputs_of(model.graph)
    check(model, interp.infer(model.graph, *inputs), inputs)
    build = kt.build(model, tmp_path / "build", method=kt.Head(), measure=False)
    with build.open("host") as device:
        check(model, [np.asarray(device.infer(inputs[0]))], inputs)
        device.fit(inputs[0], np.arange(SAMPLES) % 3, epochs=2)
    with pytest.raises(kt.CompileError, match="the loss would read int16 results"):
        kt.build(model, tmp_path / "mse", method=kt.Head(), loss="mse", measure=False)


def test_samples_of_several_inputs(tmp_path: Path) -> None:
    """An NPZ file holds them by number, or by the names of the C functions."""
    arrays = [np.zeros((2, 3), np.uint8), np.ones((2, 5), np.int16), np.ones((2, 2, 2), np.int8)]
    np.savez(tmp_path / "numbers.npz", x0=arrays[0], x1=arrays[1], x2=arrays[2], y=np.arange(2))
    np.savez(tmp_path / "names.npz", input=arrays[0], input_2=arrays[1], input_3=arrays[2], y=np.arange(2))
    for name in ("numbers.npz", "names.npz"):
        found = load(str(tmp_path / name), wanted=Wanted(tuple(Tensor((1, *a.shape[1:]), 1.0, 0, dtype=str(a.dtype)) for a in arrays)))
        assert isinstance(found.x, list) and [a.dtype for a in found.x] == [a.dtype for a in arrays]
        assert found.y is not None and len(found.y) == 2
