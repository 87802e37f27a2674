"""Gradient of operators that make each value of the result of a few of x, along one axis or two neighbouring ones: GATHER and resizing.

acc[i, j] = sum over rows r and columns c of shift_round(w_r w_c, weight_shift) g[r, c], all that was made of x[i, j].
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, KernelCall, Table
from ...ir.operator import Environment, Names, NodeTypes, register
from ...ir.reach import Reach
from ._gradient import Real, RequantizedGradient, batch

Pairs = tuple[tuple[int, int, int], ...]
"""(index of x, index of y, weight)."""

REPEATED_AT_ONCE = 16
"""Values that the kernel of a repetition, or of its gradient, may read before it writes what they make (KT_REPEATED_AT_ONCE in the runtime)."""


@register
@dataclass(frozen=True)
class ResampleGradient(RequantizedGradient):
    """rows, columns: what the result was made of along `axis` and the axis behind it; columns without pairs: that axis stayed as it was.

    unit_shift: a weight of 1 is 2^unit_shift; the products of weights keep as many bits.
    """

    mnemonic: ClassVar[str] = "resample_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g",)

    axis: int = 1
    x_shape: tuple[int, ...] = ()
    y_shape: tuple[int, ...] = ()
    rows: Pairs = ()
    columns: Pairs = ()
    unit_shift: int = 0

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        return self.x_shape

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale * 2.0**-self.unit_shift

    def extents(self) -> tuple[int, tuple[int, int], tuple[int, int], int]:
        """outer, (rows, columns) of x, of y, and values behind them."""
        a = self.axis
        if not self.columns:
            return prod(self.x_shape[:a]), (self.x_shape[a], 1), (self.y_shape[a], 1), prod(self.x_shape[a + 1 :])
        rows, columns = self.x_shape[a : a + 2], self.y_shape[a : a + 2]
        return prod(self.x_shape[:a]), (rows[0], rows[1]), (columns[0], columns[1]), prod(self.x_shape[a + 2 :])

    @property
    def times(self) -> int:
        """How many neighbours of g along the last axis each value takes, one for one; 0 where it takes others."""
        if self.columns or self.unit_shift or self.axis != len(self.x_shape) - 1 or self.y_shape[-1] % self.x_shape[-1]:
            return 0
        times = self.y_shape[-1] // self.x_shape[-1]
        return times if sorted(self.rows) == [(i // times, i, 1) for i in range(self.y_shape[-1])] else 0

    def reach(self, t: NodeTypes) -> tuple[str, Reach] | None:
        times, index = self.times, np.arange(prod(self.x_shape), dtype=np.int64)
        return ("g", Reach(index * times, (index + 1) * times, 1).in_bands(REPEATED_AT_ONCE)) if times else None

    def _matrix(self, pairs: Pairs, x: int, y: int) -> NDArray[np.int64]:
        """[x, y]: the weight of each value of x in each of y."""
        found = np.zeros((x, y), np.int64)
        for i, o, weight in pairs or ((0, 0, 1 << self.unit_shift),):
            found[i, o] += weight
        return found

    def _spread(self, e: Environment, real: bool) -> NDArray[np.float64 | np.int64]:
        outer, x, y, block = self.extents()
        g = batch(e, "g", outer, *y, block)
        rows, columns = self._matrix(self.rows, x[0], y[0]), self._matrix(self.columns, x[1], y[1])
        if real:
            one = 2.0**-self.unit_shift
            return np.asarray(np.einsum("ir,jc,norcb->noijb", rows * one, columns * one, g, optimize=True))
        total = np.zeros((len(g), outer, *x, block), np.int64)
        for i in range(x[0]):
            for r in np.flatnonzero(rows[i]):
                weights = nm.shift_round(rows[i, r] * columns, self.unit_shift)
                total[:, :, i] += np.einsum("jc,nocb->nojb", weights, g[:, :, r])
        return total

    def accumulator(self, e: Environment) -> NDArray[np.int64]:
        return np.asarray(self._spread(e, False).reshape(-1, *self.x_shape[1:]), np.int64)

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        return (np.asarray(self._spread(e, True).reshape(-1, *self.x_shape[1:]), np.float64),)

    def _tables(self, name: str, pairs: Pairs, x: int) -> dict[str, Field]:
        matrix_pairs = sorted(pairs or ((0, 0, 1 << self.unit_shift),))
        ends = np.searchsorted([i for i, _, _ in matrix_pairs], np.arange(x + 1))
        bounds = np.stack([ends[:-1], ends[1:]], 1).astype(np.int32)
        return {
            f"{name}s": Table(f"{name}s", "int32_t", bounds),
            f"{name}_pairs": Table(f"{name}_pairs", "int32_t", np.array([p[1:] for p in matrix_pairs], np.int32)),
        }

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        outer, x, y, block = self.extents()
        if times := self.times:
            repeated: dict[str, Field] = {"size": prod(self.x_shape), "times": times, "shift": self.shift}
            operands = (Argument(n.inputs["g"]), Argument(n.outputs[0]))
            return KernelCall("kt_repeat_gradient_s8", "kt_repeat_gradient_params", repeated, operands, source="kernels/layout/repeat.c")
        fields: dict[str, Field] = {
            "outer": outer, "input": x, "output": y, "block": block, "weight_shift": self.unit_shift, "shift": self.shift,
            **self._tables("row", self.rows, x[0]), **self._tables("column", self.columns, x[1]),
        }  # fmt: skip
        arguments = (Argument(n.inputs["g"]), Argument(n.outputs[0]))
        source = "kernels/layout/resample_gradient.c"
        return KernelCall("kt_resample_gradient_s8", "kt_resample_gradient_params", fields, arguments, source=source)
