"""Inference-only builds that take adapters: what training saw is what they compute, bit for bit, for every method, on host and board."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import parity
import pytest
from numpy.typing import NDArray

import kilotune as kt
from kiloc.lowering.kernels import INFERENCE_GROWTH
from kiloc.peft import Method

METHODS: dict[str, list[Method]] = {**parity.METHODS, "sparse+lora": [kt.SparseUpdate(layers="last:1"), kt.LoRA(rank=2, layers="*_1")]}
OPTIONS: dict[str, dict[str, Any]] = {"bias": {"optimizer": kt.Adam(lr=0.01)}, "lora": {"storage": "block8"}, "full": {"accumulate": 2}}
"""Other ways to train: they do not change what an adapter is."""
MODELS = ("gas_mlp_int8", "ecg_cnn_int8")


def material(name: str, data_dir: Path) -> tuple[kt.Model, NDArray[Any], NDArray[Any]]:
    model = kt.load(data_dir / "models" / f"{name}.tflite")
    if name == "ecg_cnn_int8":
        d = np.load(data_dir / "sets" / "ecg_mitbih.npz")
        raw, y = d["x"][d["record"] == 106][:240:2].astype(np.float32), d["y"][d["record"] == 106][:240:2]
        return model, ((raw - np.median(raw, axis=1, keepdims=True)) / 200)[..., None, None], y.astype(np.int32)
    d = np.load(data_dir / "sets" / "gas_drift.npz")
    rows = np.flatnonzero(d["batch"] == 4)[:120]
    return model, d["x"][rows].astype(np.float32), (d["y"][rows] % 4).astype(np.int32)


def pair(name: str, method: str, data_dir: Path, tmp_path: Path) -> tuple[kt.Build, kt.Build, NDArray[Any], NDArray[Any]]:
    """A training build and the inference-only one, with real samples."""
    model, x, y = material(name, data_dir)
    options = OPTIONS.get(method, {"optimizer": kt.SGD(lr=0.1)})
    training = kt.build(model, tmp_path / "training", method=METHODS[method], calibration=(x, y), measure=False, **options)
    inference = kt.build(model, tmp_path / "inference", method=METHODS[method], train=False, calibration=(x, y), measure=False)
    return training, inference, x, y


@pytest.mark.qemu
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_those_of_the_training_build(name: str, method: str, data_dir: Path, tmp_path: Path, qemu: Any) -> None:
    training, inference, x, y = pair(name, method, data_dir, tmp_path)
    assert inference.manifest["base_hash"] == training.manifest["base_hash"]
    with training.open("host") as device:
        untrained = device.infer(x)
        device.fit(x, y, epochs=2)
        trained, adapter = device.infer(x), device.export_adapter()
    assert not np.array_equal(untrained, trained), "training changed nothing"
    with inference.open("host") as device:
        assert np.array_equal(device.infer(x), untrained), "without an adapter it is the base model"
        device.load_adapter(adapter)
        assert np.array_equal(device.infer(x), trained)
        assert device.export_adapter() == adapter
        state = device.state()
        device.reset()
        assert np.array_equal(device.infer(x), untrained)
        device.set_state(state)
        assert np.array_equal(device.infer(x), trained)
    with inference.open("qemu:mps2-an386") as device:
        device.load_adapter(adapter)
        assert np.array_equal(device.infer(x[:20]), trained[:20])
        assert device.export_adapter() == adapter and device.state() == state


@pytest.mark.parametrize("method", METHODS)
def test_there_is_nothing_of_training(method: str, data_dir: Path, tmp_path: Path) -> None:
    """State holds what inference reads, the arena is little more than training has, no training function and no backward kernel is there."""
    training, inference, x, _ = pair("ecg_cnn_int8", method, data_dir, tmp_path)
    memory, before = inference.report["memory"], training.report["memory"]
    growth, spare = INFERENCE_GROWTH
    assert memory["infer_arena"] <= before["train_arena"] * (1 + growth) + spare and memory["train_arena"] == memory["train_total"] == 0
    held = inference.report["trainable"]["update_bytes"]
    assert memory["state"] < before["state"] and memory["state"] <= held + 12
    assert memory["by_kind"]["accumulators"] == memory["by_kind"]["optimizer"] == memory["by_kind"]["gradients"] == 0
    sources = [Path(s).stem for s in inference.manifest["sources"]]
    assert not [s for s in sources if "gradient" in s or s.startswith(("sgd", "adam", "step_", "storage", "softmax_cross"))]
    text = (inference.directory / "ecg_cnn_int8.c").read_text() + (inference.directory / "ecg_cnn_int8.h").read_text()
    assert not [w for w in ("train_step", "_apply(", "learning_rate", "accumulator", "remainder") if w in text]
    assert "inference only" in inference.report_text() and "active adapter" in inference.report_text()
    with inference.open("host") as device:
        for call in (lambda: device.train_step(x[0], 0), device.apply, lambda: device.set_learning_rate(0.1), lambda: device.fit(x, x)):
            with pytest.raises(kt.DeviceError, match="built without training"):
                call()


def test_the_report_counts_the_adapter_in_the_budget(data_dir: Path, tmp_path: Path) -> None:
    model, x, _ = material("gas_mlp_int8", data_dir)
    options: dict[str, Any] = {"method": kt.LoRA(rank=4, layers="all"), "train": False, "calibration": x, "measure": False}
    memory = kt.build(model, tmp_path / "b", **options).report["memory"]
    kt.build(model, tmp_path / "b", ram=memory["infer_arena"] + memory["state"], **options)
    with pytest.raises(kt.BudgetError) as error:
        kt.build(model, tmp_path / "b", ram=memory["state"], **options)
    least = int(re.findall(r"at least ([\d,]+) bytes", str(error.value))[0].replace(",", ""))
    assert memory["state"] < least <= memory["infer_arena"] + memory["state"]
    assert kt.build(model, tmp_path / "b", ram=least, **options).report["memory"]["infer_arena"] + memory["state"] <= least
    with pytest.raises(kt.BudgetError, match=f"{least:,} bytes"):
        kt.build(model, tmp_path / "b", ram=least - 1, **options)


def test_without_a_method_no_adapter_can_be_taken(data_dir: Path, tmp_path: Path) -> None:
    model, x, _ = material("gas_mlp_int8", data_dir)
    with pytest.raises(kt.CompileError, match="what an adapter holds"):
        kt.build(model, tmp_path / "b", train=False)
    build = kt.build(model, tmp_path / "b", measure=False)
    with kt.build(model, tmp_path / "t", method=kt.BiasOnly(), calibration=x, measure=False).open() as device:
        adapter = device.export_adapter()
    with build.open() as device:
        for call in (lambda: device.load_adapter(adapter), device.export_adapter):
            with pytest.raises(kt.DeviceError, match="takes no adapter"):
                call()
