"""What layers of int16 activations share: int8 weights, sums of 64 bits, and the multipliers that bring them to the result.

    y[c] = clamp(requantize(bias[c] + sum_k weights[c, k] x[k], s_x s_w[c] / s_y))

With a bias of int64 sums have 64 bits and the product is rounded once, with 16 bits of the multiplier (`numerics.requantize_wide`). With a bias
of int32 sums have 32 bits and are requantised as those of int8 layers, rounded twice. Source: TensorFlow Lite's reference kernels for int16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, Op
from ...ir.types import TensorType
from .._activation import clamp_range, far_apart
from .._sums import output_scales
from .._window import Window

LARGEST_SHIFT = 7
LARGEST_SUM = 1 << 47
"""What the 64-bit product takes."""


@dataclass(frozen=True)
class WideOp(Op):
    """An operator of int16 activations."""

    element_types: ClassVar[tuple[str, ...]] = ("int16",)
    oracle: ClassVar[str] = "tflite-micro"
    no_gradient: ClassVar[str] = "its activations are int16, and gradients are int8"


def not_symmetric(*types: TensorType) -> str | None:
    """Complaint about int16 activations with a zero point other than 0, or None."""
    zero = next((t.zero_point for t in types if t.zero_point != 0), 0)
    return f"int16 activations need zero point 0, not {zero}" if zero else None


@dataclass(frozen=True)
class WideLayer(WideOp):
    """A layer with constant weights; subclasses say how they are laid out."""

    operands: ClassVar[tuple[str, ...]] = ("x", "weights", "bias")
    biases: ClassVar[tuple[str, ...]] = ("int64", "int32")
    """Types of a bias; of the first one are the zeros of a layer without."""

    activation: str = "none"

    # -- what a layer defines -------------------------------------------------------------------------
    def channels(self, t: NodeTypes) -> int:
        raise NotImplementedError

    def sums(self, e: Environment) -> NDArray[np.int64]:
        """Of the products, without the bias: [N, ..., channels]."""
        raise NotImplementedError

    def window_fields(self, t: NodeTypes) -> Field:
        """Initialiser of the kt_window."""
        raise NotImplementedError

    # -- the operator ---------------------------------------------------------------------------------
    def complaint(self, t: NodeTypes) -> str | None:
        """What is wrong with scales, zero points and bias."""
        bias = t.type("bias")
        if bias.dtype not in self.biases or bias.size != self.channels(t):
            return f"a bias of {bias.size} values of {bias.dtype}, expected {self.channels(t)} of {' or '.join(self.biases)}"
        shift = int(self.multipliers(t)[1].max())
        if bias.dtype == "int64" and shift > LARGEST_SHIFT:
            return f"the scales lie 2^{shift} apart"
        return not_symmetric(t.type("x"), t.result()) or far_apart(shift)

    def multipliers(self, t: NodeTypes) -> tuple[nm.Ints, nm.Ints]:
        return nm.quantize_multipliers(output_scales(t.type("x"), t.type("weights"), self.channels(t)) / t.result().scale)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        scale = nm.requantize if e.type("bias").dtype == "int32" else nm.requantize_wide
        scaled = scale(self.sums(e) + e.wide("bias"), *self.multipliers(e))
        return (np.clip(scaled, *clamp_range(self.activation, e.result())).astype(np.int16).reshape(-1, *e.result().shape[1:]),)

    def may_overflow(self, t: NodeTypes, weights: Array, bias: Array) -> str | None:
        """Which sums or results leave the integers that hold them, for some input; None: all fit."""
        magnitude = np.abs(weights.astype(np.int64))
        products = magnitude.reshape(len(bias), -1).sum(1) if weights.shape[0] == len(bias) else magnitude.sum(tuple(range(weights.ndim - 1)))
        limit = LARGEST_SUM if bias.dtype == np.int64 else 1 << 31
        outside = np.abs(bias.astype(np.float64)) + 32768.0 * products >= limit
        if outside.any():
            return f"the sums of channel {int(outside.argmax())} may leave {'48 bits' if limit == LARGEST_SUM else 'int32'}"
        if bias.dtype == np.int64:
            sums = np.abs(bias) + 32768 * products
            outside = nm.requantize_wide(sums, *self.multipliers(t)) >= 1 << 31
            if outside.any():
                return f"the results of channel {int(outside.argmax())} may leave int32 before they are limited to int16"
        return None

    def macs(self, t: NodeTypes) -> int:
        return t.result().size // self.channels(t) * t.type("weights").size

    def layer_fields(self, t: NodeTypes, n: Names) -> dict[str, Field]:
        """Members that the parameter structs of all layers have; both offsets are 0."""
        multiplier, shift = self.multipliers(t)
        return {
            "window": self.window_fields(t),
            "clamp": clamp_range(self.activation, t.result()),
            "weights": Argument(n.inputs["weights"]),
            "multiplier": Table("multiplier", "int32_t", multiplier.astype(np.int32)),
            "shift": Table("shift", "int8_t", shift.astype(np.int8)),
        }

    def layer_arguments(self, n: Names) -> tuple[Argument, ...]:
        return (Argument(n.inputs["x"]), Argument(n.inputs["bias"]), Argument(n.outputs[0]))


def expected_image(window: Window, x: TensorType, y: TensorType, channels: int) -> str | None:
    """Complaint about a result that the window does not give, or None."""
    expected = (1, *window.output(x.shape[1], x.shape[2]), channels)
    return None if y.shape == expected else f"result is {y.shape}, expected {expected}"
