"""GELU, against LiteRT."""

from __future__ import annotations

from collections.abc import Iterator

from cases import _lookup
from cases._parts import Make, Meaning
from kiloc.ops.model.gelu import Gelu

GENERATORS = {"gelu": (_lookup.kernel_case(lambda r: Gelu(bool(r.integers(2)))), 16)}

JAX = {"gelu": Meaning(_lookup.real(lambda jax, op, x: jax.nn.gelu(x, approximate=op.approximate)))}

trained = _lookup.trained(Gelu(True), 0.03, -120)


def graphs() -> Iterator[tuple[str, Make]]:
    yield from _lookup.graphs("gelu", Gelu())
    yield from _lookup.graphs("gelu-approximate", Gelu(True))
