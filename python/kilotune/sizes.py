"""Sizes as people write them."""

from __future__ import annotations

import re

from kiloc import CompileError

_UNITS = {"": 1, "K": 1024, "KB": 1024, "KIB": 1024, "M": 1024**2, "MB": 1024**2, "MIB": 1024**2}


def parse_size(size: int | str | None, where: str) -> int | None:
    """Bytes of 65536, "65536" or "64K". Raises CompileError."""
    if size is None:
        return None
    if isinstance(size, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", size)
        if match is None or match[2].upper() not in _UNITS:
            raise CompileError(where, f"{size!r} is not a size", 'write bytes, or "64K"')
        size = int(float(match[1]) * _UNITS[match[2].upper()])
    if isinstance(size, bool) or not hasattr(size, "__index__"):
        raise CompileError(where, f"{size!r} is not a size", 'write bytes as a whole number, or "64K"')
    if size <= 0:
        raise CompileError(where, f"{size} bytes is no size", "pass a positive one")
    return int(size)
