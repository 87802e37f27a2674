"""SOFTMAX and its gradient. What it means to jax depends on its integer result: `gradients/jax_model.py`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from kernel_driver import Case, coarser, codes, int8, pick, scale

from cases._parts import Make, Rng, f32, one, typed
from kiloc.ir.types import Quantization, TensorType, activation, gradient
from kiloc.ops.model.softmax import Softmax, SoftmaxGradient

WIDE = Quantization((1 / 65536,), -(2**15))


def wide_kernel_case(r: Rng) -> Case:
    case = kernel_case(r)
    return Case(case.op, case.types, case.arrays, (TensorType(case.types["x"].shape, "int16", WIDE),))


def kernel_case(r: Rng) -> Case:
    shape = (1, int(r.integers(1, 4)), pick(r, 1, 2, 10, 35, 300, 3000))
    x = activation(shape, scale(r, -14, 4), 0)
    values = coarser(int8(r, *shape), pick(r, 1, 1, 16, 128))
    return Case(Softmax(pick(r, 1.0, 0.5)), {"x": x}, {"x": values}, (activation(shape, 1 / 256, -128),))


def gradient_case(r: Rng) -> Case:
    forward = kernel_case(r)
    shape = forward.types["x"].shape
    y = forward.expected()["result 0"]
    types = {"g": gradient(shape, 1.0), "y": forward.results[0]}
    return Case(SoftmaxGradient(shape, 1.0, shift=int(r.integers(0, 20))), types, {"g": codes(r, *shape), "y": y})


GENERATORS = {"softmax": (kernel_case, 40), "softmax to int16": (wide_kernel_case, 20), "softmax_gradient": (gradient_case, 16)}


def graph(shape: tuple[int, ...], scale: float, zero: int, beta: float) -> Make:
    return lambda rng: one(Softmax(f32(beta)), typed(shape, scale, zero), typed(shape, 1 / 256, -128))


def wide_graph(shape: tuple[int, ...], scale: float, zero: int, beta: float) -> Make:
    return lambda rng: one(Softmax(f32(beta)), typed(shape, scale, zero), TensorType(shape, "int16", WIDE))


def graphs() -> Iterator[tuple[str, Make]]:
    # The kernel asserts that the sum of exponentials stays below 512; `test_flat_softmax` is about more.
    for width, step in product((1, 2, 3, 10, 12, 100, 500), (0.001, 0.03, 0.17, 1.0)):
        yield f"softmax-{width}-{step}", graph((1, width), step, 20, 1.0)
        yield f"softmax-to-int16-{width}-{step}", wide_graph((1, width), step, 20, 1.0)
    yield "softmax-rows", graph((1, 7, 9), 0.1, -128, 1.0)
    yield "softmax-image", graph((1, 3, 4, 5), 0.1, 127, 1.0)
    yield "softmax-beta", graph((1, 10), 0.1, 0, 0.3)
    yield "softmax-steep", graph((1, 10), 40.0, 0, 2.0)
