"""kt.merge on real models: the merged file gives nearly the adapted accuracy, and foreign adapters are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import kilotune as kt
from kiloc.ir import interp
from kiloc.peft import Method

METHODS: dict[str, tuple[list[Method], float]] = {
    "lora": ([kt.BiasOnly(), kt.LoRA(rank=4, layers="all")], 0.1),
    "full": ([kt.Full()], 0.1),
    "scale-shift": ([kt.ScaleShift()], 0.1),
    "sparse": ([kt.SparseUpdate(fraction=0.3)], 0.1),
}


def drifted(data_dir: Path) -> tuple[kt.Model, NDArray[Any], NDArray[Any]]:
    d = np.load(data_dir / "sets" / "gas_drift.npz")
    rows = np.flatnonzero(d["batch"] == 4)
    return kt.load(data_dir / "models" / "gas_mlp_int8.tflite"), d["x"][rows].astype(np.float32), d["y"][rows].astype(np.int32)


@pytest.mark.parametrize("method", METHODS)
def test_merged_model_agrees(method: str, data_dir: Path, tmp_path: Path) -> None:
    """After training, at least 97 % of the samples keep their class, and the accuracy moves by less than 3 points."""
    model, x, y = drifted(data_dir)
    methods, rate = METHODS[method]
    build = kt.build(model, tmp_path / "build", method=methods, optimizer=kt.SGD(lr=rate), calibration=(x, y), measure=False)
    with build.open("host") as device:
        before = device.predict(x)
        device.fit(x[::4], y[::4], epochs=5, decay="linear")
        adapted, adapter = device.predict(x), device.export_adapter()
    adapter.save(tmp_path / "trained.kta")
    merged = kt.merge(kt.open_build(tmp_path / "build"), tmp_path / "trained.kta", tmp_path / "merged.tflite")
    outputs = interp.infer(merged.graph, merged.quantize(x))[0]
    found = outputs.reshape(len(x), -1).argmax(1)
    assert (before != adapted).mean() > 0.1, "training changed nothing"
    assert (found == adapted).mean() >= 0.97
    assert abs((found == y).mean() - (adapted == y).mean()) < 0.03
    again = kt.build(merged, tmp_path / "again", measure=False)
    with again.open("host") as device:
        assert np.array_equal(device.infer(x[:20]), outputs[:20]), "the merged file builds like any other model"


def test_a_foreign_adapter_is_refused(data_dir: Path, tmp_path: Path) -> None:
    model, x, _ = drifted(data_dir)
    one = kt.build(model, tmp_path / "one", method=kt.LoRA(rank=2, layers="all"), calibration=x, measure=False)
    other = kt.build(model, tmp_path / "other", method=kt.BiasOnly(), calibration=x, measure=False)
    higher = kt.build(model, tmp_path / "higher", method=kt.LoRA(rank=3, layers="all"), calibration=x, measure=False)
    with one.open("host") as device:
        adapter = device.export_adapter()
    with pytest.raises(kt.CompileError, match="belongs to base model"):
        kt.merge(other, adapter, tmp_path / "merged.tflite")
    with higher.open("host") as device, pytest.raises(kt.CompileError, match="higher rank"):
        kt.merge(one, device.export_adapter(), tmp_path / "merged.tflite")
    inference = kt.build(model, tmp_path / "inference", measure=False)
    with pytest.raises(kt.CompileError):
        kt.merge(inference, adapter, tmp_path / "merged.tflite")
    assert not (tmp_path / "merged.tflite").exists()
