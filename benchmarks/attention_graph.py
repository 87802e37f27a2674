"""A model of one attention block over sequences of any length, with weights drawn at random: what memory it takes does not depend on them."""

from __future__ import annotations

import numpy as np

from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph
from kiloc.ir.types import Quantization, activation
from kiloc.ir.verify import verify
from kiloc.ops.model.batch_matmul import BatchMatMul
from kiloc.ops.model.fully_connected import FullyConnected
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.mul import Mul
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.softmax import Softmax
from kiloc.ops.model.transpose import Transpose

CLASSES = 10
UNIT = 1 / 32
"""Scale of most activations."""


class Block:
    """positions x width values in, `heads` heads of width / heads values, a layer behind them, and a layer on the mean over positions."""

    def __init__(self, positions: int, heads: int, width: int) -> None:
        self.rng = np.random.default_rng(0)
        self.b = GraphBuilder(f"attention_{positions}", "attention.tflite")
        self.positions, self.heads, self.width = positions, heads, width

    def layer(self, x: str, name: str, rows: int) -> str:
        t = self.b.values[x].type
        scale = float(np.float32(1.7 / 127 / t.shape[-1] ** 0.5))
        codes = self.rng.integers(-127, 128, (rows, t.shape[-1])).astype(np.int8)
        weights = self.b.constant(f"{name}.weights", codes, Quantization((scale,)), name)
        bias = self.b.constant(f"{name}.bias", np.zeros(rows, np.int32), None, name)
        y = activation((*t.shape[:-1], rows), UNIT, 0)
        return self.b.node(name, FullyConnected(), {"x": x, "weights": weights, "bias": bias}, y, name)

    def node(self, name: str, op: Reshape | Transpose | Mean, x: str, shape: tuple[int, ...]) -> str:
        return self.b.node(name, op, {"x": x}, activation(shape, UNIT, 0), name)

    def split(self, x: str) -> str:
        shape = (1, self.positions, self.heads, self.width // self.heads)
        turned = (1, self.heads, self.positions, shape[3])
        return self.node(f"{x}.heads", Transpose((0, 2, 1, 3)), self.node(f"{x}.split", Reshape(shape), x, shape), turned)

    def graph(self) -> Graph:
        b, depth, n = self.b, self.width // self.heads, self.positions
        x = self.layer(b.input(activation((1, n, self.width), UNIT, 0), "x"), "front", self.width)
        q, k, v = (self.split(self.layer(x, name, self.width)) for name in "qkv")
        square = (1, self.heads, n, n)
        y = b.node("scores", BatchMatMul(False, True), {"x": q, "other": k}, activation(square, 0.1, 0), "scores")
        quarter = b.constant("quarter", np.full((1, 1, 1, 1), 127, np.int8), Quantization((depth**-0.5 / 127,)), "quarter")
        y = b.node("scaled", Mul(), {"x": y, "other": quarter}, activation(square, 0.025, 0), "scaled")
        y = b.node("shares", Softmax(), {"x": y}, activation(square, 1 / 256, -128), "shares")
        y = b.node("mixed", BatchMatMul(), {"x": y, "other": v}, activation((1, self.heads, n, depth), UNIT, 0), "mixed")
        y = self.node("back", Transpose((0, 2, 1, 3)), y, (1, n, self.heads, depth))
        y = self.layer(self.node("flat", Reshape((1, n, self.width)), y, (1, n, self.width)), "o", self.width)
        return verify(b.finish([self.layer(self.node("middle", Mean((1,)), y, (1, self.width)), "logits", CLASSES)]))
