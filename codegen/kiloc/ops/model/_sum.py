"""What ADD and SUB have in common: both operands brought to a common scale with 20 extra bits, and the sum requantised once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.kernel_call import Field
from ...ir.operator import Array, NodeTypes
from ..backward.elementwise_gradient import SumGradient
from ._elementwise import Elementwise

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...ir.graph import Node

LEFT_SHIFT = 20


@dataclass(frozen=True)
class Sum(Elementwise):
    """x + sign * other."""

    sign: ClassVar[int] = 1

    activation: str = "none"

    def multipliers(self, t: NodeTypes) -> tuple[tuple[int, int], ...]:
        """(multiplier, shift) of x, of other and of the sum."""
        x, other = np.float64(t.type("x").scale), np.float64(t.type("other").scale)
        common = 2 * max(x, other)
        total = common / ((1 << LEFT_SHIFT) * np.float64(t.result().scale))
        return tuple(nm.quantize_multiplier(float(r)) for r in (x / common, other / common, total))

    def shifts(self, t: NodeTypes) -> tuple[int, ...]:
        return tuple(shift for _, shift in self.multipliers(t))

    def compute(self, t: NodeTypes, x: Array, other: Array) -> Array:
        first, second, last = self.multipliers(t)
        total = nm.requantize(x << LEFT_SHIFT, *first) + self.sign * nm.requantize(other << LEFT_SHIFT, *second)
        return nm.requantize(total, *last) + t.result().zero_point

    def fields(self, t: NodeTypes) -> dict[str, Field]:
        first, second, last = self.multipliers(t)
        return {
            "input_offset": (-t.type("x").zero_point, -t.type("other").zero_point),
            "output_offset": t.result().zero_point,
            "multiplier": (first[0], second[0], last[0]),
            "shift": (first[1], second[1], last[1]),
            "clamp": self.clamp(t),
        }

    def operand_gradient(self, b: GradientBuilder, node: Node, g: str, operand: str) -> str:
        """The gradient of the result, summed where the operand was stretched."""
        t, sign = b.types(node), 1 if operand == "x" else self.sign
        if sign > 0 and t.type(operand).shape == t.result().shape:
            return g
        return b.add(SumGradient(t.type(operand).shape, sign), {"g": g}, f"{node.name}.d_{operand}")[0]
