"""SQRT, against LiteRT, of codes that are not negative: it stops at others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases import _lookup
from cases._parts import Make, Meaning
from cases.rsqrt import positive
from kiloc.ops.model.sqrt import Sqrt

GENERATORS = {"sqrt": (_lookup.kernel_case(lambda r: Sqrt()), 16)}

JAX = {"sqrt": Meaning(_lookup.real(lambda jax, op, x: jax.numpy.sqrt(x)))}


def trained(m: Any, x: str, other: str) -> str:
    y = positive(m, x, other)
    return str(m.op(y, "sqrt", Sqrt(), m.type(y).shape, 0.012, -128))


def graphs() -> Iterator[tuple[str, Make]]:
    """With scales of which roots are whole numbers of steps, too."""
    yield from _lookup.graphs("sqrt", Sqrt(), zeros=((-128, -128), (-128, 5)), ratios=(1.0, 0.03, 2.7))
    yield from _lookup.graphs("sqrt-whole", Sqrt(), scales=(0.01, 0.04), zeros=((-128, -128),), ratios=(10.0, 2.0, 1.0))
