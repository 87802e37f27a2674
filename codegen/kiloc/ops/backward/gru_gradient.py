"""Gradient of a gated recurrent unit through time: from that of its results to that of the sums of its gates.

The gates are computed again from x and y, whose rows are what the product with the state reads, so a step saves nothing beside them. With z, r, n the
gates, v what r multiplies and h the state of a step, and ' for gradients, from the last step to the first:

    h' = y' + U^T (a_z', a_r', a_n' r) of the step behind it, 0 where y stands at an end of int8; + h' z of the step behind it
    a_z' = h' (h_before - n) z (1 - z),  a_n' = h' (1 - z) (1 - n^2),  a_r' = a_n' v r (1 - r)

`_through_time.py` says what is carried from step to step, how U^T is multiplied by, and what segments are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch
from ...ir.operator import Environment, Names, NodeTypes, register
from .._gru import GATES, LORA_OPERANDS, Step, fields, lora_arguments, lora_fields, steps, steps_of, units_of
from .._lstm import GATE_SCALE, UNIT
from ._gradient import Real, RequantizedGradient, batch
from ._through_time import FRACTION, Ints, Segmented, of_product, of_square, prescale, recurrent_multiplier, through_recurrent

LAYER = ("x", "weights", "recurrent", "bias", "inner")


@register
@dataclass(frozen=True)
class GruGradient(Segmented, RequantizedGradient):
    """The gradient of the sums over x of the gates, [1, steps, 3 units]. room: bits of what U^T multiplies. every: steps of a segment, 0 for all."""

    mnemonic: ClassVar[str] = "gru_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "y", *LAYER)
    optional: ClassVar[tuple[str, ...]] = LORA_OPERANDS

    room: int = 14
    every: int = 0
    lora_scale: float = 1.0

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        return 1, steps_of(t), t.type("weights").shape[0]

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale * 2.0**-FRACTION

    def _forward(self, t: NodeTypes) -> NodeTypes:
        return NodeTypes({o: t.type(o) for o in (*LAYER, *LORA_OPERANDS) if t.has(o)}, (t.type("y"),))

    def _steps(self, e: Environment) -> list[Step]:
        t = self._forward(e)
        return list(steps(Environment(t.operands, t.results, {o: e.array(o) for o in t.operands}), self.lora_scale))

    # -- meaning --------------------------------------------------------------------------------------
    def accumulator(self, e: Environment) -> Ints:
        run, units = self._steps(e), units_of(e)
        g = batch(e, "g", len(run), units)
        behind, direct = np.zeros_like(g[:, 0]), np.zeros_like(g[:, 0])
        found = np.zeros((len(g), len(run), GATES * units), np.int64)
        for number in range(len(run) - 1, -1, -1):
            step = run[number]
            arrived = nm.saturate32((g[:, number] << FRACTION) + behind)
            dh = nm.saturate32(np.where((step.hidden > -128) & (step.hidden < 127), arrived, 0) + direct)
            update, reset, new = self._back(step, dh)
            found[:, number] = np.concatenate((update, reset, new), 1)
            kept = nm.high_multiply(new, step.gates[1] << 16)
            behind = through_recurrent(e, np.concatenate((update, reset, kept), 1), self.room)
            direct = nm.high_multiply(dh, step.gates[0] << 16)
        return found

    def _back(self, step: Step, dh: Ints) -> tuple[Ints, Ints, Ints]:
        """The gradients of the sums of the gates from that of the state."""
        multiply: Callable[[Any, Any], Any] = nm.high_multiply
        z, r, n = step.gates
        new = multiply(multiply(dh, ((1 << 15) - z) << 16), of_square(n))
        update = multiply(multiply(dh, (step.before - n) << 15), 2 * of_product(z))
        reset = nm.shift_round(multiply(multiply(new, step.inner << 16), 2 * of_product(r)), -2)
        return update, reset, new

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        run, units = self._steps(e), units_of(e)
        u = e.array("recurrent") * np.array(e.type("recurrent").channel_scales, np.float64)[:, None]
        g = np.asarray(batch(e, "g", len(run), units), np.float64)
        behind, direct = np.zeros_like(g[:, 0]), np.zeros_like(g[:, 0])
        found = np.zeros((len(g), len(run), GATES * units))
        for number in range(len(run) - 1, -1, -1):
            step = run[number]
            z, r, n = (gate * UNIT for gate in step.gates)
            dh = np.where((step.hidden > -128) & (step.hidden < 127), g[:, number] + behind, 0) + direct
            new = dh * (1 - z) * (1 - n**2)
            reset = new * step.inner * GATE_SCALE * r * (1 - r)
            update = dh * (step.before * UNIT - n) * z * (1 - z)
            found[:, number] = np.concatenate((update, reset, new), 1)
            behind, direct = np.concatenate((update, reset, new * r), 1) @ u, dh * z
        return (found,)

    def macs(self, t: NodeTypes) -> int:
        """The gates twice, for the states and for the gradient, once more but in the last segment, and U^T once."""
        gates = t.type("weights").size + t.type("recurrent").size + (t.type("lora_b").size if t.has("lora_u") else 0)
        return steps_of(t) * (2 * gates + t.type("recurrent").size) + self.run_again(t) * gates

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        multiplier, shift = recurrent_multiplier(t)
        members: dict[str, Field] = {
            "layer": fields(self._forward(t), n),
            "prescale": tuple(int(m) for m in prescale(t)),
            "room": self.room,
            "multiplier": multiplier,
            "multiplier_shift": shift,
            "every": self.segment(t),
            "shift": self.shift,
        }
        units = units_of(t)
        given: list[Argument | Scratch] = [Argument(n.inputs[o]) for o in ("g", "x", "y", "bias")]
        kind, struct = "", "kt_gru_gradient_params"
        scratch = 4 * 5 * units + 4 * -(-(self.rows_kept(t) - 1) * units // 2)
        if t.has("lora_u"):
            given += lora_arguments(n)
            kind, struct = "_lora", "kt_gru_lora_gradient_params"
            members, scratch = {"gradient": members, "lora": lora_fields(t, self.lora_scale)}, scratch + 4 * GATES * units
        given += [Argument(n.outputs[0]), Scratch()]
        return KernelCall(f"kt_gru{kind}_gradient_s8", struct, members, tuple(given), scratch, source=f"kernels/recurrent/gru{kind}_gradient.c")
