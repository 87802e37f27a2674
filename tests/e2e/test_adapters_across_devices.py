"""Adapters move: trained on one core, loaded on others with the same bits; merged, they are plain models that other runtimes load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from tflite_micro import runtime

import kilotune as kt
from kiloc.peft import Method

METHODS: list[Method] = [kt.BiasOnly(), kt.LoRA(rank=4, layers="all")]


@pytest.fixture(scope="module")
def drift(data_dir: Path) -> tuple[kt.Model, NDArray[Any], NDArray[Any]]:
    """Gas sensors after drift."""
    d = np.load(data_dir / "sets" / "gas_drift.npz")
    rows = np.flatnonzero(d["batch"] == 4)
    return kt.load(data_dir / "models" / "gas_mlp_int8.tflite"), d["x"][rows].astype(np.float32), d["y"][rows].astype(np.int32)


@pytest.mark.qemu
def test_trained_on_one_core_it_gives_the_same_bits_on_others(drift: Any, tmp_path: Path, qemu: Any) -> None:
    model, x, y = drift
    training = kt.build(model, tmp_path / "t", method=METHODS, optimizer=kt.SGD(lr=0.1), calibration=(x, y), target="cortex-m4", measure=False)
    with training.open("qemu:mps2-an386") as device:
        untrained = device.infer(x[:20])
        for i in range(0, 60, 2):
            device.train_step(x[i], y[i])
            device.apply()
        trained, adapter = device.infer(x[:20]), device.export_adapter()
    assert not np.array_equal(untrained, trained)
    cores = {"cortex-m0plus": "qemu:microbit", "cortex-m3": "qemu:mps2-an385", "cortex-m55": "qemu:mps3-an547", "cortex-m7": "host"}
    for target, name in cores.items():
        build = kt.build(model, tmp_path / target, method=METHODS, train=False, calibration=(x, y), target=target, measure=False)
        with build.open(name) as device:
            device.load_adapter(adapter)
            assert np.array_equal(device.infer(x[:20]), trained), name


def test_merged_models_load_elsewhere(drift: Any, tmp_path: Path) -> None:
    """tflite-micro computes the integers of our engine, onnxruntime nearly; the accuracy stays within two points of the adapter's."""
    model, x, y = drift
    build = kt.build(model, tmp_path / "b", method=METHODS, optimizer=kt.SGD(lr=0.1), calibration=(x, y), measure=False)
    with build.open() as device:
        device.fit(x[::4], y[::4], epochs=5, decay="linear")
        adapted, adapter = device.predict(x), device.export_adapter()
    models = {suffix: kt.merge(build, adapter, tmp_path / f"merged{suffix}") for suffix in (".tflite", ".onnx")}
    with kt.build(models[".tflite"], tmp_path / "again", measure=False).open() as device:
        ours = device.infer(x)
    q = model.quantize(x)
    interpreter = runtime.Interpreter.from_file(str(models[".tflite"].path))
    for sample, expected in zip(q[:50], ours, strict=False):
        interpreter.set_input(sample[None], 0)
        interpreter.invoke()
        assert np.array_equal(interpreter.get_output(0)[0], expected)
    session = onnxruntime.InferenceSession(models[".onnx"].path, providers=["CPUExecutionProvider"])
    rounded = np.concatenate([session.run(None, {"input": sample[None]})[0] for sample in q])
    assert np.abs(rounded.astype(int) - ours).max() <= 2
    for found in (ours.argmax(1), rounded.argmax(1)):
        assert abs(float((found == y).mean()) - float((adapted == y).mean())) < 0.02
    with pytest.raises(kt.CompileError, match=r"name it \.tflite or \.onnx"):
        kt.merge(build, adapter, tmp_path / "merged.pb")
