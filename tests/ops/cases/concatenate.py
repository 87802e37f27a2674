"""CONCATENATION of any number of operands; the gradient is slices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from kernel_driver import Case, int8

from cases._parts import Make, Meaning, Rng, never, typed
from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph
from kiloc.ir.types import activation
from kiloc.ir.verify import verify
from kiloc.ops.model.concatenate import Concatenate


def shapes(shape: tuple[int, ...], axis: int, extents: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [(*shape[:axis], n, *shape[axis + 1 :]) for n in extents]


def operands(count: int) -> list[str]:
    return ["x", *(f"x{i}" for i in range(1, count))]


def kernel_case(r: Rng) -> Case:
    shape = (1, *(int(n) for n in r.integers(1, 6, int(r.integers(1, 4)))))
    axis = int(r.integers(1, len(shape)))
    parts = shapes(shape, axis, tuple(int(n) for n in r.integers(1, 6, int(r.integers(1, 7)))))
    types = {o: activation(s, 0.1, 3) for o, s in zip(operands(len(parts)), parts, strict=True)}
    return Case(Concatenate(axis), types, {o: int8(r, *t.shape) for o, t in types.items()})


GENERATORS = {"concatenate": (kernel_case, 40)}


def joined(op: Concatenate, *x: Any) -> Any:
    from jax import numpy

    return numpy.concatenate(x, op.axis)


JAX = {"concatenate": Meaning(joined, never)}


def trained(m: Any, x: str, other: str) -> str:
    y = m.op(x, "sides", Concatenate(3), (1, 6, 5, 12), x1=other, x2=x)
    return str(m.op(y, "rows", Concatenate(1), (1, 12, 5, 12), x1=y))


def graph(shape: tuple[int, ...], axis: int, extents: tuple[int, ...], constant: int = -1) -> Make:
    """constant: the number of the operand that is a constant."""

    def make(rng: Rng) -> Graph:
        b, inputs = GraphBuilder("case", "case.tflite"), {}
        for i, (operand, part) in enumerate(zip(operands(len(extents)), shapes(shape, axis, extents), strict=True)):
            if i == constant:
                inputs[operand] = b.constant("held", rng.integers(-128, 128, part).astype(np.int8), typed(part).quantization, "held")
            else:
                inputs[operand] = b.input(typed(part), operand)
        y = typed((*shape[:axis], sum(extents), *shape[axis + 1 :]))
        return verify(b.finish([b.node("layer", Concatenate(axis), inputs, y, "layer")]))

    return make


def graphs() -> Iterator[tuple[str, Make]]:
    for shape, axis, extents in (((1, 4, 3, 2), 3, (2, 5)), ((1, 4, 3, 2), 1, (1, 4, 2)), ((1, 4, 3, 2), 2, (1, 1, 1, 1, 3)), ((1, 9), 1, (9, 3))):
        yield f"concatenate-{shape}-{axis}-{extents}".replace(" ", ""), graph(shape, axis, extents)
    yield "concatenate-constant", graph((1, 4, 3), 2, (3, 2, 4), constant=1)
