"""Where an instruction leads, whatever the instruction set."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """NEXT: to what follows it. END: out of the function, or nowhere. COMPUTED: to an address of a table. TAIL_POINTER: to a function whose
    address is in a register, which returns to the caller."""

    NEXT = 1
    BRANCH = 2
    CALL = 3
    CALL_POINTER = 4
    TAIL_POINTER = 5
    COMPUTED = 6
    END = 7


@dataclass(frozen=True)
class Flow:
    """target: of a branch or call. goes_on: whether what follows in memory may run next."""

    kind: Kind
    target: int = -1
    goes_on: bool = True
