"""Random small graphs: chains with forks and sums, over every forward operator."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph
from kiloc.ir.operator import Op
from kiloc.ir.types import Quantization, TensorType, activation
from kiloc.ir.verify import verify
from kiloc.ops._window import Window, same_padding
from kiloc.ops.model.add import Add
from kiloc.ops.model.average_pool_2d import AveragePool2D
from kiloc.ops.model.conv_2d import Conv2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.ops.model.fully_connected import FullyConnected
from kiloc.ops.model.max_pool_2d import MaxPool2D
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.pad import Pad
from kiloc.ops.model.requantize import Requantize
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.softmax import Softmax
from kiloc.ops.model.transpose import Transpose

SPATIAL = ("conv", "conv", "depthwise", "add", "add", "average", "max", "pad", "requantize", "transpose")
ACTIVATIONS = ("none", "relu", "relu6")


@dataclass
class Sketch:
    """A graph being drawn: the builder, and the images that later nodes may read."""

    draw: st.DrawFn
    rng: np.random.Generator
    builder: GraphBuilder = field(default_factory=lambda: GraphBuilder("drawn", "drawn.tflite"))
    images: list[str] = field(default_factory=list)
    count: int = 0

    def type(self, name: str) -> TensorType:
        return self.builder.values[name].type

    def scale(self) -> float:
        return float(np.float32(self.draw(st.sampled_from((0.02, 0.05, 0.1, 0.25)))))

    def result(self, shape: tuple[int, ...]) -> TensorType:
        return activation(shape, self.scale(), self.draw(st.sampled_from((-128, -3, 0, 40))))

    def node(self, kind: str, op: Op, inputs: dict[str, str], y: TensorType, axis: int | None = None, shape: tuple[int, ...] = ()) -> str:
        """Add a node; `axis` and `shape` give it weights and a bias."""
        self.count += 1
        name = f"{kind}_{self.count}"
        if axis is not None:
            channels = shape[axis]
            scales = self.rng.uniform(0.002, 0.02, channels if self.draw(st.booleans()) else 1).astype(np.float32)
            quantization = Quantization(tuple(float(s) for s in scales), 0, axis if len(scales) > 1 else None)
            weights, bias = self.rng.integers(-127, 128, shape).astype(np.int8), self.rng.integers(-900, 900, channels).astype(np.int32)
            constants = {"weights": (weights, quantization), "bias": (bias, None)}
            inputs = {**inputs, **{o: self.builder.constant(f"{name}.{o}", data, q, "") for o, (data, q) in constants.items()}}
        return self.builder.node(name, op, inputs, y, f"node {self.count}")

    def window(self, height: int, width: int, largest: int = 3) -> Window:
        kernel = (self.draw(st.integers(1, min(largest, height))), self.draw(st.integers(1, min(largest, width))))
        stride = (self.draw(st.integers(1, 2)), self.draw(st.integers(1, 2)))
        pad = (0, 0, 0, 0)
        if self.draw(st.booleans()):
            (top, bottom), (left, right) = same_padding(height, kernel[0], stride[0]), same_padding(width, kernel[1], stride[1])
            pad = (top, left, bottom, right)
        return Window(kernel, stride, pad)

    def add_spatial(self) -> None:
        """One more image, from the newest one or an older one (a fork)."""
        kind = self.draw(st.sampled_from(SPATIAL))
        x = self.images[-1] if self.draw(st.integers(0, 3)) else self.draw(st.sampled_from(self.images))
        t = self.type(x)
        _, h, w, c = t.shape
        act = self.draw(st.sampled_from(ACTIVATIONS))
        if kind == "conv":
            window, channels = self.window(h, w), self.draw(st.integers(1, 5))
            shape = (channels, *window.kernel, c)
            y = self.node(kind, Conv2D(activation=act, window=window), {"x": x}, self.result((1, *window.output(h, w), channels)), 0, shape)
        elif kind == "depthwise":
            window, channels = self.window(h, w), c * self.draw(st.integers(1, 2 if c < 5 else 1))
            shape = (1, *window.kernel, channels)
            y = self.node(kind, DepthwiseConv2D(window, act), {"x": x}, self.result((1, *window.output(h, w), channels)), 3, shape)
        elif kind == "add":
            others = [i for i in self.images if self.type(i).shape == t.shape]
            y = self.node(kind, Add(act), {"x": x, "other": self.draw(st.sampled_from(others))}, self.result(t.shape))
        elif kind in ("average", "max"):
            window = self.window(h, w)
            op = AveragePool2D(window, act) if kind == "average" else MaxPool2D(window, act)
            y = self.node(kind, op, {"x": x}, TensorType((1, *window.output(h, w), c), "int8", t.quantization))
        elif kind == "pad":
            amounts = (self.draw(st.integers(0, 1)), self.draw(st.integers(0, 1)), self.draw(st.integers(0, 1)), 1)
            larger = (1, h + amounts[0] + amounts[2], w + amounts[1] + amounts[3], c)
            y = self.node(kind, Pad(amounts, t.zero_point), {"x": x}, TensorType(larger, "int8", t.quantization))
        elif kind == "requantize":
            y = self.node(kind, Requantize(self.draw(st.sampled_from(("none", "relu")))), {"x": x}, self.result(t.shape))
        else:
            y = self.node(kind, Transpose((0, 2, 1, 3)), {"x": x}, TensorType((1, w, h, c), "int8", t.quantization))
        self.images.append(y)

    def finish(self) -> Graph:
        """A vector of the newest image, one or two layers, perhaps a softmax."""
        x = self.images[-1]
        t = self.type(x)
        if self.draw(st.booleans()):
            x = self.node("mean", Mean((1, 2)), {"x": x}, self.result((1, t.shape[3])))
        else:
            x = self.node("flat", Reshape((1, t.size)), {"x": x}, TensorType((1, t.size), "int8", t.quantization))
        for act in self.draw(st.lists(st.sampled_from(ACTIVATIONS), min_size=0, max_size=1)):
            width = self.draw(st.integers(2, 6))
            x = self.node("fc", FullyConnected(activation=act), {"x": x}, self.result((1, width)), 0, (width, self.type(x).size))
        x = self.node("head", FullyConnected(), {"x": x}, self.result((1, 3)), 0, (3, self.type(x).size))
        if self.draw(st.booleans()):
            x = self.node("softmax", Softmax(), {"x": x}, activation((1, 3), 1 / 256, -128))
        return verify(self.builder.finish([x]))


@st.composite
def graphs(draw: st.DrawFn, largest: int = 6) -> Graph:
    """A verified inference graph with an image as its input and three classes as its result."""
    sketch = Sketch(draw, np.random.default_rng(draw(st.integers(0, 2**31))))
    shape = (1, draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(st.integers(1, 3)))
    sketch.images.append(sketch.builder.input(sketch.result(shape), "x"))
    for _ in range(draw(st.integers(1, largest))):
        sketch.add_spatial()
    return sketch.finish()


def inputs_of(graph: Graph, count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(-128, 128, (count, *graph.type(graph.inputs[0]).shape[1:])).astype(np.int8)
