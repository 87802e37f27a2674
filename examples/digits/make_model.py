"""Makes digits.tflite: trains a small depthwise-separable CNN in float, quantises it to INT8, writes it.

    python examples/digits/make_model.py [PATH]

Deterministic: the same machine writes the same bytes. The model is part of the repository, so nobody needs to run this.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the order of a sum must not depend on the number of cores

import numpy as np
from data import SCALE, ZERO_POINT, Rows, digits
from numpy.typing import NDArray

from kiloc.export import tflite
from kiloc.frontend.build import GraphBuilder
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.types import Quantization, TensorType, activation
from kiloc.ir.verify import verify
from kiloc.ops._window import Window
from kiloc.ops.model.average_pool_2d import AveragePool2D
from kiloc.ops.model.conv_2d import Conv2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.ops.model.fully_connected import FullyConnected
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.softmax import Softmax

Array = NDArray[np.float64]

SEED, EPOCHS, BATCH, RATE, DECAY = 3, 120, 25, 0.008, 1e-5
SAME3 = Window((3, 3), (1, 1), (1, 1, 1, 1))
HALVE3 = Window((3, 3), (2, 2), (0, 0, 1, 1))
POINT = Window((1, 1))


@dataclass
class Layer:
    """A convolution over NHWC images, dense or depthwise, or (kind "fc") a layer over vectors. weights: [OC, taps * IC] or [taps, C]."""

    name: str
    kind: str
    window: Window
    weights: Array
    bias: Array
    relu: bool = True

    def forward(self, x: Array) -> Array:
        """Results; keeps what `backward` needs."""
        self.x_shape = x.shape
        if self.kind == "fc":
            self.rows = x.reshape(len(x), 1, -1)
            y = self.rows @ self.weights.T + self.bias
            out: tuple[int, ...] = (len(self.bias),)
        else:
            self.rows = self.window.patches(x)
            out = (*self.window.output(x.shape[1], x.shape[2]), len(self.bias))
            if self.kind == "depthwise":
                self.rows = self.rows.reshape(*self.rows.shape[:2], -1, x.shape[3])
                y = (self.rows * self.weights).sum(2) + self.bias
            else:
                y = self.rows @ self.weights.T + self.bias
        self.live = (y > 0) if self.relu else np.ones(y.shape, bool)
        return np.asarray((y * self.live).reshape(len(x), *out))

    def backward(self, dy: Array) -> tuple[Array, Array, Array]:
        """Gradients of x, weights and bias."""
        g = dy.reshape(self.live.shape) * self.live
        if self.kind == "depthwise":
            dw = (self.rows * g[:, :, None]).sum((0, 1))
            rows = (g[:, :, None] * self.weights).reshape(*g.shape[:2], -1)
        else:
            dw = np.einsum("npo,npk->ok", g, self.rows, optimize=True)
            rows = g @ self.weights
        dx = rows.reshape(self.x_shape) if self.kind == "fc" else self.window.scatter(rows, self.x_shape)
        return dx, dw, g.sum((0, 1))


@dataclass
class Pool:
    """Average over 2x2."""

    name: str = "pool"

    def forward(self, x: Array) -> Array:
        n, h, w, c = x.shape
        return np.asarray(x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4)))

    def backward(self, dy: Array) -> Array:
        return np.repeat(np.repeat(dy, 2, axis=1), 2, axis=2) / 4


def network(rng: np.random.Generator) -> list[Layer | Pool]:
    """8x8x1 -> 8x8x12 -> 4x4x12 -> 4x4x24 -> 4x4x24 -> 4x4x32 -> 2x2x32 -> 10."""

    def layer(name: str, kind: str, window: Window, outputs: int, inputs: int, relu: bool = True) -> Layer:
        taps = window.kernel[0] * window.kernel[1]
        fan = taps if kind == "depthwise" else taps * inputs
        shape = (taps, outputs) if kind == "depthwise" else (outputs, taps * inputs)
        return Layer(name, kind, window, rng.normal(0, np.sqrt(2 / fan), shape), np.zeros(outputs), relu)

    return [
        layer("edges", "conv", SAME3, 12, 1),
        layer("halve", "depthwise", HALVE3, 12, 12),
        layer("mix", "conv", POINT, 24, 12),
        layer("shapes", "depthwise", SAME3, 24, 24),
        layer("features", "conv", POINT, 32, 24),
        Pool(),
        layer("classes", "fc", POINT, 10, 4 * 32, relu=False),
    ]


def real(rows: Rows) -> Array:
    return (rows.x.astype(np.float64) - ZERO_POINT) * SCALE


def train(layers: list[Layer | Pool], rows: Rows, rng: np.random.Generator) -> None:
    """Adam on softmax cross-entropy with a falling rate; images are shifted by up to one pixel."""
    trained = [part for part in layers if isinstance(part, Layer)]
    moments = [[np.zeros_like(p) for p in (part.weights, part.bias) for _ in range(2)] for part in trained]
    x, step, steps = real(rows), 0, EPOCHS * (len(rows.x) // BATCH)
    for _ in range(EPOCHS):
        order = rng.permutation(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            which = order[start : start + BATCH]
            dy = batch_gradient(layers, shifted(x[which], rng), rows.y[which])
            step += 1
            rate = RATE * (1 - (step - 1) / steps)
            for part in reversed(layers):
                if isinstance(part, Pool):
                    dy = part.backward(dy)
                    continue
                dy, dw, db = part.backward(dy)
                m = moments[trained.index(part)]
                part.weights = adam(part.weights, dw + DECAY * part.weights, m[0], m[1], rate, step)
                part.bias = adam(part.bias, db, m[2], m[3], rate, step)


def shifted(x: Array, rng: np.random.Generator) -> Array:
    down, right = rng.integers(-1, 2, 2)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return padded[:, 1 + down : 9 + down, 1 + right : 9 + right]


def batch_gradient(layers: list[Layer | Pool], x: Array, labels: NDArray[np.int32]) -> Array:
    """Gradient of the mean cross-entropy with respect to the logits."""
    for part in layers:
        x = part.forward(x)
    p = np.exp(x - x.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    return p / len(labels)


def adam(value: Array, gradient: Array, first: Array, second: Array, rate: float, step: int) -> Array:
    first += 0.1 * (gradient - first)
    second += 0.001 * (gradient**2 - second)
    return value - rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)


# -- quantisation -------------------------------------------------------------------------------------
def result_type(y: Array, relu: bool) -> TensorType:
    """The int8 type that just holds every value seen."""
    low, high = (0.0 if relu else float(y.min())), float(y.max())
    scale = float(np.float32((high - min(low, 0.0)) / 255))
    return activation((1, *y.shape[1:]), scale, int(np.clip(round(-128 - min(low, 0.0) / scale), -128, 127)))


def quantise(layers: Sequence[Layer | Pool], y: Array, t: TensorType, title: str, softmax: bool = True) -> Graph:
    """The INT8 graph: per-channel symmetric weights, activations calibrated on inputs y [N, ...] of type t, softmax at the end where asked for."""
    b = GraphBuilder(title, f"{title}.tflite")
    name = b.input(t, "image" if y.ndim == 4 else "features")
    for part in layers:
        y = part.forward(y)
        if isinstance(part, Pool):
            t = TensorType((1, *y.shape[1:]), "int8", t.quantization)
            name = b.node("pool", AveragePool2D(Window((2, 2), (2, 2))), {"x": name}, t, "")
            name = b.node("flat", Reshape((1, t.size)), {"x": name}, TensorType((1, t.size), "int8", t.quantization), "")
            continue
        axis = 1 if part.kind == "depthwise" else 0
        scales = (np.abs(part.weights).max(1 - axis) / 127).astype(np.float32)
        codes = np.rint(part.weights / scales.astype(np.float64).reshape((1, -1) if axis else (-1, 1))).astype(np.int8)
        bias = np.rint(part.bias / (t.scale * scales.astype(np.float64))).astype(np.int32)
        shape = {"conv": (len(bias), *part.window.kernel, -1), "depthwise": (1, *part.window.kernel, len(bias)), "fc": codes.shape}[part.kind]
        quantization = Quantization(tuple(float(s) for s in scales), 0, 3 if axis else 0)
        inputs = {
            "x": name,
            "weights": b.constant(f"{part.name}.weights", codes.reshape(shape), quantization, ""),
            "bias": b.constant(f"{part.name}.bias", bias, None, ""),
        }
        t, fused = result_type(y, part.relu), "relu" if part.relu else "none"
        op = {"conv": Conv2D(fused, window=part.window), "depthwise": DepthwiseConv2D(part.window, fused), "fc": FullyConnected(fused)}[part.kind]
        name = b.node(part.name, op, inputs, t, "")
    if not softmax:
        return verify(b.finish([name]))
    probabilities = b.node("softmax", Softmax(), {"x": name}, activation((1, y.shape[1]), 1 / 256, -128), "")
    return verify(b.finish([probabilities]))


def accuracy(graph: Graph, rows: Rows) -> float:
    return float((interp.infer(graph, rows.x)[0].argmax(1) == rows.y).mean())


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("digits.tflite")
    rng, rows = np.random.Generator(np.random.PCG64(SEED)), digits()
    layers = network(rng)
    train(layers, rows.base, rng)
    graph = quantise(layers, real(rows.base), activation((1, 8, 8, 1), SCALE, ZERO_POINT), "digits")
    path.write_bytes(tflite.write(graph))
    weights = sum(v.type.bytes for v in graph.values.values() if v.kind == "constant")
    print(f"{path.name}  {path.stat().st_size:,} bytes, of which weights and biases {weights:,}")
    for title, part in (("base", rows.base), ("test", rows.test), ("after the change", rows.changed)):
        print(f"INT8 accuracy, {title:<18} {accuracy(graph, part):.3f}")


if __name__ == "__main__":
    main()
