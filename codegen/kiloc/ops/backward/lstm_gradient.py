"""Gradient of a long short-term memory through time: from that of its results to that of the sums of its gates.

The gates are computed again from x and y, whose rows are the hidden states, so a step saves nothing beside them. With i, f, g, o the gates, c the
cell and h the hidden state of a step, and ' for gradients, from the last step to the first:

    h' = y' + U^T z' of the step behind it; 0 where y stands at an end of int8
    c' = h' o (1 - tanh(c)^2) + c' f of the step behind it; 0 where c stands at its limit
    z' = c' g i (1 - i),  c' c_before f (1 - f),  c' i (1 - g^2),  h' tanh(c) o (1 - o)

`_through_time.py` says what is carried from step to step, how U^T is multiplied by, and what segments are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch
from ...ir.operator import Environment, Names, NodeTypes, register
from .._lstm import DELTA_OPERANDS, UNIT, Memory, Step
from .._sums import delta_channels
from ._gradient import Real, RequantizedGradient, batch
from ._through_time import FRACTION, Ints, Segmented, delta_room, of_product, of_square, prescale, recurrent_multiplier, through_recurrent

LAYER = ("x", "weights", "recurrent", "bias")
GATES = ("weights", "delta", "recurrent", "recurrent_delta")


@register
@dataclass(frozen=True)
class LstmGradient(Segmented, RequantizedGradient):
    """The gradient of the sums of the gates, [1, steps, 4 units]. room: bits of what U^T multiplies. every: steps of a segment, 0 for all."""

    mnemonic: ClassVar[str] = "lstm_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "y", *LAYER)
    optional: ClassVar[tuple[str, ...]] = DELTA_OPERANDS

    memory: Memory = field(default_factory=Memory)
    room: int = 14
    every: int = 0

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        return 1, t.type("x").size // t.type("weights").shape[1], t.type("weights").shape[0]

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale * 2.0**-FRACTION

    def _forward(self, t: NodeTypes) -> NodeTypes:
        return NodeTypes({o: t.type(o) for o in (*LAYER, *DELTA_OPERANDS) if t.has(o)}, (t.type("y"),))

    def _steps(self, e: Environment) -> list[Step]:
        t = self._forward(e)
        return list(self.memory.steps(Environment(t.operands, t.results, {o: e.array(o) for o in t.operands})))

    def limit(self) -> int:
        """Magnitude of the cell at which it stops."""
        return self.memory.cell_clip or 2**15 - 1

    # -- meaning --------------------------------------------------------------------------------------
    def accumulator(self, e: Environment) -> Ints:
        steps, units = self._steps(e), e.type("recurrent").shape[1]
        g = batch(e, "g", len(steps), units)
        behind, cell = np.zeros_like(g[:, 0]), np.zeros_like(g[:, 0])
        found = np.zeros((len(g), len(steps), 4 * units), np.int64)
        for number in range(len(steps) - 1, -1, -1):
            step = steps[number]
            dh = nm.saturate32((g[:, number] << FRACTION) + behind)
            dh = np.where((step.hidden > -128) & (step.hidden < 127), dh, 0)
            z, cell = self._back(step, dh, cell)
            found[:, number] = z
            behind = through_recurrent(e, z, self.room)
        return found

    def _back(self, step: Step, dh: Ints, cell: Ints) -> tuple[Ints, Ints]:
        """(gradient of the sums, gradient of the cell before the step) from those of its hidden state and its cell."""
        multiply: Callable[[Any, Any], Any] = nm.high_multiply
        i, f, g, o = step.gates
        dc = nm.saturate32(multiply(multiply(dh, o << 16), of_square(step.tanh)) + cell)
        dc = np.where(np.abs(step.cell) < self.limit(), dc, 0)
        z = (
            multiply(multiply(dc, g << 16), of_product(i)),
            nm.shift_round(multiply(multiply(dc, step.before << 16), of_product(f)), -(15 + self.memory.cell_power)),
            multiply(multiply(dc, i << 16), of_square(g)),
            multiply(multiply(dh, step.tanh << 16), of_product(o)),
        )
        return np.concatenate(z, 1), multiply(dc, f << 16)

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        steps, units = self._steps(e), e.type("recurrent").shape[1]
        u = e.array("recurrent") * np.array(e.type("recurrent").channel_scales, np.float64)[:, None]
        if e.has("recurrent_delta"):
            u[delta_channels(e, len(u))] += e.array("recurrent_delta") * 2.0 ** e.array("recurrent_delta_exponent").astype(np.float64)
        g = np.asarray(batch(e, "g", len(steps), units), np.float64)
        behind, cell = np.zeros_like(g[:, 0]), np.zeros_like(g[:, 0])
        found = np.zeros((len(g), len(steps), 4 * units))
        for number in range(len(steps) - 1, -1, -1):
            step = steps[number]
            i, f, c, o = (gate * UNIT for gate in step.gates)
            tanh, before = step.tanh * UNIT, step.before * 2.0**self.memory.cell_power
            dh = np.where((step.hidden > -128) & (step.hidden < 127), g[:, number] + behind, 0)
            dc = np.where(np.abs(step.cell) < self.limit(), dh * o * (1 - tanh**2) + cell, 0)
            z = (dc * c * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - c**2), dh * tanh * o * (1 - o))
            found[:, number] = np.concatenate(z, 1)
            behind, cell = found[:, number] @ u, dc * f
        return (found,)

    def macs(self, t: NodeTypes) -> int:
        """The gates twice, for the cells and for the gradient, once more but in the last segment, and U^T once."""
        steps = self.shape(t)[1]
        gates, through = (sum(t.type(o).size for o in operands if t.has(o)) for operands in (GATES, GATES[2:]))
        return steps * (2 * gates + through) + self.run_again(t) * gates

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        forward, units = self._forward(t), t.type("recurrent").shape[1]
        multiplier, shift = recurrent_multiplier(t)
        fields: dict[str, Field] = {
            "layer": self.memory.fields(forward, n),
            "prescale": tuple(int(m) for m in prescale(t)),
            "room": self.room,
            "multiplier": multiplier,
            "multiplier_shift": shift,
            "cell_limit": self.limit(),
            "cell_shift": -(15 + self.memory.cell_power),
            "every": self.segment(t),
            "shift": self.shift,
        }
        operands = ("g", "x", "y", "bias", *(DELTA_OPERANDS[:4] if t.has("delta") else ()))
        arguments: tuple[Argument | Scratch, ...] = (*(Argument(n.inputs[o]) for o in operands), Argument(n.outputs[0]), Scratch())
        scratch = 4 * 6 * units + 4 * -(-self.rows_kept(t) * units // 2)
        symbol, struct, source = "kt_lstm_gradient_s8", "kt_lstm_gradient_params", "kernels/recurrent/lstm_gradient.c"
        if t.has("delta"):
            fields = {"gradient": fields, "delta": self.memory.delta_fields(forward, n), "room": delta_room(t)}
            scratch, symbol, struct, source = scratch + 4 * units, *(s.replace("lstm_", "lstm_delta_") for s in (symbol, struct, source))
        return KernelCall(symbol, struct, fields, arguments, scratch, source=source)
