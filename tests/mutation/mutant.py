"""One planted bug: a few bytes of a source file replaced by others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Edit:
    """The bytes [start, end) of a source, replaced by `text`. kind: what such an edit is called."""

    start: int
    end: int
    text: str
    kind: str


@dataclass(frozen=True)
class Mutant:
    """An edit of one file, and where a person finds it.

    line: from 1. code: the line, without its margin. before, after: the bytes replaced, and by what. copy: how many mutants that read the
    same stand in front of it in the file. So its name stays the same while other lines of the file change.
    """

    path: str
    line: int
    code: str
    before: str
    after: str
    kind: str
    start: int
    end: int
    copy: int = 0

    @property
    def name(self) -> str:
        """Twelve hexadecimal digits."""
        column = self.kind, self.before, self.after, str(self.copy)
        return hashlib.sha256("\0".join((self.path, self.code, *column)).encode()).hexdigest()[:12]

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.after.encode() + source[self.end :]

    def shown(self) -> str:
        """On one line: what was replaced by what."""

        def short(text: str) -> str:
            words = " ".join(text.split())
            return words if len(words) <= 60 else f"{words[:57]}..."

        return f"{self.path}:{self.line}: {short(self.before)} -> {short(self.after) or 'nothing'} ({self.kind})"


def mutants_of(path: str, source: bytes, edits: Iterable[Edit]) -> Iterator[Mutant]:
    """Edits as mutants, in the order of the file, each once."""
    seen: dict[str, int] = {}
    for e in sorted(set(edits), key=lambda e: (e.start, e.end, e.text, e.kind)):
        before = source[e.start : e.end].decode()
        if before == e.text:
            continue
        begin = source.rfind(b"\n", 0, e.start) + 1
        end = source.find(b"\n", e.start)
        code = source[begin : end if end >= 0 else len(source)].decode().strip()
        found = Mutant(path, source.count(b"\n", 0, e.start) + 1, code, before, e.text, e.kind, e.start, e.end)
        number = seen[found.name] = seen.get(found.name, -1) + 1
        yield replace(found, copy=number)


def sample(mutants: Iterable[Mutant], seed: int) -> list[Mutant]:
    """All of them in an order that depends on their names and the seed alone: the first N are the sample of N."""
    return sorted(mutants, key=lambda m: hashlib.sha256(f"{seed}:{m.name}".encode()).hexdigest())
