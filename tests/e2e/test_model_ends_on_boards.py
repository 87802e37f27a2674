"""Models whose inputs and outputs have other types than int8: the same bits on the host, behind the agent and on emulated cores, trained too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_files import many_ends, uint8_classifier

import kilotune as kt

CORES = {"cortex-m0plus": "qemu:microbit", "cortex-m4": "qemu:mps2-an386", "cortex-m55": "qemu:mps3-an547"}
MODELS = {"uint8": uint8_classifier, "many": many_ends}


def outcome(model: kt.Model, target: str, device: str, folder: Path) -> tuple[list[bytes], bytes]:
    """Outputs of a few samples before a training, and the state after it."""
    rng, inputs = np.random.default_rng(5), []
    for name in model.graph.inputs:
        t = model.graph.type(name)
        inputs.append(rng.integers(np.iinfo(t.dtype).min, np.iinfo(t.dtype).max + 1, (6, *t.shape[1:])).astype(t.dtype))
    x: Any = inputs if len(inputs) > 1 else inputs[0]
    classes = model.graph.type(model.graph.outputs[0]).size
    build = kt.build(model, folder, method=kt.LoRA(rank=1), target=target, measure=False)
    with build.open(device) as opened:
        results = opened.infer(x)
        opened.fit(x, np.arange(6) % classes, epochs=2, hold_out=0)
        return [np.asarray(r).tobytes() for r in (results if isinstance(results, list) else [results])], opened.state()


def model_of(name: str, folder: Path) -> kt.Model:
    path = folder / "ends.tflite"
    path.write_bytes(MODELS[name]())
    return kt.load(path)


@pytest.mark.parametrize("name", MODELS)
def test_the_agent_gives_the_bits_of_the_host(name: str, tmp_path: Path) -> None:
    model = model_of(name, tmp_path)
    assert outcome(model, "cortex-m4", "agent:host", tmp_path / "a") == outcome(model, "cortex-m4", "host", tmp_path / "b")


@pytest.mark.qemu
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("name", MODELS)
def test_emulated_cores_give_the_bits_of_the_host(name: str, core: str, tmp_path: Path, qemu: Any) -> None:
    model = model_of(name, tmp_path)
    assert outcome(model, core, CORES[core], tmp_path / "board") == outcome(model, core, "host", tmp_path / "host")


REAL = ("meter-digit_recognizer_v4_10cls_rgb", "coral-keras_lstm_mnist_ptq")


@pytest.mark.parametrize("name", REAL)
def test_real_models_with_uint8_ends(name: str, data_dir: Path, tmp_path: Path) -> None:
    """The bytes of TensorFlow Lite Micro, in NumPy and on the host."""
    runtime = pytest.importorskip("tflite_micro").runtime
    path = data_dir / "zoo" / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"shared data not found: {path}")
    try:
        model = kt.load(path)
    except kt.ModelError as refused:
        assert all("is not supported" in reason.what for reason in refused.reasons)
        pytest.skip(f"an operator is not supported yet: {refused.reasons[0].what}")
    x = np.random.default_rng(2).integers(0, 256, (8, *model.graph.type(model.graph.inputs[0]).shape[1:])).astype(np.uint8)
    interpreter = runtime.Interpreter.from_file(str(path))
    expected = []
    for sample in x:
        interpreter.set_input(sample[None], 0)
        interpreter.invoke()
        expected.append(interpreter.get_output(0)[0].copy())
    with kt.build(model, tmp_path / "build", measure=False).open("host") as device:
        got = np.asarray(device.infer(x))
    assert got.dtype == np.uint8 and np.array_equal(got, np.stack(expected))
