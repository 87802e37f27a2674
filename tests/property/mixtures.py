"""Random graphs off the tuned path: every operator of models behind, beside and around every other one.

`graphs.py` draws chains of layers, as networks have them. Here values of any rank meet: several inputs, ends of other types, operands that
stretch, constants, views of inputs, results that are views, are read twice or by nobody else, sizes that are no multiple of anything.
A graph is a function of a seed and a number of operators, so that a finding is two numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph, Node
from kiloc.ir.operator import NodeTypes, Op
from kiloc.ir.types import RANGES, Quantization, TensorType, activation
from kiloc.ir.verify import verify
from kiloc.ops._lstm import Memory
from kiloc.ops._window import Window, same_padding
from kiloc.ops.model.abs import Abs
from kiloc.ops.model.add import Add
from kiloc.ops.model.average_pool_2d import AveragePool2D
from kiloc.ops.model.batch_matmul import BatchMatMul
from kiloc.ops.model.concatenate import Concatenate
from kiloc.ops.model.conv_2d import Conv2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.ops.model.elu import Elu
from kiloc.ops.model.exp import Exp
from kiloc.ops.model.fully_connected import FullyConnected
from kiloc.ops.model.function import Function
from kiloc.ops.model.gather import Gather
from kiloc.ops.model.gelu import Gelu
from kiloc.ops.model.hard_swish import HardSwish
from kiloc.ops.model.keep import Keep
from kiloc.ops.model.leaky_relu import LeakyRelu
from kiloc.ops.model.log_softmax import LogSoftmax
from kiloc.ops.model.logistic import Logistic
from kiloc.ops.model.lstm import Lstm
from kiloc.ops.model.max_pool_2d import MaxPool2D
from kiloc.ops.model.maximum import Maximum
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.minimum import Minimum
from kiloc.ops.model.mul import Mul
from kiloc.ops.model.pad import Pad
from kiloc.ops.model.pad_axes import PadAxes
from kiloc.ops.model.prelu import Prelu
from kiloc.ops.model.relabel import Relabel
from kiloc.ops.model.requantize import Requantize
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.resize_bilinear import ResizeBilinear
from kiloc.ops.model.slice import Slice
from kiloc.ops.model.softmax import Softmax
from kiloc.ops.model.squared_difference import SquaredDifference
from kiloc.ops.model.sub import Sub
from kiloc.ops.model.svdf import Svdf
from kiloc.ops.model.tanh import Tanh
from kiloc.ops.model.transpose import Transpose

from .wide_mixtures import WidePart

SCALES = (0.02, 0.037, 0.05, 0.1)
ZEROS = (-128, -3, 0, 40, 127)
ACTIVATIONS = ("none", "none", "relu", "relu6")
LARGEST = 700
"""Elements of a value."""
TABLES: tuple[Op, ...] = (Abs(), Elu(), HardSwish(), LeakyRelu(0.25), Logistic(), Tanh())
ELSEWHERE: tuple[Op, ...] = (Exp(), Gelu(), Gelu(True), Function(("x", "x", "sigmoid", "mul")))
"""Tables that TensorFlow Lite Micro does not have."""
PAIRS: tuple[Callable[[str], Op], ...] = (Add, Mul, Sub, lambda _: SquaredDifference(), lambda _: Maximum(), lambda _: Minimum())


@dataclass
class Mixture:
    """A graph being made, and the int8 values that later nodes may read."""

    rng: np.random.Generator
    tables: tuple[Op, ...] = TABLES
    relabels: tuple[Op, ...] = (Relabel(),)
    """What else than a rescale brings values to one scale: codes moved as they are, which have no gradient."""
    builder: GraphBuilder = field(default_factory=lambda: GraphBuilder("mixed", "mixed.tflite"))
    values: list[str] = field(default_factory=list)
    count: int = 0

    # -- drawing --------------------------------------------------------------------------------------
    def pick(self, *given: Any) -> Any:
        return given[int(self.rng.integers(len(given)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def between(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def value(self, rank: int = 0) -> str | None:
        """The newest value, or an older one; of this rank."""
        found = [v for v in self.values if not rank or len(self.type(v).shape) == rank]
        if not found:
            return None
        return found[-1] if self.chance(0.6) else str(self.pick(*found))

    def type(self, name: str) -> TensorType:
        return self.builder.values[name].type

    def result(self, *shape: int) -> TensorType:
        return activation(tuple(shape), float(np.float32(self.pick(*SCALES))), self.pick(*ZEROS))

    # -- adding ---------------------------------------------------------------------------------------
    def node(self, op: Op, inputs: dict[str, str], y: TensorType | None = None) -> str:
        if y is None:
            inferred = op.infer(NodeTypes({o: self.type(v) for o, v in inputs.items()}))
            assert inferred is not None
            y = inferred[0]
        self.count += 1
        return self.builder.node(f"{op.mnemonic}_{self.count}", op, inputs, y, f"node {self.count}")

    def layer(self, op: Op, x: str, y: tuple[int, ...], axis: int, shape: tuple[int, ...]) -> str:
        self.count += 1
        scales = self.rng.uniform(0.002, 0.02, shape[axis] if self.chance(0.6) else 1).astype(np.float32)
        q = Quantization(tuple(float(s) for s in scales), 0, axis if len(scales) > 1 else None)
        weights, bias = self.rng.integers(-127, 128, shape).astype(np.int8), self.rng.integers(-900, 900, shape[axis]).astype(np.int32)
        name = f"layer_{self.count}"
        inputs = {
            "x": x,
            "weights": self.builder.constant(f"{name}.weights", weights, q, ""),
            "bias": self.builder.constant(f"{name}.bias", bias, None, ""),
        }
        return self.builder.node(name, op, inputs, self.result(*y), name)

    def constant(self, shape: tuple[int, ...], q: Quantization | None = None) -> str:
        self.count += 1
        q = q or Quantization((float(np.float32(self.pick(*SCALES))),), self.pick(-128, 0, 0, 7))
        return self.builder.constant(f"constant_{self.count}", self.rng.integers(-128, 128, shape).astype(np.int8), q, "")

    def window(self, h: int, w: int) -> Window:
        kernel, stride = (self.between(1, min(3, h)), self.between(1, min(3, w))), (self.between(1, 2), self.between(1, 2))
        if self.chance(0.5):
            return Window(kernel, stride)
        (top, bottom), (left, right) = same_padding(h, kernel[0], stride[0]), same_padding(w, kernel[1], stride[1])
        return Window(kernel, stride, (top, left, bottom, right))

    # -- one more value, or None where nothing fits ---------------------------------------------------
    def conv(self) -> str | None:
        x = self.value(4)
        if x is None:
            return None
        _, h, w, c = self.type(x).shape
        window, n = self.window(h, w), self.between(1, 6)
        return self.layer(Conv2D(activation=self.pick(*ACTIVATIONS), window=window), x, (1, *window.output(h, w), n), 0, (n, *window.kernel, c))

    def depthwise(self) -> str | None:
        x = self.value(4)
        if x is None:
            return None
        _, h, w, c = self.type(x).shape
        window, n = self.window(h, w), c * (2 if c < 4 and self.chance(0.3) else 1)
        return self.layer(DepthwiseConv2D(window, self.pick(*ACTIVATIONS)), x, (1, *window.output(h, w), n), 3, (1, *window.kernel, n))

    def dense(self) -> str | None:
        x = self.value()
        assert x is not None
        *front, depth = self.type(x).shape
        n = self.between(1, 7)
        return self.layer(FullyConnected(activation=self.pick(*ACTIVATIONS)), x, (*front, n), 0, (n, depth))

    def pool(self) -> str | None:
        x = self.value(4)
        if x is None:
            return None
        _, h, w, c = self.type(x).shape
        window, act = self.window(h, w), self.pick(*ACTIVATIONS)
        op = self.pick(AveragePool2D(window, act), MaxPool2D(window, act))
        return self.node(op, {"x": x}, TensorType((1, *window.output(h, w), c), "int8", self.type(x).quantization))

    def pair(self) -> str | None:
        """Two values, or one and a constant, that stretch to a result; sometimes a value with itself."""
        x = self.value()
        assert x is not None
        t, act = self.type(x), self.pick(*ACTIVATIONS)
        op = self.pick(*PAIRS)(act)
        choice = isinstance(op, (Maximum, Minimum))
        if self.chance(0.45):
            shape = tuple(1 if self.chance(0.4) else n for n in t.shape) if self.chance(0.5) else (*(1 for _ in t.shape[1:]), t.shape[-1])
            other = self.constant(shape, t.quantization if choice else None)
        else:
            fits = [v for v in self.values if self._stretch(self.type(v).shape, t.shape)]
            other = str(self.pick(*fits))
            if choice and self.type(other).quantization != t.quantization:
                other = self.node(Requantize(), {"x": other}, TensorType(self.type(other).shape, "int8", t.quantization))
        shape = tuple(int(n) for n in np.broadcast_shapes(t.shape, self.type(other).shape))
        y = TensorType(shape, "int8", t.quantization) if choice else self.result(*shape)
        inputs = {"x": other, "other": x} if self.chance(0.3) else {"x": x, "other": other}
        types = NodeTypes({o: self.type(v) for o, v in inputs.items()}, (y,))
        return None if np.prod(shape) > LARGEST or op.check(types) else self.node(op, inputs, y)

    def _stretch(self, a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        return len(a) == len(b) and all(m == n or 1 in (m, n) for m, n in zip(a, b, strict=True))

    def chain(self) -> str | None:
        """Constants one after the other, as a batch normalisation that was not fused."""
        x = self.value()
        assert x is not None
        for make in (Mul, Add)[: self.between(1, 2)] * self.between(1, 2):
            shape = (*(1 for _ in self.type(x).shape[1:]), self.type(x).shape[-1])
            x = self.node(make(self.pick(*ACTIVATIONS)), {"x": x, "other": self.constant(shape)}, self.result(*self.type(x).shape))
            if self.chance(0.3):
                self.values.append(x)
        return x

    def table(self) -> str | None:
        x = self.value()
        assert x is not None
        op = self.pick(*self.tables)
        y = self.result(*self.type(x).shape)
        if op.fixed is not None:
            y = activation(y.shape, op.fixed.per_tensor, op.fixed.zero_point)
        return None if op.check(NodeTypes({"x": self.type(x)}, (y,))) else self.node(op, {"x": x}, y)

    def slopes(self) -> str | None:
        x = self.value()
        assert x is not None
        shape = (*(1 for _ in self.type(x).shape[1:]), self.type(x).shape[-1])
        return self.node(Prelu(), {"x": x, "other": self.constant(shape)}, self.result(*self.type(x).shape))

    def rows(self) -> str | None:
        x = self.value()
        assert x is not None
        shape = self.type(x).shape
        if self.chance(0.5):
            return self.node(Softmax(), {"x": x}, activation(shape, 1 / 256, -128))
        return self.node(LogSoftmax(), {"x": x}, activation(shape, 1 / 16, 127))

    def joined(self) -> str | None:
        """Values of one scale as they are, of others rescaled; a constant among them; one of them twice."""
        x = self.value()
        assert x is not None
        t = self.type(x)
        axis = self.between(1, len(t.shape) - 1)
        fits = [v for v in self.values if self._but(self.type(v).shape, axis) == self._but(t.shape, axis)]
        parts = [x, *(str(self.pick(*fits)) for _ in range(self.between(1, 2)))]
        for i, v in enumerate(parts[1:], 1):
            q = self.type(v).quantization
            if q != t.quantization:
                parts[i] = self.node(self.pick(Requantize(), *self.relabels), {"x": v}, TensorType(self.type(v).shape, "int8", t.quantization))
        if self.chance(0.2):
            parts.append(self.constant(t.shape, t.quantization))
        self.rng.shuffle(parts)
        if sum(self.type(v).size for v in parts) > LARGEST or all(v not in self.values and "constant" in v for v in parts):
            return None
        return self.node(Concatenate(axis), {"x" if not i else f"x{i}": v for i, v in enumerate(parts)})

    def _but(self, shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
        return (*shape[:axis], -len(shape), *shape[axis + 1 :])

    def sliced(self) -> str | None:
        """A part, or all parts of a split, joined later or never."""
        x = self.value()
        assert x is not None
        shape = self.type(x).shape
        axis = self.between(1, len(shape) - 1)
        if self.chance(0.5) and shape[axis] > 1:
            at = self.between(1, shape[axis] - 1)
            for begin, size in ((0, at), (at, shape[axis] - at)):
                begins, sizes = [0] * len(shape), list(shape)
                begins[axis], sizes[axis] = begin, size
                self.values.append(self.node(Slice(tuple(begins), tuple(sizes), (1,) * len(shape)), {"x": x}))
            return self.values.pop()
        begins, sizes, strides = [0], [1], [1]
        for n in shape[1:]:
            stride, begin = self.between(1, 2), self.between(0, max(0, n // 3))
            begins, sizes, strides = [*begins, begin], [*sizes, -(-(n - begin) // stride)], [*strides, stride]
        return self.node(Slice(tuple(begins), tuple(sizes), tuple(strides)), {"x": x})

    def moved(self) -> str | None:
        x = self.value()
        assert x is not None
        t = self.type(x)
        rank = len(t.shape)
        kind = self.between(0, 4)
        if kind == 0:
            axis = self.between(1, rank - 1)
            y = (Gather(axis, (tuple(self.between(0, t.shape[axis] - 1) for _ in range(self.between(1, 6))),)), None)
        elif kind == 1:
            y = (Transpose((0, *(int(i) for i in 1 + self.rng.permutation(rank - 1)))), None)
        elif kind == 2:
            before, after = ((0, *(self.between(0, 2) for _ in range(rank - 1))) for _ in range(2))
            y = (PadAxes(before, after, (0,) * rank, t.zero_point), None)
        elif kind == 3 and rank == 4:
            amounts = (self.between(0, 1), self.between(0, 1), self.between(0, 2), 1)
            larger = (1, t.shape[1] + amounts[0] + amounts[2], t.shape[2] + amounts[1] + amounts[3], t.shape[3])
            y = (Pad(amounts, t.zero_point), TensorType(larger, "int8", t.quantization))
        elif kind == 4 and rank == 4:
            y = (ResizeBilinear((self.between(1, 7), self.between(1, 7)), self.chance(0.3)), None)
        else:
            y = (Requantize(self.pick("none", "relu")), self.result(*t.shape))
        op, result = y
        inferred = result or op.infer(NodeTypes({"x": t}))[0]
        return None if inferred.size > LARGEST or op.check(NodeTypes({"x": t}, (inferred,))) else self.node(op, {"x": x}, inferred)

    def viewed(self) -> str | None:
        x = self.value()
        assert x is not None
        t = self.type(x)
        shapes = [(1, t.size), (1, 1, t.size), (1, 1, 1, t.size), (1, t.size, 1), (1, t.shape[1], t.size // t.shape[1])]
        if t.size % 6 == 0:
            shapes += [(1, 2, 3, t.size // 6), (1, 3, t.size // 3)]
        return self.node(Reshape(self.pick(*shapes)), {"x": x})

    def reduced(self) -> str | None:
        x = self.value()
        assert x is not None
        shape = self.type(x).shape
        first = self.between(1, len(shape) - 1)
        axes = tuple(range(first, self.between(first, len(shape) - 1) + 1))
        kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
        gone = tuple(n for i, n in enumerate(shape) if i not in axes)
        return self.node(Mean(axes), {"x": x}, self.result(*(kept if self.chance(0.5) or len(gone) < 2 else gone)))

    def product(self) -> str | None:
        x = self.value(3)
        if x is None:
            return None
        shape = self.type(x).shape
        if self.chance(0.4):
            other, turned = x, True
        else:
            other, turned = self.constant((1, shape[2], self.between(1, 5)), Quantization((0.05,), self.pick(0, 3))), False
        op = BatchMatMul(False, turned)
        types = NodeTypes({"x": self.type(x), "other": self.type(other)})
        return self.node(op, {"x": x, "other": other}, self.result(*op.result_shape(types)))

    def widened(self) -> str:
        """A part of the graph in int16."""
        x = self.value()
        assert x is not None
        return WidePart(self).made(x)

    # -- what is kept from call to call ---------------------------------------------------------------
    def kept(self) -> str | None:
        """Rows of the call before in front of a value, or that value as it was; what is kept next is the end of the result or the value."""
        x = self.value()
        assert x is not None
        t = self.type(x)
        if self.chance(0.5):
            rows = self.between(1, t.shape[1] + 1)
            stream = self._stream(TensorType((1, rows, *t.shape[2:]), "int8", t.quantization))
            y = self.node(Concatenate(1), {"x": stream, "x1": x})
            self._keep(stream, y, Slice.along(self.type(y).shape, 1, t.shape[1], rows))
            return y
        stream = self._stream(t)
        if self.chance(0.5):
            y = self.node(Requantize(), {"x": stream}, self.result(*t.shape))
        else:
            y = self.node(self.pick(Add(), Mul(), Sub()), {"x": x, "other": stream}, self.result(*t.shape))
        self._keep(stream, x, None)
        return y

    def _stream(self, t: TensorType) -> str:
        return self.builder.stream(f"stream_{self.count}", t, np.full(t.shape, t.zero_point, t.dtype), "stream")

    def _keep(self, stream: str, value: str, part: Slice | None) -> None:
        self.builder.nodes.append(Node(f"{stream}.keep", Keep(part), {"x": value, "kept": stream}, (), (stream,), origin=stream))

    def lstm(self) -> str | None:
        x = self.value(3)
        if x is None:
            return None
        _, steps, depth = self.type(x).shape
        units = self.between(1, 5)
        y = activation((1, steps, units), 1 / 128, 0)
        self.count += 1
        name = f"lstm_{self.count}"
        codes = lambda *shape: self.rng.integers(-127, 128, shape).astype(np.int8)  # noqa: E731
        gates = [float(np.float32(s)) for s in np.repeat(self.rng.uniform(0.002, 0.008, 4), units)]
        q = Quantization(tuple(gates), 0, 0)
        inputs = {
            "x": x,
            "weights": self.builder.constant(f"{name}.weights", codes(4 * units, depth), q, ""),
            "recurrent": self.builder.constant(f"{name}.recurrent", codes(4 * units, units), q, ""),
            "bias": self.builder.constant(f"{name}.bias", self.rng.integers(-900, 900, 4 * units).astype(np.int32), None, ""),
            "hidden": self._stream(TensorType((1, units), "int8", y.quantization)),
            "cell": self._stream(TensorType((1, units), "int16", Quantization((2.0**-12,)))),
        }
        return self.builder.node(name, Lstm(Memory()), inputs, y, name)

    def svdf(self) -> str | None:
        x = self.value(2)
        if x is None:
            return None
        depth, units, rank, memory = self.type(x).size, self.between(1, 5), self.between(1, 2), self.between(1, 6)
        filters = units * rank
        self.count += 1
        name = f"svdf_{self.count}"
        state = TensorType((1, filters * memory), "int16", Quantization((float(np.float32(0.0005)),)))
        inputs = {
            "x": x,
            "weights": self.builder.constant(
                f"{name}.weights", self.rng.integers(-127, 128, (filters, depth)).astype(np.int8), Quantization((float(np.float32(0.01)),)), ""
            ),
            "time": self.builder.constant(
                f"{name}.time", self.rng.integers(-9000, 9000, (filters, memory)).astype(np.int16), Quantization((float(np.float32(3e-5)),)), ""
            ),
            "bias": self.builder.constant(f"{name}.bias", self.rng.integers(-900, 900, units).astype(np.int32), None, ""),
            "state": self._stream(state),
        }
        return self.builder.node(name, Svdf(rank), inputs, self.result(1, units), name)

    # -- the graph ------------------------------------------------------------------------------------
    def input(self) -> None:
        image, row = (self.between(1, 7), self.between(1, 7), self.between(1, 5)), (self.between(1, 33),)
        t = self.result(1, *self.pick(image, image, image, row, image[1:]))
        dtype = self.pick("int8", "int8", "int8", "uint8", "int16")
        if dtype == "int8":
            self.values.append(self.builder.input(t, f"x{len(self.values)}"))
            return
        zero = 0 if dtype == "int16" else t.zero_point + 128
        q = Quantization((t.scale if self.chance(0.5) else t.scale * 0.5,), zero)
        outer = self.builder.input(TensorType(t.shape, dtype, Quantization((float(np.float32(q.per_tensor)),), zero)), f"x{len(self.values)}")
        self.values.append(self.node(Requantize(), {"x": outer}, t))


KINDS = (
    *("conv", "conv", "depthwise", "dense", "dense", "pool", "pair", "pair", "pair", "chain", "table", "slopes", "rows", "joined", "joined"),
    *("sliced", "moved", "moved", "viewed", "reduced", "product"),
)


RECURRENT = ("kept", "kept", "lstm", "svdf")
WIDE = ("widened", "widened", "widened")


def mixture(
    seed: int, operators: int = 8, trained: bool = False, streams: bool = False, tables: tuple[Op, ...] = TABLES, wide: bool = False
) -> Graph:
    """trained: the first result is the logits of three classes, of a layer behind the newest values. streams: some values are kept from call to
    call. wide: parts of the graph are of int16, which no gradient goes through."""
    m = Mixture(np.random.default_rng(seed), tables, () if trained else (Relabel(),))
    for _ in range(m.pick(1, 1, 2, 3)):
        m.input()
    while m.count < operators:
        made = getattr(m, m.pick(*KINDS, *(RECURRENT if streams else ()), *(WIDE if wide else ())))()
        if made is not None:
            m.values.append(made)
    return verify(m.builder.finish(_ends(m, trained)))


def _ends(m: Mixture, trained: bool) -> list[str]:
    """Results: the newest value and some others; each may leave in another type."""
    read = {v for n in m.builder.nodes for v in n.inputs.values()}
    loose = [v for v in m.values if v not in read]
    ends = [m.values[-1]]
    if trained:
        parts = [*dict.fromkeys([*loose, m.values[-1]])]
        flat = [m.node(Reshape((1, m.type(v).size)), {"x": v}) for v in parts]
        q = m.type(flat[0]).quantization
        flat = [v if m.type(v).quantization == q else m.node(Requantize(), {"x": v}, TensorType(m.type(v).shape, "int8", q)) for v in flat]
        x = flat[0] if len(flat) == 1 else m.node(Concatenate(1), {"x" if not i else f"x{i}": v for i, v in enumerate(flat)})
        ends = [m.layer(FullyConnected(), x, (1, 3), 0, (3, m.type(x).size))]
        if m.chance(0.4):
            ends = [m.node(Softmax(), {"x": ends[0]}, activation((1, 3), 1 / 256, -128))]
    else:
        ends = [*dict.fromkeys([*ends, *loose])]
    if m.chance(0.3):
        ends.append(str(m.pick(*m.values)))
    ends = [*dict.fromkeys(ends)]
    for i, v in enumerate(ends):
        if m.chance(0.2):
            t = m.type(v)
            ends[i] = m.node(Requantize(), {"x": v}, TensorType(t.shape, "uint8", Quantization((t.scale,), t.zero_point + 128)))
    return ends


def inputs_of(graph: Graph, count: int = 3, seed: int = 1) -> list[np.ndarray]:
    """Samples of every input, over the whole range of its type."""
    rng, found = np.random.default_rng(seed), []
    for name in graph.inputs:
        t = graph.type(name)
        low, high = RANGES[t.dtype]
        found.append(rng.integers(low, high + 1, (count, *t.shape[1:])).astype(t.dtype))
    return found
