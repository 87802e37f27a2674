"""LEAKY_RELU."""

from __future__ import annotations

from collections.abc import Iterator

from cases import _lookup
from cases._parts import Make, Meaning
from kiloc.ops.model.leaky_relu import LeakyRelu

GENERATORS = {"leaky_relu": (_lookup.kernel_case(lambda r: LeakyRelu(_lookup.random_alpha(r))), 16)}

JAX = {"leaky_relu": Meaning(_lookup.real(lambda jax, op, x: jax.numpy.where(x >= 0, x, op.alpha * x)))}

trained = _lookup.trained(LeakyRelu(0.3), 0.03, -100)


def graphs() -> Iterator[tuple[str, Make]]:
    yield from _lookup.graphs("leaky_relu", LeakyRelu(0.2))
    yield from _lookup.graphs("leaky_relu-steep", LeakyRelu(1.7), (0.1,))
    yield from _lookup.graphs("leaky_relu-falling", LeakyRelu(-0.4), (0.1,))
    yield from _lookup.graphs("leaky_relu-flat", LeakyRelu(0.0), (0.1,))
    ties = (0.02, 0.037, 0.05, 0.1, 0.3)  # quotients beside which a result lies halfway between two codes
    for y in ties:
        yield from _lookup.graphs(f"leaky_relu-ties-{y}", LeakyRelu(0.25), ties, ((40, 0),), tuple(y / x for x in ties))
