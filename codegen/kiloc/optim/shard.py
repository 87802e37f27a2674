"""Which part of an optimizer's state a device holds where several train together.

Source: Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models" (2020), its first stage.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import CompileError
from ..ops.update._moments import BLOCK

Shard = tuple[int, int]
"""(index, count): the part `index`, from 0 on, of `count` parts."""


def check_shard(shard: object) -> None:
    """Raises CompileError where it is no part of so many."""
    hint = "pass (index, count), as (0, 4) for the first of four devices; (0, 1) holds everything"
    numbers = isinstance(shard, tuple) and len(shard) == 2 and all(isinstance(n, int) and not isinstance(n, bool) for n in shard)
    if not numbers or not 0 <= shard[0] < shard[1]:  # type: ignore[index]
        raise CompileError(f"shard={shard!r}", "is no part of a number of parts", hint)


def parts(sizes: Mapping[str, int], shard: Shard, unit: int = 1) -> dict[str, tuple[int, int]]:
    """The elements of a shard, parameter -> (first, number): of all parameters behind each other, in their order, as equal a part as can be.

    sizes: elements of each parameter. unit: no part is cut but at a multiple of so many elements of its parameter, such as a block of moments.
    Together the shards have every element once. Raises CompileError where there are more shards than units.
    """
    counts = [-(-size // unit) for size in sizes.values()]
    index, count = shard
    total = sum(counts)
    if count > total:
        what = f"{count} devices would share the state of {_units(sum(sizes.values()), total, unit)}"
        raise CompileError(f"shard={shard!r}", what, f"use {total} devices at most, or train more")
    low, high = total * index // count, total * (index + 1) // count
    found, at = {}, 0
    for (name, size), units in zip(sizes.items(), counts, strict=True):
        first, last = max(low - at, 0), min(high - at, units)
        if first < last:
            found[name] = (first * unit, min(last * unit, size) - first * unit)
        at += units
    return found


def unit_of(state_bits: int) -> int:
    """Elements that are kept together: those that share a scale."""
    return BLOCK if state_bits == 8 else 1


def _units(elements: int, units: int, unit: int) -> str:
    return f"{elements} parameters" + (f", which are {units} blocks of at most {unit}" if unit > 1 else "")
