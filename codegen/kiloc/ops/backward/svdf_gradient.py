"""Gradient of an SVDF with respect to the slice that a call reads; it stops at the state that the call starts from.

    a[f] = (g[u] time[f, last] + 2^(p - 1)) >> p of the unit u of filter f, 0 where its new feature was limited;  dX = W^T a

p is the smallest with which the int32 sums cannot overflow, proved from the frozen weights. The new features are computed again from x: by the
time of the gradient the state has moved on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch
from ...ir.operator import Array, Environment, Names, NodeTypes, register
from ...ir.types import RANGES
from .._sums import exact_matmul
from ._gradient import Real, RequantizedGradient, batch


@register
@dataclass(frozen=True)
class SvdfInputGradient(RequantizedGradient):
    """dX of one call. feature: (multiplier, shift) from sums over x to units of the state; narrowing: p."""

    mnemonic: ClassVar[str] = "svdf_input_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "x", "weights", "time")

    rank: int = 1
    feature: tuple[int, int] = (0, 0)
    narrowing: int = 0

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        return t.type("x").shape

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale * t.type("time").scale * t.type("weights").scale * 2.0**self.narrowing

    def _free(self, e: Environment) -> NDArray[np.bool_]:
        """Of each filter, whether its new feature was not limited: [N, filters]."""
        sums = exact_matmul(batch(e, "x", -1) - e.type("x").zero_point, e.array("weights").T)
        low, high = RANGES[e.type("time").dtype]
        found = nm.requantize(sums, *self.feature)
        return np.asarray((found > low) & (found < high))

    def _newest(self, e: Environment) -> Array:
        """g of each filter times the weight of its new feature, [N, filters]."""
        g = np.repeat(batch(e, "g", -1), self.rank, 1)
        return np.asarray(g * e.wide("time")[:, -1] * self._free(e))

    def accumulator(self, e: Environment) -> NDArray[np.int64]:
        total = exact_matmul(nm.shift_round(self._newest(e), self.narrowing), e.array("weights"))
        return total.reshape(-1, *self.shape(e)[1:])

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        unit = e.type("time").scale * e.type("weights").scale
        return ((self._newest(e) @ e.array("weights").astype(np.float64) * unit).reshape(-1, *self.shape(e)[1:]),)

    def macs(self, t: NodeTypes) -> int:
        """The features again, and W^T."""
        return 2 * t.type("weights").size

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        filters, depth = t.type("weights").shape
        layer: dict[str, Field] = {
            "units": filters // self.rank,
            "rank": self.rank,
            "memory": t.type("time").shape[1],
            "depth": depth,
            "input_offset": -t.type("x").zero_point,
            "weights": Argument(n.inputs["weights"]),
            "feature_multiplier": self.feature[0],
            "feature_shift": self.feature[1],
        }
        fields: dict[str, Field] = {"layer": layer, "narrowing": self.narrowing, "shift": self.shift}
        wide = t.type("time").dtype == "int16"
        arguments: tuple[Argument | Scratch, ...] = (*(Argument(n.inputs[o]) for o in ("g", "x", "time")), Argument(n.outputs[0]), Scratch())
        symbol, file = f"kt_svdf_input_gradient_{'s16' if wide else 's8'}", f"svdf{'_wide' if wide else ''}_gradient"
        return KernelCall(symbol, "kt_svdf_gradient_params", fields, arguments, 4 * depth, source=f"kernels/recurrent/{file}.c")


def narrowing_for(weights: NDArray[np.generic], time: NDArray[np.generic]) -> int:
    """p for weights [filters, depth] and time weights [filters, memory]."""
    magnitude, newest, p = np.abs(weights.astype(np.int64)), 127 * np.abs(time[:, -1].astype(np.int64)), 0
    while (magnitude * nm.shift_round(newest, p)[:, None]).sum(0).max() > nm.INT32_MAX:
        p += 1
    return p
