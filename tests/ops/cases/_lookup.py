"""Operators whose result is looked up: every code of x under many scales, and the function in real numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
from kernel_driver import Case, codes, int8, pick, scale, zero_point

from cases._parts import Make, Rng, f32, one, typed
from kiloc.ir.graph import Graph
from kiloc.ir.types import activation, gradient
from kiloc.ops.model._lookup import Lookup, LookupGradient

SCALES = (0.5, 0.1, 0.047, 0.0123, 0.003)
ZEROS = ((0, 0), (-128, -128), (127, -20), (-7, 12))


def kernel_case(make: Callable[[Rng], Lookup]) -> Callable[[Rng], Case]:
    def case(r: Rng) -> Case:
        op, shape = make(r), (1, int(r.integers(1, 70)))
        x = activation(shape, f32(0.02 * 2.0 ** r.uniform(-2, 2)), zero_point(r))
        y = activation(shape, f32(x.scale * 1.1), zero_point(r))
        if op.fixed is not None:
            y = activation(shape, op.fixed.per_tensor, op.fixed.zero_point)
        return Case(op, {"x": x}, {"x": int8(r, *shape)}, (y,))

    return case


def gradient_case(make: Callable[[Rng], Lookup]) -> Callable[[Rng], Case]:
    def case(r: Rng) -> Case:
        shape = (1, int(r.integers(1, 70)))
        x = activation(shape, scale(r, -7, -2), zero_point(r))
        op = LookupGradient(make(r), shape, f32(x.scale * 0.7), zero_point(r), bool(pick(r, True, False)), shift=int(r.integers(0, 14)))
        return Case(op, {"g": gradient(shape, 1.0), "x": x}, {"g": codes(r, *shape), "x": int8(r, *shape)})

    return case


def graphs(name: str, op: Lookup, scales: Any = SCALES, zeros: Any = ZEROS, ratios: Any = (1.0, 0.31, 2.7)) -> Iterator[tuple[str, Make]]:
    """ratios: of the result's scale to that of x, where the operator does not fix it."""
    for (s, (z, y_zero)), ratio in product(product(scales, zeros), ratios if op.fixed is None else (1.0,)):
        y = typed((1, 256), s * ratio, y_zero)
        if op.fixed is not None:
            y = activation((1, 256), op.fixed.per_tensor, op.fixed.zero_point)

        x = typed((1, 256), s, z)

        def make(rng: Rng, x: Any = x, y: Any = y) -> Graph:
            return one(op, x, y)

        yield f"{name}-{s}-{z}-{y_zero}-{ratio}", make


def trained(op: Lookup, scale: float, zero: int) -> Callable[[Any, str, str], str]:
    """Behind the sum of two branches, whose standard deviation is near one; no code is where a slope jumps, but zero."""

    def build(m: Any, x: str, other: str) -> str:
        from kiloc.ops.model.add import Add

        y = m.op(x, "sum", Add(), m.type(x).shape, 0.047, 3, other=other)
        if op.fixed is not None:
            return str(m.op(y, op.mnemonic, op, m.type(y).shape, op.fixed.per_tensor, op.fixed.zero_point))
        return str(m.op(y, op.mnemonic, op, m.type(y).shape, f32(scale), zero))

    return build


def real(function: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """function(jax, op, x) as a `Meaning` wants it."""

    def compute(op: Any, x: Any) -> Any:
        import jax

        return function(jax, op, x)

    return compute


def random_alpha(r: Rng) -> float:
    return float(np.float32(pick(r, 0.01, 0.1, 0.3, 0.0, 1.5)))
