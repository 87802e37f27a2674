"""A long short-term memory of 8-bit rows with a cell of 16 bits: its steps, which the operator and its gradient both go through.

    z[k] = clamp16(requantize(W[k] (x - z_x) + b[k])) + clamp16(requantize(U[k] (h - z_h))), in 2^-12     k: input, forget, cell, output gate
    i, f, o = logistic(z), g = tanh(z), in 2^-15                                                            (`_table16.py`)
    c = clamp16(requantize(f c)) + clamp16(requantize(i g)), limited to +-cell_clip where there is one
    h = clamp8(requantize(o tanh(c)) + z_h)                                                                 one row of the result

With a delta the sums over x and over h are those of W + V and U + V_h: 2^exponent / s of the gate V (x - z_x), limited to 2^30, is added before they
are requantised. V and V_h have rows for the same channels, all or those of `delta_rows`.

Every sum saturates at 16 bits. Source: TensorFlow Lite Micro's kernel for int8 activations and an int16 cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import numerics as nm
from ..ir.kernel_call import Argument, Field
from ..ir.operator import Array, Environment, Names, NodeTypes
from ._sums import addend_multipliers, exact_matmul, output_scales, with_delta
from ._table16 import logistic16, sigmoid_table, tanh16

GATE_SCALE = 2.0**-12
UNIT = 2.0**-15
"""Of gates, and of the tanh of a cell."""
CELL_POWERS = range(-24, 1)
LONGEST_SUM = (2**31 - 1) // (128 * 255)
DELTAS = {"weights": "delta", "recurrent": "recurrent_delta"}
"""The trained delta of each operand."""
DELTA_OPERANDS = ("delta", "delta_exponent", "recurrent_delta", "recurrent_delta_exponent", "delta_rows")


def clamp16(x: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.clip(x, -(2**15), 2**15 - 1)


class Step(NamedTuple):
    """One step of the sequence, [N, units] each: the gates i, f, g, o, the cell before and behind, its tanh, and the result."""

    gates: tuple[Array, Array, Array, Array]
    before: Array
    cell: Array
    tanh: Array
    hidden: Array


@dataclass(frozen=True)
class Memory:
    """What the operands `x`, `weights`, `recurrent` and `bias` do not say. cell_power: the scale of the cell is 2^cell_power; cell_clip: in its
    codes, 0 for none. Rows of weights are gate by gate. Where there are no operands `hidden` and `cell`, a sequence begins with h = z_h and c = 0.
    """

    cell_power: int = -12
    cell_clip: int = 0

    def units(self, t: NodeTypes) -> int:
        return t.type("recurrent").shape[1]

    def steps_of(self, t: NodeTypes) -> int:
        """Rows of a sequence."""
        return t.type("x").size // t.type("weights").shape[1]

    def multipliers(self, t: NodeTypes, operand: str) -> tuple[nm.Ints, nm.Ints]:
        """Of each gate, from sums over the rows of x ("weights") or of the hidden state ("recurrent") to 2^-12."""
        source = t.type("x") if operand == "weights" else t.result()
        return nm.quantize_multipliers(output_scales(source, t.type(operand), 4 * self.units(t))[:: self.units(t)] / GATE_SCALE)

    def products(self, t: NodeTypes) -> tuple[nm.Ints, nm.Ints]:
        """(multipliers, shifts) of f c and i g in units of the cell, and of o tanh(c) in those of the result."""
        cell = 2.0**self.cell_power
        return nm.quantize_multipliers(np.array([UNIT * cell / cell, UNIT * UNIT / cell, UNIT * UNIT / t.result().scale]))

    def tanh_shift(self) -> tuple[int, int]:
        """(factor, right shift) from units of the cell to those of `tanh16`."""
        shift = 12 + self.cell_power
        return (3 << shift, 0) if shift >= 0 else (3, -shift)

    def _sums(self, e: Environment, operand: str, rows: Array) -> Array:
        """Of rows [..., K] the part of every gate, [..., 4 units]."""
        total = exact_matmul(rows, e.array(operand).T)
        if e.has(DELTAS[operand]):
            total = with_delta(e, total, rows, operand, DELTAS[operand])
        if operand == "weights":
            total = nm.saturate32(total + e.wide("bias"))
        multiplier, shift = self.multipliers(e, operand)
        return clamp16(nm.requantize(total, np.repeat(multiplier, self.units(e)), np.repeat(shift, self.units(e))))

    def steps(self, e: Environment) -> Iterator[Step]:
        """The steps of a batch of sequences."""
        units, zero = self.units(e), e.result().zero_point
        x = e.wide("x").reshape(e.array("x").shape[0], -1, e.type("weights").shape[1]) - e.type("x").zero_point
        hidden = e.wide("hidden").reshape(1, units) if e.has("hidden") else np.full((1, units), zero, np.int64)
        cell = e.wide("cell").reshape(1, units) if e.has("cell") else np.zeros((1, units), np.int64)
        for row in self._sums(e, "weights", x).transpose(1, 0, 2):
            before = np.broadcast_to(cell, (len(row), units))
            z = clamp16(row + self._sums(e, "recurrent", hidden - zero))
            step = self.step(e, z, before)
            yield step
            hidden, cell = step.hidden, step.cell

    def step(self, t: NodeTypes, z: Array, before: Array) -> Step:
        """What sums z of the gates make of a cell."""
        (forget, into, out), shifts = self.products(t)
        i, f, g, o = (tanh16(3 * part) if k == 2 else logistic16(3 * part) for k, part in enumerate(np.split(z, 4, -1)))
        cell = clamp16(clamp16(nm.requantize(f * before, forget, shifts[0])) + clamp16(nm.requantize(i * g, into, shifts[1])))
        if self.cell_clip:
            cell = np.clip(cell, -self.cell_clip, self.cell_clip)
        factor, shift = self.tanh_shift()
        tanh = tanh16((cell * factor + ((1 << shift) >> 1)) >> shift)
        hidden = np.clip(nm.requantize(o * tanh, out, shifts[2]) + t.result().zero_point, -128, 127)
        return Step((i, f, g, o), before, cell, tanh, hidden)

    def fields(self, t: NodeTypes, n: Names) -> dict[str, Field]:
        """Members of `kt_lstm_params`."""
        units, depth = self.units(t), t.type("weights").shape[1]
        factor, shift = self.tanh_shift()
        fields: dict[str, Field] = {
            "steps": self.steps_of(t),
            "depth": depth,
            "units": units,
            "input_offset": -t.type("x").zero_point,
            "hidden_zero": t.result().zero_point,
            "weights": Argument(n.inputs["weights"]),
            "recurrent": Argument(n.inputs["recurrent"]),
        }
        for name, (multiplier, places) in (
            ("gate", self.multipliers(t, "weights")), ("recurrent", self.multipliers(t, "recurrent")), ("product", self.products(t))
        ):  # fmt: skip
            fields |= {f"{name}_multiplier": tuple(int(m) for m in multiplier), f"{name}_shift": tuple(int(s) for s in places)}
        return fields | {"tanh_factor": factor, "tanh_shift": shift, "cell_clip": self.cell_clip, "sigmoid": sigmoid_table()}

    def delta_fields(self, t: NodeTypes, n: Names) -> dict[str, Field]:
        """Members of `kt_lstm_delta`."""
        found: dict[str, Field] = {}
        for prefix, operand in (("", "weights"), ("recurrent_", "recurrent")):
            multiplier, shift = (a[:: self.units(t)].tolist() for a in addend_multipliers(t.type(operand), 4 * self.units(t), 1.0))
            found |= {f"{prefix}multiplier": tuple(multiplier), f"{prefix}shift": tuple(shift)}
        if t.has("delta_rows"):
            found["rows"] = Argument(n.inputs["delta_rows"])
        return found
