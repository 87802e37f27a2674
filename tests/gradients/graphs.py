"""Small graphs made by hand: one with every operator that has a gradient, one with forks and adds."""

from __future__ import annotations

from typing import Any

import numpy as np

from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph
from kiloc.ir.types import Quantization, TensorType, activation
from kiloc.ir.verify import verify
from kiloc.ops._window import Window
from kiloc.ops.model.add import Add
from kiloc.ops.model.average_pool_2d import AveragePool2D
from kiloc.ops.model.conv_2d import Conv2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.ops.model.fully_connected import FullyConnected
from kiloc.ops.model.logistic import Logistic
from kiloc.ops.model.max_pool_2d import MaxPool2D
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.pad import Pad
from kiloc.ops.model.requantize import Requantize
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.softmax import Softmax
from kiloc.ops.model.transpose import Transpose


class Maker:
    """Adds layers whose results have a standard deviation near one, as trained networks do, and fill most of int8."""

    def __init__(self, name: str, shape: tuple[int, ...], seed: int, scale: float = 1 / 64, zero: int = 3) -> None:
        self.b = GraphBuilder(name, f"{name}.test")
        self.rng = np.random.default_rng(seed)
        self.b.input(activation(shape, scale, zero), "input")

    def type(self, name: str) -> TensorType:
        return self.b.values[name].type

    def constants(self, name: str, shape: tuple[int, ...], channels: int, axis: int) -> dict[str, str]:
        """Uniform int8 weights of variance 1 / fan-in, channel scales up to nine times apart; biases up to +-0.3."""
        fan = np.prod(shape) / channels
        scales = 3.0 ** self.rng.uniform(-1, 1, channels) / (73 * np.sqrt(fan))
        w = self.rng.integers(-127, 128, shape).astype(np.int8)
        bias = (self.rng.uniform(-0.3, 0.3, channels) / (scales / 64)).astype(np.int32)
        q = Quantization(tuple(float(np.float32(s)) for s in scales), 0, axis)
        return {"weights": self.b.constant(f"{name}.weights", w, q, name), "bias": self.b.constant(f"{name}.bias", bias, None, name)}

    def layer(self, x: str, name: str, op: Any, constants: dict[str, str], shape: tuple[int, ...], act: str) -> str:
        result = activation(shape, 0.045, 5) if act == "none" else activation(shape, 0.024, -128)
        return self.b.node(name, op, {"x": x, **constants}, result, name)

    def conv(self, x: str, name: str, channels: int, window: Window, act: str = "none") -> str:
        _, h, w, c = self.type(x).shape
        constants = self.constants(name, (channels, *window.kernel, c), channels, 0)
        return self.layer(x, name, Conv2D(activation=act, window=window), constants, (1, *window.output(h, w), channels), act)

    def depthwise(self, x: str, name: str, multiplier: int, window: Window, act: str = "none") -> str:
        _, h, w, c = self.type(x).shape
        constants = self.constants(name, (1, *window.kernel, c * multiplier), c * multiplier, 3)
        return self.layer(x, name, DepthwiseConv2D(window, act), constants, (1, *window.output(h, w), c * multiplier), act)

    def dense(self, x: str, name: str, channels: int, act: str = "none") -> str:
        constants = self.constants(name, (channels, self.type(x).size), channels, 0)
        return self.layer(x, name, FullyConnected(activation=act), constants, (1, channels), act)

    def op(self, x: str, name: str, op: Any, shape: tuple[int, ...], scale: float | None = None, zero: int | None = None, **other: str) -> str:
        t = self.type(x)
        result = activation(shape, t.scale if scale is None else scale, t.zero_point if zero is None else zero)
        return self.b.node(name, op, {"x": x, **other}, result, name)

    def finish(self, *outputs: str) -> Graph:
        return verify(self.b.finish(list(outputs)))


def every_operator() -> Graph:
    """conv, depthwise (multiplier 2), pools with borders, pad, requantize, transpose, reshape, mean, dense, softmax."""
    m = Maker("every_operator", (1, 11, 9, 2), 7)
    y = m.conv("input", "stem", 6, Window((3, 3), (1, 1), (1, 1, 1, 1)), "relu6")
    y = m.depthwise(y, "spread", 2, Window((3, 2), (2, 1), (1, 0, 1, 1)), "relu")
    y = m.op(y, "widen", Pad((1, 0, 0, 2), -128), (1, 7, 11, 12))
    y = m.op(y, "largest", MaxPool2D(Window((2, 3), (1, 2), (0, 1, 1, 1))), (1, 7, 6, 12))
    y = m.conv(y, "dilated", 8, Window((2, 2), (1, 1), (1, 0, 1, 1), (2, 1)))
    y = m.op(y, "rescale", Requantize("relu"), m.type(y).shape, m.type(y).scale * 0.7, -128)
    y = m.op(y, "average", AveragePool2D(Window((3, 3), (2, 2), (1, 1, 1, 1))), (1, 4, 3, 8))
    y = m.op(y, "turn", Transpose((0, 3, 1, 2)), (1, 8, 4, 3))
    y = m.op(y, "middle", Mean((3,)), (1, 8, 4), m.type(y).scale * 0.5, -110)
    y = m.op(y, "flat", Reshape((1, 32)), (1, 32))
    y = m.dense(y, "hidden", 10, "relu")
    y = m.dense(y, "logits", 5)
    return m.finish(m.op(y, "probabilities", Softmax(), (1, 5), 1 / 256, -128))


def several_labels() -> Graph:
    """Two layers and a logistic function, reshaped and in another scale: 8 values in, 4 labels out that are each there or not."""
    m = Maker("several_labels", (1, 8), 5)
    y = m.dense("input", "hidden", 12, "relu")
    y = m.op(m.dense(y, "logits", 4), "probabilities", Logistic(), (1, 4), 1 / 256, -128)
    y = m.op(y, "again", Requantize(), (1, 4), 1 / 128, -120)
    return m.finish(m.op(y, "column", Reshape((1, 4, 1)), (1, 4, 1)))


def residual(kernel: int = 1) -> Graph:
    """Two forks, adds of unequal scales, a shortcut convolution beside one of a stride and one of a kernel, global pooling."""
    m = Maker("residual", (1, 8, 8, 3), 11)
    x = m.conv("input", "first", 6, Window((3, 3), (1, 1), (1, 1, 1, 1)), "relu")
    y = m.conv(x, "second", 6, Window((3, 3), (1, 1), (1, 1, 1, 1)))
    x = m.op(y, "sum", Add("relu"), m.type(y).shape, m.type(y).scale * 1.3, -128, other=x)
    y = m.conv(x, "third", 10, Window((3, 3), (2, 2), (0, 0, 1, 1)), "relu")
    y = m.conv(y, "fourth", 10, Window((kernel, kernel), (1, 1), (kernel // 2,) * 4))
    z = m.conv(x, "shortcut", 10, Window((1, 1), (2, 2)))
    x = m.op(y, "join", Add(), m.type(y).shape, (m.type(y).scale + m.type(z).scale) * 0.6, 2, other=z)
    x = m.op(x, "pool", AveragePool2D(Window((4, 4), (4, 4))), (1, 1, 1, 10))
    x = m.op(x, "flat", Reshape((1, 10)), (1, 10))
    return m.finish(m.dense(x, "logits", 4))
