"""A bottleneck adapter on the int8 result of a layer: down, rectifier, up, residual add. Only shifts, no multipliers.

    h  = clamp(shift_round(D (y - z), range - down_exponent), 0, 127)          scale s 2^range
    y' = clamp(y + shift_round(U h, -(range + up_exponent)), low, high)        scale and zero point of y

U = 0 is the identity, bit for bit, because y lies in [low, high] already. Source: Houlsby et al., "Parameter-Efficient Transfer Learning for NLP"
(2019). Backward, with G the gradient where y' was not clamped:

    dU = G h;  dh = U^T G where 0 < h < 127, in int8 with the power of two that just fits;  dD = dh (y - z)
    dy = G + D^T dh:  acc = G 2^12 + limit(shift_round(D^T dh, -(12 + down_exponent + dh_exponent))), requantised once
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType
from .._sums import ADDEND_LIMIT, exact_matmul
from .._window import Window
from ..backward._gradient import Real, RequantizedGradient, batch
from ..backward.gradient_mask import MaskGradient, masked
from ..backward.parameter_gradient import WeightGradient
from .lora import DownProjection, LoRAInnerGradient

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...ir.graph import Node

FRACTION = 12
"""Bits below one step of G in the sum that makes dy."""


@register
@dataclass(frozen=True)
class BottleneckDown(DownProjection):
    """The adapter's hidden channels h at each position: the layer's result times the matrix D, rectified, in int8."""

    mnemonic: ClassVar[str] = "bottleneck_down"
    operands: ClassVar[tuple[str, ...]] = ("x", "down", "down_exponent", "range")
    low: ClassVar[int] = 0


@register
@dataclass(frozen=True)
class BottleneckUp(Op):
    """The layer's result with the adapter's share added: y' = clamp(y + U h), clamped to the range of the layer itself (low, high)."""

    mnemonic: ClassVar[str] = "bottleneck_up"
    operands: ClassVar[tuple[str, ...]] = ("x", "h", "up", "up_exponent", "range")
    in_place: ClassVar[str | None] = "x"

    low: int = -128
    high: int = 127

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (t.type("x"),)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        channels, width = e.type("up").shape
        y = batch(e, "x", -1, channels)
        total = exact_matmul(batch(e, "h", -1, width), e.array("up").T)
        y = y + nm.shift_round(total, -(e.wide("range") + e.wide("up_exponent")))
        return (np.clip(y, self.low, self.high).astype(np.int8).reshape(e.array("x").shape),)

    def macs(self, t: NodeTypes) -> int:
        return t.type("x").size * t.type("up").shape[1]

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        channels, width = t.type("up").shape
        fields: dict[str, Field] = {
            "positions": t.type("x").size // channels,
            "channels": channels,
            "width": width,
            "clamp": (self.low, self.high),
        }
        arguments = (*(Argument(n.inputs[o]) for o in self.operands), Argument(n.outputs[0]))
        return KernelCall("kt_bottleneck_up_s8", "kt_bottleneck_up_params", fields, arguments, source="kernels/lora/bottleneck_up.c")

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        t = b.types(node)
        channels, width = t.type("up").shape
        y, h, down = node.inputs["x"], node.inputs["h"], b.producer(node.inputs["h"])
        positions, scale, across = t.type("x").size // channels, t.type("x").scale, Window((1, 1))
        y_image, h_image = (positions, 1, channels), (positions, 1, width)
        g = masked(b, node, dy, self.low, self.high)
        b.accumulate(node, "up", WeightGradient(across, h_image, y_image, scale), {"g": g, "x": h, "exponent_offset": node.inputs["range"]})
        inner = {"g": g, "lora_b": node.inputs["up"], "lora_b_exponent": node.inputs["up_exponent"]}
        dh, dh_exponent = b.add(LoRAInnerGradient(), inner, f"{down.name}.dh")
        dh = b.add(MaskGradient(BottleneckDown.low, 127), {"g": dh, "y": h}, f"{down.name}.masked")[0]
        b.accumulate(down, "down", WeightGradient(across, y_image, h_image, scale), {"g": dh, "x": y, "exponent_offset": dh_exponent})
        if not b.wants(y):
            return {}
        operands = {"g": g, "dh": dh, "dh_exponent": dh_exponent, **{o: down.inputs[o] for o in ("down", "down_exponent")}}
        return {"x": b.add(BottleneckInputGradient(), operands, f"{node.name}.dx")[0]}


@register
@dataclass(frozen=True)
class BottleneckInputGradient(RequantizedGradient):
    """dy of the residual sum and of the way through D."""

    mnemonic: ClassVar[str] = "bottleneck_input_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "dh", "dh_exponent", "down", "down_exponent")
    in_place: ClassVar[str | None] = "g"

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        return t.type("g").shape

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale * 2.0**-FRACTION

    def accumulator(self, e: Environment) -> NDArray[np.int64]:
        width, channels = e.type("down").shape
        path = exact_matmul(batch(e, "dh", -1, width), e.array("down"))
        exponent = (e.wide("dh_exponent") + e.wide("down_exponent")).reshape(-1, 1, 1)
        path = np.clip(nm.shift_round(path, -(FRACTION + exponent)), -ADDEND_LIMIT, ADDEND_LIMIT)
        total = batch(e, "g", -1, channels) * (1 << FRACTION) + path
        return np.asarray(total.reshape(-1, *self.shape(e)[1:]))

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        width, channels = e.type("down").shape
        down = e.array("down") * 2.0 ** e.array("down_exponent").astype(np.float64)
        total = batch(e, "g", -1, channels) + batch(e, "dh", -1, width) @ down
        return (total.reshape(-1, *self.shape(e)[1:]),)

    def macs(self, t: NodeTypes) -> int:
        return t.type("g").size * t.type("down").shape[0]

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        width, channels = t.type("down").shape
        fields: dict[str, Field] = {
            "positions": t.type("g").size // channels,
            "channels": channels,
            "width": width,
            "fraction": FRACTION,
            "shift": self.shift,
        }
        arguments = (*(Argument(n.inputs[o]) for o in self.operands), Argument(n.outputs[0]))
        symbol, struct = "kt_bottleneck_input_gradient_s8", "kt_bottleneck_input_gradient_params"
        return KernelCall(symbol, struct, fields, arguments, source="kernels/lora/bottleneck_input_gradient.c")
