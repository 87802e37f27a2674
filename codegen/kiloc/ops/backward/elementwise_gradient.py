"""Gradients of operators of two tensors, element by element, with respect to one of the two.

    G[i] = saturate8(shift_round(sum g f, shift))

over the elements of g that element i of the operand was stretched to; f is an integer that says how fast the result grows with the operand:

    sum          f = 1, or -1                                              ADD, SUB
    product      f = other - z_other                                       MUL
    choice       f = 2 where the operand was taken, 1 where both are equal, else 0; in halves     MAXIMUM, MINIMUM
    difference   f = (own - z_own) m_own - (other - z_other) m_other, shifted to 13 bits          SQUARED_DIFFERENCE
    slope        f = 1 or a slope                                                                 PRELU
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch
from ...ir.operator import Environment, Names, NodeTypes, register
from .._broadcast import aligned, broadcast, reduced
from ._gradient import Real, RequantizedGradient


@dataclass(frozen=True)
class ElementwiseGradient(RequantizedGradient):
    """of: shape of the operand that the gradient is of."""

    in_place: ClassVar[str | None] = "g"
    largest: ClassVar[int] = 1
    """Of |f|."""

    of: tuple[int, ...] = ()

    def factor(self, e: Environment) -> Any:
        """f, in int64; it stretches to g."""
        raise NotImplementedError(self.mnemonic)

    def real_factor(self, e: Environment) -> Any:
        """The same in float64 and real values."""
        raise NotImplementedError(self.mnemonic)

    def fields(self, t: NodeTypes) -> dict[str, Field]:
        """Members of the parameter struct beside loops, shift and size."""
        return {}

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        return self.of

    def check(self, t: NodeTypes) -> str | None:
        terms = t.type("g").size // max(t.result().size, 1)
        if 127 * self.largest * terms > nm.INT32_MAX:
            return f"its sums of {terms} products leave int32"
        shapes = (self.of, *(t.type(o).shape for o in self.operands[1:]))
        return "stretches operands along axes that alternate too often" if broadcast(t.type("g").shape, *shapes) is None else None

    def centred(self, e: Environment, operand: str) -> Any:
        """An operand of the forward pass without its zero point, which stretches to g."""
        return aligned(e.wide(operand), len(e.type("g").shape)) - e.type(operand).zero_point

    def accumulator(self, e: Environment) -> NDArray[np.int64]:
        return reduced(e.wide("g").reshape(-1, *e.type("g").shape[1:]) * self.factor(e), self.of)

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        return (reduced(e.array("g").reshape(-1, *e.type("g").shape[1:]) * self.real_factor(e), self.of),)

    def macs(self, t: NodeTypes) -> int:
        return t.type("g").size

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        factors = self.operands[1:]
        loops = broadcast(t.type("g").shape, self.of, *(t.type(o).shape for o in factors))
        assert loops is not None
        size = t.result().size
        summed = size < t.type("g").size
        fields: dict[str, Field] = {"size": size, "shape": loops.fields("result", *factors), "shift": self.shift, **self.fields(t)}
        arguments = (*(Argument(n.inputs[o]) for o in self.operands), Argument(n.outputs[0]), Scratch() if summed else "NULL")
        return KernelCall(
            f"kt_{self.mnemonic}_s8", f"kt_{self.mnemonic}_params", fields, arguments, 4 * size if summed else 0,
            source=f"kernels/elementwise/{self.mnemonic}.c",
        )  # fmt: skip


@register
@dataclass(frozen=True)
class SumGradient(ElementwiseGradient):
    """sign * sum g: of operands of ADD and SUB that were stretched or subtracted."""

    mnemonic: ClassVar[str] = "sum_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g",)

    sign: int = 1

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale

    def factor(self, e: Environment) -> int:
        return self.sign

    real_factor = factor

    def fields(self, t: NodeTypes) -> dict[str, Field]:
        return {"sign": self.sign}


@register
@dataclass(frozen=True)
class ProductGradient(ElementwiseGradient):
    """sum g (factor - z): of an operand of MUL, factor is the other one."""

    mnemonic: ClassVar[str] = "product_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "factor")
    largest: ClassVar[int] = 255

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale * t.type("factor").scale

    def factor(self, e: Environment) -> Any:
        return self.centred(e, "factor")

    def real_factor(self, e: Environment) -> Any:
        return self.factor(e) * e.type("factor").scale

    def fields(self, t: NodeTypes) -> dict[str, Field]:
        return {"factor_offset": -t.type("factor").zero_point}


@register
@dataclass(frozen=True)
class ChoiceGradient(ElementwiseGradient):
    """sum g f in halves, f = 1 + sign(own - other) for the larger of two and 1 - sign(own - other) for the smaller: sign 1, -1.

    The codes are compared as they are: both have one scale.
    """

    mnemonic: ClassVar[str] = "choice_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "own", "other")
    largest: ClassVar[int] = 2

    sign: int = 1

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale / 2

    def factor(self, e: Environment) -> Any:
        own, other = (aligned(e.wide(o), len(e.type("g").shape)) for o in ("own", "other"))
        return 1 + self.sign * np.sign(own - other)

    def real_factor(self, e: Environment) -> Any:
        return self.factor(e) / 2

    def fields(self, t: NodeTypes) -> dict[str, Field]:
        return {"sign": self.sign}


DIFFERENCE_SHIFT = 10


@register
@dataclass(frozen=True)
class DifferenceGradient(ElementwiseGradient):
    """2 sum g f, f = shift_round((own - z_own) m_own - (other - z_other) m_other, 10): m in 1/2^14 of the larger scale."""

    mnemonic: ClassVar[str] = "difference_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "own", "other")
    largest: ClassVar[int] = 2 * 255 * 2**14 // 2**DIFFERENCE_SHIFT

    def multipliers(self, t: NodeTypes) -> tuple[int, int]:
        own, other = t.type("own").scale, t.type("other").scale
        return int(np.floor(own / max(own, other) * 16384 + 0.5)), int(np.floor(other / max(own, other) * 16384 + 0.5))

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale * 2 * max(t.type("own").scale, t.type("other").scale) * 2.0 ** (DIFFERENCE_SHIFT - 14)

    def factor(self, e: Environment) -> Any:
        own, other = self.multipliers(e)
        return nm.shift_round(self.centred(e, "own") * own - self.centred(e, "other") * other, DIFFERENCE_SHIFT)

    def real_factor(self, e: Environment) -> Any:
        return 2 * (self.centred(e, "own") * e.type("own").scale - self.centred(e, "other") * e.type("other").scale)

    def fields(self, t: NodeTypes) -> dict[str, Field]:
        return {"offset": (-t.type("own").zero_point, -t.type("other").zero_point), "multiplier": self.multipliers(t)}


SLOPE_SHIFT = 8


@register
@dataclass(frozen=True)
class SlopeGradient(ElementwiseGradient):
    """sum g f of PRELU's x: f is 1 where own is not negative, else its slope, both in 1/2^15 of the steepest that slopes could hold, or of 1.

    f = one, or shift_round((other - z_other) m, 8).
    """

    mnemonic: ClassVar[str] = "slope_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "own", "other")
    largest: ClassVar[int] = 2**15

    def _step(self, t: NodeTypes) -> float:
        return max(1.0, 255 * t.type("other").scale) / 2**15

    def factors(self, t: NodeTypes) -> tuple[int, int]:
        """(one, m)."""
        step = self._step(t)
        return int(np.floor(1 / step + 0.5)), int(np.floor(t.type("other").scale / step * 2**SLOPE_SHIFT + 0.5))

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale * self._step(t)

    def factor(self, e: Environment) -> Any:
        one, m = self.factors(e)
        return np.where(self.centred(e, "own") >= 0, one, nm.shift_round(self.centred(e, "other") * m, SLOPE_SHIFT))

    def real_factor(self, e: Environment) -> Any:
        return np.where(self.centred(e, "own") >= 0, 1.0, self.centred(e, "other") * e.type("other").scale)

    def fields(self, t: NodeTypes) -> dict[str, Field]:
        return {"offset": (-t.type("own").zero_point, -t.type("other").zero_point), "factor": self.factors(t)}
