"""Reversible networks of float weights to Graph: quantised as their blocks need it to be undone in integers.

    y1 = x1 + F(x2)        y2 = x2 + G(y1)

The two halves run through all blocks as int16 with one scale, that of what F and G give as int8; F and G read the halves as int8. So every sum is
exact, and since a block adds at most 128 to each value, 250 blocks stay within int16. `passes/reconstruct.py` finds the sums in the file and trains
the network without keeping what is between its blocks.

Layers are dense ones, over the last axis, and convolutions of images [H, W, C] with stride 1 that keep their size. An exporter of one's own has to
write the same: in .onnx files QuantizeLinear and DequantizeLinear of int16 (opset 21) around each Add, with one scale and zero point 0 for x, F(u)
and y.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Graph
from ..ir.types import RANGES, Quantization, TensorType, activation
from ..ir.verify import verify
from ..ops._window import Window
from ..ops.model.concatenate import Concatenate
from ..ops.model.conv_2d import Conv2D
from ..ops.model.fully_connected import FullyConnected
from ..ops.model.mean import Mean
from ..ops.model.requantize import Requantize
from ..ops.model.slice import Slice
from ..ops.wide.elementwise import WideAdd
from .build import GraphBuilder

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Dense:
    """weights [out, in], bias [out], over the last axis; relu: with a RELU behind it."""

    weights: NDArray[Any]
    bias: NDArray[Any]
    relu: bool = False

    def __call__(self, x: Array) -> Array:
        y = x @ np.asarray(self.weights, np.float64).T + np.asarray(self.bias, np.float64)
        return np.maximum(y, 0) if self.relu else y


@dataclass(frozen=True)
class Convolution:
    """weights [out, KH, KW, in] with odd KH and KW, bias [out]; over images [H, W, C] with a border of zeros; relu: with a RELU behind it."""

    weights: NDArray[Any]
    bias: NDArray[Any]
    relu: bool = False

    def __call__(self, x: Array) -> Array:
        w = np.asarray(self.weights, np.float64)
        _, kh, kw, _ = w.shape
        padded = np.pad(x, ((0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2), (0, 0)))
        rows, columns = x.shape[1:3]
        y = sum(padded[:, i : i + rows, j : j + columns] @ w[:, i, j].T for i in range(kh) for j in range(kw)) + np.asarray(self.bias, np.float64)
        return np.maximum(y, 0) if self.relu else y


Layer = Dense | Convolution
Layers = Sequence[Layer]


@dataclass(frozen=True)
class Reversible:
    """A network in float: front layers whose result is cut in halves along its last axis, blocks (F, G), and a head on both halves together.

    The head begins with the mean over all axes but the last. Called with inputs [N, ...] it computes in float64.
    """

    front: Layers
    blocks: Sequence[tuple[Layers, Layers]]
    head: Layers

    def __call__(self, x: NDArray[Any]) -> Array:
        return self._run(np.asarray(x, np.float64), lambda name, values: None)

    def _run(self, x: Array, seen: Callable[[str, Array], None]) -> Array:
        seen("input", x)
        for i, layer in enumerate(self.front):
            x = layer(x)
            seen(f"front_{i}", x)
        halves = np.split(x, 2, axis=-1)
        for i, block in enumerate(self.blocks):
            for side, layers in enumerate(block):
                y = halves[1 - side]
                seen("stream", y)
                for j, layer in enumerate(layers):
                    y = layer(y)
                    seen("branch" if j == len(layers) - 1 else f"block_{i}_{'fg'[side]}_{j}", y)
                halves[side] = halves[side] + y
        seen("stream", halves[0])
        seen("stream", halves[1])
        y = np.concatenate(halves, -1)
        y = y.reshape(len(y), -1, y.shape[-1]).mean(1)
        seen("middle", y)
        for i, layer in enumerate(self.head):
            y = layer(y)
            seen(f"head_{i}", y)
        return y

    def quantized(self, samples: NDArray[Any], name: str = "reversible") -> Graph:
        """The network in integers. samples: inputs [N, ...] that say which values occur. Raises CompileError."""
        largest: dict[str, float] = {}

        def seen(key: str, values: Array) -> None:
            largest[key] = max(largest.get(key, 1e-6), float(np.abs(values).max()))

        samples = np.asarray(samples, np.float64)
        if not len(samples) or not np.all(np.isfinite(samples)):
            raise CompileError("samples", "are none, or not finite", "pass some inputs of the domain")
        _Writer(self, defaultdict(lambda: 1.0), samples.shape[1:], name).graph()  # complains of layers that do not fit
        self._run(samples, seen)
        return _Writer(self, largest, samples.shape[1:], name).graph()


class _Writer:
    def __init__(self, network: Reversible, largest: Mapping[str, float], shape: tuple[int, ...], name: str) -> None:
        self.network, self.largest = network, largest
        self.b = GraphBuilder(name, f"{name}.onnx")
        self.shape = (1, *shape)
        first = largest[f"front_{len(network.front) - 1}"] if network.front else largest["input"]
        room = RANGES["int16"][1] - 128 * (len(network.blocks) + 1)
        if room <= 0:
            raise CompileError("blocks", f"{len(network.blocks)} blocks may leave int16", "build at most 250")
        self.unit = max(largest["branch"] / 127, 128 * first / 127 / room)
        """Scale of the halves, and of what F and G give."""

    def graph(self) -> Graph:
        network = self.network
        x = self.b.input(activation(self.shape, self._scale("input"), 0), "input")
        for i, layer in enumerate(network.front):
            x = self.layer(x, layer, f"front_{i}", self._scale(f"front_{i}", layer))
        halves = [self._half(x, side) for side in (0, 1)]
        for i, block in enumerate(network.blocks):
            for side, layers in enumerate(block):
                halves[side] = self._coupled(f"block_{i}_{'fg'[side]}", halves[side], halves[1 - side], layers)
        y = self._joined([self._narrow(h, f"last_{side}") for side, h in enumerate(halves)])
        for i, layer in enumerate(network.head):
            y = self.layer(y, layer, f"head_{i}", self._scale(f"head_{i}", layer))
        return verify(self.b.finish([y]))

    def _scale(self, key: str, layer: Layer | None = None) -> float:
        steps = 255 if layer is not None and layer.relu else 127
        return self.largest[key] / steps

    def _half(self, x: str, side: int) -> str:
        t = self.b.values[x].type
        if t.shape[-1] % 2:
            raise CompileError("front", f"gives {t.shape[-1]} channels, which have no halves", "let it give an even number")
        size = t.shape[-1] // 2
        op = Slice.along(t.shape, len(t.shape) - 1, side * size, size)
        half = self.b.node(f"half_{side}", op, {"x": x}, TensorType((*t.shape[:-1], size), "int8", t.quantization), "half")
        return self._wide(half, f"stream_{side}")

    def _wide(self, x: str, name: str) -> str:
        t = TensorType(self.b.values[x].type.shape, "int16", Quantization((self.unit_scale,)))
        return self.b.node(name, Requantize(), {"x": x}, t, name)

    @property
    def unit_scale(self) -> float:
        return float(np.float32(self.unit))

    def _narrow(self, x: str, name: str) -> str:
        return self.b.node(name, Requantize(), {"x": x}, activation(self.b.values[x].type.shape, self._rounded("stream"), 0), name)

    def _rounded(self, key: str) -> float:
        return float(np.float32(self._scale(key)))

    def _coupled(self, name: str, x: str, u: str, layers: Layers) -> str:
        y = self._narrow(u, f"{name}_in")
        for j, layer in enumerate(layers):
            last = j == len(layers) - 1
            if last and layer.relu:
                raise CompileError(name, "ends with a RELU, so that it can only add", "end F and G with a layer without one")
            y = self.layer(y, layer, f"{name}_{j}", self.unit if last else self._scale(f"{name}_{j}", layer))
        wide, t = self._wide(y, f"{name}_out"), self.b.values[x].type
        if self.b.values[wide].type.shape != t.shape:
            raise CompileError(name, f"gives {self.b.values[wide].type.shape} for {t.shape}", "let F and G give what a half has")
        return self.b.node(f"{name}_sum", WideAdd(), {"x": x, "other": wide}, t, name)

    def _joined(self, halves: list[str]) -> str:
        t = self.b.values[halves[0]].type
        shape = (*t.shape[:-1], 2 * t.shape[-1])
        y = self.b.node(
            "joined", Concatenate(len(shape) - 1), dict(zip(("x", "x1"), halves, strict=True)), TensorType(shape, "int8", t.quantization), "joined"
        )
        if len(shape) == 2:
            return y
        axes = tuple(range(1, len(shape) - 1))
        return self.b.node("middle", Mean(axes), {"x": y}, activation((1, shape[-1]), self._rounded("middle"), 0), "middle")

    def layer(self, x: str, layer: Layer, name: str, scale: float) -> str:
        t, w = self.b.values[x].type, np.asarray(layer.weights, np.float64)
        channels, depth = w.shape[0], w.shape[-1]
        if depth != t.shape[-1] or np.shape(layer.bias) != (channels,) or (isinstance(layer, Convolution) and len(t.shape) != 4):
            raise CompileError(name, f"has weights {w.shape} and a bias {np.shape(layer.bias)} for {t.shape}", "let shapes of layers fit")
        scales = np.maximum(np.abs(w).reshape(channels, -1).max(1) / 127, 1e-8).astype(np.float32).astype(np.float64)
        codes = np.rint(w / scales.reshape(-1, *(1,) * (w.ndim - 1))).astype(np.int8)
        bias = np.rint(np.asarray(layer.bias, np.float64) / (scales * t.scale))
        if not np.all(np.abs(bias) < 2**31):
            raise CompileError(name, "has a bias beyond int32 in units of its scales", "scale the network otherwise")
        inputs = {
            "x": x,
            "weights": self.b.constant(f"{name}.weights", codes, Quantization(tuple(map(float, scales)), 0, 0), name),
            "bias": self.b.constant(f"{name}.bias", bias.astype(np.int32), None, name),
        }
        kind = "relu" if layer.relu else "none"
        op = FullyConnected(activation=kind)
        if isinstance(layer, Convolution):
            kh, kw = w.shape[1:3]
            op = Conv2D(activation=kind, window=Window((kh, kw), (1, 1), (kh // 2, kw // 2, kh // 2, kw // 2)))  # type: ignore[assignment]
        y = activation((*t.shape[:-1], channels), float(np.float32(scale)), -128 if layer.relu else 0)
        return self.b.node(name, op, inputs, y, name)
