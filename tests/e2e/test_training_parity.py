"""Training gives the same bits in the NumPy interpreter, in C on the host and under sanitizers; test_parity.py has the emulated cores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import kilotune as kt
from kiloc import pipeline
from kiloc.emit.state_layout import state_layout
from kiloc.ir import interp
from kiloc.options import Options
from kiloc.peft import Method

METHODS: dict[str, list[Method]] = {
    "bias": [kt.BiasOnly()],
    "head": [kt.Head()],
    "lora": [kt.LoRA(rank=4, layers="all")],
    "bias+lora": [kt.BiasOnly(), kt.LoRA(rank=2, layers="last:3", alpha=3.0)],
}
STEPS = 50


def material(name: str, data_dir: Path) -> tuple[kt.Model, NDArray[Any], NDArray[Any]]:
    model = kt.load(data_dir / "models" / f"{name}.tflite")
    if name == "fsdd_dscnn_int8":
        d = np.load(data_dir / "sets" / "fsdd_mfcc.npz")
        mine = np.flatnonzero(d["speaker"] == "nicolas")[:: 500 // STEPS][:STEPS]
        return model, d["x"][mine].astype(np.float32)[..., None], d["y"][mine].astype(np.int32)
    d = np.load(data_dir / "sets" / "gas_drift.npz")
    rows = np.flatnonzero(d["batch"] == 4)[:STEPS]
    return model, d["x"][rows].astype(np.float32), d["y"][rows].astype(np.int32)


def train(device: kt.Device, x: NDArray[Any], y: NDArray[Any], accumulate: int) -> tuple[bytes, list[float]]:
    losses = []
    for i in range(len(x)):
        losses.append(device.train_step(x[i], y[i]))
        if (i + 1) % accumulate == 0:
            device.apply()
    return device.state(), losses


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["fsdd_dscnn_int8", "gas_mlp_int8"])
def test_host_and_interpreter(name: str, method: str, data_dir: Path, tmp_path: Path) -> None:
    model, x, y = material(name, data_dir)
    same_as_interpreter(model, method, x, y, 12, tmp_path)


def test_residual_network(data_dir: Path, tmp_path: Path) -> None:
    """Forks and adds in the backward pass."""
    model, rng = kt.load(data_dir / "models" / "ic_resnet8_int8.tflite"), np.random.default_rng(0)
    x, y = rng.integers(-128, 128, (8, 32, 32, 3)).astype(np.int8), rng.integers(0, 10, 8)
    same_as_interpreter(model, "bias+lora", x, y, 4, tmp_path)


def same_as_interpreter(model: kt.Model, method: str, x: NDArray[Any], y: NDArray[Any], steps: int, tmp_path: Path) -> None:
    build = kt.build(model, tmp_path / "build", method=METHODS[method], optimizer=kt.SGD(lr=0.3, momentum=0.5), calibration=(x, y),
                     accumulate=2, measure=False)  # fmt: skip
    with build.open("host") as device:
        got = train(device, x[:steps], y[:steps], accumulate=2)
    assert got == interpreted(model, method, x, y, steps)


def interpreted(model: kt.Model, method: str, x: NDArray[Any], y: NDArray[Any], steps: int) -> tuple[bytes, list[float]]:
    """The same training in NumPy: state bytes in the layout of the C struct, and losses."""
    options = Options(
        methods=tuple(METHODS[method]), optimizer=kt.SGD(lr=0.3, momentum=0.5), calibration=model.quantize(x), calibration_target=y,
        accumulate=2,
    )  # fmt: skip
    c = pipeline.compile_graph(model.graph, options, "test")
    assert c.train is not None
    state, losses = interp.initial_state(c.graph), []
    for i, sample in enumerate(model.quantize(x)[:steps]):
        arrays = interp.train_step(c.train.graph, {"input": sample[None], "label": np.array([y[i]], np.int32)}, state)
        losses.append(float(arrays["loss.value"][0]))
        if (i + 1) % 2 == 0:
            interp.apply(c.graph, state)
    header = int(c.context.layout).to_bytes(4, "little") + bytes(c.context.base_hash)
    members = b"".join(state[v.name].astype(v.type.dtype).tobytes() for v in state_layout(c.graph).values)
    return (header + members).ljust(c.context.state_bytes, b"\0"), losses


@pytest.mark.parametrize("method", METHODS)
def test_sanitizers(method: str, data_dir: Path, tmp_path: Path) -> None:
    """The agent as a process under address and undefined-behaviour sanitizers trains without a complaint, with the same bits."""
    model, x, y = material("fsdd_dscnn_int8", data_dir)
    build = kt.build(model, tmp_path / "build", method=METHODS[method], calibration=x, accumulate=3, measure=False)
    with build.open("agent:host", sanitize=True) as device:
        checked = train(device, x[:6], y[:6], accumulate=3)
        adapter = device.export_adapter()
        outputs = device.infer(x[:3])
    with build.open("host") as device:
        assert checked == train(device, x[:6], y[:6], accumulate=3)
    with build.open("host") as device:
        device.load_adapter(adapter)
        assert np.array_equal(device.infer(x[:3]), outputs)


def test_training_learns(data_dir: Path, tmp_path: Path) -> None:
    """On the drifted sensor the generated C gains at least 20 points: far more than the spread between draws."""
    d = np.load(data_dir / "sets" / "gas_drift.npz")
    rows, rng = np.flatnonzero(d["batch"] == 4), np.random.default_rng(0)
    labels = d["y"][rows]
    adapt = np.concatenate([rng.choice(rows[labels == c], min(5, int((labels == c).sum())), replace=False) for c in np.unique(labels)])
    rest = np.setdiff1d(rows, adapt)
    x, y = d["x"].astype(np.float32), d["y"].astype(np.int32)
    model = kt.load(data_dir / "models" / "gas_mlp_int8.tflite")
    build = kt.build(
        model, tmp_path / "build", method=[kt.BiasOnly(), kt.LoRA(rank=4, layers="all")], calibration=x[d["base_train_idx"]], measure=False
    )
    with build.open("host") as device:
        before = device.evaluate(x[rest], y[rest])["accuracy"]
        device.fit(x[adapt], y[adapt], epochs=40, decay="linear")
        after = device.evaluate(x[rest], y[rest])["accuracy"]
    assert after > before + 0.2
