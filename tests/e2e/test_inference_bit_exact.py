"""Every real model gives the integers of TensorFlow Lite Micro: in the NumPy interpreter, in C on the host, on an emulated M4.

Oracle: the interpreter of the PyPI package tflite-micro on the unchanged file. Models with FLOAT32 ends are compared in
their INT8 core: the oracle's float result is brought back to the core's integers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tflite_micro import runtime

import kilotune as kt
from kiloc.ir import interp
from kiloc.options import Options

MODELS = (
    "kws_dscnn_int8",
    "ic_resnet8_int8",
    "ad01_int8",
    "person_detect_int8",
    "micro_speech_int8",
    "hello_world_int8",
    "gas_mlp_int8",
    "ecg_cnn_int8",
    "fsdd_dscnn_int8",
    "lenet300_mnist_ptq",
    "mcunet_vww_int8",
    "sww_int8",
    "esc10_miniresnet1_int8",
    "mltk_audio_example1",
    "mltk_keyword_spotting_on_off",
    "mltk_tflite_micro_magic_wand",
    "meter_digits_int8",
)
SAMPLES = 100
EMULATED_SAMPLES = 3
Int8s = NDArray[np.int8]


def samples(shape: tuple[int, ...], name: str, data: Path) -> Int8s:
    """Real inputs where there are some, then random ones: uniform noise and smooth ranges."""
    rng = np.random.default_rng(len(name))
    uniform = rng.integers(-128, 128, (SAMPLES // 2, *shape)).astype(np.int8)
    normal = np.clip(rng.normal(0, 40, (SAMPLES - SAMPLES // 2, *shape)).round(), -128, 127).astype(np.int8)
    found = [uniform, normal]
    if name == "kws_dscnn_int8":
        found.append(np.load(data / "sets" / "kws01_mfcc_int8.npz")["x"][:40].reshape(-1, *shape))
    return np.concatenate(found)


def oracle(path: Path, x: NDArray[Any]) -> NDArray[Any]:
    interpreter = runtime.Interpreter.from_file(str(path))
    results = []
    for sample in x:
        interpreter.set_input(sample[None], 0)
        interpreter.invoke()
        results.append(interpreter.get_output(0)[0].copy())
    return np.stack(results)


def expected(path: Path, model: kt.Model, x: Int8s) -> Int8s:
    """The oracle's integers."""
    graph = model.graph
    t, result = graph.type(graph.inputs[0]), graph.type(graph.outputs[0])
    float_input = any("FLOAT32 input" in note for note in graph.notes)
    raw = oracle(path, (x.astype(np.float32) - t.zero_point) * np.float32(t.scale) if float_input else x)
    if raw.dtype == np.int8:
        return raw.reshape(len(x), -1)
    if any("LOG_SOFTMAX" in note for note in graph.notes):
        pytest.fail("log-softmax results need their own comparison")
    return np.rint(raw / result.scale + result.zero_point).astype(np.int8).reshape(len(x), -1)


@pytest.mark.parametrize("name", MODELS)
def test_bit_exact(name: str, data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / "models" / f"{name}.tflite"
    model = kt.load(path)
    x = samples(model.graph.type(model.graph.inputs[0]).shape[1:], name, data_dir)
    computed = interp.infer(model.graph, x)[0].reshape(len(x), -1)
    if name == "lenet300_mnist_ptq":
        check_log_softmax(path, model, x, computed)
    else:
        assert np.array_equal(computed, expected(path, model, x)), "interpreter and tflite-micro differ"
    build = kt.build(model, tmp_path / "build", target="cortex-m4")
    with build.open("host") as device:
        assert np.array_equal(np.asarray(device.infer(x)).reshape(len(x), -1), computed), "C on the host and interpreter differ"


def check_log_softmax(path: Path, model: kt.Model, x: Int8s, computed: Int8s) -> None:
    """LOG_SOFTMAX on FLOAT32 follows the core: it is recomputed in float64 from the core's integers.

    A step of the core is 0.1 or more in its input, far above the float32 error of the tail.
    """
    graph = model.graph
    t, result = graph.type(graph.inputs[0]), graph.type(graph.outputs[0])
    got = oracle(path, (x.astype(np.float32) - t.zero_point) * np.float32(t.scale)).reshape(len(x), -1)
    logits = (computed.astype(np.float64) - result.zero_point) * result.scale
    tail = logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True)) - logits.max(1, keepdims=True)
    assert np.abs(got - tail).max() < 1e-4 < result.scale / 10


@pytest.mark.qemu
@pytest.mark.parametrize("name", MODELS)
def test_emulated_board(name: str, data_dir: Path, tmp_path: Path, qemu: Any) -> None:
    model = kt.load(data_dir / "models" / f"{name}.tflite")
    x = samples(model.graph.type(model.graph.inputs[0]).shape[1:], name, data_dir)[-EMULATED_SAMPLES:]
    build = kt.build(model, tmp_path / "build", target="cortex-m4")
    with build.open("qemu:mps2-an386") as device:
        got = np.asarray(device.infer(x)).reshape(len(x), -1)
    assert np.array_equal(got, interp.infer(model.graph, x)[0].reshape(len(x), -1))


def test_litert_profile(data_dir: Path) -> None:
    """The `litert` profile rounds FULLY_CONNECTED once: LiteRT's reference kernels give its integers, not the other profile's."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from kiloc import pipeline

    path = data_dir / "models" / "ad01_int8.tflite"
    graph = pipeline.load(path)
    x = np.random.default_rng(3).integers(-128, 128, (SAMPLES, 640)).astype(np.int8)
    reference = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    reference.allocate_tensors()
    results = []
    for sample in x:
        reference.set_tensor(reference.get_input_details()[0]["index"], sample[None])
        reference.invoke()
        results.append(reference.get_tensor(reference.get_output_details()[0]["index"])[0].copy())
    once = pipeline.compile_graph(graph, Options(profile="litert"), "test")
    assert np.array_equal(interp.infer(once.infer.graph, x)[0], np.stack(results))
    assert not np.array_equal(interp.infer(graph, x)[0], np.stack(results))
