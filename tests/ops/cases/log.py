"""LOG, against LiteRT."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases import _lookup
from cases._parts import Make, Meaning
from cases.rsqrt import positive
from kiloc.ops.model.log import Log

GENERATORS = {"log": (_lookup.kernel_case(lambda r: Log()), 16)}

JAX = {"log": Meaning(_lookup.real(lambda jax, op, x: jax.numpy.log(x)))}


def trained(m: Any, x: str, other: str) -> str:
    y = positive(m, x, other)
    return str(m.op(y, "log", Log(), m.type(y).shape, 0.02, 20))


def graphs() -> Iterator[tuple[str, Make]]:
    yield from _lookup.graphs("log", Log(), ratios=(1.0, 2.7))
