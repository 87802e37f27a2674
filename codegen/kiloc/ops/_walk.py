"""How values move from one order of axes to another: what `kt_move_s8` walks over."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..ir.kernel_call import Argument, Field, KernelCall
from ..ir.operator import Names

AXES = 8
"""Of a walk, of which the last may be taken in blocks."""


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Elements from one index to the next of each axis."""
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


def merged(extent: Sequence[int], source: Sequence[int], target: Sequence[int]) -> list[tuple[int, int, int]]:
    """(extent, step in x, step in y) of as few axes as make the same walk."""
    found: list[tuple[int, int, int]] = []
    for count, step, to in zip(extent, source, target, strict=True):
        if count == 1:
            continue
        if found and found[-1][1] == count * step and found[-1][2] == count * to:
            found[-1] = (found[-1][0] * count, step, to)
        else:
            found.append((count, step, to))
    return found


def walk(extent: Sequence[int], source: Sequence[int], target: Sequence[int]) -> tuple[list[tuple[int, int, int]], int]:
    """The axes of a walk, and the values that lie side by side in x and in y, and are copied together."""
    found = merged(extent, source, target)
    if found and found[-1][1:] == (1, 1):
        return found[:-1], found[-1][0]
    return found, 1


def too_many_axes(extent: Sequence[int], source: Sequence[int], target: Sequence[int]) -> str | None:
    """Complaint about a walk that the kernel cannot make, or None."""
    count = len(walk(extent, source, target)[0])
    return f"moves values along {count} axes; at most {AXES} are supported" if count > AXES else None


def move_call(
    n: Names, extent: Sequence[int], source: Sequence[int], target: Sequence[int], start: tuple[int, int] = (0, 0), fill: tuple[int, int] = (0, 0)
) -> KernelCall:
    """The call of a node that moves x. fill: (values of the result that are filled first, with what)."""
    axes, block = walk(extent, source, target)
    axes = [(1, 0, 0)] * (AXES - len(axes)) + axes
    fields: dict[str, Field] = {
        "extent": tuple(a[0] for a in axes),
        "from": tuple(a[1] for a in axes),
        "to": tuple(a[2] for a in axes),
        "start": start,
        "block": block,
        "filled": fill[0],
        "value": fill[1],
    }
    arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
    return KernelCall("kt_move_s8", "kt_move_params", fields, arguments, source="kernels/layout/move.c")
