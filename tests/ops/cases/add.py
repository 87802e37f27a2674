"""ADD, and the gradient of operands that were stretched or subtracted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from kernel_driver import Case, int8, pick, scale, zero_point

from cases import _elementwise
from cases._parts import ACTIVATIONS, Make, Meaning, Rng, one, scales_far_apart, typed
from kiloc.ir.graph import Graph
from kiloc.ir.types import activation
from kiloc.ops.backward.elementwise_gradient import SumGradient
from kiloc.ops.model.add import Add
from kiloc.ops.model.mean import Mean


def kernel_case(r: Rng) -> Case:
    shape = (1, int(r.integers(1, 70)))
    types = {o: activation(shape, scale(r), zero_point(r)) for o in ("x", "other")}
    if r.random() < 0.2:
        types["other"] = activation(shape, types["x"].scale, zero_point(r))
    y = activation(shape, types["x"].scale * pick(r, 1.0, 2.0, 2.0, 2.5, 20.0, 1e-6), zero_point(r))
    return Case(Add(pick(r, "none", "relu", "relu6")), types, {o: int8(r, *shape) for o in types}, (y,))


GENERATORS = {
    "add": (kernel_case, 40),
    "add_broadcast": (_elementwise.kernel_case(lambda r: Add(pick(r, "none", "relu")), (0.5, 1.0, 2.5, 20.0)), 40),
    "sum_gradient": (_elementwise.gradient_case(lambda of, r: SumGradient(of, pick(r, 1, -1), shift=pick(r, 0, int(r.integers(0, 9))))), 40),
}


def trained(m: Any, x: str, other: str) -> str:
    """Two activations, one of a value a channel, one of a value a position, and a constant a channel."""
    y = m.op(x, "sum", Add("relu6"), m.type(x).shape, 0.05, -100, other=other)
    pooled = m.op(y, "pooled", Mean((1, 2)), (1, 1, 1, 4), 0.04, -90)
    y = m.op(y, "with_pooled", Add(), m.type(y).shape, 0.06, -90, other=pooled)
    rows = m.op(other, "rows", Mean((2, 3)), (1, 6, 1, 1), 0.02, 3)
    y = m.op(rows, "with_rows", Add(), m.type(y).shape, 0.07, -90, other=y)
    return str(m.op(y, "shifted", Add(), m.type(y).shape, 0.07, -80, other=_elementwise.constant(m, "shift", (1, 1, 1, 4), 0.01)))


JAX = {"add": Meaning(lambda op, x, other: x + other)}


def graph(scales: tuple[float, float, float], zeros: tuple[int, int, int], act: str) -> Make:
    def make(rng: Rng) -> Graph:
        x, other, y = (typed((1, 4, 5, 6), s, z) for s, z in zip(scales, zeros, strict=True))
        return one(Add(act), x, y, other)

    return make


def any_scales(rng: Rng) -> Graph:
    scales, zeros = scales_far_apart(rng)
    return graph((scales[0], scales[1], scales[2]), (zeros[0], zeros[1], zeros[2]), str(rng.choice(ACTIVATIONS)))(rng)


def graphs() -> Iterator[tuple[str, Make]]:
    scales = ((0.02, 0.02, 0.04), (0.02, 0.02, 0.02), (0.5, 0.25, 0.5), (0.3, 0.0002, 0.3), (0.0001, 0.9, 0.7), (0.02, 0.05, 0.004), (1e-6, 3.0, 2.0))
    zeros = ((0, 0, 0), (-128, 127, 3), (127, 127, -128), (-128, -128, 127), (5, -9, 40))
    for number, (s, z) in enumerate(product(scales, zeros)):
        yield f"add-{s}-{z}".replace(" ", ""), graph(s, z, ACTIVATIONS[number % 4])
    for number in range(0, 300, 4):
        yield f"element-sweep-{number}", any_scales
    yield from ((f"add-of-{name}", make) for name, make in _elementwise.graphs("any", Add, 0) if "stretched" in name)
