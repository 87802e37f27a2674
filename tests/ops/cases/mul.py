"""MUL and its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kernel_driver import pick

from cases import _elementwise
from cases._parts import Make, Meaning
from kiloc.ops.backward.elementwise_gradient import ProductGradient
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.mul import Mul

GENERATORS = {
    "mul": (_elementwise.kernel_case(lambda r: Mul(pick(r, "none", "relu", "relu6")), (0.01, 0.3, 1.0, 3.0, 1e-6)), 60),
    "product_gradient": (_elementwise.gradient_case(lambda of, r: ProductGradient(of, shift=int(r.integers(0, 16)))), 40),
}


def trained(m: Any, x: str, other: str) -> str:
    """Two activations, a gate of a value a channel as in squeeze-and-excite, one of a value a position, and a constant a channel."""
    y = m.op(x, "product", Mul(), m.type(x).shape, 0.05, -3, other=other)
    pooled = m.op(other, "pooled", Mean((1, 2)), (1, 1, 1, 4), 0.01, -9)
    gate = m.dense(pooled, "excite", 4)
    y = m.op(y, "gated", Mul(), m.type(y).shape, 0.05, 4, other=gate)
    rows = m.op(x, "rows", Mean((3,)), (1, 6, 5, 1), 0.02, 3)
    y = m.op(y, "by_position", Mul("relu"), m.type(y).shape, 0.02, -100, other=rows)
    return str(m.op(y, "scaled", Mul(), m.type(y).shape, 0.02, -80, other=_elementwise.constant(m, "scale", (1, 1, 1, 4), 0.01)))


JAX = {"mul": Meaning(lambda op, x, other: x * other)}


def graphs() -> Iterator[tuple[str, Make]]:
    yield from _elementwise.graphs("mul", Mul, 60)
