"""EXP, against LiteRT."""

from __future__ import annotations

from collections.abc import Iterator

from cases import _lookup
from cases._parts import Make, Meaning
from kiloc.ops.model.exp import Exp

GENERATORS = {"exp": (_lookup.kernel_case(lambda r: Exp()), 16)}

JAX = {"exp": Meaning(_lookup.real(lambda jax, op, x: jax.numpy.exp(x)))}

trained = _lookup.trained(Exp(), 0.06, -128)


def graphs() -> Iterator[tuple[str, Make]]:
    yield from _lookup.graphs("exp", Exp())
