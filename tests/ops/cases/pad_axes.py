"""PAD of any axes, and the gradient, which leaves out what was put around."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kernel_driver import Case, codes, int8

from cases._parts import Make, Meaning, Rng, both, never, one, typed
from kiloc.ir.types import activation, gradient
from kiloc.ops.model.pad_axes import PadAxes, Unpad


def drawn(r: Rng) -> tuple[tuple[int, ...], PadAxes]:
    shape = (1, *(int(n) for n in r.integers(1, 6, int(r.integers(1, 5)))))
    before, after, between = ((0, *(int(n) for n in r.integers(0, 3, len(shape) - 1))) for _ in range(3))
    return shape, PadAxes(before, after, between, int(r.integers(-128, 128)))


def kernel_case(r: Rng) -> Case:
    shape, op = drawn(r)
    return Case(op, {"x": activation(shape, 0.1, 0)}, {"x": int8(r, *shape)})


def gradient_case(r: Rng) -> Case:
    shape, op = drawn(r)
    g = gradient(op.shape(shape), 1.0)
    return Case(Unpad(op.before, op.between, shape), {"x": g}, {"x": codes(r, *g.shape)})


GENERATORS = {"pad_axes": (kernel_case, 30), "unpad": (gradient_case, 20)}


def padded(op: PadAxes, x: Any) -> Any:
    from jax import lax

    return lax.pad(x, 0.0, tuple(zip(op.before, op.after, op.between, strict=True)))


JAX = {"pad_axes": Meaning(padded, never)}


def trained(m: Any, x: str, other: str) -> str:
    x = both(m, x, other)
    return str(m.op(x, "wider", PadAxes((0, 1, 0, 2), (0, 0, 1, 1), (0, 1, 0, 0), m.type(x).zero_point), (1, 12, 6, 7)))


def graph(shape: tuple[int, ...], before: tuple[int, ...], after: tuple[int, ...], value: int) -> Make:
    op = PadAxes(before, after, (0,) * len(shape), value)
    return lambda rng: one(op, typed(shape), typed(op.shape(shape)))


def graphs() -> Iterator[tuple[str, Make]]:
    yield "pad_axes-channels", graph((1, 4, 3, 2), (0, 0, 0, 1), (0, 0, 0, 5), -3)
    yield "pad_axes-signal", graph((1, 7, 3), (0, 2, 0), (0, 1, 0), 17)
    yield "pad_axes-all", graph((1, 4, 3, 2), (0, 1, 0, 1), (0, 0, 2, 3), -128)
    yield "pad_axes-row", graph((1, 7), (0, 2), (0, 3), 127)
