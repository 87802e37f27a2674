"""The reference of every device: a training session in the interpreter, and the bytes that a state must have."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from gradients.graphs import Maker
from numpy.typing import NDArray

import kilotune as kt
from kiloc.emit.state_layout import state_layout
from kiloc.export import tflite
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ops._window import Window
from kiloc.ops.model.softmax import Softmax
from kiloc.pipeline import Compilation


class Reference:
    """What a device does, in NumPy."""

    def __init__(self, compilation: Compilation) -> None:
        self.c = compilation
        self.values = interp.initial_state(compilation.graph)

    def train_step(self, x: NDArray[np.int8], y: Any) -> float:
        """x: one sample without its batch axis."""
        assert self.c.train is not None
        graph = self.c.train.graph
        target = np.asarray([y], np.int32) if graph.inputs[-1] == "label" else np.asarray(y, np.float32).reshape(graph.type("target").shape)
        arrays = interp.train_step(graph, {graph.inputs[0]: x[np.newaxis], graph.inputs[-1]: target}, self.values)
        return float(arrays["loss.value"].ravel()[0])

    def apply(self) -> None:
        interp.apply(self.c.graph, self.values)

    def infer(self, x: NDArray[np.int8]) -> list[NDArray[np.int8]]:
        graph = self.c.infer.graph
        return interp.infer(graph, x, state=None if not self.values else dict(self.values))

    def state(self) -> bytes:
        """The state struct as C lays it out: a header, the members without holes, padding to 4 bytes."""
        layout = state_layout(self.c.graph)
        members = b"".join(np.asarray(self.values[v.name]).astype(v.type.dtype).tobytes() for v in layout.values)
        header = struct.pack("<I", self.c.context.layout) + bytes(self.c.context.base_hash)
        return (header + members).ljust(layout.bytes, b"\0")


def same_training(first: Reference, second: Reference, x: NDArray[np.int8]) -> None:
    """Both train on each sample x [N, ...] of three classes in turn, with the same losses and states, and then infer the same."""
    for i, sample in enumerate(x):
        losses = [session.train_step(sample, i % 3) for session in (first, second)]
        first.apply()
        second.apply()
        assert losses[0] == losses[1] and first.state() == second.state()
    assert np.array_equal(first.infer(x)[0], second.infer(x)[0])


def tiny() -> Graph:
    """Three dense layers and a softmax: 8 values in, 3 classes out."""
    m = Maker("tiny", (1, 8), 3)
    y = m.dense("input", "first", 10, "relu")
    y = m.dense(y, "second", 8, "relu")
    y = m.dense(y, "logits", 3)
    return m.finish(m.op(y, "classes", Softmax(), (1, 3), 1 / 256, -128))


def loaded_tiny(folder: Path) -> kt.Model:
    """The same, written into a folder and loaded."""
    (folder / "tiny.tflite").write_bytes(tflite.write(tiny()))
    return kt.load(folder / "tiny.tflite")


def image() -> Graph:
    """A convolution, a depthwise convolution and a dense layer: 6x6x2 in, 4 real values out."""
    m = Maker("image", (1, 6, 6, 2), 5)
    y = m.conv("input", "stem", 4, Window((3, 3), (2, 2), (0, 0, 1, 1)), "relu6")
    y = m.depthwise(y, "spread", 1, Window((3, 3), (1, 1), (1, 1, 1, 1)), "relu")
    return m.finish(m.dense(y, "head", 4))


def samples(graph: Graph, count: int, seed: int = 0) -> NDArray[np.int8]:
    rng = np.random.default_rng(seed)
    return rng.integers(-128, 128, (count, *graph.type(graph.inputs[0]).shape[1:])).astype(np.int8)
