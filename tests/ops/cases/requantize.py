"""QUANTIZE, RELU and RELU6."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from kernel_driver import Case, int8, pick, scale, zero_point

from cases._parts import SCALE, Make, Meaning, Rng, one, scales_far_apart, typed
from kiloc.ir.graph import Graph
from kiloc.ir.types import activation
from kiloc.ops.model.requantize import Requantize


def kernel_case(r: Rng) -> Case:
    shape = (1, pick(r, int(r.integers(1, 70)), 700))
    x = activation(shape, scale(r), zero_point(r))
    y = activation(shape, float(np.float32(x.scale * pick(r, 0.5, 1.0, 3.0, 1e-9, 1e12))), zero_point(r))
    return Case(Requantize(pick(r, "none", "relu", "relu6")), {"x": x}, {"x": int8(r, *shape)}, (y,))


GENERATORS = {"requantize": (kernel_case, 16)}

JAX = {"requantize": Meaning(lambda op, x: x)}


def graph(act: str, ratio: float, zero: int, y_zero: int, scale: float = SCALE, exact: bool = False) -> Make:
    def make(rng: Rng) -> Graph:
        x = typed((1, 256), scale, zero)
        return one(Requantize(act), x, x if exact else typed((1, 256), scale / ratio, y_zero))

    return make


def any_scales(act: str) -> Make:
    def make(rng: Rng) -> Graph:
        scales, zeros = scales_far_apart(rng)
        return graph(act, scales[0] / scales[1], zeros[0], zeros[1])(rng)

    return make


def graphs() -> Iterator[tuple[str, Make]]:
    ratios = (1.0, 0.5, 0.25, 2.0, 0.3, 1.7, 0.01, 40.0, 0.999)
    for ratio, (zero, y_zero) in product(ratios, ((0, 0), (-128, 127), (127, -128), (-7, 12))):
        yield f"quantize-{ratio}-{zero}-{y_zero}", graph("none", ratio, zero, y_zero)
        yield f"relu-{ratio}-{zero}-{y_zero}", graph("relu", ratio, zero, y_zero)
    for step, zero in product((0.01, 0.03, 0.1, 1.0, 12.0), (-128, -20, 0, 100)):
        yield f"relu6-{step}-{zero}", graph("relu6", 1.0, zero, zero, step, exact=True)
    for number in range(300):
        if number % 4 > 1:
            yield f"element-sweep-{number}", any_scales("none" if number % 4 == 2 else "relu")
