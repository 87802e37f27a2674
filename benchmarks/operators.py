"""Instructions of single operators, counted exactly under QEMU: portable C beside the kernels of a core's own instructions.

    .venv/bin/python benchmarks/operators.py

prints the tables of docs/internals/kernels.md: instructions a value of operators element by element, whose operands are two activations of one
shape, or an activation and a value a row; and instructions a MAC of layers of int16 activations.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import speed

import kilotune as kt
from kiloc.export import tflite
from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph
from kiloc.ir.operator import Op
from kiloc.ir.types import Quantization, TensorType, activation
from kiloc.ir.verify import verify
from kiloc.ops._window import Window
from kiloc.ops.model.add import Add
from kiloc.ops.model.maximum import Maximum
from kiloc.ops.model.minimum import Minimum
from kiloc.ops.model.mul import Mul
from kiloc.ops.model.prelu import Prelu
from kiloc.ops.model.squared_difference import SquaredDifference
from kiloc.ops.model.sub import Sub
from kiloc.ops.model.tanh import Tanh
from kiloc.ops.wide.conv_2d import WideConv2D, WideFullyConnected

ROWS, WIDTH = 32, 64
CORES = ("m4", "m55")
SAME = Window((3, 3), (1, 1), (1, 1, 1, 1))


@dataclass(frozen=True)
class Operation:
    name: str
    op: Op
    scales: tuple[float, float, float]
    """Of both operands and of the result."""
    stretched: bool = False
    pair: bool = True

    def graph(self) -> Graph:
        b = GraphBuilder("pass", "pass.tflite")
        shape = (1, ROWS, WIDTH)
        zeros = (-3, -3, -3) if isinstance(self.op, Maximum | Minimum) else (-3, 5, -20)
        types = [activation(shape, float(np.float32(s)), z) for s, z in zip(self.scales, zeros, strict=True)]
        inputs = {"x": b.input(types[0], "x")}
        if self.pair:
            inputs["other"] = b.input(TensorType((1, ROWS, 1), "int8", types[1].quantization) if self.stretched else types[1], "other")
        y = activation(shape, 1 / 128, 0) if isinstance(self.op, Tanh) else types[2]
        return verify(b.finish([b.node("y", self.op, inputs, y, "y")]))


def operations() -> Iterator[Operation]:
    pairs: tuple[tuple[str, Op, tuple[float, float, float]], ...] = (
        ("ADD", Add(), (0.02, 0.03, 0.04)),
        ("SUB", Sub(), (0.02, 0.03, 0.04)),
        ("MUL", Mul(), (0.02, 0.03, 0.04)),
        ("SQUARED_DIFFERENCE", SquaredDifference(), (0.02, 0.03, 0.1)),
        ("PRELU", Prelu(), (0.03, 0.004, 0.02)),
        ("MAXIMUM", Maximum(), (0.02, 0.02, 0.02)),
        ("MINIMUM", Minimum(), (0.02, 0.02, 0.02)),
    )
    for name, op, scales in pairs:
        yield Operation(name, op, scales)
        yield Operation(f"{name}, a value a row", op, scales, stretched=True)
    yield Operation("a table", Tanh(), (0.02, 0.02, 0.02), pair=False)


LAYERS: dict[str, tuple[Op, tuple[tuple[int, ...], ...]]] = {
    "3x3 convolution, 16 to 16 channels": (WideConv2D("relu", SAME), ((1, 12, 12, 16), (16, 3, 3, 16), (1, 12, 12, 16))),
    "1x1 convolution, 64 to 32 channels": (WideConv2D("relu"), ((1, 12, 12, 64), (32, 1, 1, 64), (1, 12, 12, 32))),
    "fully connected, 512 to 64": (WideFullyConnected(), ((1, 512), (64, 512), (1, 64))),
}
"""Shapes: of input, weights and result."""


def layer(op: Op, shapes: tuple[tuple[int, ...], ...]) -> Graph:
    b, rng = GraphBuilder("pass", "pass.tflite"), np.random.default_rng(0)
    q = [Quantization((float(np.float32(s)),)) for s in (1e-3, 1e-2, 1e-2)]
    inputs = {
        "x": b.input(TensorType(shapes[0], "int16", q[0]), "x"),
        "weights": b.constant("weights", rng.integers(-127, 128, shapes[1]).astype(np.int8), q[1], ""),
        "bias": b.constant("bias", rng.integers(-999, 999, shapes[1][0]), None, ""),
    }
    return verify(b.finish([b.node("y", op, inputs, TensorType(shapes[2], "int16", q[2]), "y")]))


def instructions(graph: Graph, core: str, portable: bool) -> int:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "pass.tflite"
        path.write_bytes(tflite.write(graph))
        build = kt.build(kt.load(path), Path(name) / "build", target=speed.CORES[core], measure=False)
        regions = speed.counted(build, core, speed.counter(), False, ("-DKT_PORTABLE",) if portable else ())
        return sum(r.instructions for r in regions)


def table(first: str, rows: Iterable[tuple[str, Graph, int]]) -> str:
    """rows: name, graph, and by what its instructions are divided."""
    cells = [
        [name, *(f"{instructions(graph, core, portable) / count:.1f}" for core in CORES for portable in (True, False))] for name, graph, count in rows
    ]
    return "\n".join(speed.table([first, *(f"{core}, {c}" for core in CORES for c in ("portable C", "its own"))], cells))


def main() -> None:
    print(table("operator", ((o.name, o.graph(), ROWS * WIDTH) for o in operations())))
    layers = ((name, layer(op, shapes), prod(shapes[1]) * prod(shapes[2][:-1])) for name, (op, shapes) in LAYERS.items())
    print(table("int16 activations", layers))


if __name__ == "__main__":
    main()
