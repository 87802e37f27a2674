"""AVERAGE_POOL_2D, MAX_POOL_2D and their gradients."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from kernel_driver import Case, coarser, codes, int8, pick, scale, window_and_size, zero_point

from cases._parts import ACTIVATIONS, Make, Meaning, Rng, one, typed, window_of
from kiloc.ir.graph import Graph
from kiloc.ir.operator import Op
from kiloc.ir.types import activation, gradient
from kiloc.ops._window import Window
from kiloc.ops.model.average_pool_2d import AveragePool2D, AveragePoolGradient, Pool2D, window_counts
from kiloc.ops.model.max_pool_2d import MaxPool2D, MaxPoolGradient


def kernel_case(r: Rng, op: type[Op]) -> Case:
    window, h, w = window_and_size(r)
    channels = int(r.integers(1, 40))
    x = activation((1, h, w, channels), scale(r), zero_point(r))
    y = activation((1, *window.output(h, w), channels), x.scale, x.zero_point)
    return Case(op(window, pick(r, "none", "relu", "relu6")), {"x": x}, {"x": int8(r, *x.shape)}, (y,))  # type: ignore[call-arg]


def average_pool_gradient(r: Rng) -> Case:
    window, h, w = window_and_size(r, empty=False)
    channels, shift = pick(r, 1, 5, 40), int(r.integers(8, 20))
    if r.random() < 0.3:  # windows of 1, 2 and 3 elements, so that their factors are rounded
        window, h, w, channels, shift = Window((3, 1), pad=(2, 0, 1, 0)), 4, 1, 1000, 15
    out = window.output(h, w)
    op = AveragePoolGradient(window, (1, h, w, channels), (1, *out, channels), int(window_counts(window, h, w).min()), shift=shift)
    return Case(op, {"g": gradient((1, *out, channels), 1.0)}, {"g": codes(r, 1, *out, channels)})


def max_pool_gradient(r: Rng) -> Case:
    window, h, w = window_and_size(r)
    if r.random() < 0.4:  # windows side by side, and others of which many cover an element
        kernel = (int(r.integers(1, 5)), int(r.integers(1, 5)))
        window, h, w = Window(kernel, pick(r, kernel, (1, 1), (2, 2)), pick(r, (0, 0, 0, 0), (1, 0, 0, 1))), *map(int, r.integers(5, 9, 2))
    channels, out = pick(r, int(r.integers(1, 6)), int(r.integers(6, 40)), 70), window.output(h, w)
    types = {"g": gradient((1, *out, channels), 1.0), "x": activation((1, h, w, channels), 0.1, zero_point(r))}
    arrays = {"g": codes(r, 1, *out, channels), "x": coarser(int8(r, 1, h, w, channels), pick(r, 1, 32))}
    return Case(MaxPoolGradient(window, (1, h, w, channels), (1, *out, channels), shift=pick(r, *range(-1, 4), -9, 9, 40)), types, arrays)


GENERATORS = {
    "average_pool2d": (lambda r: kernel_case(r, AveragePool2D), 30),
    "max_pool2d": (lambda r: kernel_case(r, MaxPool2D), 30),
    "average_pool_gradient": (average_pool_gradient, 30),
    "max_pool_gradient": (max_pool_gradient, 60),
}


def reduced(op: Pool2D, x: Any, reducer: Any, start: float) -> Any:
    from jax import lax

    (top, left, bottom, right), window = op.window.pad, op.window
    return lax.reduce_window(x, start, reducer, (1, *window.kernel, 1), (1, *window.stride, 1), ((0, 0), (top, bottom), (left, right), (0, 0)))


def average(op: Pool2D, x: Any) -> Any:
    from jax import lax, numpy

    return reduced(op, x, lax.add, 0.0) / reduced(op, numpy.ones_like(x), lax.add, 0.0)


def largest(op: Pool2D, x: Any) -> Any:
    from jax import lax

    return reduced(op, x, lax.max, -float("inf"))


def clamps(op: Pool2D) -> bool:
    """A pool cannot leave int8."""
    return op.activation != "none"


JAX = {"average_pool_2d": Meaning(average, clamps), "max_pool_2d": Meaning(largest, clamps)}


def graph(cls: type[Any], size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], scheme: str, act: str) -> Make:
    def make(rng: Rng) -> Graph:
        window = window_of(size, kernel, stride, scheme)
        scale, zero = float(rng.choice([0.03, 0.1])), int(rng.choice([-128, -5, 40]))
        return one(cls(window, act), typed((1, *size, 3), scale, zero), typed((1, *window.output(*size), 3), scale, zero))

    return make


def graphs() -> Iterator[tuple[str, Make]]:
    kernels = ((1, 1), (2, 2), (3, 3), (2, 5), (1, 4), (6, 1), (9, 9))
    for number, (size, kernel, stride, scheme) in enumerate(product(((7, 5), (8, 8), (1, 9)), kernels, ((1, 1), (2, 2), (3, 1)), ("same", "valid"))):
        if scheme == "valid" and (kernel[0] > size[0] or kernel[1] > size[1]):
            continue
        act = ACTIVATIONS[number % 4]
        text = f"{size}-{kernel}-{stride}-{scheme}-{act}".replace(" ", "")
        yield f"average-{text}", graph(AveragePool2D, size, kernel, stride, scheme, act)
        yield f"max-{text}", graph(MaxPool2D, size, kernel, stride, scheme, act)
    yield "average-global", graph(AveragePool2D, (25, 5), (25, 5), (1, 1), "valid", "none")

    def uneven(rng: Rng) -> Graph:
        window = Window((3, 3), (2, 2), (0, 1, 1, 0))
        return one(MaxPool2D(window), typed((1, 6, 6, 2)), typed((1, *window.output(6, 6), 2)))

    yield "max-uneven-pad", uneven
