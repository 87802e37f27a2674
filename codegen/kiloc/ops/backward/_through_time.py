"""What gradients of recurrent operators share: from the sums of a step's gates to the hidden state before it.

What is carried from step to step has 32 bits in units of g / 2^FRACTION, which saturate: it may grow to 256 times the largest gradient of a result.
For U^T the sums of the gates are brought to one scale, prescale[k] = s_u[k] / max s_u, and to so few bits that the product stays in int32. A delta
V_h adds V_h^T z', whose codes have one scale: z' is brought to as few bits as codes up to 127 need, and the product shifted by the exponent.

States of 16 bits (cells, of an LSTM) are kept in scratch, of all steps or in front of segments of `every` steps: those of a segment are then
computed again, with the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.operator import Environment, NodeTypes
from .._sums import delta_channels, exact_matmul
from .._window import Window
from .input_gradient import LinearInputGradient, prescale_shift
from .parameter_gradient import BiasGradient

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...ir.graph import Node

FRACTION = 16
"""Bits below a step of the gradient."""

Ints = NDArray[np.int64]


class Segmented:
    """Of an operator whose result is [1, steps, ...], with a field `every`: steps of a segment, 0 for all."""

    every: int

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        raise NotImplementedError

    def segment(self, t: NodeTypes) -> int:
        """Steps of a segment."""
        return self.every or self.shape(t)[1]

    def rows_kept(self, t: NodeTypes) -> int:
        """States in front of the segments, and behind the steps of one."""
        return -(-self.shape(t)[1] // self.segment(t)) + self.segment(t)

    def run_again(self, t: NodeTypes) -> int:
        """Steps that run forward twice: all but those of the last segment."""
        return (self.shape(t)[1] - 1) // self.segment(t) * self.segment(t)

    def segmentations(self, t: NodeTypes) -> list[int]:
        """Steps of a segment, ever fewer, that need fewer states than all longer ones."""
        steps, found, fewest = self.shape(t)[1], list[int](), np.inf
        for count in range(1, steps + 1):
            every = -(-steps // count)
            if -(-steps // every) + every >= fewest:
                break
            found, fewest = [*found, every], -(-steps // every) + every
        return found


def of_square(x: Ints) -> Ints:
    """1 - x^2 of x in 2^-15, in 2^-31."""
    return np.asarray(np.minimum(2 * ((1 << 30) - x * x), nm.INT32_MAX))


def of_product(x: Ints) -> Ints:
    """x (1 - x) of x in 2^-15, in 2^-31."""
    return 2 * x * ((1 << 15) - x)


def prescale(t: NodeTypes) -> Ints:
    """Relative scales of the recurrent weights of each gate, in 2^-31."""
    units = t.type("recurrent").shape[1]
    scales = np.array(t.type("recurrent").channel_scales, np.float64)[::units]
    return np.asarray(np.minimum(np.floor(scales / scales.max() * 2.0**31 + 0.5), nm.INT32_MAX).astype(np.int64))


def recurrent_multiplier(t: NodeTypes) -> tuple[int, int]:
    return nm.quantize_multiplier(max(t.type("recurrent").channel_scales))


def through_recurrent(e: Environment, sums: Ints, room: int) -> Ints:
    """The gradient of the hidden state before a step from those of its sums [N, gates * units]."""
    multiplier, shift = recurrent_multiplier(e)
    narrow, narrowed = _narrowed(nm.high_multiply(sums, np.repeat(prescale(e), e.type("recurrent").shape[1])), room)
    found = nm.requantize(exact_matmul(narrow, e.array("recurrent")), multiplier, shift + narrowed)
    return nm.saturate32(found + _through_delta(e, sums)) if e.has("recurrent_delta") else found


def _through_delta(e: Environment, sums: Ints) -> Ints:
    """V_h^T z'."""
    narrow, narrowed = _narrowed(sums[:, delta_channels(e, sums.shape[1])], delta_room(e))
    return nm.shift_round(exact_matmul(narrow, e.array("recurrent_delta")), -(narrowed + e.wide("recurrent_delta_exponent")))


def delta_room(t: NodeTypes) -> int:
    """Bits that leave sums over the rows of a delta, whose codes are up to 127, in int32."""
    return 31 - int(nm.bit_length(np.array(127 * t.type("recurrent_delta").shape[0])))


def _narrowed(z: Ints, room: int) -> tuple[Ints, Ints]:
    """z [N, ...] in at most `room` bits, and the bits that it lost."""
    lost = np.maximum(nm.bit_length(np.abs(z).max(1, keepdims=True)) - room, 0)
    return nm.shift_round(z, lost), lost


def room_for(recurrent: NDArray[np.generic]) -> int:
    """Bits that leave the sums over recurrent weights [gates * units, units] in int32."""
    largest = int(np.abs(recurrent.astype(np.int64)).sum(0).max(initial=0))
    return 31 - int(nm.bit_length(np.array(largest)))


def sums_to_operands(
    b: GradientBuilder, node: Node, dz: str, steps: int, path: Mapping[str, str] = MappingProxyType({}), lora_scale: float = 1.0
) -> dict[str, str]:
    """The gradients of x and of a trainable bias from that of the sums of the gates, [1, steps, gates * units]. path: LoRA's share of x."""
    t = b.types(node)
    if b.is_trainable(node.inputs["bias"]):
        b.accumulate(node, "bias", BiasGradient(), {"g": dz})
    if not b.wants(node.inputs["x"]):
        return {}
    weights, (rows, depth) = b.constant(node.inputs["weights"]), t.type("weights").shape
    images = (steps, 1, depth), (steps, 1, rows)
    shift = prescale_shift(weights.reshape(rows, 1, 1, depth), t.type("weights").channel_scales)
    to_input = LinearInputGradient(Window((1, 1)), *images, shift, lora_scale, t.type("x").shape)
    share = {o: node.inputs[o] for o in ("delta", "delta_exponent", "delta_rows") if o in node.inputs}
    return {"x": b.add(to_input, {"g": dz, "weights": node.inputs["weights"], **share, **path}, f"{node.name}.dx")[0]}
