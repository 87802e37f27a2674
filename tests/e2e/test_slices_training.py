"""A model with an SVDF trains slice by slice to the same bits in NumPy, on the host, under sanitizers and on emulated cores: its state goes on from
call to call, inference and training alike, and gradients stop at the state that a call starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tflite_micro import runtime

import kilotune as kt
from kiloc import pipeline
from kiloc.emit.state_layout import state_layout
from kiloc.errors import CompileError
from kiloc.export import tflite as writer
from kiloc.frontend.build import GraphBuilder
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.types import Quantization, TensorType, activation
from kiloc.ir.verify import verify
from kiloc.ops.model.fully_connected import FullyConnected
from kiloc.ops.model.svdf import Svdf
from kiloc.options import Options
from kiloc.peft import Method

INPUTS, WIDTH, UNITS, RANK, MEMORY, CLASSES = 10, 8, 6, 2, 5, 3
METHODS: list[Method] = [kt.BiasOnly(), kt.Full(layers="front,logits")]
BOARDS = (("cortex-m4", "mps2-an386"), ("cortex-m0plus", "microbit"))


def slice_model(dtype: str = "int16") -> Graph:
    """A layer on a slice, an SVDF, and a layer behind it."""
    rng, b = np.random.default_rng(7), GraphBuilder("slices", "slices.tflite")

    def layer(x: str, name: str, rows: int, scale: float) -> str:
        x_type = b.values[x].type
        q = Quantization((float(np.float32(1.7 / 127 / x_type.size**0.5)),))
        parts = {"weights": b.constant(f"{name}.weights", rng.integers(-127, 128, (rows, x_type.size)).astype(np.int8), q, name)}
        bias = (rng.uniform(-0.5, 0.5, rows) / (x_type.scale * q.per_tensor)).astype(np.int32)
        parts["bias"] = b.constant(f"{name}.bias", bias, None, name)
        return b.node(name, FullyConnected(), {"x": x, **parts}, activation((1, rows), scale, 3), name)

    x = layer(b.input(activation((1, INPUTS), 1 / 32, 5), "x"), "front", WIDTH, 1 / 32)
    filters, wide = UNITS * RANK, dtype == "int16"
    state = TensorType((1, filters * MEMORY), dtype, Quantization((2.0**-13 if wide else 2.0**-5,), 0 if wide else -9))
    time = Quantization((2.0**-15 if wide else 2.0**-7,))
    limit = 32768 if wide else 128
    parts = {
        "weights": b.constant("svdf.weights", rng.integers(-127, 128, (filters, WIDTH)).astype(np.int8), Quantization((2.0**-8,)), "svdf"),
        "time": b.constant("svdf.time", rng.integers(-limit + 1, limit, (filters, MEMORY)).astype(dtype), time, "svdf"),
        "bias": b.constant("svdf.bias", (rng.uniform(-0.5, 0.5, UNITS) / (state.scale * time.per_tensor)).astype(np.int32), None, "svdf"),
        "state": b.stream("svdf.state", state, np.full(state.shape, state.zero_point, dtype), "state"),
    }
    x = b.node("svdf", Svdf(RANK), {"x": x, **parts}, activation((1, UNITS), 1 / 24, -4), "svdf")
    return verify(b.finish([layer(x, "logits", CLASSES, 0.04)]))


def loaded(folder: Path, dtype: str = "int16") -> kt.Model:
    path = folder / "slices.tflite"
    path.write_bytes(writer.write(slice_model(dtype)))
    return kt.load(path)


def slices(count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The class is where the slice before had its loud values: what is seen now does not tell."""
    rng = np.random.default_rng(2)
    place = rng.integers(0, CLASSES, count + 1)
    x = rng.normal(5, 10, (count, INPUTS))
    for number in range(count):
        x[number, 3 * place[number + 1] : 3 * place[number + 1] + 3] += 70
    return np.clip(x, -128, 127).astype(np.int8), place[:count].astype(np.int32)


def built(model: kt.Model, folder: Path, **options: Any) -> kt.Build:
    x, y = slices(48)
    return kt.build(model, folder / "build", method=METHODS, optimizer=kt.SGD(lr=0.2), calibration=(x, y), accumulate=2, **options)


def train(device: kt.Device, x: NDArray[Any], y: NDArray[Any]) -> tuple[bytes, list[Any]]:
    """Two slices of three are trained on, the others are inferred; a recording ends in the middle."""
    found: list[Any] = []
    for i in range(len(x)):
        if i == len(x) // 2:
            device.restart()
        found.append(device.infer(x[i : i + 1]).tolist() if i % 3 == 2 else device.train_step(x[i], y[i]))
        if i % 3 == 1:
            device.apply()
    return device.state(), found


@pytest.mark.parametrize("dtype", ["int16", "int8"])
def test_host_and_interpreter(dtype: str, tmp_path: Path) -> None:
    model, (x, y) = loaded(tmp_path, dtype), slices(48)
    options = Options(
        methods=tuple(METHODS), optimizer=kt.SGD(lr=0.2), calibration=x, calibration_target=y, accumulate=2
    )  # fmt: skip
    c = pipeline.compile_graph(model.graph, options, "test")
    assert c.train is not None and any("in their order" in note for note in c.graph.notes)
    state, expected = interp.initial_state(c.graph), list[Any]()
    kept = {v.name: state[v.name] for v in c.graph.streams()}
    for i in range(18):
        if i == 9:
            state.update(kept)
        if i % 3 == 2:
            expected.append(interp.infer(c.infer.graph, x[i : i + 1], state=state)[0].tolist())
            continue
        arrays = interp.train_step(c.train.graph, {"input": x[i : i + 1], "label": y[i : i + 1]}, state)
        expected.append(float(arrays["loss.value"][0]))
        if i % 3 == 1:
            interp.apply(c.graph, state)
    with built(model, tmp_path).open("host") as device:
        got = train(device, x[:18], y[:18])
    header = int(c.context.layout).to_bytes(4, "little") + bytes(c.context.base_hash)
    members = b"".join(state[v.name].astype(v.type.dtype).tobytes() for v in state_layout(c.graph).values)
    assert got == ((header + members).ljust(c.context.state_bytes, b"\0"), expected)


@pytest.mark.qemu
@pytest.mark.parametrize(("target", "board"), BOARDS)
def test_on_emulated_cores(target: str, board: str, tmp_path: Path, qemu: Any) -> None:
    model, (x, y) = loaded(tmp_path), slices(18)
    build = built(model, tmp_path, target=target)
    with build.open("host") as host, build.open(f"qemu:{board}") as device:
        trained = train(host, x, y)
        assert train(device, x, y) == trained
    with build.open("agent:host", sanitize=True) as checked:
        assert train(checked, x, y) == trained


def test_fit_learns_in_order(tmp_path: Path) -> None:
    """And merged it is a streaming model with the same integers but for requantised weights: those of biases alone."""
    model, (x, y) = loaded(tmp_path), slices(320)
    build = built(model, tmp_path)
    with build.open("host") as device:
        before = device.evaluate(x[240:], y[240:])["accuracy"]
        device.fit(x[:240], y[:240], epochs=8, seed=1)
        first = device.state()
        device.restart()
        assert device.state() != first
        after = device.evaluate(x[240:], y[240:])["accuracy"]
        assert after > before + 0.25, (before, after)
        device.reset()
        device.fit(x[:240], y[:240], epochs=8, seed=2, shuffle=False)
        assert device.state() == first
        with pytest.raises(ValueError, match="out of their order"):
            device.fit(x[:240], y[:240], hold_out=0.2)
    folder = tmp_path / "biases"
    build = kt.build(model, folder, method=kt.BiasOnly(), calibration=(x[:48], y[:48]))
    with build.open("host") as device:
        device.fit(x[:64], y[:64], epochs=2)
        device.restart()
        adapter, expected = device.export_adapter(), device.infer(x[:30])
    kt.merge(build, adapter, tmp_path / "merged.tflite")
    interpreter, found = runtime.Interpreter.from_bytes((tmp_path / "merged.tflite").read_bytes()), []
    for sample in x[:30]:
        interpreter.set_input(sample[None], 0)
        interpreter.invoke()
        found.append(interpreter.get_output(0).copy())
    assert np.array_equal(np.concatenate(found), expected)


def test_what_has_no_order_is_refused(tmp_path: Path) -> None:
    model, (x, y) = loaded(tmp_path), slices(24)
    with pytest.raises(CompileError, match="judges samples by themselves"):
        kt.search(model, (x, y), ram=6000, train=False)
    with pytest.raises(CompileError, match="adapters alone"):
        kt.build(model, tmp_path / "build", method=kt.BiasOnly(), train=False)
    with pytest.raises(CompileError, match="does not apply to SVDF"):
        kt.build(model, tmp_path / "build", method=kt.Full(layers="svdf"))
