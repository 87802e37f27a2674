"""A trained gain and its gradients: (1 + s[c]) on the accumulator of a layer, in front of its bias.

    acc'[c] = acc[c] + limit(requantize(acc[c], code[c] 2^24, exponent + 7)) + bias[c],  s[c] = code[c] 2^exponent

acc is the product with its trainable addends, saturated at int32, without the bias. requantize rounds twice; limit is +-2^30. Codes of 0 add
0: the layer starts bit-exact. Shift and gain are those of Lian et al., "Scaling & Shifting Your Features" (2022); the shift is the bias.

    g'[p, c] = g[p, c] (1 + s[c])                             towards delta and LoRA: `ApplyGain`; towards the input: in its pre-scale
    ds[c]    = sum_p g[p, c] acc_real[p, c],  acc_real = (y_real - b_real[c]) / max(1 + s[c], 1/16)

acc_real is recomputed from the int8 result (saved for its clamp mask anyway, and often for the next layer): no accumulator is kept.
g is 0 where the result was clamped; elsewhere y_real is within half a step of the result before rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import numerics as nm
from ..ir.operator import Environment

if TYPE_CHECKING:
    from ..ir.graph import Node

GAIN_OPERANDS = ("gain", "gain_exponent")
LIMIT = 2**30
LARGEST_GAIN = 2
"""In the gradient to the input; the forward pass and the other gradients know no such limit."""


def scaled_accumulator(e: Environment, total: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sums [..., channels] of a layer with its gain, where it has one."""
    if not e.has("gain"):
        return total
    total = nm.saturate32(total)
    addend = nm.requantize(total, e.wide("gain") << 24, e.wide("gain_exponent") + 7)
    return np.asarray(total + np.clip(addend, -LIMIT, LIMIT))


def gained(m: NDArray[np.int64], e: Environment) -> NDArray[np.int64]:
    """Pre-scale factors of an input gradient with the gain, m (1 + s): limited to +-2 m, so that the sums stay in int32."""
    if not e.has("gain"):
        return m
    return np.asarray(m + np.clip(nm.shift_round(m * e.wide("gain"), -e.wide("gain_exponent")), -3 * m, m))


def real_gain(e: Environment) -> Any:
    """1 + s of each channel; 1 where there is no gain."""
    return 1 + e.array("gain") * 2.0 ** e.array("gain_exponent").astype(np.float64) if e.has("gain") else 1.0


def gain_operands(node: Node) -> dict[str, str]:
    return {o: node.inputs[o] for o in GAIN_OPERANDS if o in node.inputs}
