"""SLICE, STRIDED_SLICE and the gradient, which puts zeros for what was left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kernel_driver import Case, int8

from cases._parts import Make, Meaning, Rng, both, never, one, typed
from kiloc.ir.types import activation
from kiloc.ops.model.slice import Slice


def drawn(r: Rng) -> tuple[tuple[int, ...], Slice]:
    shape = (1, *(int(n) for n in r.integers(1, 9, int(r.choice([1, 2, 3, 4, 5, 5])))))
    begin, size, stride = [0], [1], [1]
    for d in shape[1:]:
        begin.append(int(r.integers(0, (d + 1) // 2)))
        stride.append(int(r.choice([1, 1, 1, 2, 3])))
        most = (d - 1 - begin[-1]) // stride[-1] + 1
        size.append(max(int(r.integers(1, most + 1)), int(r.integers(1, most + 1))))
        if r.random() < 0.25:
            begin[-1], stride[-1], size[-1] = 0, 1, d
    return shape, Slice(tuple(begin), tuple(size), tuple(stride))


def kernel_case(r: Rng) -> Case:
    shape, op = drawn(r)
    return Case(op, {"x": activation(shape, 0.1, 0)}, {"x": int8(r, *shape)})


GENERATORS = {"slice": (kernel_case, 40)}


def taken(op: Slice, x: Any) -> Any:
    return x[tuple(slice(b, b + (n - 1) * s + 1, s) for b, n, s in zip(op.begin, op.size, op.stride, strict=True))]


JAX = {"slice": Meaning(taken, never)}


def trained(m: Any, x: str, other: str) -> str:
    """Every second row and two neighbouring channels."""
    x = both(m, x, other)
    return str(m.op(x, "part", Slice((0, 1, 0, 1), (1, 3, 5, 2), (1, 2, 1, 1)), (1, 3, 5, 2)))


def graph(shape: tuple[int, ...], op: Slice) -> Make:
    return lambda rng: one(op, typed(shape), typed(op.size))


def graphs() -> Iterator[tuple[str, Make]]:
    for shape, begin, size, stride in (
        ((1, 6, 5, 4), (0, 2, 0, 0), (1, 4, 5, 4), (1, 1, 1, 1)),
        ((1, 6, 5, 4), (0, 1, 1, 1), (1, 2, 3, 2), (1, 2, 1, 2)),
        ((1, 9), (0, 3), (1, 5), (1, 1)),
        ((1, 4, 6), (0, 0, 1), (1, 4, 2), (1, 1, 3)),
    ):
        yield f"slice-{shape}-{begin}-{stride}".replace(" ", ""), graph(shape, Slice(begin, size, stride))
