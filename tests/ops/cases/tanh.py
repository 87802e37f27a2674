"""TANH."""

from __future__ import annotations

from collections.abc import Iterator

from cases import _lookup
from cases._parts import Make, Meaning, never
from kiloc.ops.model.tanh import Tanh

GENERATORS = {"tanh": (_lookup.kernel_case(lambda r: Tanh()), 16)}

JAX = {"tanh": Meaning(_lookup.real(lambda jax, op, x: jax.numpy.tanh(x)), never)}

trained = _lookup.trained(Tanh(), 0, 0)


def graphs() -> Iterator[tuple[str, Make]]:
    yield from _lookup.graphs("tanh", Tanh())
