"""Where the generated C calls kernels, and marks around these calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

CALL = re.compile(r"^    (kt_\w+\((?:[^;]|\n)*?\);|    kt_\w+\(&made,(?:[^;]|\n)*?\);)", re.M)
"""Of a step, and where weights are made in front of one those of both."""

Mark = Callable[[str, int], str]
"""What stands before or behind the call of this number, from 1, of this function."""


def marked(source: str, functions: Sequence[str], begin: Mark, end: Mark) -> str:
    """The generated C with a mark before and behind every call of a kernel in these functions."""
    for function in functions:
        first, last = _body(source, function)
        numbers = iter(range(1, 10_000))

        def around(match: re.Match[str], numbers: Iterator[int] = numbers, function: str = function) -> str:
            number = next(numbers)
            return f"    {begin(function, number)}\n    {match[1]}\n    {end(function, number)}"

        source = source[:first] + CALL.sub(around, source[first:last]) + source[last:]
    return source


def called(source: str, function: str) -> list[str]:
    """What a generated function calls, one behind the other: the kernels of its steps, and of weights that are made in front of one."""
    return [match[1].split("(")[0].strip() for match in CALL.finditer(source, *_body(source, function))]


def _body(source: str, function: str) -> tuple[int, int]:
    start = source.index(f"kt_status {function}(")
    return start, source.index("\n}\n", start)
