"""DEPTHWISE_CONV_2D: one kernel a channel, weights [1, KH, KW, OC] with OC = IC * depth multiplier.

Source: TensorFlow Lite 8-bit quantisation specification, section "DEPTHWISE_CONV_2D".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import numerics as nm
from ._activation import clamp_range, far_apart
from ._gradient import Real, RequantizedGradient, batch
from ._linear import output_scales
from ._window import Window
from .input_gradient import prescale, prescaled
from .kernel import Argument, Field, KernelCall, Scratch, Table
from .registry import Array, Environment, Names, NodeTypes, Op, register

if TYPE_CHECKING:
    from ..autodiff import GradientBuilder
    from ..ir.graph import Node


@register
@dataclass(frozen=True)
class DepthwiseConv2D(Op):
    mnemonic: ClassVar[str] = "depthwise_conv_2d"
    operands: ClassVar[tuple[str, ...]] = ("x", "weights", "bias")

    window: Window = Window((1, 1))
    activation: str = "none"

    def multiplier_of_depth(self, t: NodeTypes) -> int:
        return t.type("weights").shape[3] // t.type("x").shape[3]

    def check(self, t: NodeTypes) -> str | None:
        x, w, y = t.type("x"), t.type("weights"), t.result()
        if len(x.shape) != 4 or len(w.shape) != 4 or w.shape[3] % x.shape[3] or w.shape[:3] != (1, *self.window.kernel):
            return f"weights {w.shape} do not fit an input of {x.shape} under a {self.window.kernel} kernel"
        expected = (1, *self.window.output(x.shape[1], x.shape[2]), w.shape[3])
        return far_apart(*self.multipliers(t)[1].tolist()) if y.shape == expected else f"result is {y.shape}, expected {expected}"

    def multipliers(self, t: NodeTypes) -> tuple[nm.Ints, nm.Ints]:
        scales = output_scales(t.type("x"), t.type("weights"), t.type("weights").shape[3])
        return nm.quantize_multipliers(scales / t.result().scale)

    def accumulator(self, e: Environment) -> NDArray[np.int64]:
        x = e.wide("x") - e.type("x").zero_point
        w, out = e.wide("weights")[0], e.result().shape[1:3]
        padded = np.repeat(self.window.padded(x), self.multiplier_of_depth(e), axis=3)
        total = np.broadcast_to(e.wide("bias"), (x.shape[0], *out, w.shape[2])).copy()
        for ky, kx, rows, columns in self.window.taps((out[0], out[1])):
            total += padded[:, rows, columns] * w[ky, kx]
        return total

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        multiplier, shift = self.multipliers(e)
        low, high = clamp_range(self.activation, e.result())
        scaled = nm.requantize(self.accumulator(e), multiplier, shift) + e.result().zero_point
        return (np.clip(scaled, low, high).astype(np.int8),)

    def macs(self, t: NodeTypes) -> int:
        return t.result().size * self.window.kernel[0] * self.window.kernel[1]

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        multiplier, shift = self.multipliers(t)
        fields: dict[str, Field] = {
            "window": self.window.fields(t.type("x").shape, t.result().shape),
            "depth_multiplier": self.multiplier_of_depth(t),
            "input_offset": -t.type("x").zero_point,
            "output_offset": t.result().zero_point,
            "clamp": clamp_range(self.activation, t.result()),
            "weights": Argument(n.inputs["weights"]),
            "multiplier": Table("multiplier", "int32_t", multiplier.astype(np.int32)),
            "shift": Table("shift", "int8_t", shift.astype(np.int8)),
        }
        arguments = (Argument(n.inputs["x"]), Argument(n.inputs["bias"]), Argument(n.outputs[0]))
        return KernelCall("kt_depthwise_conv2d_s8", "kt_depthwise_conv2d_params", fields, arguments, source="kernels/depthwise_conv2d.c")

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        from .gradient_mask import masked
        from .parameter_gradient import BiasGradient

        t = b.types(node)
        g = masked(b, node, dy, *clamp_range(self.activation, t.result()))
        if b.is_trainable(node.inputs["bias"]):
            b.accumulate(node, "bias", BiasGradient(), {"g": g})
        if not b.wants(node.inputs["x"]):
            return {}
        p = depthwise_prescale_shift(b.constant(node.inputs["weights"]), t.type("weights").channel_scales, self.multiplier_of_depth(t))
        op = DepthwiseInputGradient(self.window, t.type("x").shape, t.result().shape, p)
        return {"x": b.add(op, {"g": g, "weights": node.inputs["weights"]}, f"{node.name}.dx")[0]}


def depthwise_prescale_shift(weights: Array, scales: tuple[float, ...], depth: int) -> int:
    """The smallest p >= 7 for which sums over the taps and over the results of one input stay in int32."""
    sums = np.abs(weights.astype(np.int64)).sum((0, 1, 2))
    m = prescale(scales, sums.size)
    p = 7
    while (sums * prescaled(127, m, p)).reshape(-1, depth).sum(1).max() > nm.INT32_MAX:
        p += 1
    return p


@register
@dataclass(frozen=True)
class DepthwiseInputGradient(RequantizedGradient):
    """dX of DEPTHWISE_CONV_2D; the pre-scale of `input_gradient.py`."""

    mnemonic: ClassVar[str] = "depthwise_input_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "weights")

    window: Window = Window((1, 1))
    x_shape: tuple[int, ...] = ()
    y_shape: tuple[int, ...] = ()
    prescale_shift: int = 7

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        return self.x_shape

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale * max(t.type("weights").channel_scales) * 2.0 ** (self.prescale_shift - 15)

    def _scatter(self, g: Array, weights: Array) -> Array:
        rows = g[:, :, :, None] * weights.reshape(1, 1, 1, -1, weights.shape[-1])
        rows = rows.reshape(g.shape[0], -1, self.x_shape[3], weights.shape[-1] // self.x_shape[3]).sum(3)
        return self.window.scatter(rows, (g.shape[0], *self.x_shape[1:]))

    def accumulator(self, e: Environment) -> NDArray[np.int64]:
        g = batch(e, "g", *self.y_shape[1:])
        m = prescale(e.type("weights").channel_scales, self.y_shape[3])
        return self._scatter(prescaled(g, m, self.prescale_shift), e.wide("weights")[0])

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        scales = np.array(e.type("weights").channel_scales, np.float64)
        return (self._scatter(batch(e, "g", *self.y_shape[1:]), e.array("weights")[0].astype(np.float64) * scales),)

    def macs(self, t: NodeTypes) -> int:
        return int(np.prod(self.y_shape)) * self.window.kernel[0] * self.window.kernel[1]

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        m = prescale(t.type("weights").channel_scales, self.y_shape[3]).astype(np.int16)
        fields: dict[str, Field] = {
            "window": self.window.fields(self.x_shape, self.y_shape),
            "depth_multiplier": self.y_shape[3] // self.x_shape[3],
            "weights": Argument(n.inputs["weights"]),
            "prescale": Table("prescale", "int16_t", m),
            "prescale_shift": self.prescale_shift,
            "shift": self.shift,
        }
        arguments = (Argument(n.inputs["g"]), Argument(n.outputs[0]), Scratch())
        scratch = 4 * self.x_shape[3]
        return KernelCall(
            "kt_depthwise_input_gradient_s8", "kt_depthwise_input_gradient_params", fields, arguments, scratch,
            "kernels/depthwise_input_gradient.c",
        )  # fmt: skip
