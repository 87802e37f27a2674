"""Operands that stretch to the shape of a result, as in NumPy: axes are aligned from the last one, and an extent of 1 meets any other."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ..ir.kernel_call import Field
from ..ir.operator import Array

LOOPS = 4
"""Loops of a kernel over a result."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Broadcast:
    """The loops over a result, outermost first: their extents, and of each operand how many elements it moves on with each, 0 where it is stretched.

    Neighbouring axes along which all operands move or stand still alike are one loop.
    """

    extent: Shape
    steps: tuple[Shape, ...]

    def fields(self, *names: str) -> dict[str, Field]:
        """Initialisers of extents and steps; names: of the operands."""
        return {"extent": self.extent, **{f"{name}_step": step for name, step in zip(names, self.steps, strict=True)}}


def stretches(operand: Shape, result: Shape) -> bool:
    """Whether an operand of this shape stretches to the result, or has its shape."""
    return len(operand) <= len(result) and all(a in (1, b) for a, b in zip(operand[::-1], result[::-1], strict=False))


def broadcast(result: Shape, *operands: Shape) -> Broadcast | None:
    """The loops of a kernel; None where there are more than `LOOPS`. Every operand `stretches`."""
    padded = [(1,) * (len(result) - len(shape)) + shape for shape in operands]
    loops: list[tuple[int, tuple[bool, ...]]] = []
    for axis, extent in enumerate(result):
        moves = tuple(shape[axis] == extent for shape in padded)
        if extent == 1:
            continue
        if loops and loops[-1][1] == moves:
            loops[-1] = (loops[-1][0] * extent, moves)
        else:
            loops.append((extent, moves))
    if len(loops) > LOOPS:
        return None
    loops = [(1, (True,) * len(operands))] * (LOOPS - len(loops)) + loops
    steps = tuple(
        tuple(prod(n for n, later in loops[i + 1 :] if later[o]) if moves[o] and extent > 1 else 0 for i, (extent, moves) in enumerate(loops))
        for o in range(len(operands))
    )
    return Broadcast(tuple(extent for extent, _ in loops), steps)


def aligned(array: Array, rank: int) -> Array:
    """An operand [N, ...] with axes of extent 1 behind the batch axis, so that NumPy stretches it to a result of this rank."""
    return array.reshape(array.shape[0], *(1,) * (rank - array.ndim), *array.shape[1:])


def reduced(terms: Array, shape: Shape) -> Array:
    """The sums of terms [N, ...], one for each element of an operand of this shape that was stretched to them: [N, *shape[1:]]."""
    padded = (1,) * (terms.ndim - len(shape)) + shape
    axes = tuple(i for i in range(1, terms.ndim) if padded[i] == 1 and terms.shape[i] > 1)
    total: Array = terms.sum(axes)
    return total.reshape(terms.shape[0], *shape[1:])
