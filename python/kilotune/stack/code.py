"""The instructions of a linked program for a microcontroller."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile


@dataclass(frozen=True)
class Instruction:
    operation: str
    operands: str
    next: int
    """Address of what follows in memory."""


_LABEL = re.compile(r"^([0-9a-f]+) <(.+)>:$")
_LINE = re.compile(r"^ *([0-9a-f]+):\t(\S+)(?:\t([^@;]*))?")
"""What stands behind @ and ; are remarks; behind # on RISC-V, an address that is reached."""


class Code:
    """Instructions and names of an ELF file. listing: `objdump -d --no-show-raw-insn` of it."""

    def __init__(self, elf: Path, listing: str) -> None:
        self.instructions: dict[int, Instruction] = {}
        self.names: dict[int, str] = {}
        lines: list[tuple[int, str, str]] = []
        for line in listing.splitlines():
            if (label := _LABEL.match(line)) and not label[2].startswith(".L"):
                self.names[int(label[1], 16)] = label[2]
            elif found := _LINE.match(line):
                lines.append((int(found[1], 16), found[2], (found[3] or "").strip()))
        for (at, operation, operands), (following, _, _) in zip(lines, [*lines[1:], (-1, "", "")], strict=True):
            if not operation.startswith("."):  # .word: data between functions
                self.instructions[at] = Instruction(operation, operands, following)
        self._starts = sorted(self.names)
        with elf.open("rb") as file:
            self.family = "riscv" if ELFFile(file)["e_machine"] == "EM_RISCV" else "arm"
            loaded = [s for s in ELFFile(file).iter_sections() if s["sh_type"] == "SHT_PROGBITS" and s["sh_flags"] & SH_FLAGS.SHF_ALLOC]
            self._sections = [(int(s["sh_addr"]), bytes(s.data())) for s in loaded]

    def entries(self, name: str) -> list[int]:
        """Addresses of the functions of this name: several where files have static functions of one name."""
        return [at for at, found in self.names.items() if found == name and at in self.instructions]

    def extent(self, at: int) -> tuple[int, int]:
        """First address of the function that an address lies in, and the first behind it."""
        i = bisect_right(self._starts, at)
        return self._starts[i - 1] if i else 0, self._starts[i] if i < len(self._starts) else 1 << 32

    def word(self, at: int) -> int | None:
        """The signed 32 bits at an address of the program."""
        for start, data in self._sections:
            if start <= at and at + 4 <= start + len(data):
                return int.from_bytes(data[at - start : at - start + 4], "little", signed=True)
        return None
