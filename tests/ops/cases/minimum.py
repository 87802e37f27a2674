"""MINIMUM; its gradient is that of MAXIMUM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases import _elementwise
from cases._parts import Make, Meaning, never
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.minimum import Minimum

GENERATORS = {
    "minimum": (_elementwise.kernel_case(lambda r: Minimum(), (1.0,), same=True), 40),
}


def trained(m: Any, x: str, other: str) -> str:
    """Two activations, which tie here and there, and one of a value a channel."""
    y = m.op(x, "chosen", Minimum(), m.type(x).shape, other=other)
    pooled = m.op(other, "pooled", Mean((1, 2)), (1, 1, 1, 4), m.type(x).scale, m.type(x).zero_point)
    return str(m.op(y, "with_pooled", Minimum(), m.type(y).shape, other=pooled))


def real(op: Minimum, x: Any, other: Any) -> Any:
    from jax import numpy

    return numpy.minimum(x, other)


JAX = {"minimum": Meaning(real, never)}


def graphs() -> Iterator[tuple[str, Make]]:
    yield from _elementwise.of_one_scale("minimum", Minimum)
