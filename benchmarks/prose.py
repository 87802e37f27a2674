"""Text of the pages that benchmarks write, in lines of 100 characters."""

from __future__ import annotations

import textwrap

WIDTH = 100
CODE = "    "
"""What a line of code begins with on a page."""


def wrapped(text: str, bullet: str = "") -> str:
    """Paragraphs, parted by empty lines; bullet: what stands before the first line of an item of a list, as "- "."""
    parts = [" ".join(part.split()) for part in text.strip().split("\n\n")]
    indent = " " * len(bullet)
    return "\n\n".join(
        textwrap.fill(part, WIDTH, initial_indent=bullet, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) for part in parts
    )


def broken(sample: str) -> str:
    """A text as it is, but for lines that are too long for a page."""
    return "\n".join("\n".join(textwrap.wrap(line, WIDTH)) for line in sample.rstrip().split("\n"))


LAST = "## What did not work"
"""The last section of a page that has one."""


def with_section(page: str, section: str) -> str:
    """A page with one of its sections written anew, or in front of LAST where it has none like it. section: with its heading, "## ..."."""
    before, heading, rest = page.partition(section.split("\n", 1)[0] + "\n")
    if heading:
        return f"{before}{section}\n\n## " + rest.split("\n## ", 1)[1]
    before, heading, rest = page.partition(LAST)
    return f"{before}{section}\n\n{heading}{rest}"


def shown(command: str) -> str:
    """A command of the shell as code of a page, broken before options where it is long."""
    parts = command.replace(" --", "\n--").split("\n")
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) + len(CODE) > WIDTH - 3:
            lines[-1] += " \\"
            lines.append(f"{CODE}{part}")
        else:
            lines[-1] += f" {part}"
    return "\n".join(f"{CODE}{line}" for line in lines)
