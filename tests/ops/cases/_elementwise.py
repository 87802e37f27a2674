"""Operators of two tensors: shapes that stretch, constants, and the gradients that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
from kernel_driver import Case, codes, int8, pick, scale, zero_point

from cases._parts import ACTIVATIONS, Make, Rng, f32, one, scales_far_apart, typed
from kiloc.ir.graph import Graph
from kiloc.ir.operator import Op
from kiloc.ir.types import Quantization, TensorType, activation, gradient

Shape = tuple[int, ...]
MakeOp = Callable[[Rng], Op]

STRETCHED: tuple[tuple[Shape, Shape], ...] = (
    ((1, 4, 5, 6), (1, 1, 1, 6)),
    ((1, 4, 5, 6), (1, 1, 1, 1)),
    ((1, 4, 5, 6), (1, 4, 5, 1)),
    ((1, 1, 1, 6), (1, 4, 5, 6)),
    ((1, 4, 1, 6), (1, 1, 5, 6)),
    ((1, 4, 5, 1), (1, 1, 1, 6)),
    ((1, 4, 1, 6), (1, 4, 5, 1)),
    ((1, 7), (1, 1)),
)
"""Operands that become one result."""


def shapes(r: Rng) -> tuple[Shape, Shape]:
    """Of two operands: mostly one shape, else axes of either are stretched."""
    if r.random() < 0.5:
        size = pick(r, int(r.integers(1, 70)), 256)
        return (1, size), (1, size)
    whole = [1, *(int(n) for n in r.integers(1, 6, 2)), int(r.integers(1, 40))]
    first, second = list(whole), list(whole)
    for axis in (1, 2, 3):
        way = r.integers(4)
        if way == 0:
            first[axis] = 1
        elif way == 1:
            second[axis] = 1
    return tuple(first), tuple(second)


def result_of(*operands: Shape) -> Shape:
    return tuple(int(n) for n in np.broadcast_shapes(*operands))


def kernel_case(make: MakeOp, ratios: tuple[float, ...], same: bool = False) -> Callable[[Rng], Case]:
    """ratios: scales of the result by the first operand's; same: all have one scale."""

    def case(r: Rng) -> Case:
        x, other = shapes(r)
        types = {"x": activation(x, scale(r), zero_point(r)), "other": activation(other, scale(r), zero_point(r))}
        y = activation(result_of(x, other), f32(types["x"].scale * pick(r, *ratios)), zero_point(r))
        if same:
            types["other"], y = (
                activation(other, types["x"].scale, types["x"].zero_point),
                activation(y.shape, types["x"].scale, types["x"].zero_point),
            )
        elif r.random() < 0.2:
            types["other"] = activation(other, types["x"].scale, zero_point(r))
        return Case(make(r), types, {o: int8(r, *t.shape) for o, t in types.items()}, (y,))

    return case


def gradient_case(make: Callable[[Shape, Rng], Op]) -> Callable[[Rng], Case]:
    """Of an operator with operands own and other, or factor, as its class says."""

    def case(r: Rng) -> Case:
        of, other = shapes(r)
        op = make(of, r)
        types: dict[str, TensorType] = {"g": gradient(result_of(of, other), 1.0)}
        first = activation(of, scale(r), zero_point(r))
        for operand in op.operands[1:]:
            types[operand] = first if operand == "own" else activation(other, scale(r), zero_point(r))
        arrays = {o: codes(r, *t.shape) if o == "g" else int8(r, *t.shape) for o, t in types.items()}
        return Case(op, types, arrays)

    return case


def graph(make: MakeOp, types: tuple[TensorType, TensorType, TensorType], constant: str = "") -> Make:
    """constant: "other" or "x", which holds random codes; "": both are inputs."""

    def build(rng: Rng) -> Graph:
        x, other, y = types
        if not constant:
            return one(make(rng), x, y, other)
        fixed = x if constant == "x" else other
        data = rng.integers(-128, 128, fixed.shape).astype(np.int8)
        return _with_constant(make(rng), types, constant, data)

    return build


def _with_constant(op: Op, types: tuple[TensorType, TensorType, TensorType], operand: str, data: np.ndarray[Any, Any]) -> Graph:
    from kiloc.frontend.build import GraphBuilder
    from kiloc.ir.verify import verify

    x, other, y = types
    b = GraphBuilder("case", "case.tflite")
    fixed, free = (x, other) if operand == "x" else (other, x)
    inputs = {"other" if operand == "x" else "x": b.input(free, "free")}
    inputs[operand] = b.constant(f"layer.{operand}", data, Quantization((fixed.scale,), fixed.zero_point), operand)
    return verify(b.finish([b.node("layer", op, {o: inputs[o] for o in ("x", "other")}, y, "layer")]))


SCALES = ((0.02, 0.02, 0.04), (0.02, 0.02, 0.02), (0.5, 0.25, 0.5), (0.3, 0.0002, 0.3), (0.0001, 0.9, 0.7), (0.02, 0.05, 0.004))
ZEROS = ((0, 0, 0), (-128, 127, 3), (127, 127, -128), (5, -9, 40))


def graphs(
    name: str, make: Callable[[str], Op], sweep: int, acts: tuple[str, ...] = ACTIVATIONS, either: bool = False, scales: Any = SCALES
) -> Iterator[tuple[str, Make]]:
    """Scales and zero points of all kinds, shapes that stretch, constants; either: the first operand may be the constant one."""
    for number, (s, z) in enumerate(product(scales, ZEROS)):
        types = tuple(typed((1, 4, 5, 6), a, b) for a, b in zip(s, z, strict=True))
        act = acts[number % len(acts)]
        yield f"{name}-{s}-{z}".replace(" ", ""), graph(lambda r, act=act: make(act), types)  # type: ignore[misc, arg-type]
    for number, (first, second) in enumerate(STRETCHED):
        for constant in ("", "other", *(["x"] if either else [])):
            types = (typed(first, 0.02, 3), typed(second, 0.03, -5), typed(result_of(first, second), 0.025, -20))
            act = acts[number % len(acts)]
            yield f"{name}-stretched-{number}-{constant}", graph(lambda r, act=act: make(act), types, constant)  # type: ignore[misc]
    for number in range(sweep):

        def any_scales(rng: Rng) -> Graph:
            found, points = scales_far_apart(rng)
            types = tuple(typed((1, 4, 5, 6), a, b) for a, b in zip(found, points, strict=True))
            act = str(rng.choice(acts))
            return graph(lambda r: make(act), types)(rng)  # type: ignore[arg-type]

        yield f"{name}-sweep-{number}", any_scales


def of_one_scale(name: str, make: Callable[[], Op]) -> Iterator[tuple[str, Make]]:
    """The same for operators whose operands and result have one scale."""
    for number, (first, second) in enumerate((((1, 4, 5, 6), (1, 4, 5, 6)), *STRETCHED)):
        for constant in ("", "other"):
            types = tuple(typed(shape, 0.02, 3) for shape in (first, second, result_of(first, second)))
            yield f"{name}-{number}-{constant}", graph(lambda r: make(), types, constant)  # type: ignore[arg-type]


def constant(m: Any, name: str, shape: Shape, scale: float, zero: int = 0) -> str:
    """A constant operand of a model whose gradients are compared, well away from zero."""
    data = m.rng.integers(30, 128, shape) * m.rng.choice([-1, 1], shape)
    return str(m.b.constant(name, data.astype(np.int8), Quantization((f32(scale),), zero), name))
