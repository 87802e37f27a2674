"""C spellings: identifiers, numbers, arrays, initialisers."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

CTYPES = {"int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t", "float32": "float"}

WIDTH = 120
"""Columns of generated C."""


class Code(str):
    """C that the emitter itself has written. Templates take any other text for a model's and make it plain (`kiloc.plain_text`)."""


def c_identifier(name: str) -> Code:
    """A value or node name as a C identifier (dots join scopes)."""
    return Code(re.sub(r"[^0-9A-Za-z_]", "_", name))


def c_float(x: float) -> str:
    """A float32 literal that reads back to the same bits."""
    plain = x == 0 or 1e-4 <= abs(x) < 1e7
    write = np.format_float_positional if plain else np.format_float_scientific
    return f"{write(np.float32(x), unique=True, trim='0')}f"


def c_integer(x: int) -> str:
    return "INT32_MIN" if x == -(2**31) else str(x)


def c_string(data: bytes) -> Code:
    """A string literal of exactly these bytes. What is not a letter, digit, space or one of ._-=,: is written as its number."""
    safe = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ._-=,:;()")
    return Code('"' + "".join(chr(byte) if byte in safe else f"\\{byte:03o}" for byte in data) + '"')


def c_array(data: NDArray[np.generic], width: int = 112) -> Code:
    """Elements of an array, broken into lines."""
    flat = data.ravel()
    words = [c_float(float(v)) for v in flat] if flat.dtype == np.float32 else [c_integer(int(v)) for v in flat]
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) + 2 > width:
            lines.append(line.rstrip())
            line = ""
        line += f"{word}, "
    return Code("\n    ".join([*lines, line.rstrip()]))


def c_wrapped(text: str, width: int = WIDTH) -> str:
    """A statement broken after commas of its outermost brackets, what follows aligned to what they hold."""
    if len(text) <= width:
        return text
    indent = len(text) - len(text.lstrip()) + 8
    words, depth, start = [""], 0, 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if not start and depth:
            start = at + 1
        words[-1] += character
        if depth == 1 and text[at - 1 : at + 1] == ", ":
            words.append("")
    margin = " " * (start if start <= width // 2 else indent)
    lines = [""]
    for word in words:
        if lines[-1].strip() and len(lines[-1]) + len(word.rstrip()) > width:
            lines.append(margin)
        lines[-1] += word
    return "\n".join(line.rstrip() for line in lines)


def c_list(values: Iterable[object]) -> str:
    return "{" + ", ".join(str(v) for v in values) + "}"
