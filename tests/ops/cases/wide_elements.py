"""ADD, SUB, MUL, LOGISTIC, TANH, SOFTMAX and pools of int16 activations, and what moves their codes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from kernel_driver import Case, pick, scale

from cases._parts import ACTIVATIONS, Make, Meaning, Rng, never, one, window_of
from cases.wide_layers import conv_of, int16, wide
from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph
from kiloc.ir.operator import Op
from kiloc.ir.verify import verify
from kiloc.ops.model.concatenate import Concatenate
from kiloc.ops.model.pad import Pad
from kiloc.ops.model.requantize import Requantize
from kiloc.ops.wide.elementwise import WideAdd, WideMul, WideSub
from kiloc.ops.wide.functions import WideLogistic, WideTanh
from kiloc.ops.wide.pool_2d import WideAveragePool2D, WideMaxPool2D
from kiloc.ops.wide.softmax import WideSoftmax

UNIT = 2.0**-15
SUMS, POOLS, FUNCTIONS = (WideAdd, WideSub, WideMul), (WideAveragePool2D, WideMaxPool2D), (WideLogistic, WideTanh)


def elementwise_case(kind: Any, stretched: bool) -> Any:
    def case(r: Rng) -> Case:
        rows, columns, depth = (int(r.integers(1, 6)) for _ in range(3))
        shape = (1, rows, columns, depth)
        other = pick(r, (1, 1, 1, depth), (1, rows, 1, 1), (1, 1, columns, depth), (1, 1, 1, 1)) if stretched else shape
        types = {"x": wide(shape, scale(r, -14, -6)), "other": wide(other, scale(r, -14, -6))}
        y = types["x"].scale * types["other"].scale * pick(r, 2e4, 2e3) if kind is WideMul else types["x"].scale * pick(r, 1.0, 2.0, 0.3, 20.0)
        return Case(kind(pick(r, "none", "relu", "relu6")), types, {o: int16(r, *t.shape) for o, t in types.items()}, (wide(shape, y),))

    return case


def function_case(kind: Any) -> Any:
    def case(r: Rng) -> Case:
        shape = (1, int(r.integers(1, 300)))
        return Case(kind(), {"x": wide(shape, pick(r, 2.0**-12, 2.0**-11, scale(r, -14, 1)))}, {"x": int16(r, *shape)}, (wide(shape, UNIT),))

    return case


def softmax_case(r: Rng) -> Case:
    shape = (1, int(r.integers(1, 5)), int(r.integers(1, 40)))
    return Case(WideSoftmax(pick(r, 1.0, 0.3)), {"x": wide(shape, scale(r, -14, 0))}, {"x": int16(r, *shape)}, (wide(shape, UNIT),))


def pool_case(kind: Any) -> Any:
    def case(r: Rng) -> Case:
        layer, x, *_ = conv_of(r, True)
        window = window_of((x[1], x[2]), layer.window.kernel, layer.window.stride, "same")  # type: ignore[attr-defined]
        step = scale(r, -12, -4)
        shape = (1, *window.output(x[1], x[2]), x[3])
        return Case(kind(window, pick(r, "none", "relu", "relu6")), {"x": wide(x, step)}, {"x": int16(r, *x)}, (wide(shape, step),))

    return case


def concatenate_case(r: Rng) -> Case:
    step, widths, rows = scale(r), [int(r.integers(1, 9)) for _ in range(int(r.integers(1, 4)))], int(r.integers(1, 5))
    types = {f"x{i}" if i else "x": wide((1, rows, w), step) for i, w in enumerate(widths)}
    return Case(Concatenate(2), types, {o: int16(r, *t.shape) for o, t in types.items()})


def pad_case(r: Rng) -> Case:
    x, pad = (1, *(int(r.integers(1, 5)) for _ in range(3))), tuple(int(r.integers(0, 3)) for _ in range(4))
    y = (1, x[1] + pad[0] + pad[2], x[2] + pad[1] + pad[3], x[3])
    return Case(Pad((pad[0], pad[1], pad[2], pad[3])), {"x": wide(x, 0.01)}, {"x": int16(r, *x)}, (wide(y, 0.01),))


def trained(m: Any, x: str, other: str) -> str:
    """Sums and differences of int16 of one scale, which cannot leave it, between two changes of the element type."""
    halves = [m.b.node(f"{v}_wide", Requantize(), {"x": v}, wide(m.type(v).shape, 0.01), v) for v in (x, other)]
    y = m.b.node("wide_sum", WideAdd(), {"x": halves[0], "other": halves[1]}, m.type(halves[0]), "sum")
    y = m.b.node("wide_rest", WideSub(), {"x": halves[1], "other": y}, m.type(y), "rest")
    y = m.b.node("wide_difference", WideSub(), {"x": y, "other": halves[1]}, m.type(y), "difference")
    return str(m.op(y, "narrow", Requantize(), m.type(y).shape, 0.05, 3))


JAX = {
    "wide_add": Meaning(lambda op, x, other: x + other, never),
    "wide_sub": Meaning(lambda op, x, other: x - other, never),
}


GENERATORS = {
    **{kind.mnemonic: (elementwise_case(kind, False), 20) for kind in SUMS},
    **{f"{kind.mnemonic} stretched": (elementwise_case(kind, True), 20) for kind in SUMS},
    **{kind.mnemonic: (function_case(kind), 20) for kind in FUNCTIONS},
    **{kind.mnemonic: (pool_case(kind), 20) for kind in POOLS},
    "wide_softmax": (softmax_case, 30),
    "wide concatenate": (concatenate_case, 10),
    "wide pad": (pad_case, 20),
}


def of_two(op: Op, steps: tuple[float, float, float], second: tuple[int, ...] = (1, 4, 5, 6), constant: bool = False) -> Make:
    def make(rng: Rng) -> Graph:
        shape = (1, 4, 5, 6)
        x, other, y = wide(shape, steps[0]), wide(second, steps[1]), wide(shape, steps[2])
        if not constant:
            return one(op, x, y, other)
        return one(op, x, y, other=(int16(rng, *second), other.quantization))

    return make


def with_coarse_zeros(op: Op) -> Make:
    """Of an operand that is 0 in steps 2^16 times as long: the bits in front of the point of sums decide what is left of the other."""

    def make(rng: Rng) -> Graph:
        shape, fine = (1, 4, 5, 6), wide((1, 4, 5, 6), 1e-4)
        return one(op, fine, wide(shape, 4.1e-4), other=(np.zeros(shape, np.int16), wide(shape, 1e-4 * 2**16).quantization))

    return make


def of_one(op: Op, shape: tuple[int, ...], result: tuple[int, ...], step: float, result_step: float) -> Make:
    return lambda rng: one(op, wide(shape, step), wide(result, result_step))


def joined(axis: int) -> Make:
    def make(rng: Rng) -> Graph:
        b = GraphBuilder("case", "case.tflite")
        shapes = [tuple(2 + (i if a == axis else 0) for a in range(1, 4)) for i in range(3)]
        types = [wide((1, *s), 0.01) for s in shapes]
        inputs = {f"x{i}" if i else "x": b.input(t, f"x{i}") for i, t in enumerate(types)}
        y = wide((1, *(sum(s[a] for s in shapes) if a + 1 == axis else 2 for a in range(3))), 0.01)
        return verify(b.finish([b.node("joined", Concatenate(axis), inputs, y, "joined")]))

    return make


def graphs() -> Iterator[tuple[str, Make]]:
    steps = ((3e-4, 3e-4, 6e-4), (3e-4, 3e-4, 2e-4), (1e-3, 1e-5, 1e-3), (1e-5, 1e-3, 4e-4), (0.5, 0.25, 0.5))
    for number, (kind, s) in enumerate(product(SUMS, steps)):
        y = s[0] * s[1] * (3e4 if number % 2 else 5e3) if kind is WideMul else s[2]
        act = ACTIVATIONS[number % 4]
        yield f"{kind.mnemonic}-{s}-{act}".replace(" ", ""), of_two(kind(act), (s[0], s[1], y))
        yield f"{kind.mnemonic}-constant-{s}".replace(" ", ""), of_two(kind(), (s[0], s[1], y), (1, 1, 1, 6), True)
        yield f"{kind.mnemonic}-stretched-{s}".replace(" ", ""), of_two(kind(), (s[0], s[1], y), (1, 4, 1, 1))
    yield from ((f"{kind.mnemonic}-coarse", with_coarse_zeros(kind())) for kind in (WideAdd, WideSub))
    for kind, step in product(FUNCTIONS, (2.0**-12, 2.0**-11, 2.0**-10, 2.0**-13, 3e-4, 1e-5, 0.01, 0.5, 2.0)):
        yield f"{kind.mnemonic}-{step}", of_one(kind(), (1, 4099), (1, 4099), step, UNIT)
    for shape, step, beta in product(((1, 10), (1, 1), (1, 3, 700), (1, 2)), (1e-4, 3e-4, 5e-3, 0.7), (1.0, 0.4)):
        yield f"wide_softmax-{shape}-{step}-{beta}".replace(" ", ""), of_one(WideSoftmax(beta), shape, shape, step, UNIT)
    for number, (kind, kernel, stride, scheme) in enumerate(product(POOLS, ((2, 2), (3, 2)), ((1, 1), (2, 2)), ("same", "valid"))):
        window, act = window_of((7, 5), kernel, stride, scheme), ACTIVATIONS[number % 4]
        result = (1, *window.output(7, 5), 3)
        yield f"{kind.mnemonic}-{kernel}-{stride}-{scheme}-{act}".replace(" ", ""), of_one(kind(window, act), (1, 7, 5, 3), result, 3e-4, 3e-4)
    for axis in (1, 2, 3):
        yield f"concatenate-int16-{axis}", joined(axis)
    yield "pad-int16", of_one(Pad((1, 0, 2, 3)), (1, 3, 2, 4), (1, 6, 5, 4), 0.01, 0.01)
