"""Text of a model on its way out: names that someone else chose, in what we write and in what a person reads.

A model file names its tensors as it likes. Whatever of that enters a generated file goes through `plain`, and whatever
a terminal, a report or a graph shows goes through `printable`.
"""

from __future__ import annotations

import re

LONGEST = 100
"""Characters of a name in generated files."""
LONGEST_SHOWN = 4000
"""Characters of a text that a person reads."""

_PLAIN = {code: chr(code) for code in range(0x20, 0x7F)} | {ord("/"): ".", ord('"'): "'"} | dict.fromkeys(map(ord, "*\\?"), "_")
_CHANGED = re.compile(r"[^ -~]|[/\"*\\?]")


def plain(text: str) -> str:
    """A text that ends no comment and no string of C or CMake and continues no line: printable ASCII without * / \\ ? and ".

    Slashes, which separate scopes, become dots, everything else that is not allowed an underscore each. With no backslash
    and no question mark there is neither a spliced line nor a trigraph.
    """
    short = text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
    return short if short.isascii() and not _CHANGED.search(short) else "".join(_PLAIN.get(ord(c), "_") for c in short)


def printable(text: str) -> str:
    """A text on one line that moves no cursor and reorders nothing: what is not printable is shown as its number."""
    short = text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."
    return short if short.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in short)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
