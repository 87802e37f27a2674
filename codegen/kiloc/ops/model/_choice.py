"""What MAXIMUM and MINIMUM have in common: one of two values of one scale, as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...ir.operator import NodeTypes
from ..backward.elementwise_gradient import ChoiceGradient
from ._elementwise import Elementwise

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...ir.graph import Node


@dataclass(frozen=True)
class Choice(Elementwise):
    """sign: 1 where the larger one is taken, -1 for the smaller."""

    clamps: ClassVar[bool] = False
    sign: ClassVar[int] = 1

    def check(self, t: NodeTypes) -> str | None:
        first, *others = (t.type("x").quantization, t.type("other").quantization, t.result().quantization)
        if any(q != first for q in others):
            return "operands and result have different scales or zero points, which TensorFlow Lite's kernel ignores"
        return super().check(t)

    def operand_gradient(self, b: GradientBuilder, node: Node, g: str, operand: str) -> str:
        """The gradient of the result where this operand was taken, half of it where both are equal."""
        own, other = node.inputs[operand], node.inputs["other" if operand == "x" else "x"]
        op = ChoiceGradient(b.types(node).type(operand).shape, self.sign)
        return b.add(op, {"g": g, "own": own, "other": other}, f"{node.name}.d_{operand}")[0]
