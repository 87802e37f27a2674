"""RESHAPE, which has no kernel."""

from __future__ import annotations

from collections.abc import Iterator

from cases._parts import Make, Meaning, never, one, typed
from kiloc.ops.model.reshape import Reshape

JAX = {"reshape": Meaning(lambda op, x: x, never)}


def graph(shape: tuple[int, ...], result: tuple[int, ...]) -> Make:
    return lambda rng: one(Reshape(result), typed(shape), typed(result))


def graphs() -> Iterator[tuple[str, Make]]:
    for shape, result in (((1, 4, 3, 2), (1, 24)), ((1, 24), (1, 2, 3, 4)), ((1, 4, 3, 2), (1, 4, 6))):
        yield f"reshape-{shape}-{result}".replace(" ", ""), graph(shape, result)
