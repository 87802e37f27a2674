"""A stripe of rows put where it belongs in an image: what layers that run stripe by stripe end with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...ir.kernel_call import Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ..update._update import pointers


@register
@dataclass(frozen=True)
class WriteRows(Op):
    """The image x with its rows from `row` on replaced by `part`; without x the other rows hold nothing yet (0 in NumPy)."""

    mnemonic: ClassVar[str] = "write_rows"
    operands: ClassVar[tuple[str, ...]] = ("part",)
    optional: ClassVar[tuple[str, ...]] = ("x",)
    in_place: ClassVar[str | None] = "x"

    row: int = 0

    def check(self, t: NodeTypes) -> str | None:
        part, y = t.type("part"), t.result()
        fits = self.row + part.shape[1] <= y.shape[1] and part.shape[2:] == y.shape[2:] and part.quantization == y.quantization
        return None if fits and (not t.has("x") or t.type("x") == y) else f"rows {part} at {self.row} do not fit {y}"

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        part = e.array("part")
        y = np.array(e.array("x")) if e.has("x") else np.zeros((len(part), *e.result().shape[1:]), part.dtype)
        y[:, self.row : self.row + part.shape[1]] = part
        return (y,)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        line = t.result().size // t.result().shape[1]
        fields: dict[str, Field] = {"offset": self.row * line, "count": t.type("part").size, "size": t.result().size}
        arguments = (*pointers(n, "part", "x"), *pointers(Names({"y": n.outputs[0]}, ()), "y"))
        return KernelCall("kt_write_rows_s8", "kt_write_rows_params", fields, arguments, source="kernels/layout/write_rows.c")
