"""Budgets of time: MACs, or a duration at a clock, whose instructions `kiloc.forecast` estimates."""

from __future__ import annotations

import re

from kiloc import CompileError

CLOCK = 100_000_000
"""Hz, where none is given."""
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def parse_time(time: int | str | None) -> tuple[int | None, float | None]:
    """(MACs, seconds) of a budget: a whole number of MACs, or "20ms". Raises CompileError."""
    where, hint = f"time={time!r}", 'write a duration of one training step as "20ms", or its MACs as a whole number'
    if time is None:
        return None, None
    text = str(time).strip()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(us|ms|s)", text)
    if match and float(match[1]) > 0:
        return None, float(match[1]) * UNITS[match[2]]
    if isinstance(time, bool) or not text.isdigit() or int(text) < 1:
        raise CompileError(where, "is no time", hint)
    return int(text), None


def parse_clock(clock: int | str) -> int:
    """Hz of 100_000_000 or "100M". Raises CompileError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMG]?)(?:Hz)?", str(clock).strip())
    hertz = float(match[1]) * {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}[match[2]] if match else 0.0
    if isinstance(clock, bool) or not 1e3 <= hertz <= 1e11:
        raise CompileError(f"clock={clock!r}", "is no clock", 'write Hz as "168M"')
    return round(hertz)
