"""Instructions a value of operators element by element, counted exactly under QEMU: portable C beside the kernels of a core's own instructions.

    .venv/bin/python benchmarks/elementwise.py

prints a table, which docs/internals/kernels.md has. Operands are two activations of one shape, or an activation and a value a row.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import speed

import kilotune as kt
from kiloc.export import tflite
from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph
from kiloc.ir.operator import Op
from kiloc.ir.types import TensorType, activation
from kiloc.ir.verify import verify
from kiloc.ops.model.add import Add
from kiloc.ops.model.maximum import Maximum
from kiloc.ops.model.minimum import Minimum
from kiloc.ops.model.mul import Mul
from kiloc.ops.model.prelu import Prelu
from kiloc.ops.model.squared_difference import SquaredDifference
from kiloc.ops.model.sub import Sub
from kiloc.ops.model.tanh import Tanh

ROWS, WIDTH = 32, 64
CORES = ("m4", "m55")


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


def instructions(operation: Operation, core: str, portable: bool) -> float:
    """A value of the result."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "pass.tflite"
        path.write_bytes(tflite.write(operation.graph()))
        build = kt.build(kt.load(path), Path(name) / "build", target=speed.CORES[core], measure=False)
        regions = speed.counted(build, core, speed.counter(), False, ("-DKT_PORTABLE",) if portable else ())
        return sum(r.instructions for r in regions) / (ROWS * WIDTH)


def main() -> None:
    print("\n".join(speed.table(["operator", *(f"{core}, {c}" for core in CORES for c in ("portable C", "its own"))], [
        [o.name, *(f"{instructions(o, core, portable):.1f}" for core in CORES for portable in (True, False))] for o in operations()
    ])))  # fmt: skip


if __name__ == "__main__":
    main()
