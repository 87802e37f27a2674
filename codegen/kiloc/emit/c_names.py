"""C spellings: identifiers, numbers, arrays, initialisers."""

from __future__ import annotations

import re
from collections.abc import Set

import numpy as np
from numpy.typing import NDArray

CTYPES = {"int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t", "int64": "int64_t", "float32": "float"}

KEYWORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register restrict return short "
    "signed sizeof static struct switch typedef union unsigned void volatile while asm".split()
)
STATE_HEADER = frozenset({"layout", "base_hash"})
RESERVED = KEYWORDS | frozenset(
    "m s t arena at made state loss target input output in_arena usable apart attach attached clear_pages base_values begin_training "
    "unadapted adapter adapter_table adapter_values adapter_floor public_key self_test_inputs self_test_labels "
    "state_size_is_as_planned status memcpy memset memcmp memmove strlen size_t bool true false errno stdin stdout stderr main".split()
)
"""What generated files call something else, or C does."""

WIDTH = 120
"""Columns of generated C."""


class Code(str):
    """C that the emitter itself has written. Templates take any other text for a model's and make it plain (`kiloc.plain_text`)."""


EMPTY = Code()
MADE = Code("made")
"""The copy of parameters that point to what was made in front of a call."""


def c_identifier(name: str) -> Code:
    """A value or node name as a C identifier (dots join scopes)."""
    return Code(re.sub(r"[^0-9A-Za-z_]", "_", name))


class Identifiers:
    """Names in one generated file: the model's own, each made a C identifier that nothing else there has.

    model: the model's name, with which the public functions begin. Where two names of the model would become one identifier, or where C or
    the generated code has a name already, a number is added. The same value has the same name in every function.
    """

    def __init__(self, model: str) -> None:
        self._prefix = f"{model}_"
        self._taken: set[str] = set(RESERVED)
        self._locals: dict[str, Code] = {}
        self._members: dict[str, Code] = {}

    def file(self, name: str) -> Code:
        """For a constant of the file: another one each time."""
        return self._fresh(name, self._taken)

    def local(self, name: str) -> Code:
        """For a value, in the functions that use it."""
        if name not in self._locals:
            self._locals[name] = self._fresh(name, self._taken)
        return self._locals[name]

    def member(self, name: str) -> Code:
        """For a member of the state struct, whose names are apart from all others."""
        if name not in self._members:
            self._members[name] = _numbered(c_identifier(name), {*self._members.values(), *KEYWORDS, *STATE_HEADER})
        return self._members[name]

    def _fresh(self, name: str, taken: set[str]) -> Code:
        first = c_identifier(name)
        if first[0].isdigit() or first.startswith(("_", "kt_", self._prefix)) or first.isupper():
            first = Code(f"v_{first.strip('_')}")
        found = _numbered(first, taken)
        taken.add(found)
        return found


def _numbered(name: str, taken: Set[str]) -> Code:
    """The name, with the smallest number behind it that makes it another one."""
    found, count = name, 2
    while found in taken:
        found, count = f"{name}_{count}", count + 1
    return Code(found)


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
    words = [c_float(float(v)) for v in flat] if flat.dtype == np.float32 else list(map(c_integer, flat.tolist()))
    lines, first, length = [], 0, 0
    for at, word in enumerate(words):
        length += len(word) + 2
        if length > width:
            lines.append(", ".join(words[first:at]))
            first, length = at, len(word) + 2
    return Code(",\n    ".join([*lines, ", ".join(words[first:])]) + ("," if words else ""))


def c_wrapped(text: str, width: int = WIDTH) -> str:
    """A statement broken after commas of its outermost brackets, and of inner ones where that is not enough; what follows is aligned to what the
    outermost hold where it fits."""
    if len(text) <= width:
        return text
    broken = next((b for b in (_broken(text, depth, width) for depth in (1, 2, 3)) if max(map(len, b.splitlines())) <= width), None)
    return broken or _broken(text, 1, width)


def _broken(text: str, depth_of_breaks: int, width: int) -> str:
    """Broken after commas of so many brackets at most."""
    indent = len(text) - len(text.lstrip()) + 8
    words, depth, start = [""], 0, 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if not start and depth:
            start = at + 1
        words[-1] += character
        if 1 <= depth <= depth_of_breaks and text[at - 1 : at + 1] == ", ":
            words.append("")
    longest = max(len(word.rstrip()) for word in words[1:] or words)
    margin = " " * (start if start <= width // 2 and start + longest <= width else indent)
    lines = [""]
    for word in words:
        if lines[-1].strip() and len(lines[-1]) + len(word.rstrip()) > width:
            lines.append(margin)
        lines[-1] += word
    return "\n".join(line.rstrip() for line in lines)
