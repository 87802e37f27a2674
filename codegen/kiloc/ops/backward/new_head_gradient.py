"""Gradient of a new head to its input, with an exponent of its own for each sample.

A new head starts near zero, and the gradient that it hands on grows with its weights: no constant shift suits its start and its end. So its
int32 sums are brought to int8 by the power of two that just fits, as LoRA's inner gradient is, and the exponent that every gradient of
the layers before it is relative to is the loss's plus that power.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.kernel_call import Argument, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.reach import Reach
from ...ir.types import TensorType, gradient, scalar
from .._gain import GAIN_OPERANDS
from ._gradient import Real, fitting_shift
from .input_gradient import LinearInputGradient


@register
@dataclass(frozen=True)
class NewHeadInputGradient(Op):
    """dx = saturate8(shift_round(sums, k)), k = max(0, bits of the sample's largest sum - 7). Second result: the exponent, k included.

    layer: the gradient whose sums these are, with the share of the delta.
    """

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "new_head_input_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "exponent", "weights", "delta", "delta_exponent")
    optional: ClassVar[tuple[str, ...]] = ("delta_g", *GAIN_OPERANDS)

    layer: LinearInputGradient = field(default_factory=LinearInputGradient)

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return gradient(self.layer.shape(t), self.layer.unit(t)), scalar("int32")

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        total = self.layer.accumulator(e)
        shift = fitting_shift(total)
        dx = nm.saturate8(nm.shift_round(total, shift.reshape(-1, *(1,) * (total.ndim - 1)))).astype(np.int8)
        return dx, (e.wide("exponent").reshape(-1) + shift).astype(np.int32)

    def evaluate_real(self, e: Environment) -> tuple[Real, Array]:
        (dx,) = self.layer.evaluate_real(e)
        return dx, np.zeros(len(dx), np.int32)

    def macs(self, t: NodeTypes) -> int:
        return 2 * self.layer.macs(t)

    def reach(self, t: NodeTypes) -> tuple[str, Reach]:
        return self.layer.reach(t)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        gain = [Argument(n.inputs[o]) if t.has(o) else "NULL" for o in GAIN_OPERANDS]
        delta = [Argument(n.inputs[o]) for o in (self.layer.delta_g(t), "delta", "delta_exponent")]
        arguments = (Argument(n.inputs["g"]), Argument(n.inputs["exponent"]), *gain, *delta, *(Argument(o) for o in n.outputs))
        source = "kernels/convolution/new_head_input_gradient.c"
        return replace(self.layer.kernel_call(t, n), symbol="kt_new_head_input_gradient_s8", arguments=arguments, source=source)
