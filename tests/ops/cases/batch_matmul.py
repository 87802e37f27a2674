"""BATCH_MATMUL and its gradient to either operand."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from kernel_driver import Case, codes, int8, pick, scale, zero_point

from cases._parts import Make, Meaning, Rng, always, one, typed
from kiloc.ir.graph import Graph
from kiloc.ir.operator import NodeTypes
from kiloc.ir.types import activation, gradient
from kiloc.ops.model.batch_matmul import BatchMatMul, BatchMatMulGradient


def drawn(r: Rng) -> tuple[BatchMatMul, tuple[int, ...], tuple[int, ...]]:
    op = BatchMatMul(bool(r.integers(2)), bool(r.integers(2)))
    rows, columns, depth = (int(n) for n in r.integers(1, 9, 3))
    if r.random() < 0.4:  # several words, and several vectors of 16
        depth = int(r.integers(9, 50))
    batches = [(1, int(r.integers(1, 4)))] * 2
    if r.random() < 0.3:
        batches[int(r.integers(2))] = (1, 1)
    x, other = (rows, depth), (depth, columns)
    return op, (*batches[0], *(x[::-1] if op.turn_x else x)), (*batches[1], *(other[::-1] if op.turn_other else other))


def kernel_case(r: Rng) -> Case:
    op, x, other = drawn(r)
    types = {"x": activation(x, scale(r), zero_point(r)), "other": activation(other, scale(r), zero_point(r))}
    y = activation(op.result_shape(NodeTypes(types)), types["x"].scale * types["other"].scale * pick(r, 1.0, 20.0, 300.0), zero_point(r))
    return Case(op, types, {o: int8(r, *t.shape) for o, t in types.items()}, (y,))


def gradient_case(r: Rng) -> Case:
    op, x, other = drawn(r)
    types = {"x": activation(x, 0.1, zero_point(r)), "other": activation(other, 0.1, zero_point(r))}
    y, of = op.result_shape(NodeTypes(types)), pick(r, "x", "other")
    factor = types["other" if of == "x" else "x"]
    backward = BatchMatMulGradient(of, op.turn_x, op.turn_other, types[of].shape, y, shift=int(r.integers(0, 12)))
    return Case(backward, {"g": gradient(y, 1.0), "factor": factor}, {"g": codes(r, *y), "factor": int8(r, *factor.shape)})


GENERATORS = {"batch_matmul": (kernel_case, 40), "batch_matmul_gradient": (gradient_case, 60)}


def product_of(op: BatchMatMul, x: Any, other: Any) -> Any:
    x = x.swapaxes(-1, -2) if op.turn_x else x
    other = other.swapaxes(-1, -2) if op.turn_other else other
    return x @ other


JAX = {"batch_matmul": Meaning(product_of, always)}


def trained(m: Any, x: str, other: str) -> str:
    """x x^T of each row, and that times x with the roles turned."""
    scores = m.op(x, "scores", BatchMatMul(False, True), (1, 6, 5, 5), 0.09, 3, other=other)
    y = m.op(scores, "mixed", BatchMatMul(), (1, 6, 5, 4), 0.3, -5, other=x)
    return str(m.op(y, "turned", BatchMatMul(True, False), (1, 6, 4, 4), 1.2, 7, other=other))


def graph(x: tuple[int, ...], other: tuple[int, ...], op: BatchMatMul, ratio: float) -> Make:
    def make(rng: Rng) -> Graph:
        types = {"x": typed(x, 0.03, 5), "other": typed(other, 0.07, -20)}
        return one(op, types["x"], typed(op.result_shape(NodeTypes(types)), 0.0021 * ratio, 9), types["other"])

    return make


def graphs() -> Iterator[tuple[str, Make]]:
    for turns, ratio in product(product((False, True), repeat=2), (1.0, 40.0)):
        x, other = ((1, 3, 6, 4)[:2] + ((4, 6) if turns[0] else (6, 4))), ((1, 3) + ((5, 4) if turns[1] else (4, 5)))
        yield f"batch_matmul-{turns}-{ratio}".replace(" ", ""), graph(x, other, BatchMatMul(*turns), ratio)
    yield "batch_matmul-flat", graph((1, 6, 4), (1, 4, 5), BatchMatMul(), 20.0)
    yield "batch_matmul-shared", graph((1, 3, 6, 4), (1, 1, 4, 5), BatchMatMul(), 20.0)
