"""MAXIMUM, and the gradient of MAXIMUM and MINIMUM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kernel_driver import pick

from cases import _elementwise
from cases._parts import Make, Meaning, never
from kiloc.ops.backward.elementwise_gradient import ChoiceGradient
from kiloc.ops.model.maximum import Maximum
from kiloc.ops.model.mean import Mean

GENERATORS = {
    "maximum": (_elementwise.kernel_case(lambda r: Maximum(), (1.0,), same=True), 40),
    "choice_gradient": (_elementwise.gradient_case(lambda of, r: ChoiceGradient(of, pick(r, 1, -1), shift=int(r.integers(0, 9)))), 40),
}


def trained(m: Any, x: str, other: str) -> str:
    """Two activations, which tie here and there, and one of a value a channel."""
    y = m.op(x, "chosen", Maximum(), m.type(x).shape, other=other)
    pooled = m.op(other, "pooled", Mean((1, 2)), (1, 1, 1, 4), m.type(x).scale, m.type(x).zero_point)
    return str(m.op(y, "with_pooled", Maximum(), m.type(y).shape, other=pooled))


def real(op: Maximum, x: Any, other: Any) -> Any:
    from jax import numpy

    return numpy.maximum(x, other)


JAX = {"maximum": Meaning(real, never)}


def graphs() -> Iterator[tuple[str, Make]]:
    yield from _elementwise.of_one_scale("maximum", Maximum)
