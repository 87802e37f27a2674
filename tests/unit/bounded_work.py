"""A bound of work that no machine's load moves: lines of Python run, in place of seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def at_most(lines: int) -> Iterator[None]:
    """Ends what runs inside with an AssertionError once it has run more lines, so that a loop without end is seen too."""
    left, before = lines, sys.gettrace()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            assert left >= 0, f"more than {lines} lines were run, at {frame.f_code.co_filename}:{frame.f_lineno}"
        return trace

    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
