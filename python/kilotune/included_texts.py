"""What a source of C is compiled from: its own text and those that it includes, found without a preprocessor."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

_INCLUDE = re.compile(rb"^[ \t]*#[ \t]*include[ \t]+(?:[<\"]([^>\"\n]+)[>\"]|(\w+))", re.MULTILINE)


class IncludedTexts:
    """Sources and headers of one program, each read once."""

    def __init__(self, read: Callable[[Path], bytes]) -> None:
        self._read = read
        self._known: dict[Path, tuple[bytes, list[tuple[bytes, bytes]]]] = {}

    def of(self, source: Path, include: Sequence[Path]) -> list[str | bytes] | None:
        """Names and texts of a source and of every file that it includes, whatever a preprocessor would leave out, but for those of the system;
        None where a macro names one of them."""
        found, pending, seen = list[str | bytes](), [source], set[Path]()
        while pending:
            path = pending.pop()
            if path in seen:
                continue
            seen.add(path)
            if path not in self._known:
                text = self._read(path)
                self._known[path] = text, _INCLUDE.findall(text)
            text, included = self._known[path]
            found += [path.name, text]
            for name, macro in included:
                if macro:
                    return None
                places = (folder / name.decode() for folder in (path.parent, *include))
                pending += [place for place in places if place.is_file()][:1]
        return found
