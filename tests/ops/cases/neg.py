"""NEG, against LiteRT."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kernel_driver import Case, int8, scale

from cases import _lookup
from cases._parts import Make, Meaning, Rng
from kiloc.ir.types import activation
from kiloc.ops.model.neg import Neg


def kernel_case(r: Rng) -> Case:
    x = activation((1, int(r.integers(1, 70))), scale(r, -7, -2), 0)
    return Case(Neg(), {"x": x}, {"x": int8(r, *x.shape)}, (x,))


GENERATORS = {"neg": (kernel_case, 8)}

JAX = {"neg": Meaning(_lookup.real(lambda jax, op, x: -x))}


def trained(m: Any, x: str, other: str) -> str:
    from kiloc.ops.model.add import Add

    y = m.op(x, "sum", Add(), m.type(x).shape, 0.047, 0, other=other)
    return str(m.op(y, "neg", Neg(), m.type(y).shape, 0.047, 0))


def graphs() -> Iterator[tuple[str, Make]]:
    yield from _lookup.graphs("neg", Neg(), scales=(0.1, 0.003), zeros=((0, 0),), ratios=(1.0,))
