"""The float model as an INT8 .onnx file in QDQ form: weights with a scale a channel, other tensors with the range that they have on a text.

The residual stream has 16 bits, or 8 where asked for. Its range is what all that was added to it may reach, so that it never saturates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from float_model import EPSILON, Architecture, Parameters, logits
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 21, 10
"""The first that have QuantizeLinear to 16 bits."""
SOFTMAX = (0.0, 255 / 256)
HIDDEN = 31.5
"""That the mask subtracts beyond the range of scores: an integer softmax counts nothing that is e^31 less likely than another."""

OUTSIDE, ROOM = 1e-4, 1.5
"""Share of a tensor's values that lie outside of its range; and how much wider the range is made: tensors grow while a device learns, and where they
saturate no gradient passes."""

SLACK = 0.01
"""By which the range of a sum is wider than those of what is added, which the codes' own rounding reaches a little beyond."""

Array = NDArray[Any]
Ranges = Mapping[str, tuple[float, float]]


def ranges(tensors: Mapping[str, Sequence[Array]]) -> dict[str, tuple[float, float]]:
    """Of each tensor the range that nearly all of its values lie in, made wider."""
    found = {}
    for name, parts in tensors.items():
        low, high = np.quantile(np.concatenate([p.ravel() for p in parts]), [OUTSIDE / 2, 1 - OUTSIDE / 2])
        found[name] = (min(float(low) * ROOM, 0.0), max(float(high) * ROOM, 0.0))
    return found


def write(a: Architecture, weights: Mapping[str, Array], found: Ranges, name: str = "language", wide: bool = True) -> bytes:
    """The file. weights: of `float_model`; found: a range for every tensor that the model shows to `see`; wide: the residual stream has 16 bits."""
    return Writer(a, weights, found, wide).model(name)


@dataclass
class Writer:
    a: Architecture
    weights: Mapping[str, Array]
    ranges: Ranges
    wide: bool = True
    reach: float = 0.0
    """The largest magnitude of what has been added to the residual stream so far."""
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def model(self, name: str) -> bytes:
        a, low = self.a, self.ranges["embedded"]
        table = self.constant("embedding", self.codes(self.weights["embedding"], low))
        x = self.emit("Gather", [self.emit("DequantizeLinear", [table, *self.scale("embedding", low)], "embedding_real"), "tokens"], "embedded")
        self.reach = max(-low[0], low[1])
        for i, kind in enumerate(a.blocks):
            block = f"block{i}"
            y = self.normalized(f"{block}_norm1", x)
            y = {"a": self.attended, "c": self.convolved, "g": self.remembered}[kind](block, y)
            x = self.added(f"{block}_sum1", x, f"{block}_mix", self.dense(f"{block}_mix", y))
            y = self.dense(f"{block}_widen", self.normalized(f"{block}_norm2", x), relu=True)
            x = self.added(f"{block}_sum2", x, f"{block}_narrow", self.dense(f"{block}_narrow", y))
        y = self.dense("head", self.normalized("norm", x))
        ports = (
            helper.make_tensor_value_info("tokens", TensorProto.INT64, (1, a.context)),
            helper.make_tensor_value_info(y, TensorProto.FLOAT, (1, a.context, self.weights["head"].shape[1])),
        )
        graph = helper.make_graph(self.nodes, name, [ports[0]], [ports[1]], self.constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="language")
        onnx.checker.check_model(made)
        return bytes(made.SerializeToString())

    # -- tensors --------------------------------------------------------------------------------------
    def constant(self, name: str, data: Array) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(data), name))
        return name

    def emit(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"{output}_{kind}", **attributes))
        return output

    @staticmethod
    def step(low_high: tuple[float, float]) -> tuple[np.float32, int]:
        """Scale and zero point of a range that contains 0."""
        low, high = low_high
        scale = np.float32((high - low) / 255)
        return scale, int(np.clip(np.rint(-128 - low / scale), -128, 127))

    def codes(self, data: Array, low_high: tuple[float, float]) -> NDArray[np.int8]:
        scale, zero = self.step(low_high)
        return np.clip(np.rint(data / scale) + zero, -128, 127).astype(np.int8)

    def scale(self, name: str, low_high: tuple[float, float]) -> list[str]:
        scale, zero = self.step(low_high)
        return [self.constant(f"{name}_scale", np.float32(scale)), self.constant(f"{name}_zero", np.int8(zero))]

    def quantized(self, name: str, real: str, low_high: tuple[float, float] | None = None) -> str:
        """A tensor brought to 8 bits and back."""
        parameters = self.scale(name, low_high or self.ranges[name])
        return self.emit("DequantizeLinear", [self.emit("QuantizeLinear", [real, *parameters], f"{name}_codes"), *parameters], name)

    def added(self, name: str, x: str, layer: str, y: str) -> str:
        """The residual stream with what a layer adds."""
        self.reach += max(abs(end) for end in self.ranges[layer])
        real = self.emit("Add", [x, y], f"{name}_real")
        if not self.wide:
            return self.quantized(name, real)
        scale = np.float32(self.reach * (1 + SLACK) / 32767)
        parameters = [self.constant(f"{name}_scale", scale), self.constant(f"{name}_zero", np.int16(0))]
        return self.emit("DequantizeLinear", [self.emit("QuantizeLinear", [real, *parameters], f"{name}_codes"), *parameters], name)

    def given(self, name: str, data: Array, low_high: tuple[float, float]) -> str:
        """A constant of 8 bits that is an operand."""
        return self.emit("DequantizeLinear", [self.constant(f"{name}_codes", self.codes(data, low_high)), *self.scale(name, low_high)], name)

    def by_channel(self, name: str, data: Array, axis: int) -> str:
        """Weights with a scale for each index of an axis."""
        others = tuple(i for i in range(data.ndim) if i != axis)
        scale = np.maximum(np.abs(data).max(others) / 127, 1e-8).astype(np.float32)
        spread = scale.reshape([-1 if i == axis else 1 for i in range(data.ndim)])
        codes = np.clip(np.rint(data / spread), -127, 127).astype(np.int8)
        inputs = [
            self.constant(f"{name}/MatMul", codes),
            self.constant(f"{name}_scale", scale),
            self.constant(f"{name}_zero", np.zeros(len(scale), np.int8)),
        ]
        return self.emit("DequantizeLinear", inputs, f"{name}_real", axis=axis)

    def integers(self, name: str, values: Sequence[int]) -> str:
        return self.constant(name, np.array(values, np.int64))

    # -- layers ---------------------------------------------------------------------------------------
    def normalized(self, name: str, x: str) -> str:
        factors = [self.constant(f"{name}_{k}", self.weights[f"{name}_{k}"].astype(np.float32)) for k in ("gamma", "beta")]
        return self.quantized(name, self.emit("LayerNormalization", [x, *factors], f"{name}_real", axis=-1, epsilon=EPSILON))

    def dense(self, name: str, x: str, relu: bool = False) -> str:
        product = self.emit("MatMul", [x, self.by_channel(name, self.weights[name], 1)], f"{name}_product")
        bias = self.constant(f"{name}_bias", self.weights[f"{name}_bias"].astype(np.float32))
        y = self.emit("Add", [product, bias], f"{name}_sum")
        return self.quantized(f"{name}_result", self.emit("Relu", [y], f"{name}_relu") if relu else y, self.ranges[name])

    def convolved(self, block: str, x: str) -> str:
        name, a = f"{block}_window", self.a
        y = self.emit("Transpose", [self.dense(f"{block}_enter", x)], f"{block}_first", perm=(0, 2, 1))
        window = self.by_channel(name, self.weights[name].T[:, None], 0)
        y = self.emit("Conv", [y, window], f"{name}_sum", group=a.width, kernel_shape=(a.reach,), pads=(a.reach - 1, 0))
        y = self.quantized(f"{name}_result", self.emit("Relu", [y], f"{name}_relu"), self.ranges[name])
        return self.emit("Transpose", [y], f"{block}_last", perm=(0, 2, 1))

    def remembered(self, block: str, x: str) -> str:
        a, name = self.a, f"{block}_state"
        sides = [self.by_gate(f"{block}_{side}", self.weights[f"{block}_{side}"]) for side in ("forth", "back")]
        gates = self.constant(f"{block}_gates", self.weights[f"{block}_gates"].reshape(1, -1).astype(np.float32))
        turned = self.emit("Transpose", [x], f"{block}_turned", perm=(1, 0, 2))
        y = self.emit("GRU", [turned, *sides, gates], f"{name}_steps", hidden_size=a.width, linear_before_reset=1)
        y = self.quantized(f"{name}_result", self.emit("Squeeze", [y, self.integers(f"{name}_axis", (1,))], f"{name}_rows"), self.ranges[name])
        return self.emit("Transpose", [y], name, perm=(1, 0, 2))

    def by_gate(self, name: str, data: Array) -> str:
        """Weights [3 units, inputs] of a recurrent unit with a scale for each gate, as [1, 3 units, inputs]."""
        gates = data.reshape(3, -1)
        scale = np.maximum(np.abs(gates).max(1) / 127, 1e-8).astype(np.float32)
        codes = np.clip(np.rint(gates / scale[:, None]), -127, 127).astype(np.int8).reshape(1, *data.shape)
        inputs = [
            self.constant(f"{name}/MatMul", codes),
            self.constant(f"{name}_scale", np.repeat(scale, data.shape[0] // 3)),
            self.constant(f"{name}_zero", np.zeros(len(data), np.int8)),
        ]
        return self.emit("DequantizeLinear", inputs, f"{name}_real", axis=1)

    def attended(self, block: str, x: str) -> str:
        a, depth = self.a, self.a.width // self.a.heads
        turned = {"query": (0, 2, 1, 3), "key": (0, 2, 3, 1), "value": (0, 2, 1, 3)}
        parts = {}
        for what, order in turned.items():
            shape = self.integers(f"{block}_{what}_heads", (1, a.context, a.heads, depth))
            y = self.emit("Reshape", [self.dense(f"{block}_{what}", x), shape], f"{block}_{what}_split")
            parts[what] = self.emit("Transpose", [y], f"{block}_{what}_turned", perm=order)
        y = self.quantized(f"{block}_scores", self.emit("MatMul", [parts["query"], parts["key"]], f"{block}_scores_real"))
        factor = self.given(f"{block}_factor", np.array([depth**-0.5]), (0.0, depth**-0.5))
        y = self.quantized(f"{block}_scaled", self.emit("Mul", [y, factor], f"{block}_scaled_real"))
        low, high = self.ranges[f"{block}_scaled"]
        lowest = low - HIDDEN
        hidden = np.triu(np.ones((a.context, a.context)), 1)[None, None] * (lowest - high)
        mask = self.given(f"{block}_mask", hidden, (lowest - high, 0.0))
        y = self.quantized(f"{block}_masked", self.emit("Add", [y, mask], f"{block}_masked_real"), (lowest, high))
        y = self.quantized(f"{block}_shares", self.emit("Softmax", [y], f"{block}_shares_real", axis=-1), SOFTMAX)
        y = self.quantized(f"{block}_mixed", self.emit("MatMul", [y, parts["value"]], f"{block}_mixed_real"))
        y = self.emit("Transpose", [y], f"{block}_back", perm=(0, 2, 1, 3))
        return self.emit("Reshape", [y, self.integers(f"{block}_flat", (1, a.context, a.width))], f"{block}_joined")


def quantised(a: Architecture, p: Parameters, rows: NDArray[np.int8], wide: bool = True) -> bytes:
    """The file, with the ranges that tensors have on rows of tokens."""
    return write(a, {k: np.asarray(x) for k, x in p.items()}, tensor_ranges(a, p, rows), wide=wide)


def tensor_ranges(a: Architecture, p: Parameters, rows: NDArray[np.int8]) -> dict[str, tuple[float, float]]:
    seen: dict[str, list[Array]] = {}

    def see(name: str, x: jax.Array) -> jax.Array:
        seen.setdefault(name, []).append(np.asarray(x))
        return x

    logits(a, p, jnp.asarray(rows.astype(np.int32)), see)
    return ranges(seen)


def weights_of(data: bytes) -> dict[str, Array]:
    """The weights of a file that `write` made, as real numbers: what it was made from, but for rounding to 8 bits."""
    graph = onnx.load_model_from_string(data).graph
    held = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    found: dict[str, Array] = {}
    for node in graph.node:
        name = node.input[0].removesuffix("/MatMul") if node.input else ""
        if node.op_type == "DequantizeLinear" and node.input[0] in held and not node.input[0].endswith("_codes"):
            codes, scale, zero = (held[i].astype(np.float32) for i in node.input)
            axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
            spread = [-1 if i == axis and scale.ndim else 1 for i in range(codes.ndim)]
            real = (codes - zero.reshape(spread)) * scale.reshape(spread)
            found[name] = real[:, 0].T if name.endswith("_window") else real[0] if name.endswith(("_forth", "_back")) else real
    found |= {name: data.reshape(2, -1) for name, data in held.items() if name.endswith("_gates")}
    return found | {name: data for name, data in held.items() if name.endswith(("_bias", "_gamma", "_beta"))}
