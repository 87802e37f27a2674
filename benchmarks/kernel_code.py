"""Which kernels have changed: a digest of the machine code that each reaches, so that counts of the others can be kept."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

FILE = re.compile(r"(\S+\.o):\s")
SECTION = re.compile(r"Disassembly of section (\S+):")
LABEL = re.compile(r"[0-9a-f]+ <(\S+)>:")
RELOCATION = re.compile(r"\s+[0-9a-f]+:\s+(R_\S+)\s+(\S+)")
INSTRUCTION = re.compile(r"\s+[0-9a-f]+:\t([0-9a-f ]+)\t")


@dataclass
class Section:
    """Of an object, with one function. text: instructions and what they refer to; refers: names of it, or of sections."""

    file: str
    text: list[str] = field(default_factory=list)
    refers: set[str] = field(default_factory=set)

    def digest(self) -> bytes:
        return hashlib.sha256("\n".join(self.text).encode()).digest()


def codes(folder: Path, objdump: str) -> dict[str, str]:
    """Kernel -> digest of its code and of all that it calls, of objects with a section for each function."""
    sections = _sections(sorted(folder.glob("*.o")), objdump)
    labels: dict[str, list[Section]] = {}
    for section in sections.values():
        for line in section.text:
            if line.startswith("<"):
                labels.setdefault(line[1:-1], []).append(section)
    found = {}
    for symbol, homes in labels.items():
        if symbol.startswith("kt_"):
            total = sorted(section.digest() for section in _reached(homes[0], sections, labels))
            found[symbol] = hashlib.sha256(b"".join(total)).hexdigest()[:12]
    return found


def _reached(first: Section, sections: dict[tuple[str, str], Section], labels: dict[str, list[Section]]) -> list[Section]:
    found, waiting = dict[int, Section](), [first]
    while waiting:
        section = waiting.pop()
        if id(section) in found:
            continue
        found[id(section)] = section
        for name in section.refers:
            homes = labels.get(name, [])
            own = [home for home in homes if home.file == section.file]
            waiting += [sections[section.file, name]] if (section.file, name) in sections else (own or homes)[:1]
    return list(found.values())


def _sections(objects: Sequence[Path], objdump: str) -> dict[tuple[str, str], Section]:
    if not objects:
        return {}
    text = subprocess.run([objdump, "-dr", *map(str, objects)], stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[tuple[str, str], Section] = {}
    file, section = "", Section("")
    for line in text.splitlines():
        if match := FILE.match(line):
            file = Path(match[1]).name
        elif match := SECTION.match(line):
            section = found.setdefault((file, match[1]), Section(file))
        elif match := LABEL.match(line):
            section.text.append(f"<{match[1]}>")
        elif match := RELOCATION.match(line):
            section.text.append(f"{match[1]} {match[2]}")
            section.refers.add(re.split(r"[+]|-0x", match[2])[0])
        elif match := INSTRUCTION.match(line):
            section.text.append(match[1].strip())
    return found
