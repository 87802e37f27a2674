"""LOG_SOFTMAX and its gradient. What it means to jax depends on its integer result: `gradients/jax_model.py`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from kernel_driver import Case, coarser, codes, int8, pick, scale

from cases._parts import Make, Rng, one, typed
from kiloc.ir.graph import Graph
from kiloc.ir.types import activation, gradient
from kiloc.ops.model.log_softmax import LogSoftmax, LogSoftmaxGradient


def kernel_case(r: Rng) -> Case:
    shape = (1, int(r.integers(1, 4)), pick(r, 1, 2, 10, 35, 300, 3000))
    x = activation(shape, scale(r, -14, 4), 0)
    values = coarser(int8(r, *shape), pick(r, 1, 1, 16, 128))
    return Case(LogSoftmax(), {"x": x}, {"x": values}, (activation(shape, 1 / 16, 127),))


def gradient_case(r: Rng) -> Case:
    forward = kernel_case(r)
    shape = forward.types["x"].shape
    types = {"g": gradient(shape, 1.0), "y": forward.results[0]}
    arrays = {"g": codes(r, *shape), "y": forward.expected()["result 0"]}
    return Case(LogSoftmaxGradient(shape, shift=int(r.integers(0, 20))), types, arrays)


GENERATORS = {"log_softmax": (kernel_case, 40), "log_softmax_gradient": (gradient_case, 16)}


def trained(m: Any, x: str, other: str) -> str:
    """Rows of four channels, of two branches."""
    from kiloc.ops.model.add import Add

    y = m.op(x, "sum", Add(), m.type(x).shape, 0.05, 3, other=other)
    return str(m.op(y, "log_softmax", LogSoftmax(), m.type(y).shape, 1 / 16, 127))


def graph(shape: tuple[int, ...], scale: float, zero: int) -> Make:
    def make(rng: Rng) -> Graph:
        return one(LogSoftmax(), typed(shape, scale, zero), typed(shape, 1 / 16, 127))

    return make


def graphs() -> Iterator[tuple[str, Make]]:
    for width, step in product((1, 2, 3, 10, 12, 100, 500), (0.001, 0.03, 0.17, 1.0)):
        yield f"log_softmax-{width}-{step}", graph((1, width), step, 20)
    yield "log_softmax-rows", graph((1, 7, 9), 0.1, -128)
    yield "log_softmax-image", graph((1, 3, 4, 5), 0.1, 127)
    yield "log_softmax-steep", graph((1, 10), 40.0, 0)
