"""The instructions of a linked program for Cortex-M, and what each does to the stack."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

CONDITION = "(?:eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)"


@dataclass(frozen=True)
class Instruction:
    operation: str
    operands: str
    next: int
    """Address of what follows in memory."""


_LABEL = re.compile(r"^([0-9a-f]+) <(.+)>:$")
_LINE = re.compile(r"^ *([0-9a-f]+):\t(\S+)(?:\t([^@;]*))?")


class Code:
    """Instructions and names of an ELF file. listing: `objdump -d --no-show-raw-insn` of it."""

    def __init__(self, elf: Path, listing: str) -> None:
        self.instructions: dict[int, Instruction] = {}
        self.names: dict[int, str] = {}
        lines: list[tuple[int, str, str]] = []
        for line in listing.splitlines():
            if label := _LABEL.match(line):
                self.names[int(label[1], 16)] = label[2]
            elif found := _LINE.match(line):
                lines.append((int(found[1], 16), found[2], (found[3] or "").strip()))
        for (at, operation, operands), (following, _, _) in zip(lines, [*lines[1:], (-1, "", "")], strict=True):
            if not operation.startswith("."):  # .word: data between functions
                self.instructions[at] = Instruction(operation, operands, following)
        self._starts = sorted(self.names)
        with elf.open("rb") as file:
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


# ---- What one instruction does to the stack ----

_PUSH = re.compile(rf"^(?:push|stmdb|stmfd|vpush|vstmdb){CONDITION}?(?:\.[nw])?$")
_POP = re.compile(rf"^(?:pop|ldmia|ldmfd|vpop|vldmia){CONDITION}?(?:\.[nw])?$")
_MOVE = re.compile(rf"^(add|sub)w?{CONDITION}?(?:\.[nw])?$")
_MOVED_BY = re.compile(r"^sp, (?:sp, )?(?:#(-?\d+)|(r\d+|ip|sl|fp|lr))$")
_LEAVES_FIRST = re.compile(r"^(?:cmp|cmn|tst|teq|v?str|v?stm|v?ldm|v?push)")
"""Operations whose first operand is read, not written (of the multiple loads: without "!")."""


def _listed(operands: str) -> int:
    """Bytes of a list of registers: {r4, lr} 8, {d8-d9} 16."""
    total = 0
    for part in operands[operands.index("{") + 1 : operands.index("}")].split(","):
        first, _, last = part.strip().partition("-")
        count = int(last[1:]) - int(first[1:]) + 1 if last else 1
        total += count * {"d": 8, "q": 16}.get(first[0], 4)
    return total


def moved(code: Code, at: int, i: Instruction) -> int | None:
    """Bytes by which an instruction lengthens the stack; None where that is a variable."""
    if i.operands.startswith(("{", "sp!")) and _PUSH.match(i.operation):
        return _listed(i.operands)
    if i.operands.startswith(("{", "sp!")) and _POP.match(i.operation):
        return -_listed(i.operands)
    if before := re.search(r"\[sp, #(-?\d+)\]!", i.operands):
        return -int(before[1])
    if after := re.search(r"\[sp\], #(-?\d+)", i.operands):
        return -int(after[1])
    if not re.match(r"sp\b", i.operands) or (_LEAVES_FIRST.match(i.operation) and not i.operands.startswith("sp!")):
        return 0
    move, by = _MOVE.match(i.operation), _MOVED_BY.match(i.operands)
    if not move or not by:
        return None
    amount = int(by[1]) if by[1] else _constant(code, at, by[2])
    return amount if amount is None or move[1] == "sub" else -amount


def _constant(code: Code, at: int, register: str) -> int | None:
    """What the nearest instructions above that name a register put there, if it is a constant: the size of a frame that no immediate holds."""
    first, shift = max(code.extent(at)[0], at - 64), 0
    for address in (a for a in range(at - 2, first - 2, -2) if a in code.instructions):
        i = code.instructions[address]
        if not re.search(rf"\b{register}\b", i.operands):
            continue
        if (found := re.match(rf"{register}, {register}, #(\d+)$", i.operands)) and i.operation == "lsls":
            shift += int(found[1])
            continue
        if (found := re.match(rf"{register}, #(\d+)$", i.operands)) and re.match(r"mov[ws]?(\.w)?$", i.operation):
            return int(found[1]) << shift
        if (found := re.match(rf"{register}, \[pc, #(\d+)\]$", i.operands)) and i.operation in ("ldr", "ldr.w"):
            word = code.word(((address + 4) & ~3) + int(found[1]))
            return None if word is None else word << shift
        return None
    return None
