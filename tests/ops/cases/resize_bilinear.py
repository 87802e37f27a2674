"""RESIZE_BILINEAR; the kernel of its gradient has cases in `gather.py`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from kernel_driver import Case, int8

from cases._parts import Make, Meaning, Rng, both, never, one, typed
from kiloc.ir.types import activation
from kiloc.ops.model.resize_bilinear import BITS, ResizeBilinear

OPTIONS = ((False, False), (True, False), (False, True))


def kernel_case(r: Rng) -> Case:
    x = activation((1, *(int(n) for n in r.integers(1, 8, 3))), 0.1, 0)
    op = ResizeBilinear((int(r.integers(1, 12)), int(r.integers(1, 12))), *OPTIONS[int(r.integers(3))])
    return Case(op, {"x": x}, {"x": int8(r, *x.shape)})


GENERATORS = {"resize_bilinear": (kernel_case, 40)}


def resized(op: ResizeBilinear, x: Any) -> Any:
    """The weights are the integer kernel's: what jax differentiates is the sum."""
    from jax import numpy

    for axis in (0, 1):
        lower, upper, weight = op.positions(axis, x.shape[1 + axis]).T
        w = np.reshape(weight / 2.0**BITS, (1, -1, 1, 1) if axis == 0 else (1, 1, -1, 1))
        x = numpy.take(x, lower, 1 + axis) * (1 - w) + numpy.take(x, upper, 1 + axis) * w
    return x


JAX = {"resize_bilinear": Meaning(resized, never)}


def trained(m: Any, x: str, other: str) -> str:
    x = both(m, x, other)
    y = m.op(x, "larger", ResizeBilinear((11, 9), half_pixel=True), (1, 11, 9, 4))
    return str(m.op(y, "smaller", ResizeBilinear((4, 6), align_corners=True), (1, 4, 6, 4)))


def graph(size: tuple[int, int], result: tuple[int, int], options: tuple[bool, bool]) -> Make:
    return lambda rng: one(ResizeBilinear(result, *options), typed((1, *size, 3)), typed((1, *result, 3)))


def graphs() -> Iterator[tuple[str, Make]]:
    for (size, result), options in product((((4, 3), (8, 6)), ((5, 7), (9, 4)), ((1, 6), (5, 13))), OPTIONS):
        yield f"resize_bilinear-{size}-{result}-{options}".replace(" ", ""), graph(size, result, options)
