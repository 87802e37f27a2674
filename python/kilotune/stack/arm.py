"""What an instruction of a Cortex-M does to the stack, and where it leads."""

from __future__ import annotations

import re

from .code import Code, Instruction
from .flow import Flow, Kind

CONDITION = "(?:eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)"

# ---- The stack ----

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


# ---- Where it leads ----

_BRANCH = re.compile(rf"^(?:b{CONDITION}?(?:\.[nw])?|cbn?z|le|letp|wls|wlstp\.\d+)$")
_CALL = re.compile(rf"^bl{CONDITION}?$")
_TARGET = re.compile(r"\b([0-9a-f]+) <")
_RETURN = re.compile(r"\bpc\}$|^pc, \[sp\]|^pc, lr$|^lr$")
_JUMPS = re.compile(r"^(?:bx|mov|add|ldr|pop|ldm|tb[bh])")
_PREDICATED = re.compile(rf"^(?:pop|ldmia|ldmfd|bx|mov|ldr){CONDITION}(?:\.[nw])?$")


def flow(code: Code, at: int, i: Instruction) -> Flow:
    """What follows an instruction."""
    target = _TARGET.search(i.operands)
    if target and _BRANCH.match(i.operation):
        return Flow(Kind.BRANCH, int(target[1], 16), not re.match(r"b(\.[nw])?$", i.operation))
    if target and _CALL.match(i.operation):
        return Flow(Kind.CALL, int(target[1], 16))
    if i.operation.startswith("blx"):
        return Flow(Kind.CALL_POINTER)
    if i.operation.startswith("udf"):
        return Flow(Kind.END, goes_on=False)
    if not (_JUMPS.match(i.operation) and leaves(i)):
        return Flow(Kind.NEXT)
    predicated = _PREDICATED.match(i.operation) is not None
    if _RETURN.search(i.operands):
        return Flow(Kind.END, goes_on=predicated)
    return Flow(Kind.TAIL_POINTER if i.operation.startswith("bx") else Kind.COMPUTED, goes_on=predicated)


def leaves(i: Instruction) -> bool:
    """Whether it writes the program counter."""
    return i.operation.startswith(("bx", "tb")) or re.match(r"pc\b", i.operands) is not None or i.operands.endswith("pc}")
