"""A model of a window that slides infers one position a call with the bits of the whole window, also with what was trained on windows.

In NumPy, on the host and on emulated cores.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import kilotune as kt
from kiloc import pipeline
from kiloc.errors import CompileError
from kiloc.frontend.build import GraphBuilder
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.types import Quantization, TensorType, activation
from kiloc.ir.verify import verify
from kiloc.ops._window import Window
from kiloc.ops.model.add import Add
from kiloc.ops.model.average_pool_2d import AveragePool2D
from kiloc.ops.model.concatenate import Concatenate
from kiloc.ops.model.conv_2d import Conv2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.ops.model.fully_connected import FullyConnected
from kiloc.ops.model.gru import Gru
from kiloc.ops.model.max_pool_2d import MaxPool2D
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.pad import Pad
from kiloc.ops.model.pad_axes import PadAxes
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.slice import Slice
from kiloc.ops.model.transpose import Transpose
from kiloc.options import Options

LENGTH, BANDS, CLASSES = 13, 5, 3


class Builder:
    """Layers over [1, positions, columns, channels]."""

    def __init__(self, shape: tuple[int, ...] = (1, LENGTH, 1, BANDS)) -> None:
        self.rng, self.b = np.random.default_rng(6), GraphBuilder("slides", "slides.onnx")
        self.x = self.b.input(activation(shape, 1 / 32, 5), "x")

    def shape(self, x: str | None = None) -> tuple[int, ...]:
        return self.b.values[x or self.x].type.shape

    def node(self, name: str, op: Any, shape: tuple[int, ...], like: str = "", x: str | None = None, **others: str) -> str:
        type_ = TensorType(shape, "int8", self.b.values[like].type.quantization) if like else activation(shape, 1 / 32, -3)
        self.x = self.b.node(name, op, {"x": x or self.x, **others}, type_, name)
        return self.x

    def weights(self, name: str, shape: tuple[int, ...], axis: int) -> dict[str, str]:
        count = shape[axis]
        scale = float(np.float32(1.7 / 127 / (np.prod(shape) / count) ** 0.5))
        codes = self.rng.integers(-127, 128, shape).astype(np.int8)
        bias = self.rng.integers(-900, 900, count).astype(np.int32)
        quantization = Quantization((scale,) * count, 0, axis)
        return {"weights": self.b.constant(f"{name}.weights", codes, quantization, name), "bias": self.b.constant(f"{name}.bias", bias, None, name)}

    def conv(self, name: str, channels: int, window: Window) -> str:
        n, h, w, c = self.shape()
        parts = self.weights(name, (channels, *window.kernel, c), 0)
        return self.node(name, Conv2D(window=window, activation="relu"), (n, *window.output(h, w), channels), **parts)

    def depthwise(self, name: str, window: Window) -> str:
        n, h, w, c = self.shape()
        return self.node(name, DepthwiseConv2D(window=window), (n, *window.output(h, w), c), **self.weights(name, (1, *window.kernel, c), 3))

    def pool(self, name: str, op: Any) -> str:
        n, h, w, c = self.shape()
        return self.node(name, op, (n, *op.window.output(h, w), c), like=self.x)

    def finished(self) -> Graph:
        size = int(np.prod(self.shape()))
        self.node("flat", Reshape((1, size)), (1, size), like=self.x)
        self.node("logits", FullyConnected(), (1, CLASSES), **self.weights("logits", (CLASSES, size), 0))
        return verify(self.b.finish([self.x]))


def words() -> Graph:
    """Depthwise and pointwise layers, as a wake word has them, and all rows of the last in one fully connected layer."""
    m = Builder()
    m.depthwise("first", Window((3, 1)))
    m.conv("mixed", 6, Window((1, 1)))
    m.depthwise("second", Window((3, 1), dilation=(2, 1)))
    m.conv("wide", 4, Window((2, 1)))
    return m.finished()


def shortcuts() -> Graph:
    """Sums with rows of the middle, which are late; pools, and a mean over what is left."""
    m = Builder((1, LENGTH, 4, 2))
    x = m.conv("grown", 6, Window((3, 3), pad=(0, 1, 0, 1)))
    y = m.depthwise("seen", Window((5, 1)))
    n, h, w, c = m.shape(x)
    middle = m.node("middle", Slice.along((n, h, w, c), 1, 2, h - 4), (n, h - 4, w, c), like=x, x=x)
    m.node("sum", Add("relu"), m.shape(y), x=y, other=middle)
    m.pool("largest", MaxPool2D(Window((2, 2))))
    z = m.pool("smooth", AveragePool2D(Window((3, 1))))
    m.node("both", Concatenate(3), (*m.shape(z)[:3], 2 * c), like=z, x=z, x1=z)
    n, h, w, c = m.shape()
    m.node("turned", Transpose((0, 2, 1, 3)), (n, w, h, c), like=m.x)
    m.node("mean", Mean((2,)), (n, w, c))
    return m.finished()


def steps() -> Graph:
    """A layer with a step of two positions, from which on the whole window is computed, beside one that is not."""
    m = Builder()
    x = m.conv("first", 4, Window((3, 1)))
    y = m.conv("halved", 4, Window((3, 1), stride=(2, 1)))
    m.x = x
    m.conv("other", 4, Window((2, 1)))
    z = m.conv("also", 4, Window((2, 1), stride=(2, 1)))
    m.node("sum", Add(), m.shape(y), x=y, other=z)
    return m.finished()


def positioned() -> Graph:
    """A constant that is another one for each position."""
    m = Builder()
    m.conv("first", 4, Window((3, 1)))
    codes = m.rng.integers(-127, 128, m.shape()).astype(np.int8)
    m.node("placed", Add(), m.shape(), other=m.b.constant("places", codes, Quantization((1 / 32,), 0), "places"))
    return m.finished()


MODELS: dict[str, Callable[[], Graph]] = {"words": words, "shortcuts": shortcuts, "steps": steps, "positioned": positioned}


def compiled(graph: Graph, **options: Any) -> pipeline.Compilation:
    return pipeline.compile_graph(graph, Options(by_position=True, **options), "")


def recording(graph: Graph, count: int) -> NDArray[np.int8]:
    return np.random.default_rng(3).integers(-128, 128, (count, *graph.type(graph.inputs[0]).shape[2:])).astype(np.int8)


def windows(graph: Graph, rows: NDArray[np.int8]) -> NDArray[np.int8]:
    """Those that end with each row, with zeros in front of the first."""
    silence = np.full((LENGTH - 1, *rows.shape[1:]), graph.type(graph.inputs[0]).zero_point, np.int8)
    whole = np.concatenate([silence, rows])
    return np.stack([whole[i : i + LENGTH] for i in range(len(rows))])


@pytest.mark.parametrize("name", MODELS)
def test_bits_are_those_of_the_window(name: str) -> None:
    graph = MODELS[name]()
    c = compiled(graph)
    rows = recording(graph, 2 * LENGTH)
    found = interp.infer(c.infer.graph, rows[:, None])[0]
    assert np.array_equal(found.reshape(-1, CLASSES), interp.infer(graph, windows(graph, rows))[0].reshape(-1, CLASSES))
    note = next(n for n in c.graph.notes if n.startswith("by_position"))
    assert "the last 13 at once" in note and ("takes no step for each position" in note) == (name == "steps")


def test_devices_slide_with_what_was_trained(tmp_path: Path, qemu: Any) -> None:
    """An adapter trained on windows, one position a call, on the host and on emulated cores: from the call on that fills the window."""
    graph, path = words(), tmp_path / "slides.onnx"
    path.write_bytes(b"built in memory")
    loaded, rows = kt.Model(path, graph), recording(graph, LENGTH + 6)
    x, y = windows(graph, rows), np.arange(len(rows)).astype(np.int32) % CLASSES
    methods = [kt.LoRA(rank=2, layers="mixed,wide,logits"), kt.BiasOnly()]
    common: dict[str, Any] = {"method": methods, "measure": False, "calibration": (x, y)}
    trainer = kt.build(loaded, tmp_path / "trainer", optimizer=kt.SGD(lr=0.05), **common)
    with trainer.open("host") as device:
        for sample, label in zip(x, y, strict=True):
            device.train_step(sample, label)
        expected, adapter = np.asarray(device.infer(x, progress=False)), device.export_adapter()
    states = []
    for target, name in (("cortex-m4", "host"), ("cortex-m4", "qemu:mps2-an386"), ("cortex-m0plus", "qemu:microbit")):
        follower = kt.build(loaded, tmp_path / name.replace(":", "-"), train=False, by_position=True, target=target, **common)
        with follower.open(name) as device:
            base = np.asarray(device.infer(rows[:, None], progress=False))
            device.restart()
            device.load_adapter(adapter)
            found = np.asarray(device.infer(rows[:, None], progress=False))
            states.append(device.state())
        last = slice(LENGTH - 1, None)
        assert np.array_equal(found[last].reshape(-1, CLASSES), expected[last].reshape(-1, CLASSES))
        assert not np.array_equal(base[last], found[last])
    assert states[0] == states[1] == states[2]


def causal(front: bool) -> Graph:
    """A convolution that looks back alone, with its padding in front as a layer of its own."""
    m = Builder((1, LENGTH, BANDS))
    shape = (1, LENGTH + 2, BANDS)
    m.node("front", PadAxes((0, 2, 0), (0, 0, 0), (0, 0, 0), 5), shape, like=m.x)
    m.node("image", Reshape((1, 1, *shape[1:])), (1, 1, *shape[1:]), like=m.x)
    m.conv("seen", 4, Window((1, 3)))
    m.node("rows", Reshape((1, LENGTH, 4)), (1, LENGTH, 4), like=m.x)
    if not front:
        return m.finished()
    m.node("each", FullyConnected(), (1, LENGTH, CLASSES), **m.weights("each", (CLASSES, 4), 0))
    return verify(m.b.finish([m.x]))


def test_padding_of_a_causal_layer_is_what_is_kept_at_first() -> None:
    """As Keras writes padding="causal"."""
    graph = causal(front=True)
    rows = recording(graph, LENGTH)
    found = interp.infer(compiled(graph).infer.graph, rows[:, None])[0]
    assert np.array_equal(found.reshape(LENGTH, CLASSES), interp.infer(graph, rows[None])[0][0])


def both_sides() -> Graph:
    m = Builder()
    n, h, w, c = m.shape()
    m.node("framed", Pad((1, 0, 1, 0), 5), (n, h + 2, w, c), like=m.x)
    m.conv("first", 4, Window((3, 1)))
    return m.finished()


def recurrent() -> Graph:
    m = Builder((1, LENGTH, 1, BANDS))
    m.depthwise("first", Window((3, 1)))
    rows = LENGTH - 2
    m.node("rows", Reshape((1, rows, BANDS)), (1, rows, BANDS), like=m.x)
    given = {}
    for name in ("weights", "recurrent"):
        codes = m.rng.integers(-127, 128, (3 * BANDS, BANDS)).astype(np.int8)
        given[name] = m.b.constant(f"gru.{name}", codes, Quantization((0.005,) * (3 * BANDS), 0, 0), "gru")
    given["bias"] = m.b.constant("gru.bias", m.rng.integers(-900, 900, 3 * BANDS).astype(np.int32), None, "gru")
    given["inner"] = m.b.constant("gru.inner", m.rng.integers(-900, 900, BANDS).astype(np.int32), Quantization((2.0**-12,)), "gru")
    m.x = m.b.node("gru", Gru(), {"x": m.x, **given}, activation((1, rows, BANDS), 1 / 128, 0), "gru")
    return verify(m.b.finish([m.x]))


REFUSED = {
    "all rows behind a sequence's begin": (lambda: causal(front=False), r"'flat' \(RESHAPE\) gives"),
    "padding on both sides": (both_sides, "no product of slides is saved: 'framed' .* pads 1 positions behind others"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    make, words_ = REFUSED[name]
    with pytest.raises(CompileError, match=words_):
        compiled(make())


def test_a_layer_with_a_state_sees_the_whole_window() -> None:
    """Its state is that of the window's first row, not of the recording's."""
    graph = recurrent()
    c = compiled(graph)
    rows = recording(graph, 2 * LENGTH)
    found = interp.infer(c.infer.graph, rows[:, None])[0]
    assert np.array_equal(found, interp.infer(graph, windows(graph, rows))[0])
