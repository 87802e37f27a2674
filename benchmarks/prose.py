"""Text of the pages that benchmarks write, in lines of 100 characters."""

from __future__ import annotations

import textwrap

WIDTH = 100


def wrapped(text: str, bullet: str = "") -> str:
    """Paragraphs, parted by empty lines; bullet: what stands before the first line of an item of a list, as "- "."""
    parts = [" ".join(part.split()) for part in text.strip().split("\n\n")]
    indent = " " * len(bullet)
    return "\n\n".join(
        textwrap.fill(part, WIDTH, initial_indent=bullet, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) for part in parts
    )
