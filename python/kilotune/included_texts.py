"""What a source of C is compiled from: its own text and those that it includes, found without a preprocessor."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

_DEFINITION = re.compile(rb"^#define (KT_\w+)[ \t]*\n", re.MULTILINE)
_COMMENT = re.compile(rb"[ \t]*/\*.*?\*/", re.DOTALL)
_DEFINED = re.compile(r"-D((?:KT|AGENT)_\w+)(?:=.*)?")
"""A macro of this project that a flag defines: headers of the system know none of these."""
_WARNING = re.compile(r"-W(?!l,|a,|p,).*|-pedantic")
_INCLUDE = re.compile(rb"^[ \t]*#[ \t]*include[ \t]+(?:[<\"]([^>\"\n]+)[>\"]|(\w+))", re.MULTILINE)


class IncludedTexts:
    """Sources and headers of one program, each read once."""

    def __init__(self, read: Callable[[Path], bytes]) -> None:
        self._read = read
        self._known: dict[Path, tuple[bytes, list[tuple[bytes, bytes]]]] = {}

    def of(self, source: Path, include: Sequence[Path], flags: Sequence[str] = ()) -> list[str | bytes] | None:
        """Flags, and names and texts of a source and of every file that it includes, whatever a preprocessor would leave out, but for those of the
        system; None where a macro names one of them. What flags or kt/target.h define and no text mentions is left out, as are the comments of
        that header: so builds for a core share what they have in common."""
        found, pending, seen = list[str | bytes](), [source], set[Path]()
        targets = []
        while pending:
            path = pending.pop()
            if path in seen:
                continue
            seen.add(path)
            if path not in self._known:
                text = self._read(path)
                self._known[path] = text, _INCLUDE.findall(text)
            text, included = self._known[path]
            if path.name == "target.h" and path.parent.name == "kt":
                targets.append(_COMMENT.sub(b"", text))
            else:
                found += [path.name, text]
            for name, macro in included:
                if macro:
                    return None
                places = (folder / name.decode() for folder in (path.parent, *include))
                pending += [place for place in places if place.is_file()][:1]
        texts = [part for part in (*found, *targets) if isinstance(part, bytes)]

        def mentioned(name: bytes, most: int = 0) -> bool:
            return sum(text.count(name) for text in texts) > most

        used = [_DEFINITION.sub(lambda m: m[0] if mentioned(m[1], 1) else b"", text) for text in targets]
        kept = [flag for flag in flags if not (d := _DEFINED.fullmatch(flag)) or mentioned(d[1].encode())]
        kept.sort(key=lambda flag: not _WARNING.fullmatch(flag))  # where these stand among others does not matter
        return [*kept, *found, *used]
