"""LOGISTIC, and the gradient of all operators that are looked up."""

from __future__ import annotations

from collections.abc import Iterator

from cases import _lookup
from cases._parts import Make, Meaning, never
from kiloc.ops.model.logistic import Logistic

GENERATORS = {"logistic": (_lookup.kernel_case(lambda r: Logistic()), 16), "lookup_gradient": (_lookup.gradient_case(lambda r: Logistic()), 30)}

JAX = {"logistic": Meaning(_lookup.real(lambda jax, op, x: jax.nn.sigmoid(x)), never)}

trained = _lookup.trained(Logistic(), 0, 0)


def graphs() -> Iterator[tuple[str, Make]]:
    yield from _lookup.graphs("logistic", Logistic())
