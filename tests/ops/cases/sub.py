"""SUB; its gradient is that of ADD."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kernel_driver import pick

from cases import _elementwise
from cases._parts import Make, Meaning
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.sub import Sub

GENERATORS = {"sub": (_elementwise.kernel_case(lambda r: Sub(pick(r, "none", "relu", "relu6")), (0.5, 1.0, 2.0, 2.5, 20.0, 1e-6)), 60)}


def trained(m: Any, x: str, other: str) -> str:
    """The difference of two branches, less the mean of the second one, subtracted from a constant."""
    y = m.op(x, "difference", Sub(), m.type(x).shape, 0.06, 3, other=other)
    mean = m.op(other, "mean", Mean((1, 2)), (1, 1, 1, 4), 0.01, 3)
    y = m.op(y, "centred", Sub("relu"), m.type(y).shape, 0.03, -90, other=mean)
    return str(m.op(_elementwise.constant(m, "one", (1, 1, 1, 4), 0.02), "rest", Sub(), m.type(y).shape, 0.06, -3, other=y))


JAX = {"sub": Meaning(lambda op, x, other: x - other)}


def graphs() -> Iterator[tuple[str, Make]]:
    yield from _elementwise.graphs("sub", Sub, 60, either=True)
