"""MUL of a tensor with itself, as SQUARE is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases._parts import Make, Rng, both, typed
from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph
from kiloc.ir.verify import verify
from kiloc.ops.model.mul import Mul


def trained(m: Any, x: str, other: str) -> str:
    y = both(m, x, other)
    return str(m.op(y, "square", Mul(), m.type(y).shape, 0.05, -100, other=y))


def graph(scale: float, zero: int, ratio: float, result_zero: int) -> Make:
    def make(rng: Rng) -> Graph:
        b = GraphBuilder("case", "case.tflite")
        x = b.input(typed((1, 256), scale, zero), "x")
        return verify(b.finish([b.node("layer", Mul(), {"x": x, "other": x}, typed((1, 256), scale * ratio, result_zero), "layer")]))

    return make


def graphs() -> Iterator[tuple[str, Make]]:
    yield "square-fine", graph(0.02, -5, 0.7, -128)
    yield "square-coarse", graph(0.5, 0, 20.0, 3)
