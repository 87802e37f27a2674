"""HALVE: a complete operator to copy from. It is registered nowhere; the first line of the docstring says what it computes.

Name the source of the arithmetic (specification, section) and its rounding here. The five steps around this file are in
CONTRIBUTING.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...ir.graph import Node


@dataclass(frozen=True)  # and @register on top, in a file without the leading underscore
class Halve(Op):
    """y = z + round((x - z) / 2), ties up. Attributes are dataclass fields; geometry and scales come from the types."""

    mnemonic: ClassVar[str] = "halve"
    operands: ClassVar[tuple[str, ...]] = ("x",)
    in_place: ClassVar[str | None] = "x"  # element by element: y may take x's bytes where x dies

    amount: int = 1

    def check(self, t: NodeTypes) -> str | None:
        """Refuse types the arithmetic is not made for; the verifier adds where it happened."""
        return None if t.type("x") == t.result() else "operand and result differ in shape or scale"

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        """The exact meaning, on [N, ...]: the C must give these bits, and the tests hold it to them."""
        zero = e.type("x").zero_point
        return ((zero + nm.shift_round(e.wide("x") - zero, self.amount)).astype(np.int8),)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        """Backward nodes through `b.add`; raise NoGradient(why) where there is no gradient."""
        return {"x": dy}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        """The C symbol, its parameter struct, its pointers, and the file under runtime/src that defines it."""
        fields: dict[str, Field] = {"size": t.result().size, "zero_point": t.result().zero_point, "amount": self.amount}
        arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return KernelCall("kt_halve_s8", "kt_halve_params", fields, arguments, source="kernels/elementwise/halve.c")
