"""The gradient of a parameter whose sums were taken from stripes of rows.

Stripes add their sums to float32 zeros without a scale, which is exact up to 2^24; where more stripes could sum to more, their sums go to an
int32 total before that, and start from zeros again. The total is scaled once, as the sums of the whole gradient are: the same roundings, so
the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.kernel_call import KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType
from ..update._update import pointers

MOST_EXACT = 1 << 24
"""Integers up to here are float32 values."""


@register
@dataclass(frozen=True)
class GradientOfSums(Op):
    """sums * (scale * 2^exponents), float32 where the sums lie, or added to the operand `accumulator`, which is state. Sums: float32 or int32."""

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "gradient_of_sums"
    operands: ClassVar[tuple[str, ...]] = ("sums", "exponent")
    optional: ClassVar[tuple[str, ...]] = ("exponent_offset", "accumulator")
    in_place: ClassVar[str | None] = "sums"

    scale: float = 1.0

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return () if t.has("accumulator") else (replace(t.type("sums"), dtype="float32"),)

    def _gradient(self, e: Environment) -> Array:
        exponent = e.wide("exponent").reshape(-1)
        if e.has("exponent_offset"):
            exponent = exponent + e.wide("exponent_offset").reshape(-1)
        return np.asarray(e.array("sums").astype(np.float32) * (np.float32(self.scale) * nm.power_of_two(np.clip(exponent, -126, 127))))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return () if e.has("accumulator") else (np.float32(0) + self._gradient(e),)

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        return {"accumulator": e.array("accumulator") + self._gradient(e)} if e.has("accumulator") else {}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields = {"size": t.type("sums").size, "scale": self.scale}
        added = pointers(n, "accumulator")
        result = added if t.has("accumulator") else pointers(Names({"y": n.outputs[0]}, ()), "y")
        arguments = (*pointers(n, "sums", "exponent", "exponent_offset"), *added, *result)
        struct, source = "kt_gradient_of_sums_params", "kernels/parameter/gradient_of_sums.c"
        if t.type("sums").dtype == "int32":
            return KernelCall("kt_gradient_of_total", struct, fields, arguments, source="kernels/parameter/gradient_of_total.c")
        return KernelCall("kt_gradient_of_sums", struct, fields, arguments, source=source)


@register
@dataclass(frozen=True)
class TotalOfSums(Op):
    """The whole numbers of `sums`, float32 up to 2^24, added to those of `total`: int32."""

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "total_of_sums"
    operands: ClassVar[tuple[str, ...]] = ("sums",)
    optional: ClassVar[tuple[str, ...]] = ("total",)
    in_place: ClassVar[str | None] = "total"

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (replace(t.type("sums"), dtype="int32"),)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        total = e.array("sums").astype(np.int64) + (e.wide("total") if e.has("total") else 0)
        assert np.abs(total).max(initial=0) <= nm.INT32_MAX
        return (total.astype(np.int32),)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        arguments = (*pointers(n, "sums", "total"), *pointers(Names({"y": n.outputs[0]}, ()), "y"))
        fields = {"size": t.type("sums").size}
        return KernelCall("kt_total_of_sums", "kt_total_of_sums_params", fields, arguments, source="kernels/parameter/gradient_of_total.c")
