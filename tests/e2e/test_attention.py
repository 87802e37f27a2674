"""A model with attention trains to the same bits by rows as with ordinary operators, in NumPy, on the host and on emulated cores, in memory that is
linear in its positions; what is almost attention says why it stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sequences
from golden.reference import Reference
from numpy.typing import NDArray

import kilotune as kt
from kiloc import pipeline
from kiloc.export import tflite as writer
from kiloc.frontend.build import GraphBuilder
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.types import Quantization, activation
from kiloc.ir.verify import verify
from kiloc.lowering import place
from kiloc.ops.fast.attention import Attention
from kiloc.ops.fast.attention_gradient import AttentionGradient
from kiloc.ops.model.add import Add
from kiloc.ops.model.batch_matmul import BatchMatMul
from kiloc.ops.model.fully_connected import FullyConnected
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.mul import Mul
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.softmax import Softmax
from kiloc.ops.model.transpose import Transpose
from kiloc.options import Options
from kiloc.report.compare import compare

POSITIONS, INPUTS, HEADS, DEPTH, CLASSES = 11, 6, 2, 4, 4
METHODS = (kt.BiasOnly(), kt.LoRA(rank=2, layers="front,q*,v*"))


def attention_model(positions: int = POSITIONS, masked: bool = True, heads: int = HEADS, depth: int = DEPTH, blocks: int = 1) -> Graph:
    """A layer on every position, blocks of attention, and a layer on the mean of what the last gives."""
    rng, b, width = np.random.default_rng(3), GraphBuilder("attention", "attention.tflite"), heads * depth

    def layer(x: str, name: str, columns: int, rows: int, x_scale: float, scale: float) -> str:
        weight = float(np.float32(1.7 / 127 / columns**0.5))
        weights = b.constant(f"{name}.weights", rng.integers(-127, 128, (rows, columns)).astype(np.int8), Quantization((weight,)), name)
        bias = b.constant(f"{name}.bias", (rng.uniform(-0.5, 0.5, rows) / (x_scale * weight)).astype(np.int32), None, name)
        y = activation((*b.values[x].type.shape[:-1], rows), scale, 4)
        return b.node(name, FullyConnected(), {"x": x, "weights": weights, "bias": bias}, y, name)

    def turned(x: str) -> str:
        t = b.values[x].type
        split = b.node(f"{x}.split", Reshape((1, positions, heads, depth)), {"x": x}, activation((1, positions, heads, depth), t.scale, 4), x)
        return b.node(f"{x}.heads", Transpose((0, 2, 1, 3)), {"x": split}, activation((1, heads, positions, depth), t.scale, 4), x)

    def attended(x: str, block: str) -> str:
        q, k, v = (turned(layer(x, f"{name}{block}", width, width, b.values[x].type.scale, 1 / 32)) for name in "qkv")
        square, split = (1, heads, positions, positions), (1, positions, heads, depth)
        y = b.node(f"scores{block}", BatchMatMul(False, True), {"x": q, "other": k}, activation(square, 0.08, 0), "scores")
        half = b.constant(f"half{block}", np.full((1, 1, 1, 1), 90, np.int8), Quantization((float(np.float32(0.5 / 90)),)), "half")
        y = b.node(f"scaled{block}", Mul(), {"x": y, "other": half}, activation(square, 0.04, 0), "scaled")
        if masked:
            hidden = np.where(np.tri(positions, dtype=bool), 0, -127).astype(np.int8).reshape(1, 1, positions, positions)
            mask = b.constant(f"mask{block}", hidden, Quantization((0.5,)), "mask")
            y = b.node(f"masked{block}", Add(), {"x": y, "other": mask}, activation(square, 0.28, 100), "masked")
        y = b.node(f"shares{block}", Softmax(), {"x": y}, activation(square, 1 / 256, -128), "shares")
        y = b.node(f"mixed{block}", BatchMatMul(), {"x": y, "other": v}, activation((1, heads, positions, depth), 1 / 40, 0), "mixed")
        y = b.node(f"back{block}", Transpose((0, 2, 1, 3)), {"x": y}, activation(split, 1 / 40, 0), "back")
        return b.node(f"flat{block}", Reshape((1, positions, width)), {"x": y}, activation((1, positions, width), 1 / 40, 0), "flat")

    y = layer(b.input(activation((1, positions, INPUTS), 1 / 32, 5), "x"), "front", INPUTS, width, 1 / 32, 1 / 32)
    for block in range(blocks):
        y = attended(y, str(block) if block else "")
    y = b.node("middle", Mean((1,)), {"x": y}, activation((1, width), 1 / 60, 0), "middle")
    return verify(b.finish([layer(y, "logits", width, CLASSES, 1 / 60, 0.01)]))


def samples(count: int, positions: int = POSITIONS) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(2)
    return np.clip(rng.normal(5, 40, (count, positions, INPUTS)), -128, 127).astype(np.int8), rng.integers(0, CLASSES, count).astype(np.int32)


def compiled(graph: Graph, count: int = 12, **options: Any) -> pipeline.Compilation:
    x, y = samples(count, graph.type(graph.inputs[0]).shape[1])
    rate = kt.SGD(lr=0.3)
    return pipeline.compile_graph(graph, Options(methods=METHODS, optimizer=rate, calibration=x, calibration_target=y, **options), "test")


def trained(graph: Graph, count: int = 8) -> tuple[dict[str, Any], list[float]]:
    """State and losses after some samples, each its own update, in the interpreter."""
    state, losses, (x, y) = interp.initial_state(graph), [], samples(count)
    for i in range(count):
        arrays = interp.train_step(graph, {"input": x[i : i + 1], "label": y[i : i + 1]}, state)
        losses.append(float(arrays["loss.value"][0]))
    return state, losses


def gradients(part: Graph) -> list[AttentionGradient]:
    return [n.op for n in part.nodes if isinstance(n.op, AttentionGradient)]


@pytest.mark.parametrize("masked", [True, False])
def test_rows_give_the_bits_of_ordinary_operators(masked: bool) -> None:
    """Forward, in the losses, and backward, in every trained value; with nothing in memory that grows with the square of the positions."""
    c = compiled(attention_model(masked=masked))
    assert c.train is not None and not c.graph.notes
    expected, losses = trained(c.graph)
    assert any(not np.array_equal(expected[name], value) for name, value in interp.initial_state(c.graph).items() if ".lora_b" in name)
    few = place(c.train.graph, saving={n.name: 1 for n in c.train.graph.nodes})
    for part, passes in ((place(c.train.graph).kernels, 1), (few.kernels, 2)):
        assert [op.passes for op in gradients(part)] == [passes] and not any(n.op.mnemonic == "transpose" for n in part.nodes)
        assert all(part.type(v).size < HEADS * POSITIONS**2 for n in part.nodes for v in n.outputs)
        state, found = trained(part)
        assert found == losses
        for name, value in expected.items():
            np.testing.assert_array_equal(state[name], value, err_msg=name)


def test_memory_is_linear_in_the_positions_and_a_budget_asks_for_two_passes() -> None:
    arenas = {}
    for positions in (40, 80, 160):
        c = compiled(attention_model(positions), 2)
        assert c.train is not None and [op.passes for op in gradients(c.train.kernels)] == [2]
        arenas[positions] = c.infer.plan.arena_bytes, c.train.plan.arena_bytes
    for which in (0, 1):
        small, middle, large = (arenas[n][which] for n in (40, 80, 160))
        assert abs((large - middle) - 2 * (middle - small)) < 0.05 * large
    roomy = compiled(attention_model(40), 2, ram=60_000)
    assert roomy.train is not None and [op.passes for op in gradients(roomy.train.kernels)] == [1]


@pytest.mark.parametrize("masked", [True, False])
def test_a_window_hides_what_is_further(masked: bool) -> None:
    """Scores that are far from the diagonal change nothing, and training by rows gives the bits of the meaning of a windowed softmax."""
    c = compiled(attention_model(masked=masked), attention_window=3)
    (op,) = (n.op for n in c.infer.graph.nodes if isinstance(n.op, Attention))
    assert compare(c)["standard_peft"] == compare(compiled(attention_model(masked=masked)))["standard_peft"], "as large with a window"
    assert (op.before, op.after) == (2, 0 if masked else 2) and any(n.startswith("attention_window=3: positions see 3 of 11") for n in c.graph.notes)
    assert c.train is not None
    expected, losses = trained(c.graph)
    state, found = trained(c.train.graph)
    assert found == losses and all(np.array_equal(state[name], value) for name, value in expected.items())
    arrays = interp.run(c.graph, {"input": samples(4)[0]}, interp.initial_state(c.graph))
    distance = np.abs(np.arange(POSITIONS)[None] - np.arange(POSITIONS)[:, None])
    assert (arrays["shares"][..., distance >= 3] == -128).all() and (arrays["shares"][..., distance == 2] > -128).any()
    assert c.context.base_hash != compiled(attention_model(masked=masked)).context.base_hash


@pytest.mark.parametrize(("window", "what"), [(0, "at least 1"), (True, "at least 1"), (POSITIONS + 1, "compares no more than 11")])
def test_windows_that_make_no_sense_are_refused(window: int, what: str) -> None:
    with pytest.raises(kt.CompileError, match=what):
        compiled(attention_model(), attention_window=window)


def test_a_window_needs_attention_by_rows() -> None:
    graph = attention_model()
    read = replace(graph, outputs=(*graph.outputs, "shares"))
    with pytest.raises(kt.CompileError, match=r"has no attention that is computed by rows: 'shares'.*the caller reads shares"):
        compiled(read, attention_window=3)


def test_almost_attention_says_why() -> None:
    graph = attention_model()
    assert isinstance(graph.node("mixed").op, BatchMatMul)
    weak = graph.values["mask"]
    assert weak.data is not None
    weakened = graph.with_values([type(weak)("mask", weak.type, "constant", (weak.data // 8).astype(np.int8))])
    c = compiled(weakened)
    assert c.train is not None and not gradients(c.train.graph)
    assert [n for n in c.graph.notes if n.startswith("'shares': attention as ordinary operators") and "hides may keep some probability" in n]


SHAPES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "two blocks of heads of 24": ("cortex-m55", "qemu:mps3-an547", {"positions": 7, "heads": 3, "depth": 24, "blocks": 2}, {}),
    "one head of 32": ("cortex-m4", "host", {"positions": 5, "heads": 1, "depth": 32}, {}),
    "five heads that see themselves alone": ("cortex-m4", "host", {"positions": 15, "heads": 5, "depth": 7}, {"attention_window": 1}),
    "one position": ("cortex-m4", "host", {"positions": 1}, {}),
}
"""Name -> core, device, shape of the model, options."""


@pytest.mark.qemu
@pytest.mark.parametrize("name", SHAPES)
def test_devices_and_interpreter(name: str, tmp_path: Path, qemu: Any) -> None:
    """Two samples an update: losses, state and results are the same everywhere."""
    target, board, shape, more = SHAPES[name]
    (tmp_path / "attention.tflite").write_bytes(writer.write(attention_model(**shape)))
    model, (x, y) = kt.load(tmp_path / "attention.tflite"), samples(12, shape["positions"])
    shared: dict[str, Any] = {"optimizer": kt.SGD(lr=0.3), "accumulate": 2, "target": target, **more}
    reference = Reference(pipeline.compile_graph(model.graph, Options(methods=METHODS, calibration=x, calibration_target=y, **shared), "test"))
    build = kt.build(model, tmp_path / "build", method=METHODS, calibration=(x, y), **shared)
    with build.open("host") as host, build.open(board) as device:
        every, start = (reference, host, device), host.state()
        for i in range(6):
            assert len({d.train_step(x[i], int(y[i])) for d in every}) == 1
            if i % 2:
                for d in every:
                    d.apply()
        assert reference.state() == host.state() == device.state() != start
        assert np.array_equal(device.infer(x[:4]), host.infer(x[:4])) and np.array_equal(reference.infer(x[:4])[0], host.infer(x[:4]))


@pytest.mark.qemu
@pytest.mark.parametrize(("target", "board"), [("cortex-m4", "mps2-an386"), ("cortex-m55", "mps3-an547")])
def test_a_transformer_learns_a_speaker_to_the_bits_of_the_host(target: str, board: str, data_dir: Path, tmp_path: Path, qemu: Any) -> None:
    """The recipe of `benchmarks/sequences.py`, two updates of five recordings, and one of those that a buffer replays."""
    speaker, model = sequences.Speaker(), kt.load(data_dir / "models" / "fsdd_tinytx_int8.tflite")
    samples, old = speaker.draw(0)[::5], speaker.replayed(10, 0)[:2]
    calibration = speaker.x[speaker.calibration], speaker.y[speaker.calibration]
    shared: dict[str, Any] = {"accumulate": 5, "calibration": calibration, "replay": kt.Replay(2, keep="input"), "measure": False}
    build = kt.build(model, tmp_path / "build", method=list(sequences.ADAPTED), target=target, **shared)
    found = []
    for name in ("host", f"qemu:{board}"):
        with build.open(name) as device:
            device.remember(speaker.x[old], speaker.y[old])
            losses, start = [device.train_step(speaker.x[i], speaker.y[i]) for i in samples[:5]], device.state()
            device.apply()
            losses += [device.replay_step(), *(device.train_step(speaker.x[i], speaker.y[i]) for i in samples[5:9])]
            device.apply()
            found.append((losses, device.state(), device.infer(speaker.x[samples[:3]]).tobytes()))
            assert device.state() != start
    assert found[0] == found[1]
