"""ABS."""

from __future__ import annotations

from collections.abc import Iterator

from cases import _lookup
from cases._parts import Make, Meaning
from kiloc.ops.model.abs import Abs

GENERATORS = {"abs": (_lookup.kernel_case(lambda r: Abs()), 16)}

JAX = {"abs": Meaning(_lookup.real(lambda jax, op, x: jax.numpy.abs(x)))}

trained = _lookup.trained(Abs(), 0.03, -128)


def graphs() -> Iterator[tuple[str, Make]]:
    yield from _lookup.graphs("abs", Abs())
