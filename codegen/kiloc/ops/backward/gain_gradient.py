"""The backward pass of a trained gain: its own gradient, and what passes it. Formulas: `_gain.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, KernelCall, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType, gradient
from .._gain import BACKWARD_BITS, GAIN_OPERANDS, backward_factor, float_gain, gain_operands, real_gain
from .._sums import COLUMN_SUMS
from ._gradient import Real, batch
from .parameter_gradient import BiasGradient, ParameterGradient

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...ir.graph import Node


@register
@dataclass(frozen=True)
class GainGradient(ParameterGradient):
    """accumulator[c] += (s_y sum_p g (y - z_y) - bias unit sum_p g) / gain * scale, float32 after the exact sums.

    unit: real value of one step of each channel's bias.
    """

    mnemonic: ClassVar[str] = "gain_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "y", "bias", *GAIN_OPERANDS, "exponent", "accumulator")

    unit: tuple[float, ...] = ()

    def scale(self, t: NodeTypes) -> float:
        return t.type("g").scale

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        channels = e.type("gain").size
        g, y = batch(e, "g", -1, channels), batch(e, "y", -1, channels) - e.type("y").zero_point
        assert g.shape[0] == 1
        product = (g * y).sum(1)[0].astype(np.float32) * np.float32(e.type("y").scale)
        bias = e.array("bias").astype(np.float32) * np.array(self.unit, np.float32)
        difference = product - bias * g.sum(1)[0].astype(np.float32)
        scale = np.float32(self.scale(e)) * nm.power_of_two(np.clip(e.wide("exponent").reshape(-1), -126, 127))
        return {"accumulator": e.array("accumulator") + difference / float_gain(e) * scale}

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        channels = e.type("gain").size
        y = (batch(e, "y", -1, channels) - e.type("y").zero_point) * e.type("y").scale
        sums = (y - e.array("bias") * np.array(self.unit)) / real_gain(e)
        return ((batch(e, "g", -1, channels) * sums).sum(1),)

    def macs(self, t: NodeTypes) -> int:
        return t.type("g").size

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        channels = t.type("gain").size
        fields: dict[str, Field] = {
            "positions": t.type("g").size // channels,
            "channels": channels,
            "result_offset": -t.type("y").zero_point,
            "result_scale": t.type("y").scale,
            "unit": Table("unit", "float", np.array(self.unit, np.float32)),
            "scale": self.scale(t),
        }
        arguments = tuple(Argument(n.inputs[o]) for o in self.operands)
        source = "kernels/gain/gain_gradient.c"
        return KernelCall("kt_gain_gradient", "kt_gain_gradient_params", fields, arguments, source=source, needs=(COLUMN_SUMS,))


@register
@dataclass(frozen=True)
class ApplyGain(Op):
    """g'[p, c] = saturate8(shift_round(g[p, c] m[c], 14)), m the gain in units of 2^-14.

    The scale of g' is that of g: a gain of 1 loses nothing, and few codes are so large that a gain of 1.1 saturates them. A larger
    scale would round every element to fewer codes instead.
    """

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "apply_gain"
    operands: ClassVar[tuple[str, ...]] = ("g", *GAIN_OPERANDS)
    in_place: ClassVar[str | None] = "g"

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (gradient(t.type("g").shape, t.type("g").scale),)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        g = batch(e, "g", -1, e.type("gain").size) * backward_factor(e)
        return (nm.saturate8(nm.shift_round(g, BACKWARD_BITS)).astype(np.int8).reshape(e.array("g").shape),)

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        return ((batch(e, "g", -1, e.type("gain").size) * real_gain(e)).reshape(e.array("g").shape),)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        channels = t.type("gain").size
        fields: dict[str, Field] = {"positions": t.type("g").size // channels, "channels": channels}
        arguments = (*(Argument(n.inputs[o]) for o in self.operands), Argument(n.outputs[0]))
        return KernelCall("kt_apply_gain_s8", "kt_apply_gain_params", fields, arguments, source="kernels/gain/apply_gain.c")


def bias_gradient(b: GradientBuilder, node: Node, g: str) -> None:
    """Accumulate the gradient of a layer's bias, where it is trained."""
    if b.is_trainable(node.inputs["bias"]):
        b.accumulate(node, "bias", BiasGradient(), {"g": g})


def scaled_gradient(b: GradientBuilder, node: Node, g: str) -> str:
    """Accumulate the gain's gradient; the gradient of the sums in front of the gain."""
    if "gain" not in node.inputs:
        return g
    t = b.types(node)
    scales = np.broadcast_to(np.array(t.type("weights").channel_scales, np.float64), (t.type("gain").size,))
    unit = tuple(float(np.float32(t.type("x").scale * s)) for s in scales)
    gain = gain_operands(node)
    b.accumulate(node, "gain", GainGradient(unit), {"g": g, "y": node.outputs[0], "bias": node.inputs["bias"], **gain})
    return b.add(ApplyGain(), {"g": g, **gain}, f"{node.name}.scaled")[0]
