"""HARD_SWISH."""

from __future__ import annotations

from collections.abc import Iterator

from cases import _lookup
from cases._parts import Make, Meaning
from kiloc.ops.model.hard_swish import HardSwish

GENERATORS = {"hard_swish": (_lookup.kernel_case(lambda r: HardSwish()), 16)}

JAX = {"hard_swish": Meaning(_lookup.real(lambda jax, op, x: x * jax.numpy.clip(x + 3, 0, 6) / 6))}

trained = _lookup.trained(HardSwish(), 0.03, -115)


def graphs() -> Iterator[tuple[str, Make]]:
    yield from _lookup.graphs("hard_swish", HardSwish(), ratios=(1.0, 0.31, 0.2))
