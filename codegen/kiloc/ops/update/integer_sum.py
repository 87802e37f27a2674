"""Gradients summed in integers: the same sum in whatever order samples come, and on however many devices.

Between two updates the 32 bits of an element of the accumulator are an int32 in units of 2^-FRACTION; `from_integers` makes the float32 of them
that an optimizer reads. A gradient loses less than 2^-21 by rounding; sums saturate at +-(2^31 - 1) units, about 2048.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.kernel_call import KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, register
from ._update import Update, pointers

FRACTION = 20
"""Binary digits behind the point. Gradients of a tensor are clipped to a norm of 1 by default, and their sums then have 11 digits before it."""
LARGEST_SUM = 2**31 - 1


def integers_of(accumulator: Array) -> NDArray[np.int64]:
    """The integers that an accumulator holds."""
    return np.ascontiguousarray(accumulator, np.float32).view(np.int32).astype(np.int64)


def accumulator_of(integers: NDArray[np.int64]) -> Array:
    """An accumulator that holds these integers."""
    return np.clip(integers, -LARGEST_SUM, LARGEST_SUM).astype(np.int32).view(np.float32)


@register
@dataclass(frozen=True)
class IntegerSum(Update):
    """accumulator += round(gradient * 2^20) to nearest, half up, in int32; NaN counts as 0, and 2^30 units are the most that a sample adds."""

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "integer_sum"
    operands: ClassVar[tuple[str, ...]] = ("gradient", "accumulator")

    def evaluate_real(self, e: Environment) -> tuple[Array, ...]:
        return ()

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        gradient = e.array("gradient")
        with np.errstate(over="ignore"):
            steps = nm.round_half_up(np.where(np.isnan(gradient), np.float32(0), gradient) * np.float32(2.0**FRACTION))
        return {"accumulator": accumulator_of(integers_of(e.array("accumulator")) + steps)}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields = {"size": t.type("accumulator").size}
        return KernelCall("kt_integer_sum", "kt_integer_sum_params", fields, pointers(n, *self.operands), source="optim/integer_sum.c")


@register
@dataclass(frozen=True)
class FromIntegers(Update):
    """accumulator := its integers * 2^-20, in float32, rounded to nearest, ties to even."""

    mnemonic: ClassVar[str] = "from_integers"
    operands: ClassVar[tuple[str, ...]] = ("accumulator",)

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        return {"accumulator": integers_of(e.array("accumulator")).astype(np.float32) * np.float32(2.0**-FRACTION)}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields = {"size": t.type("accumulator").size}
        return KernelCall("kt_from_integers", "kt_integer_sum_params", fields, pointers(n, *self.operands), source="optim/integer_sum.c")
