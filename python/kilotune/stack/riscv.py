"""What an instruction of RISC-V does to the stack, and where it leads."""

from __future__ import annotations

import re

from .code import Code, Instruction
from .flow import Flow, Kind

# ---- The stack ----

_MOVED = re.compile(r"^sp,sp,(?:(-?\d+)|(\w+))$")
_READS_FIRST = re.compile(r"^(?:s[bhw]|b\w+)$")
"""Operations whose first operand is read, not written: stores and branches."""
_BEFORE = 24
"""Instructions among which a constant is looked for."""


def moved(code: Code, at: int, i: Instruction) -> int | None:
    """Bytes by which an instruction lengthens the stack; None where that is a variable."""
    if not i.operands.startswith("sp,") or _READS_FIRST.match(i.operation):
        return 0
    by = _MOVED.match(_plain(i))
    if not by or i.operation not in ("addi", "add", "sub"):
        return None
    amount = int(by[1]) if by[1] else _constant(code, at, by[2])
    return amount if amount is None or i.operation == "sub" else -amount


def _plain(i: Instruction) -> str:
    """The operands without remarks."""
    return i.operands.partition("#")[0].partition("<")[0].strip()


def _above(code: Code, at: int) -> list[tuple[int, Instruction]]:
    """The instructions before one in memory, nearest first."""
    first = max(code.extent(at)[0], at - 4 * _BEFORE)
    return [(a, code.instructions[a]) for a in range(at - 2, first - 2, -2) if a in code.instructions]


def _constant(code: Code, at: int, register: str) -> int | None:
    """What the instructions above put into a register, if it is a constant: the size of a frame that no immediate holds."""
    added = 0
    for _, i in _above(code, at):
        operands = _plain(i)
        if not operands.startswith(f"{register},") or _READS_FIRST.match(i.operation):
            continue
        if i.operation == "addi" and (found := re.match(rf"{register},{register},(-?\d+)$", operands)):
            added += int(found[1])
            continue
        if i.operation == "li" and (found := re.match(rf"{register},(-?\d+)$", operands)):
            return int(found[1]) + added
        if i.operation == "lui" and (found := re.match(rf"{register},0x([0-9a-f]+)$", operands)):
            word = int(found[1], 16) << 12
            return word - (1 << 32 if word >= 1 << 31 else 0) + added
        return None
    return None


# ---- Where it leads ----

_BRANCH = re.compile(r"^b(?:eq|ne|lt|ge|gt|le)(?:u|z|uz)?$")
_TARGET = re.compile(r"\b([0-9a-f]+) <")


def flow(code: Code, at: int, i: Instruction) -> Flow:
    """What follows an instruction."""
    target = _TARGET.search(i.operands)
    if _BRANCH.match(i.operation) and target:
        return Flow(Kind.BRANCH, int(target[1], 16))
    if i.operation == "j" and target:
        return Flow(Kind.BRANCH, int(target[1], 16), goes_on=False)
    if i.operation in ("jal", "jalr"):
        return Flow(Kind.CALL, int(target[1], 16)) if target else Flow(Kind.CALL_POINTER)
    if i.operation == "jr" and target:  # behind auipc: a branch out of reach of j
        return Flow(Kind.BRANCH, int(target[1], 16), goes_on=False)
    if i.operation == "jr" and _plain(i) == "t0":  # the ABI's other link register, in which no tail call is made
        return Flow(Kind.END, goes_on=False)
    if i.operation == "jr":
        return Flow(Kind.COMPUTED if _through_table(code, at, _plain(i)) else Kind.TAIL_POINTER, goes_on=False)
    if i.operation in ("ret", "mret", "ebreak", "unimp", "c.unimp"):
        return Flow(Kind.END, goes_on=False)
    return Flow(Kind.NEXT)


def _through_table(code: Code, at: int, register: str) -> bool:
    """Whether a register was loaded from a table of words by an index: of a switch, not a function's address."""
    loaded = ""
    for _, i in _above(code, at):
        operands = _plain(i)
        if not loaded and operands.startswith(f"{register},") and not _READS_FIRST.match(i.operation):
            found = re.match(rf"{register},-?\d+\((\w+)\)$", operands)
            if i.operation == "lw" and found:
                loaded = found[1]
            elif not (i.operation == "add" and operands.startswith(f"{register},{register},")):  # the table holds distances
                return False
        elif loaded and operands.startswith(f"{loaded},") and not _READS_FIRST.match(i.operation):
            if i.operation == "slli":
                return operands.endswith(",2") or operands.endswith("0x2")
            if i.operation not in ("add", "addi"):
                return False
    return False


def leaves(i: Instruction) -> bool:
    """Whether nothing that follows in memory need run after it."""
    return i.operation in ("j", "jr", "ret", "mret", "ebreak", "unimp", "c.unimp")
