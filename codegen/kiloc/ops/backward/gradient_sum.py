"""Sum of two gradients that meet where the forward pass forked.

acc = g m_g + other m_other, m = round(2^14 scale / larger scale): the scales of the two paths need not be powers of two apart.

With a multiplier of 2^14 and a shift of 15 every odd gradient whose other is 0 lies halfway between two codes, and is rounded upwards: gradients
that should add up to 0 add up to a little more. Layers that add to a residual stream are normalised behind it, so nothing pulls back what they
have in common for all channels: over a thousand updates it drifts until it saturates. On a stream of int16 the largest multiplier is therefore
2^14 - 1, which rounds half of such gradients up and half of them down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Environment, Names, NodeTypes, register
from ...ir.stripe import Rows, Stripe
from ._gradient import Real, RequantizedGradient, batch
from .gradient_mask import image_height

WITHOUT_TIES = (1 << 14) - 1
"""The largest multiplier on a stream of int16."""


@register
@dataclass(frozen=True)
class GradientSum(RequantizedGradient):
    mnemonic: ClassVar[str] = "gradient_sum"
    operands: ClassVar[tuple[str, ...]] = ("g", "other")
    in_place: ClassVar[str | None] = "g"

    largest: int = 1 << 14
    """No multiplier is larger: 2^14, or `WITHOUT_TIES`."""

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        return t.type("g").shape

    def unit(self, t: NodeTypes) -> float:
        return max(t.type("g").scale, t.type("other").scale) * 2.0**-14

    def multipliers(self, t: NodeTypes) -> tuple[int, int]:
        g, other = t.type("g").scale, t.type("other").scale
        first, second = (int(np.floor(scale / max(g, other) * 16384 + 0.5)) for scale in (g, other))
        return min(first, self.largest), min(second, self.largest)

    def accumulator(self, e: Environment) -> NDArray[np.int64]:
        first, second = self.multipliers(e)
        shape = self.shape(e)[1:]
        return np.asarray(batch(e, "g", *shape) * first + batch(e, "other", *shape) * second)

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        return (e.array("g") + e.array("other").reshape(e.array("g").shape),)

    def height(self, t: NodeTypes) -> int:
        return image_height(t.type("g")) if t.type("g").shape == t.type("other").shape else 0

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        return Stripe(self, dict.fromkeys(("g", "other"), (rows, self.height(t))))

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {"size": t.type("g").size, "multiplier": self.multipliers(t), "shift": self.shift}
        arguments = (Argument(n.inputs["g"]), Argument(n.inputs["other"]), Argument(n.outputs[0]))
        return KernelCall("kt_gradient_sum_s8", "kt_gradient_sum_params", fields, arguments, source="kernels/elementwise/gradient_sum.c")
