"""Inputs and results of a model in one buffer: where each lies, and its C expression."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.graph import Value
from ..ir.types import ELEMENT_BYTES, RANGES
from .c_names import CTYPES, Code, c_integer


@dataclass(frozen=True)
class CEnd:
    """An input or output in a buffer that holds all of them: from byte `at` to `end`."""

    name: str
    value: Value
    at: int
    end: int

    @property
    def ctype(self) -> str:
        return CTYPES[self.value.type.dtype]

    @property
    def limits(self) -> Code:
        """Lowest and highest value of its type, as arguments."""
        return Code(", ".join(c_integer(end) for end in RANGES[self.value.type.dtype]))

    def of(self, buffer: str, qualifier: str = "") -> Code:
        """Its C expression; the buffer is one of int8_t."""
        place = f"{buffer} + {self.at}" if self.at or self.ctype == "int8_t" else buffer
        wide = f"({qualifier}void *)" if ELEMENT_BYTES[self.value.type.dtype] > 1 else ""
        return Code(place if self.ctype == "int8_t" else f"({qualifier}{self.ctype} *){wide}({place})")


def ends(named: list[tuple[str, Value]]) -> list[CEnd]:
    """Where inputs, or outputs, lie behind each other in one buffer: each at a multiple of its element's width."""
    found, at = [], 0
    for name, value in named:
        width = ELEMENT_BYTES[value.type.dtype]
        at = -(-at // width) * width
        found.append(CEnd(name, value, at, at + value.type.bytes))
        at += value.type.bytes
    return found


def whole(found: list[CEnd]) -> int:
    """Bytes of such a buffer: a multiple of the widest element."""
    widest = max(ELEMENT_BYTES[e.value.type.dtype] for e in found)
    return -(-found[-1].end // widest) * widest
