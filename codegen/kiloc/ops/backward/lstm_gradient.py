"""Gradient of a long short-term memory through time: from that of its results to that of the sums of its gates.

The gates are computed again from x and y, whose rows are the hidden states, so a step saves nothing beside them. Cells are kept in scratch, of all
steps or in front of segments of `every` steps: those of a segment are then computed again, with the same bits. With i, f, g, o the gates, c the
cell and h the hidden state of a step, and ' for gradients, from the last step to the first:

    h' = y' + U^T z' of the step behind it; 0 where y stands at an end of int8
    c' = h' o (1 - tanh(c)^2) + c' f of the step behind it; 0 where c stands at its limit
    z' = c' g i (1 - i),  c' c_before f (1 - f),  c' i (1 - g^2),  h' tanh(c) o (1 - o)

What is carried from step to step has 32 bits in units of g / 2^16, which saturate: it may grow to 256 times the largest gradient of a result.
For U^T the sums z' are brought to one scale, prescale[k] = s_u[k] / max s_u, and to so few bits that the product stays in int32. A delta V_h adds
V_h^T z', whose codes have one scale: z' is brought to as few bits as codes up to 127 need, and the product shifted by the exponent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch
from ...ir.operator import Environment, Names, NodeTypes, register
from .._lstm import DELTA_OPERANDS, UNIT, Memory, Step
from .._sums import delta_channels, exact_matmul
from ._gradient import Real, RequantizedGradient, batch

LAYER = ("x", "weights", "recurrent", "bias")
GATES = ("weights", "delta", "recurrent", "recurrent_delta")
FRACTION = 16
"""Bits below a step of the gradient."""

Ints = NDArray[np.int64]


def _of_square(x: Ints) -> Ints:
    """1 - x^2 of x in 2^-15, in 2^-31."""
    return np.asarray(np.minimum(2 * ((1 << 30) - x * x), nm.INT32_MAX))


def _of_product(x: Ints) -> Ints:
    """x (1 - x) of x in 2^-15, in 2^-31."""
    return 2 * x * ((1 << 15) - x)


@register
@dataclass(frozen=True)
class LstmGradient(RequantizedGradient):
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

    def prescale(self, t: NodeTypes) -> Ints:
        """Relative scales of the recurrent weights of each gate, in 2^-31."""
        units = t.type("recurrent").shape[1]
        scales = np.array(t.type("recurrent").channel_scales, np.float64)[::units]
        return np.asarray(np.minimum(np.floor(scales / scales.max() * 2.0**31 + 0.5), nm.INT32_MAX).astype(np.int64))

    def recurrent_multiplier(self, t: NodeTypes) -> tuple[int, int]:
        return nm.quantize_multiplier(max(t.type("recurrent").channel_scales))

    # -- meaning --------------------------------------------------------------------------------------
    def accumulator(self, e: Environment) -> Ints:
        steps, units = self._steps(e), e.type("recurrent").shape[1]
        prescale, (multiplier, shift) = np.repeat(self.prescale(e), units), self.recurrent_multiplier(e)
        g = batch(e, "g", len(steps), units)
        behind, cell = np.zeros_like(g[:, 0]), np.zeros_like(g[:, 0])
        found = np.zeros((len(g), len(steps), 4 * units), np.int64)
        for number in range(len(steps) - 1, -1, -1):
            step = steps[number]
            dh = nm.saturate32((g[:, number] << FRACTION) + behind)
            dh = np.where((step.hidden > -128) & (step.hidden < 127), dh, 0)
            z, cell = self._back(step, dh, cell)
            found[:, number] = z
            narrow, narrowed = _narrowed(nm.high_multiply(z, prescale), self.room)
            behind = nm.requantize(exact_matmul(narrow, e.array("recurrent")), multiplier, shift + narrowed)
            if e.has("recurrent_delta"):
                behind = nm.saturate32(behind + self._through_delta(e, z))
        return found

    def _through_delta(self, e: Environment, z: Ints) -> Ints:
        """V_h^T z'."""
        narrow, narrowed = _narrowed(z[:, delta_channels(e, z.shape[1])], self.delta_room(e))
        return nm.shift_round(exact_matmul(narrow, e.array("recurrent_delta")), -(narrowed + e.wide("recurrent_delta_exponent")))

    def delta_room(self, t: NodeTypes) -> int:
        """Bits that leave sums over the rows of a delta, whose codes are up to 127, in int32."""
        return 31 - int(nm.bit_length(np.array(127 * t.type("recurrent_delta").shape[0])))

    def _back(self, step: Step, dh: Ints, cell: Ints) -> tuple[Ints, Ints]:
        """(gradient of the sums, gradient of the cell before the step) from those of its hidden state and its cell."""
        multiply: Callable[[Any, Any], Any] = nm.high_multiply
        i, f, g, o = step.gates
        dc = nm.saturate32(multiply(multiply(dh, o << 16), _of_square(step.tanh)) + cell)
        dc = np.where(np.abs(step.cell) < self.limit(), dc, 0)
        z = (
            multiply(multiply(dc, g << 16), _of_product(i)),
            nm.shift_round(multiply(multiply(dc, step.before << 16), _of_product(f)), -(15 + self.memory.cell_power)),
            multiply(multiply(dc, i << 16), _of_square(g)),
            multiply(multiply(dh, step.tanh << 16), _of_product(o)),
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
        return steps * (2 * gates + through) + (steps - 1) // self.segment(t) * self.segment(t) * gates

    def segment(self, t: NodeTypes) -> int:
        """Steps of a segment."""
        return self.every or self.shape(t)[1]

    def segmentations(self, t: NodeTypes) -> list[int]:
        """Steps of a segment, ever fewer, that need fewer cells than all longer ones."""
        steps, found, fewest = self.shape(t)[1], list[int](), np.inf
        for count in range(1, steps + 1):
            every = -(-steps // count)
            if -(-steps // every) + every >= fewest:
                break
            found, fewest = [*found, every], -(-steps // every) + every
        return found

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        forward, units = self._forward(t), t.type("recurrent").shape[1]
        multiplier, shift = self.recurrent_multiplier(t)
        fields: dict[str, Field] = {
            "layer": self.memory.fields(forward, n),
            "prescale": tuple(int(m) for m in self.prescale(t)),
            "room": self.room,
            "multiplier": multiplier,
            "multiplier_shift": shift,
            "cell_limit": self.limit(),
            "cell_shift": -(15 + self.memory.cell_power),
            "every": self.segment(t),
            "shift": self.shift,
        }
        steps, operands = self.shape(t)[1], ("g", "x", "y", "bias", *(DELTA_OPERANDS[:4] if t.has("delta") else ()))
        arguments: tuple[Argument | Scratch, ...] = (*(Argument(n.inputs[o]) for o in operands), Argument(n.outputs[0]), Scratch())
        cells = -(-steps // self.segment(t)) + self.segment(t)
        scratch = 4 * 6 * units + 4 * -(-cells * units // 2)
        symbol, struct, source = "kt_lstm_gradient_s8", "kt_lstm_gradient_params", "kernels/recurrent/lstm_gradient.c"
        if t.has("delta"):
            fields = {"gradient": fields, "delta": self.memory.delta_fields(forward, n), "room": self.delta_room(t)}
            scratch, symbol, struct, source = scratch + 4 * units, *(s.replace("lstm_", "lstm_delta_") for s in (symbol, struct, source))
        return KernelCall(symbol, struct, fields, arguments, scratch, source=source)


def _narrowed(z: Ints, room: int) -> tuple[Ints, Ints]:
    """z [N, ...] in at most `room` bits, and the bits that it lost."""
    lost = np.maximum(nm.bit_length(np.abs(z).max(1, keepdims=True)) - room, 0)
    return nm.shift_round(z, lost), lost


def room_for(recurrent: NDArray[np.generic]) -> int:
    """Bits that leave the sums over recurrent weights [4 units, units] in int32."""
    largest = int(np.abs(recurrent.astype(np.int64)).sum(0).max(initial=0))
    return 31 - int(nm.bit_length(np.array(largest)))
