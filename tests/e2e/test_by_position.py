"""Inference one position a call has the bits of whole sequences, with what was trained on those: in NumPy, on the host and on an emulated core."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kilotune as kt
from kiloc import pipeline
from kiloc.emit import state_layout
from kiloc.errors import CompileError
from kiloc.frontend.build import GraphBuilder
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.types import Quantization, TensorType, activation
from kiloc.ir.verify import verify
from kiloc.ops._lstm import GATE_SCALE, Memory
from kiloc.ops._window import Window
from kiloc.ops.model.add import Add
from kiloc.ops.model.batch_matmul import BatchMatMul
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.ops.model.embedding import Embedding, token_quantization
from kiloc.ops.model.fully_connected import FullyConnected
from kiloc.ops.model.gru import Gru
from kiloc.ops.model.layer_normalization import LayerNormalization
from kiloc.ops.model.lstm import Lstm
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.requantize import Requantize
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.softmax import Softmax
from kiloc.ops.model.transpose import Transpose
from kiloc.ops.wide.elementwise import WideAdd
from kiloc.options import Options

LENGTH, WIDTH, HEADS, TOKENS = 9, 6, 2, 13


class Builder:
    """A residual stream of 16 bits, to which blocks of every kind add."""

    def __init__(self, length: int) -> None:
        self.rng, self.length = np.random.default_rng(4), length
        self.b = GraphBuilder("positions", "positions.onnx")
        self.stream = ""

    def node(self, name: str, op: Any, type_: TensorType, **inputs: str) -> str:
        return self.b.node(name, op, inputs, type_, name)

    def rows(self, depth: int = WIDTH, scale: float = 1 / 32) -> TensorType:
        return activation((1, self.length, depth), scale, 3)

    def wide(self, scale: float) -> TensorType:
        return TensorType((1, self.length, WIDTH), "int16", Quantization((scale,)))

    def weights(self, name: str, shape: tuple[int, ...], axis: int | None = 0, size: float = 1.7) -> str:
        count = shape[axis] if axis is not None else 1
        scale = float(np.float32(size / 127 / (np.prod(shape) / count) ** 0.5))
        codes = self.rng.integers(-127, 128, shape).astype(np.int8)
        return self.b.constant(name, codes, Quantization((scale,) * count, 0, axis), name)

    def bias(self, name: str, count: int) -> str:
        return self.b.constant(name, self.rng.integers(-900, 900, count).astype(np.int32), None, name)

    def dense(self, name: str, x: str, outputs: int = WIDTH) -> str:
        given = {"weights": self.weights(f"{name}.weights", (outputs, WIDTH)), "bias": self.bias(f"{name}.bias", outputs)}
        return self.node(name, FullyConnected(), self.rows(outputs), x=x, **given)

    def normalized(self, name: str) -> str:
        gamma = self.b.constant(f"{name}.gamma", self.rng.integers(9_000, 30_000, WIDTH).astype(np.int16), Quantization((2.0**-15,)), name)
        beta = self.b.constant(f"{name}.beta", self.rng.integers(-9_000, 9_000, WIDTH).astype(np.int32), Quantization((2.0**-20,)), name)
        return self.node(name, LayerNormalization(WIDTH), self.rows(), x=self.stream, gamma=gamma, beta=beta)

    def added(self, name: str, y: str) -> None:
        y = self.node(f"{name}.wide", Requantize(), self.wide(1 / 32), x=y)
        self.stream = self.node(f"{name}.sum", WideAdd(), self.wide(1 / 512), x=self.stream, other=y)

    # -- blocks ---------------------------------------------------------------------------------------
    def convolved(self, x: str) -> str:
        image = replace(self.rows(), shape=(1, self.length, 1, WIDTH))
        x = self.node("image", Reshape(image.shape), image, x=x)
        weights = self.weights("window.weights", (1, 3, 1, WIDTH), 3)
        op = DepthwiseConv2D(Window((3, 1), pad=(4, 0, 0, 0), dilation=(2, 1)), "relu")
        y = self.node("window", op, image, x=x, weights=weights, bias=self.bias("window.bias", WIDTH))
        return self.node("row", Reshape(self.rows().shape), self.rows(), x=y)

    def attended(self, x: str) -> str:
        depth, scale = WIDTH // HEADS, 1 / 32
        split, turned = ((1, self.length, HEADS, depth), (1, HEADS, self.length, depth))
        parts = []
        for name in "qkv":
            y = self.node(f"{name}.split", Reshape(split), activation(split, scale, 3), x=self.dense(name, x))
            parts.append(self.node(f"{name}.heads", Transpose((0, 2, 1, 3)), activation(turned, scale, 3), x=y))
        square = (1, HEADS, self.length, self.length)
        y = self.node("scores", BatchMatMul(False, True), activation(square, 0.08, 0), x=parts[0], other=parts[1])
        hidden = np.where(np.tri(self.length, dtype=bool), 0, -127).astype(np.int8).reshape(1, 1, self.length, self.length)
        y = self.node("masked", Add(), activation(square, 0.35, 100), x=y, other=self.b.constant("mask", hidden, Quantization((0.7,), 0), "mask"))
        y = self.node("shares", Softmax(), activation(square, 1 / 256, -128), x=y)
        y = self.node("mixed", BatchMatMul(), activation(turned, scale, 3), x=y, other=parts[2])
        y = self.node("back", Transpose((0, 2, 1, 3)), activation(split, scale, 3), x=y)
        return self.node("joined", Reshape(self.rows().shape), self.rows(), x=y)

    def remembered(self, kind: str, x: str) -> str:
        gates = 3 if kind == "gru" else 4
        given = {n: self.weights(f"{kind}.{n}", (gates * WIDTH, WIDTH)) for n in ("weights", "recurrent")}
        given |= {"bias": self.bias(f"{kind}.bias", gates * WIDTH)}
        for n in ("weights", "recurrent"):  # one scale a gate
            value = self.b.values[given[n]]
            scale = value.type.channel_scales[0]
            self.b.values[given[n]] = replace(value, type=replace(value.type, quantization=Quantization((scale,) * (gates * WIDTH), 0, 0)))
        if kind == "gru":
            inner = self.rng.integers(-900, 900, WIDTH).astype(np.int32)
            given["inner"] = self.b.constant("gru.inner", inner, Quantization((GATE_SCALE,)), "inner")
        return self.node(kind, Gru() if kind == "gru" else Lstm(Memory(-12)), self.rows(scale=1 / 128), x=x, **given)


def model(length: int = LENGTH, blocks: str = "cagl") -> Graph:
    m = Builder(length)
    tokens = m.b.input(TensorType((1, length), "int8", token_quantization(TOKENS)), "tokens")
    table = m.b.constant("table", m.rng.integers(-128, 128, (TOKENS, WIDTH)).astype(np.int8), Quantization((1 / 32,), 3), "table")
    first = m.node("embedded", Embedding(), m.rows(), x=tokens, table=table)
    m.stream = m.node("first", Requantize(), m.wide(1 / 512), x=first)
    make = {"c": m.convolved, "a": m.attended, "g": lambda x: m.remembered("gru", x), "l": lambda x: m.remembered("lstm", x)}
    for kind in blocks:
        m.added(f"mix_{kind}", m.dense(f"mix_{kind}", make[kind](m.normalized(f"norm_{kind}"))))
    return verify(m.b.finish([m.dense("head", m.normalized("norm"), TOKENS)]))


def rows(count: int, length: int = LENGTH) -> np.ndarray:
    return np.random.default_rng(1).integers(0, TOKENS, (count, length)).astype(np.int8)


def compiled(graph: Graph, **options: Any) -> pipeline.Compilation:
    return pipeline.compile_graph(graph, Options(**options), "")


@pytest.mark.parametrize("target", ["", "cortex-m4"])
def test_bits_are_those_of_whole_sequences(target: str) -> None:
    """For as many positions as the model has, and behind them those of a longer one whose attention sees as many."""
    x = rows(1, 2 * LENGTH + 5)
    c = compiled(model(), by_position=True, target=target or "cortex-m0")
    kinds = [n.op.mnemonic for n in c.infer.graph.nodes]
    assert "attention_next" in kinds and "attention" not in kinds and c.context.arena_infer < 200
    found = interp.infer(c.infer.graph, x.reshape(-1, 1))[0].reshape(-1, TOKENS)
    assert np.array_equal(found[:LENGTH], interp.infer(model(), x[:, :LENGTH])[0][0])
    longer = compiled(model(x.shape[1]), attention_window=LENGTH)
    assert np.array_equal(found, interp.infer(longer.infer.graph, x)[0][0])
    narrow = compiled(model(x.shape[1]), attention_window=LENGTH, by_position=True)
    assert np.array_equal(found, interp.infer(narrow.infer.graph, x.reshape(-1, 1))[0].reshape(-1, TOKENS))
    assert narrow.context.state_bytes == c.context.state_bytes


LAYERS = "q,v,mix_c,mix_g,gru"
METHODS = [kt.LoRA(rank=2, layers=LAYERS), kt.BiasOnly(layers="mix_a,head")]


def test_devices_go_on_with_what_was_trained(tmp_path: Path, qemu: Any) -> None:
    """An adapter trained on whole sequences, one position a call: on the host and on an emulated core, with equal states."""
    x, path = rows(6), tmp_path / "positions.onnx"
    path.write_bytes(b"built in memory")
    loaded = kt.Model(path, model())
    common: dict[str, Any] = {"method": METHODS, "loss": "next_token", "measure": False, "calibration": x}
    trainer = kt.build(loaded, tmp_path / "trainer", **common)
    with trainer.open("host") as device:
        for row in x:
            device.train_step(row)
        expected, adapter, trained = np.asarray(device.infer(x[:2], progress=False)), device.export_adapter(), device.state()
    with trainer.open("qemu:mps2-an386") as device:
        for row in x:
            device.train_step(row)
        assert device.state() == trained
    follower = kt.build(loaded, tmp_path / "follower", train=False, by_position=True, **{k: v for k, v in common.items() if k != "loss"})
    assert follower.manifest["base_hash"] == trainer.manifest["base_hash"]
    states = []
    for name in ("host", "qemu:mps2-an386"):
        with follower.open(name) as device:
            base = np.asarray(device.infer(x[0].reshape(-1, 1), progress=False))
            device.load_adapter(adapter)
            for row, whole in zip(x[:2], expected, strict=True):
                device.restart()
                found = np.asarray(device.infer(row.reshape(-1, 1), progress=False))
                assert np.array_equal(found.ravel(), whole.ravel())
            assert not np.array_equal(base.ravel(), expected[0].ravel())
            with pytest.raises(kt.DeviceError, match="vocabulary"):
                device.infer(np.full((1, 1), TOKENS, np.int8))
            states.append(device.state())
    assert states[0] == states[1]


def test_the_state_is_the_interpreters() -> None:
    c = compiled(model(), methods=tuple(METHODS), train=False, by_position=True)
    layout = state_layout(c.graph)
    streams = [v.name for v in layout.values[: layout.streams]]
    assert len(streams) == len(c.graph.streams()) and layout.bytes == c.context.state_bytes
    assert layout.offset(layout.values[layout.streams].name) % 4 == 0


def _mean(graph: Graph) -> Graph:
    head = graph.outputs[0]
    y = replace(graph.values[head], name="mean", type=activation((1, TOKENS), 1 / 32, 3))
    node = replace(graph.nodes[-1], name="mean", op=Mean(), inputs={"x": head}, outputs=("mean",))
    return replace(graph.with_values([y]), nodes=(*graph.nodes, node), outputs=("mean",))


def _looking_ahead(graph: Graph) -> Graph:
    window = Window((3, 1), pad=(2, 0, 2, 0), dilation=(2, 1))
    return replace(graph, nodes=tuple(replace(n, op=DepthwiseConv2D(window, "relu")) if n.name == "window" else n for n in graph.nodes))


def _unmasked(graph: Graph) -> Graph:
    mask = graph.values["mask"]
    return graph.with_values([replace(mask, data=np.zeros_like(mask.data))])


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "a mean of positions": (_mean, {}, "'mean' .* takes 9 positions at once"),
    "a convolution that looks ahead": (_looking_ahead, {}, "2 behind: it is not causal"),
    "no mask": (_unmasked, {}, "is none of the operators|not causal"),
    "training": (lambda g: g, {"methods": (kt.BiasOnly(layers="head"),)}, "train on whole sequences"),
    "one position": (lambda g: model(1, "c"), {}, r"an input of \(1, 1\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    change, options, words = REFUSED[name]
    with pytest.raises(CompileError, match=words):
        compiled(change(model()), by_position=True, **options)
