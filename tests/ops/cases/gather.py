"""GATHER along one axis or two, and its gradient, which resizing shares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kernel_driver import Case, codes, int8

from cases._parts import Make, Meaning, Rng, both, never, one, typed
from kiloc.ir.types import activation, gradient
from kiloc.ops.backward.resample_gradient import ResampleGradient
from kiloc.ops.model.gather import Gather


def drawn(r: Rng) -> tuple[tuple[int, ...], Gather]:
    shape = (1, *(int(n) for n in r.integers(1, 7, int(r.integers(1, 4)))))
    axis = int(r.integers(1, len(shape)))
    count = int(r.integers(1, min(2, len(shape) - axis) + 1))
    return shape, Gather(axis, tuple(tuple(int(i) for i in r.integers(0, d, int(r.integers(1, 9)))) for d in shape[axis : axis + count]))


def kernel_case(r: Rng) -> Case:
    shape, op = drawn(r)
    return Case(op, {"x": activation(shape, 0.1, 0)}, {"x": int8(r, *shape)})


def gradient_case(r: Rng) -> Case:
    shape, op = drawn(r)
    y = (*shape[: op.axis], *map(len, op.indices), *shape[op.axis + len(op.indices) :])
    unit = int(r.choice([0, 10]))
    rows, columns = (*(tuple((i, o, int(r.integers(1, 1 + (1 << unit)))) for o, i in enumerate(chosen)) for chosen in op.indices), ())[:2]
    backward = ResampleGradient(op.axis, shape, y, rows, columns, unit, shift=int(r.integers(0, 4 + unit)))
    return Case(backward, {"g": gradient(y, 1.0)}, {"g": codes(r, *y)})


def repeated(r: Rng) -> tuple[tuple[int, ...], Gather]:
    """Channels that are taken several times, one behind the other: more values than a vector has, and some beside."""
    channels, times = int(r.integers(1, 40)), int(r.choice([2, 2, 3, 4, 8, 17]))
    return (1, int(r.integers(1, 4)), channels), Gather(2, (tuple(i // times for i in range(times * channels)),))


def repeated_case(r: Rng) -> Case:
    shape, op = repeated(r)
    return Case(op, {"x": activation(shape, 0.1, 0)}, {"x": int8(r, *shape)})


def repeated_gradient_case(r: Rng) -> Case:
    shape, op = repeated(r)
    y = (*shape[:2], len(op.indices[0]))
    backward = ResampleGradient(2, shape, y, tuple((i, o, 1) for o, i in enumerate(op.indices[0])), (), shift=int(r.integers(-2, 5)))
    return Case(backward, {"g": gradient(y, 1.0)}, {"g": codes(r, *y)})


GENERATORS = {
    "gather": (kernel_case, 40), "repeated": (repeated_case, 20),
    "resample_gradient": (gradient_case, 40), "repeated_gradient": (repeated_gradient_case, 20),
}  # fmt: skip


def taken(op: Gather, x: Any) -> Any:
    from jax import numpy

    for i, chosen in enumerate(op.indices):
        x = numpy.take(x, numpy.array(chosen), op.axis + i)
    return x


JAX = {"gather": Meaning(taken, never)}


def trained(m: Any, x: str, other: str) -> str:
    """Rows and columns some of which are taken twice or never, then channels."""
    x = both(m, x, other)
    y = m.op(x, "rows", Gather(1, ((0, 5, 5, 2, 1), (0, 0, 1, 2, 4, 4, 4))), (1, 5, 7, 4))
    return str(m.op(y, "channels", Gather(3, ((3, 0, 3),)), (1, 5, 7, 3)))


def graph(shape: tuple[int, ...], axis: int, *indices: tuple[int, ...]) -> Make:
    y = (*shape[:axis], *map(len, indices), *shape[axis + len(indices) :])
    return lambda rng: one(Gather(axis, indices), typed(shape), typed(y))


def graphs() -> Iterator[tuple[str, Make]]:
    yield "gather-channels", graph((1, 4, 3, 5), 3, (4, 0, 0, 2))
    yield "gather-channels-twice", graph((1, 4, 3, 5), 3, (0, 0, 1, 1, 2, 2, 3, 3, 4, 4))
    yield "gather-rows", graph((1, 4, 3), 1, (3, 1, 2, 2, 0))
    yield "gather-image", graph((1, 4, 3, 2), 1, (0, 0, 1, 3), (2, 1))
