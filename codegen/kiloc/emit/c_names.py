"""C spellings: identifiers, numbers, arrays, initialisers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

CTYPES = {"int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t", "float32": "float"}


def c_identifier(name: str) -> str:
    """A value or node name as a C identifier (dots join scopes)."""
    return re.sub(r"[^0-9A-Za-z_]", "_", name)


def c_float(x: float) -> str:
    """A float32 literal that reads back to the same bits."""
    text = np.format_float_scientific(np.float32(x), unique=True, trim="0")
    return f"{text}f"


def c_integer(x: int) -> str:
    return "INT32_MIN" if x == -(2**31) else str(x)


def c_array(data: NDArray[np.generic], width: int = 112) -> str:
    """Elements of an array, broken into lines."""
    flat = data.ravel()
    words = [c_float(float(v)) for v in flat] if flat.dtype == np.float32 else [c_integer(int(v)) for v in flat]
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) + 2 > width:
            lines.append(line.rstrip())
            line = ""
        line += f"{word}, "
    return "\n    ".join([*lines, line.rstrip()])


def c_fields(fields: Mapping[str, str]) -> str:
    """Designated initialisers of a struct."""
    return ", ".join(f".{name} = {value}" for name, value in fields.items())


def c_list(values: Iterable[object]) -> str:
    return "{" + ", ".join(str(v) for v in values) + "}"
