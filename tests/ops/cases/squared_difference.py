"""SQUARED_DIFFERENCE and its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases import _elementwise
from cases._parts import Make, Meaning
from kiloc.ops.backward.elementwise_gradient import DifferenceGradient
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.squared_difference import SquaredDifference

GENERATORS = {
    "squared_difference": (_elementwise.kernel_case(lambda r: SquaredDifference(), (0.1, 1.0, 3.0, 100.0)), 60),
    "difference_gradient": (_elementwise.gradient_case(lambda of, r: DifferenceGradient(of, shift=int(r.integers(0, 20)))), 40),
}


def trained(m: Any, x: str, other: str) -> str:
    """Of two branches, and of one from its mean, as variances are computed."""
    y = m.op(x, "squared", SquaredDifference(), m.type(x).shape, 0.15, -128, other=other)
    mean = m.op(y, "mean", Mean((1, 2)), (1, 1, 1, 4), 0.05, -100)
    return str(m.op(y, "variance", SquaredDifference(), m.type(y).shape, 0.3, -128, other=mean))


JAX = {"squared_difference": Meaning(lambda op, x, other: (x - other) ** 2)}


def graphs() -> Iterator[tuple[str, Make]]:
    scales = ((0.02, 0.02, 0.04), (0.5, 0.25, 0.5), (0.3, 0.0002, 0.3), (0.0001, 0.9, 0.7), (3.0, 2.0, 90.0))
    yield from _elementwise.graphs("squared_difference", lambda act: SquaredDifference(), 0, ("none",), scales=scales)
