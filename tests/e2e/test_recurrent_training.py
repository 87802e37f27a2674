"""A model with an LSTM trains to the same bits in NumPy, on the host, under sanitizers and on emulated cores: what lies in front of it, its own
biases, and what lies behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import gru
from golden.reference import Reference
from gradients.graphs import Maker
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
from kiloc.ir.text import print_graph
from kiloc.ir.types import Quantization, TensorType, activation
from kiloc.ir.verify import verify
from kiloc.ops._lstm import Memory
from kiloc.ops._window import Window
from kiloc.ops.backward.gru_gradient import GruGradient
from kiloc.ops.model.fully_connected import FullyConnected
from kiloc.ops.model.lstm import Lstm
from kiloc.ops.model.reshape import Reshape
from kiloc.options import Options
from kiloc.passes import merge, with_whole_sequences
from kiloc.peft import Method

STEPS, INPUTS, WIDTH, UNITS, CLASSES = 9, 7, 6, 5, 4
METHODS: dict[str, list[Method]] = {
    "bias": [kt.BiasOnly()],
    "lora": [kt.BiasOnly(), kt.LoRA(rank=2, layers="front,logits"), kt.SparseUpdate(fraction=0.4, layers="lstm")],
    "head": [kt.Head()],
    "full": [kt.Full(layers="front,lstm")],
}
BOARDS = (("cortex-m4", "mps2-an386"), ("cortex-m0plus", "microbit"), ("cortex-m55", "mps3-an547"))


def sequence_model(steps: int = STEPS) -> Graph:
    """A layer on every row, an LSTM over them, and a layer on all that it gives."""
    rng, b = np.random.default_rng(7), GraphBuilder("sequence", "sequence.tflite")
    x = b.input(activation((1, steps, INPUTS), 1 / 32, 5), "x")

    def constants(name: str, rows: int, columns: int, size: float, x_scale: float, labels: tuple[str, str] = ("weights", "bias")) -> dict[str, str]:
        scales = [float(np.float32(s)) for s in np.repeat(size * 1.7 / 127 / columns**0.5 * 2.0 ** rng.uniform(-1, 0.5, rows // UNITS or 1), UNITS)]
        q = Quantization(tuple(scales[:rows]), 0, 0) if rows == 4 * UNITS else Quantization((scales[0],))
        found = {labels[0]: b.constant(f"{name}.{labels[0]}", rng.integers(-127, 128, (rows, columns)).astype(np.int8), q, name)}
        if labels[1]:
            found["bias"] = b.constant(f"{name}.bias", (rng.uniform(-0.5, 0.5, rows) / (x_scale * scales[0])).astype(np.int32), None, name)
        return found

    x = b.node(
        "front", FullyConnected(), {"x": x, **constants("front", WIDTH, INPUTS, 1.0, 1 / 32)}, activation((1, steps, WIDTH), 1 / 32, 0), "front"
    )
    y = activation((1, steps, UNITS), 1 / 128, 0)
    parts = {**constants("lstm", 4 * UNITS, WIDTH, 0.9, 1 / 32), **constants("lstm", 4 * UNITS, UNITS, 0.9, 1.0, ("recurrent", ""))}
    hidden = b.stream("lstm.hidden", TensorType((1, UNITS), "int8", y.quantization), np.zeros((1, UNITS), np.int8), "hidden")
    cell = b.stream("lstm.cell", TensorType((1, UNITS), "int16", Quantization((2.0**-12,))), np.zeros((1, UNITS), np.int16), "cell")
    x = b.node("lstm", Lstm(Memory()), {"x": x, **parts, "hidden": hidden, "cell": cell}, y, "lstm")
    x = b.node("flat", Reshape((1, steps * UNITS)), {"x": x}, activation((1, steps * UNITS), 1 / 128, 0), "flat")
    result = activation((1, CLASSES), 0.04, 3)
    return verify(
        b.finish([b.node("logits", FullyConnected(), {"x": x, **constants("logits", CLASSES, steps * UNITS, 2.0, 1 / 128)}, result, "logits")])
    )


def loaded(folder: Path, steps: int = STEPS) -> kt.Model:
    path = folder / "sequence.tflite"
    path.write_bytes(writer.write(sequence_model(steps)))
    return kt.load(path)


def samples(count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(2)
    return np.clip(rng.normal(5, 40, (count, STEPS, INPUTS)), -128, 127).astype(np.int8), rng.integers(0, CLASSES, count).astype(np.int32)


def train(device: kt.Device, x: NDArray[Any], y: NDArray[Any]) -> tuple[bytes, list[float]]:
    losses = []
    for i in range(len(x)):
        losses.append(device.train_step(x[i], y[i]))
        if i % 2:
            device.apply()
    return device.state(), losses


def built(model: kt.Model, method: str, folder: Path, **options: Any) -> kt.Build:
    x, y = samples(16)
    if model.graph.type("input").shape[1] != STEPS:
        x = np.repeat(x, 8, 1)[:, : model.graph.type("input").shape[1]]
    return kt.build(
        model, folder / "build", method=METHODS[method], optimizer=kt.SGD(lr=0.3, momentum=0.5), calibration=(x, y), accumulate=2, **options
    )


@pytest.mark.parametrize("method", METHODS)
def test_host_and_interpreter(method: str, tmp_path: Path) -> None:
    model, (x, y) = loaded(tmp_path), samples(16)
    with built(model, method, tmp_path).open("host") as device:
        got = train(device, x[:10], y[:10])
    options = Options(
        methods=tuple(METHODS[method]), optimizer=kt.SGD(lr=0.3, momentum=0.5), calibration=x, calibration_target=y, accumulate=2
    )  # fmt: skip
    c = pipeline.compile_graph(model.graph, options, "test")
    assert c.train is not None and not c.graph.streams()
    state, losses = interp.initial_state(c.graph), []
    for i in range(10):
        arrays = interp.train_step(c.train.graph, {"input": x[i : i + 1], "label": y[i : i + 1]}, state)
        losses.append(float(arrays["loss.value"][0]))
        if i % 2:
            interp.apply(c.graph, state)
    header = int(c.context.layout).to_bytes(4, "little") + bytes(c.context.base_hash)
    members = b"".join(state[v.name].astype(v.type.dtype).tobytes() for v in state_layout(c.graph).values)
    assert got == ((header + members).ljust(c.context.state_bytes, b"\0"), losses)


@pytest.mark.parametrize("method", ["bias", "full"])
def test_sanitizers(method: str, tmp_path: Path) -> None:
    model, (x, y) = loaded(tmp_path), samples(16)
    build = built(model, method, tmp_path)
    with build.open("agent:host", sanitize=True) as checked, build.open("host") as plain:
        assert train(checked, x[:6], y[:6]) == train(plain, x[:6], y[:6])
        assert np.array_equal(checked.infer(x[:3]), plain.infer(x[:3]))


@pytest.mark.qemu
@pytest.mark.parametrize(("target", "board"), BOARDS)
@pytest.mark.parametrize("method", ["bias", "lora"])
def test_on_emulated_cores(method: str, target: str, board: str, tmp_path: Path, qemu: Any) -> None:
    model, (x, y) = loaded(tmp_path), samples(16)
    build = built(model, method, tmp_path, target=target)
    with build.open("host") as host, build.open(f"qemu:{board}") as device:
        start = host.state()
        trained = train(host, x[:6], y[:6])
        assert trained[0] != start
        assert train(device, x[:6], y[:6]) == trained
        assert np.array_equal(device.infer(x[:4]), host.infer(x[:4]))


def test_a_budget_keeps_fewer_cells(tmp_path: Path) -> None:
    """Of a long sequence the cells in front of segments alone are kept, and the bits are those of a build without a budget."""
    model, rng = loaded(tmp_path, 64), np.random.default_rng(2)
    x, y = rng.integers(-128, 128, (6, 64, INPUTS)).astype(np.int8), rng.integers(0, CLASSES, 6).astype(np.int32)
    arenas, macs, states, whole = list[int](), list[int](), list[Any](), 0
    for less in (0, 470):
        build = built(model, "full", tmp_path, **({"ram": whole - less} if less else {}))
        whole = whole if less else build.report["memory"]["train_total"]
        arenas.append(build.report["memory"]["train_arena"])
        macs.append(build.report["macs"]["backward"])
        with build.open("host") as device:
            states.append(train(device, x, y))
    assert states[0] == states[1] and arenas[0] - arenas[1] >= 470 and macs[0] < macs[1]


def test_a_budget_keeps_fewer_states_of_a_gru() -> None:
    """Its biases and LoRA beside the weights of its input train to the same bits; merged into weights they compute nearly the same."""
    m = Maker("gru", (1, 6, 5, 2), 13)
    x, other = (m.conv("input", branch, 4, Window((3, 3), (1, 1), (1, 1, 1, 1))) for branch in ("left", "right"))
    graph = m.finish(m.dense(gru.trained(m, x, other, steps=60), "logits", CLASSES))
    inputs, found = np.random.default_rng(2).integers(-128, 128, (6, 6, 5, 2)).astype(np.int8), list[Any]()
    for less in (0, 300):
        ram = found[0].c.train.plan.arena_bytes + found[0].c.context.state_bytes - less if less else None
        found.append(
            Reference(
                pipeline.compile_graph(graph, Options(methods=(kt.BiasOnly(), kt.LoRA(rank=2, layers="gru")), optimizer=kt.SGD(lr=0.1), ram=ram), "")
            )
        )
        for sample in inputs:
            found[-1].train_step(sample, 1)
            found[-1].apply()
    every = [n.op.every for f in found for n in f.c.train.graph.nodes if isinstance(n.op, GruGradient)]
    assert found[0].state() == found[1].state() and every[0] == 0 < every[1] < 60
    whole = found[0].c.infer.graph
    (line,) = (line for line in print_graph(graph).splitlines() if line.startswith("node gru "))
    assert np.any(found[0].values["gru.lora_b"]) and "lora_scale" not in line, "adapters of models without LoRA here would no longer fit"
    apart = interp.infer(merge(whole, found[0].values), inputs)[0].astype(int) - found[0].infer(inputs)[0]
    assert np.abs(apart).mean() < 1 and np.any(found[0].infer(inputs)[0] != interp.infer(graph, inputs)[0])


def test_every_call_is_a_sequence_of_its_own(tmp_path: Path) -> None:
    """In what is trained; without a method the model keeps its state, as its file says."""
    model, (x, _) = loaded(tmp_path), samples(4)
    with built(model, "bias", tmp_path).open("host") as device:
        assert np.array_equal(device.infer(x)[1:2], device.infer(x[1:2]))
    with kt.build(model, tmp_path / "kept").open("host") as device:
        kept = device.infer(x)
        device.reset()
        assert np.array_equal(device.infer(x[:1]), kept[:1])
        device.reset()
        assert not np.array_equal(device.infer(x[1:2]), kept[1:2])
    assert any("as after a reset" in note for note in pipeline.compile_graph(model.graph, Options(methods=(kt.Head(),)), "test").graph.notes)


@pytest.mark.parametrize("method", ["bias", "full"])
def test_merged(method: str, tmp_path: Path) -> None:
    """As a file again: biases give the same integers in TensorFlow Lite Micro, reset before each sequence; requantised weights nearly."""
    model, (x, y) = loaded(tmp_path), samples(16)
    build = built(model, method, tmp_path)
    with build.open("host") as device:
        train(device, x, y)
        adapter, expected = device.export_adapter(), device.infer(x)
    assert not np.array_equal(expected, interp.infer(with_whole_sequences(model.graph), x)[0])
    kt.merge(build, adapter, tmp_path / "merged.tflite")
    data, found = (tmp_path / "merged.tflite").read_bytes(), []
    for sample in x:
        interpreter = runtime.Interpreter.from_bytes(data)
        interpreter.set_input(sample[None], 0)
        interpreter.invoke()
        found.append(interpreter.get_output(0))
    apart = np.abs(np.concatenate(found).astype(np.int32) - expected)
    assert apart.max() == 0 if method == "bias" else apart.mean() < 1


def test_search_trains_through_it(tmp_path: Path) -> None:
    model, (x, y) = loaded(tmp_path), samples(24)
    assert kt.search(model, (x, y), ram=6000, train=False).rows
    assert {layer["name"]: layer["trainable"] for layer in model.layers()} == {"front": True, "lstm": True, "flat": False, "logits": True}


def test_another_profile_says_what_it_computes(tmp_path: Path) -> None:
    model = loaded(tmp_path)
    assert not model.graph.notes
    notes = pipeline.compile_graph(model.graph, Options(profile="litert"), "test").graph.notes
    assert [n for n in notes if n.startswith("lstm: as TensorFlow Lite Micro computes")]


def test_one_step_a_call_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="from call to call"):
        kt.build(loaded(tmp_path, 1), tmp_path / "build", method=kt.BiasOnly())


def test_methods_that_do_not_apply_say_so(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="does not apply to LSTM"):
        kt.build(loaded(tmp_path), tmp_path / "build", method=kt.LoRA(rank=2, layers="lstm"))


LEARNT: dict[str, tuple[list[Method], float]] = {
    "biases": ([kt.BiasOnly(layers="front,lstm"), kt.Full(layers="front")], 0.85),
    "weights": ([kt.Full(layers="lstm")], 0.95),
}


@pytest.mark.parametrize("trained", LEARNT)
def test_training_learns(trained: str, tmp_path: Path) -> None:
    """The class is the sign of an early row: the LSTM has to carry it. The layer behind it is not trained."""
    model, rng = loaded(tmp_path), np.random.default_rng(0)
    y = rng.integers(0, 2, 240).astype(np.int32)
    x = rng.normal(5, 12, (240, STEPS, INPUTS))
    x[:, 1] += np.where(y == 1, 60, -60)[:, None]
    codes = np.clip(x, -128, 127).astype(np.int8)
    methods, least = LEARNT[trained]
    build = kt.build(model, tmp_path / "build", method=methods, calibration=(codes[:32], y[:32]))
    with build.open("host") as device:
        before = device.evaluate(codes[160:], y[160:])["accuracy"]
        device.fit(codes[:160], y[:160], epochs=20, decay="linear")
        after = device.evaluate(codes[160:], y[160:])["accuracy"]
    assert after > max(before + 0.2, least), (before, after)
