"""PRELU and its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from kernel_driver import Case

from cases import _elementwise
from cases._parts import Make, Meaning, Rng, typed
from kiloc.ops.backward.elementwise_gradient import SlopeGradient
from kiloc.ops.model.prelu import Prelu


def kernel_case(r: Rng) -> Case:
    """x has the shape of the result."""
    while True:
        case = _elementwise.kernel_case(lambda r: Prelu(), (0.3, 1.0, 3.0, 1e-6))(r)
        if case.types["x"].shape == case.results[0].shape:
            return case


def gradient_case(r: Rng) -> Case:
    while True:
        case = _elementwise.gradient_case(lambda of, r: SlopeGradient(of, shift=int(r.integers(0, 20))))(r)
        if case.types["own"].shape == case.types["g"].shape:
            return case


GENERATORS = {"prelu": (kernel_case, 40), "slope_gradient": (gradient_case, 40)}


def trained(m: Any, x: str, other: str) -> str:
    """A slope a channel, of either sign."""
    from kiloc.ops.model.add import Add

    y = m.op(x, "sum", Add(), m.type(x).shape, 0.05, 3, other=other)
    return str(m.op(y, "prelu", Prelu(), m.type(y).shape, 0.04, -20, other=_elementwise.constant(m, "slopes", (1, 1, 1, 4), 0.004)))


def real(op: Prelu, x: Any, other: Any) -> Any:
    from jax import numpy

    return numpy.where(x >= 0, x, x * other)


JAX = {"prelu": Meaning(real)}


def graphs() -> Iterator[tuple[str, Make]]:
    shapes = ((1, 1, 1, 6), (1, 4, 5, 6), (1, 1, 1, 1))
    for number, (slopes, zeros, ratio) in enumerate(product(shapes, ((0, 0, 0), (-128, 5, -128), (20, -128, 60)), (0.4, 1.0, 3.0))):
        types = typed((1, 4, 5, 6), 0.03, zeros[0]), typed(slopes, 0.005, zeros[1]), typed((1, 4, 5, 6), 0.03 * ratio, zeros[2])
        yield f"prelu-{number}", _elementwise.graph(lambda r: Prelu(), types, "other")
