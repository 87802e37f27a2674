"""PAD, PADV2 and the gradient."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from kernel_driver import Case, codes, int8, zero_point

from cases._parts import ZERO, Make, Meaning, Rng, never, one, typed
from kiloc.ir.graph import Graph
from kiloc.ir.types import activation, gradient
from kiloc.ops.model.pad import Pad, PadGradient


def kernel_case(r: Rng) -> Case:
    h, w, c = (int(n) for n in r.integers(1, 6, 3))
    border = tuple(int(n) for n in r.integers(0, 4, 4))
    x = activation((1, h, w, c), 0.1, zero_point(r))
    y = activation((1, h + border[0] + border[2], w + border[1] + border[3], c), 0.1, x.zero_point)
    return Case(Pad(border, int(r.integers(-128, 128))), {"x": x}, {"x": int8(r, *x.shape)}, (y,))  # type: ignore[arg-type]


def gradient_case(r: Rng) -> Case:
    h, w, c = (int(n) for n in r.integers(1, 6, 3))
    border = tuple(int(n) for n in r.integers(0, 4, 4))
    g = gradient((1, h + border[0] + border[2], w + border[1] + border[3], c), 1.0)
    return Case(PadGradient(border), {"g": g}, {"g": codes(r, *g.shape)})  # type: ignore[arg-type]


GENERATORS = {"pad": (kernel_case, 16), "pad_gradient": (gradient_case, 16)}


def padded(op: Pad, x: Any) -> Any:
    from jax import numpy

    top, left, bottom, right = op.pad
    return numpy.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))


JAX = {"pad": Meaning(padded, never)}


def graph(amounts: tuple[int, int, int, int], value: int | None) -> Make:
    def make(rng: Rng) -> Graph:
        y = typed((1, 4 + amounts[0] + amounts[2], 3 + amounts[1] + amounts[3], 2))
        return one(Pad(amounts, ZERO if value is None else value), typed((1, 4, 3, 2)), y)

    return make


def graphs() -> Iterator[tuple[str, Make]]:
    for amounts, value in product(((1, 2, 0, 3), (0, 0, 0, 1), (2, 2, 2, 2)), (None, -128, 100)):
        yield f"pad-{amounts}-{value}".replace(" ", ""), graph(amounts, value)
