"""Some rows of an image where they lie: what a layer that runs in stripes reads of a whole one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import ELEMENT_BYTES, TensorType


@register
@dataclass(frozen=True)
class ReadRows(Op):
    """x[:, first : first + count], a view."""

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "read_rows"
    view: ClassVar[bool] = True

    first: int = 0
    count: int = 1

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        x = t.type("x")
        return (replace(x, shape=(*x.shape[:1], self.count, *x.shape[2:])),)

    def check(self, t: NodeTypes) -> str | None:
        x = t.type("x")
        fits = len(x.shape) > 1 and x.shape[0] == 1 and 0 <= self.first < self.first + self.count <= x.shape[1]
        return None if fits else f"{x} has no rows {self.first} to {self.first + self.count}"

    def view_offset(self, t: NodeTypes) -> int:
        x = t.type("x")
        return self.first * (x.size // x.shape[1]) * ELEMENT_BYTES[x.dtype]

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return (e.array("x")[:, self.first : self.first + self.count],)

    def kernel_call(self, t: NodeTypes, n: Names) -> None:
        return None
