"""SUM and its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

from kernel_driver import Case

from cases import mean
from cases._parts import SCALE, ZERO, Make, Meaning, Rng, both, one, typed
from kiloc.ir.graph import Graph
from kiloc.ops.model.sum import SpreadGradient, Sum


def kernel_case(r: Rng) -> Case:
    case = mean.kernel_case(r)
    assert isinstance(case.op, mean.Mean)
    return replace(case, op=Sum(case.op.axes))


def gradient_case(r: Rng) -> Case:
    case = mean.gradient_case(r)
    assert isinstance(case.op, mean.MeanGradient)
    return replace(case, op=SpreadGradient(case.op.x_shape, case.op.extent))


GENERATORS = {"sum": (kernel_case, 16), "spread_gradient": (gradient_case, 8)}

JAX = {"sum": Meaning(lambda op, x: x.sum(op.axes))}


def trained(m: Any, x: str, other: str) -> str:
    n, h, _, c = m.type(x).shape
    return str(m.op(both(m, x, other), "sum", Sum((2,)), (n, h, 1, c), 0.1, -5))


def graph(shape: tuple[int, ...], axes: tuple[int, ...], keep: bool, ratio: float, zero: int) -> Make:
    def make(rng: Rng) -> Graph:
        y = tuple(1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes)
        return one(Sum(axes), typed(shape), typed(y, SCALE * ratio, zero))

    return make


def graphs() -> Iterator[tuple[str, Make]]:
    axes_of = {(1, 6, 5, 4): ((1, 2), (1,), (3,), (1, 2, 3)), (1, 9, 7): ((1,), (2,))}
    for shape, axes_list in axes_of.items():
        for axes, keep, (ratio, zero) in product(axes_list, (False, True), ((1.0, ZERO), (4.3, 20), (0.4, 127))):
            yield f"sum-{shape}-{axes}-{'keep' if keep else 'drop'}-{ratio}-{zero}".replace(" ", ""), graph(shape, axes, keep, ratio, zero)
    yield "sum-ties", graph((1, 8, 1, 40), (1, 2), True, 8.0, ZERO)
    yield "sum-many", graph((1, 49, 40, 3), (1, 2), False, 300.0, -128)
