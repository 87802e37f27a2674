"""ELU."""

from __future__ import annotations

from collections.abc import Iterator

from cases import _lookup
from cases._parts import Make, Meaning
from kiloc.ops.model.elu import Elu

GENERATORS = {"elu": (_lookup.kernel_case(lambda r: Elu()), 16)}

JAX = {"elu": Meaning(_lookup.real(lambda jax, op, x: jax.nn.elu(x)))}

trained = _lookup.trained(Elu(), 0.03, -95)


def graphs() -> Iterator[tuple[str, Make]]:
    yield from _lookup.graphs("elu", Elu())
