"""MEAN and its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from kernel_driver import Case, codes, int8, pick, scale, zero_point

from cases._parts import SCALE, ZERO, Make, Meaning, Rng, one, scales_far_apart, typed
from kiloc.ir.graph import Graph
from kiloc.ir.types import activation, gradient
from kiloc.ops.model.mean import Mean, MeanGradient


def kernel_case(r: Rng) -> Case:
    shape = (1, *(int(n) for n in r.integers(1, 9, 3)))
    axes = pick(r, (1, 2), (1,), (2,), (3,), (1, 2, 3))
    values = int8(r, *shape)
    if r.random() < 0.25:  # the largest sums
        shape, axes = (1, pick(r, 16, 17, 24), 16, pick(r, 4, 15)), (1, 2)
        values = np.full(shape, pick(r, 127, -128), np.int8)
    x = activation(shape, scale(r), zero_point(r))
    y = activation(tuple(1 if i in axes else n for i, n in enumerate(shape)), x.scale * pick(r, 0.2, 1.0, 3.0), zero_point(r))
    return Case(Mean(axes), {"x": x}, {"x": values}, (y,))


def gradient_case(r: Rng) -> Case:
    outer, count, inner = (int(n) for n in r.integers(1, 9, 3))
    op = MeanGradient((1, outer, count, inner), (outer, count, inner))
    return Case(op, {"g": gradient((1, outer, inner), 1.0)}, {"g": codes(r, 1, outer, inner)})


GENERATORS = {"mean": (kernel_case, 16), "mean_gradient": (gradient_case, 16)}

JAX = {"mean": Meaning(lambda op, x: x.mean(op.axes))}


def graph(shape: tuple[int, ...], axes: tuple[int, ...], keep: bool, ratio: float, zero: int) -> Make:
    def make(rng: Rng) -> Graph:
        y = tuple(1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes)
        return one(Mean(axes), typed(shape), typed(y, SCALE / ratio, zero))

    return make


def any_scales(rng: Rng) -> Graph:
    scales, zeros = scales_far_apart(rng)
    return graph((1, int(rng.integers(1, 9)), int(rng.integers(1, 9)), 5), (1, 2), True, scales[0] / scales[1], zeros[0])(rng)


def graphs() -> Iterator[tuple[str, Make]]:
    axes_of = {(1, 6, 5, 4): ((1, 2), (1,), (2,), (3,), (2, 3), (1, 2, 3)), (1, 9, 7): ((1,), (2,), (1, 2)), (1, 33): ((1,),)}
    variants = ((1.0, ZERO), (1.0, ZERO + 4), (3.7, -128), (0.4, 127))
    for shape, axes_list in axes_of.items():
        for axes, keep, (ratio, zero) in product(axes_list, (False, True), variants):
            yield f"mean-{shape}-{axes}-{'keep' if keep else 'drop'}-{ratio}-{zero}".replace(" ", ""), graph(shape, axes, keep, ratio, zero)
    for count in (2, 4, 8, 16):  # sums of a power of two: ties
        yield f"mean-ties-{count}", graph((1, count, 1, 40), (1, 2), True, 1.0, ZERO)
        yield f"mean-ties-scaled-{count}", graph((1, count, 1, 40), (1, 2), False, 2.0, 5)
    yield "mean-many", graph((1, 49, 40, 3), (1, 2), False, 8.0, -128)
    for number in range(1, 300, 4):
        yield f"element-sweep-{number}", any_scales
