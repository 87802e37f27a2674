"""TRANSPOSE, which is its own gradient."""

from __future__ import annotations

from collections.abc import Iterator

from kernel_driver import Case, int8

from cases._parts import Make, Meaning, Rng, never, one, typed
from kiloc.ir.types import activation
from kiloc.ops.model.transpose import Transpose


def kernel_case(r: Rng) -> Case:
    axes = int(r.integers(2, 5))
    x = activation((1, *(int(n) for n in r.integers(1, 6, axes - 1))), 0.1, 0)
    return Case(Transpose((0, *(int(i) + 1 for i in r.permutation(axes - 1)))), {"x": x}, {"x": int8(r, *x.shape)})


GENERATORS = {"transpose": (kernel_case, 16)}

JAX = {"transpose": Meaning(lambda op, x: x.transpose(op.permutation), never)}


def graph(shape: tuple[int, ...], permutation: tuple[int, ...]) -> Make:
    return lambda rng: one(Transpose(permutation), typed(shape), typed(tuple(shape[i] for i in permutation)))


def graphs() -> Iterator[tuple[str, Make]]:
    for shape, permutation in (((1, 4, 3, 2), (0, 3, 1, 2)), ((1, 4, 3, 2), (0, 2, 1, 3)), ((1, 5, 7), (0, 2, 1)), ((1, 2, 3, 4), (0, 2, 3, 1))):
        yield f"transpose-{shape}-{permutation}".replace(" ", ""), graph(shape, permutation)
