"""Every training method on real models: it starts as the base model, trains to the bits of the interpreter, and its adapter moves."""

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

STEPS = 20

METHODS: dict[str, tuple[list[Method], float | None]] = {
    "full": ([kt.Full()], 0.1),
    "sparse": ([kt.SparseUpdate(fraction=0.3)], 0.1),
    "scale-shift": ([kt.ScaleShift()], 0.1),
    "adapter": ([kt.BottleneckAdapter(width=4, layers="all")], 0.1),
    "new-head": ([kt.Head(classes=4), kt.BiasOnly()], 0.1),
    "new-head-at-its-rate": ([kt.Head(classes=4), kt.BiasOnly(), kt.ScaleShift()], None),
    "together": ([kt.BiasOnly(), kt.LoRA(rank=2, layers="all"), kt.ScaleShift(), kt.BottleneckAdapter(width=2, layers="last:2")], 0.05),
    "full+scale": ([kt.Full(layers="last:2"), kt.ScaleShift()], 0.1),
}
MODELS = ("gas_mlp_int8", "ecg_cnn_int8")


def material(name: str, data_dir: Path) -> tuple[kt.Model, NDArray[Any], NDArray[Any]]:
    """Samples of another domain than the model was made in; labels below 2, so that any head knows them."""
    model = kt.load(data_dir / "models" / f"{name}.tflite")
    if name == "ecg_cnn_int8":
        d = np.load(data_dir / "sets" / "ecg_mitbih.npz")
        raw = d["x"][d["record"] == 106][: 5 * STEPS : 5].astype(np.float32)
        x = ((raw - np.median(raw, axis=1, keepdims=True)) / 200)[..., None, None]
        return model, x, d["y"][d["record"] == 106][: 5 * STEPS : 5].astype(np.int32)
    d = np.load(data_dir / "sets" / "gas_drift.npz")
    rows = np.flatnonzero(d["batch"] == 4)[:STEPS]
    return model, d["x"][rows].astype(np.float32), (d["y"][rows] % 2).astype(np.int32)


def make(name: str, method: str, data_dir: Path, tmp_path: Path) -> tuple[kt.Model, kt.Build, NDArray[Any], NDArray[Any]]:
    model, x, y = material(name, data_dir)
    methods, rate = METHODS[method]
    return model, kt.build(model, tmp_path / "build", method=methods, optimizer=kt.SGD(lr=rate), calibration=(x, y)), x, y


def train(device: kt.Device, x: NDArray[Any], y: NDArray[Any]) -> tuple[bytes, list[float]]:
    losses = []
    for i in range(len(x)):
        losses.append(device.train_step(x[i], y[i]))
        device.apply()
    return device.state(), losses


def test_the_kernels_of_every_core_train_to_the_same_bits(data_dir: Path, tmp_path: Path) -> None:
    """On this computer, which runs what each core's build makes of the weights: words of pairs, bytes, transposed ones."""
    model, x, y = material("ecg_cnn_int8", data_dir)
    states = set()
    for target in ("cortex-m4", "cortex-m3", "cortex-m55"):
        options: dict[str, Any] = {"method": kt.SparseUpdate(fraction=0.3), "optimizer": kt.SGD(lr=0.1), "calibration": (x, y)}
        with kt.build(model, tmp_path / target, target=target, measure=False, **options).open("host") as device:
            states.add(train(device, x, y)[0])
    assert len(states) == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_adapter_and_interpreter(name: str, method: str, data_dir: Path, tmp_path: Path) -> None:
    """The exported adapter gives the trained outputs on a fresh device and in the interpreter's inference slice."""
    model, build, x, y = make(name, method, data_dir, tmp_path)
    with build.open("host") as device:
        untrained = device.infer(x)
        if "head" not in method:
            assert np.array_equal(untrained, interp.infer(model.graph, model.quantize(x))[0]), "the model does not start as it was"
        trained, losses = train(device, x, y)
        outputs, adapter = device.infer(x), device.export_adapter()
    assert not np.array_equal(untrained, outputs)
    with build.open("host") as device:
        device.load_adapter(adapter)
        assert np.array_equal(device.infer(x), outputs)
    c, state, numpy_losses = interpreted(model, method, x, y)
    header = int(c.context.layout).to_bytes(4, "little") + bytes(c.context.base_hash)
    members = b"".join(state[v.name].astype(v.type.dtype).tobytes() for v in state_layout(c.graph).values)
    assert trained == (header + members).ljust(c.context.state_bytes, b"\0")
    assert losses == numpy_losses
    carried, offset = dict(interp.initial_state(c.graph)), 0
    for v in state_layout(c.graph).adapter:
        carried[v.name] = np.frombuffer(adapter.payload, v.type.dtype, v.type.size, offset).reshape(v.type.shape)
        offset += v.type.bytes
    assert np.array_equal(interp.infer(c.infer.graph, model.quantize(x), state=carried)[0], outputs)


def interpreted(model: kt.Model, method: str, x: NDArray[Any], y: NDArray[Any]) -> tuple[pipeline.Compilation, dict[str, Any], list[float]]:
    """The same training in NumPy."""
    methods, rate = METHODS[method]
    q = model.quantize(x)
    c = pipeline.compile_graph(model.graph, Options(methods=tuple(methods), optimizer=kt.SGD(lr=rate), calibration=q, calibration_target=y), "test")
    assert c.train is not None
    state, losses = interp.initial_state(c.graph), []
    for i in range(len(q)):
        arrays = interp.train_step(c.train.graph, {"input": q[i : i + 1], "label": y[i : i + 1]}, state)
        losses.append(float(arrays["loss.value"][0]))
        interp.apply(c.graph, state)
    return c, state, losses


@pytest.mark.parametrize("method", METHODS)
def test_sanitizers(method: str, data_dir: Path, tmp_path: Path) -> None:
    """The agent as a process under address and undefined-behaviour sanitizers trains without a complaint, with the same bits."""
    _, build, x, y = make("ecg_cnn_int8", method, data_dir, tmp_path)
    with build.open("agent:host", sanitize=True) as device:
        checked = train(device, x[:6], y[:6])
    with build.open("host") as device:
        assert checked == train(device, x[:6], y[:6])


def test_depthwise_layers(data_dir: Path, tmp_path: Path) -> None:
    """A depthwise-separable network: full, sparse and scale-shift training of its depthwise layers equals the interpreter's."""
    model, rng = kt.load(data_dir / "models" / "fsdd_dscnn_int8.tflite"), np.random.default_rng(0)
    x = np.clip(rng.normal(0, 50, (6, *model.graph.type("input").shape[1:])).round(), -128, 127).astype(np.int8)
    y = rng.integers(0, 10, 6).astype(np.int32)
    for name in ("full", "sparse", "scale-shift", "together"):
        methods, rate = METHODS[name]
        build = kt.build(model, tmp_path / name, method=methods, optimizer=kt.SGD(lr=rate), calibration=(x, y))
        with build.open("host") as device:
            assert np.array_equal(device.infer(x), interp.infer(model.graph, x)[0])
            state, losses = train(device, x, y)
        c, expected, numpy_losses = interpreted(model, name, x, y)
        members = b"".join(expected[v.name].astype(v.type.dtype).tobytes() for v in state_layout(c.graph).values)
        assert losses == numpy_losses and state[12 : 12 + len(members)] == members, name
