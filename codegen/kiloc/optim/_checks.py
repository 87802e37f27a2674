"""Ranges of options, checked when an optimizer or a schedule is made."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import CompileError


def number(where: str, value: Any, low: float, high: float, hint: str, *, above: bool = False, below: bool = False) -> float:
    """value as a float that float32 can hold, in [low, high]; above, below: without the end."""
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    ok = real and bool(np.isfinite(value)) and low <= value <= high
    with np.errstate(over="ignore"):
        rounded = float(np.float32(value)) if ok else 0.0
    if not ok or (above and rounded <= low) or (below and rounded >= high):
        ends = f"{'(' if above else '['}{low:g}, {high:g}{')' if below else ']'}"
        raise CompileError(where, f"{value!r} is not a number in {ends}", hint)
    return float(value)


def whole(where: str, value: Any, low: int, hint: str) -> int:
    """value as an int of at least `low` that int32 holds."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value < 2**31:
        raise CompileError(where, f"{value!r} is not a whole number of at least {low}", hint)
    return int(value)
