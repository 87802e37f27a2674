"""Gradient of a convolution or fully connected layer with respect to its input.

dX = W^T dY contracts over output channels, whose weights have different scales, so dY is first scaled per channel into
16 bits: m[c] = min(32767, round(2^15 s_w[c] / max s_w)), G'[c] = (G[c] m[c] + 2^(p-1)) >> p. p is the smallest p >= 7
for which the int32 sums cannot overflow, proved from the frozen weights.

A trained path adds its share, V^T G or A^T du, to the same sums. Its codes have one scale for the tensor, so G is taken as it is and the
int32 product is requantised once: acc += limit(requantize(V^T G, M, S + exponent)), M 2^(S-31) = 1 / (max s_w 2^(p-15)). |V^T G| <=
127 * 127 * terms stays in int32 up to 133,000 terms. Under a gain the path starts from `ApplyGain`'s result, and m becomes
m gain: it leaves room for a gain of 8/5 of the largest scale then, and is limited beyond (`_gain.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.graph import Node, Value
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, register
from ...ir.reach import Reach
from ...ir.stripe import Rows, Stripe
from ...ir.types import TensorType
from .._gain import GAIN_OPERANDS, LARGEST_GAIN, gain_headroom, gained, largest_scale, real_gain
from .._merged import MERGED_OPERANDS, layer_weights, real_weights
from .._sums import Image, addend, delta_channels, exact_matmul, matmul
from .._window import Window
from .._window_reach import window_gradient_reach
from .._window_rows import gradient_rows, met_rows
from ._gradient import Real, RequantizedGradient, batch

TRANSPOSED = "transposed"
"""Operand for kernels of Helium: the weights as [input channel, kernel row, kernel column, output channel]."""

LONGEST_RUN = 640
"""Products of one sum, taps * output channels, that such a kernel has room for (runtime/src/kernels/convolution/mve/transposed_gradient.h)."""


MOST_PHASES = 4
"""Of `stride[0] * stride[1]` taps, one meets a window; such a kernel multiplies all."""


def with_transposed(node: Node, t: NodeTypes, values: Mapping[str, Value]) -> tuple[Node, list[Value], str]:
    """The gradient of a layer with its weights transposed, these, and why it has none ("" where it has)."""
    op, weights = node.op, values[node.inputs["weights"]].data
    assert isinstance(op, LinearInputGradient) and weights is not None
    run = op.window.kernel[0] * op.window.kernel[1] * op.y_image[2]
    if op.window.stride[0] * op.window.stride[1] > MOST_PHASES:
        return node, [], "with this stride most taps meet no window"
    if run > LONGEST_RUN:
        return node, [], f"a sum has {run} products, more than {LONGEST_RUN}"
    path = t.type("lora_a").shape[0] if t.has("lora_du") else 0
    if op.window.kernel[0] * op.window.kernel[1] * path > LONGEST_RUN:
        return node, [], f"LoRA's share of a sum has more than {LONGEST_RUN} products"
    if t.has("gain") and (path or t.has("delta")):
        return node, [], "its gains are trained beside its weights"
    if not 7 <= op.prescale_shift <= 15:
        return node, [], "its gradients need more than 16 bits"
    data = np.ascontiguousarray(weights.reshape(op.y_image[2], -1, op.x_image[2]).transpose(2, 1, 0))
    value = Value(f"{node.inputs['weights']}.{TRANSPOSED}", TensorType(data.shape, "int8"), "constant", data)
    return replace(node, inputs={**node.inputs, TRANSPOSED: value.name}), [value], ""


def prescale(scales: Sequence[float], channels: int, headroom: float = 1.0) -> Array:
    """Relative channel scales m in 1/2^15, of the largest scale times headroom: what a gain may become."""
    s = np.broadcast_to(np.array(scales, np.float64), (channels,))
    return np.asarray(np.minimum(np.floor(s / (s.max() * headroom) * 32768 + 0.5), 32767).astype(np.int64))


def largest_prescale(scales: Sequence[float], channels: int, headroom: float = 1.0) -> Array:
    """The same under the largest gain."""
    return np.asarray(np.minimum(prescale(scales, channels, headroom) * (1 if headroom == 1 else LARGEST_GAIN), 32767))


def prescaled(g: Array | int, m: Array, p: int) -> Array:
    return (g * m + (1 << (p - 1))) >> p


def prescale_shift(weights: NDArray[np.generic], scales: Sequence[float], headroom: float = 1.0) -> int:
    """p for weights [OC, KH, KW, IC]: every tap may meet one input position. headroom: as `prescale`."""
    sums = np.abs(weights.astype(np.int64)).sum((1, 2))
    m = largest_prescale(scales, weights.shape[0], headroom)
    p = 7
    while (sums * prescaled(127, m, p)[:, None]).sum(0).max() > nm.INT32_MAX:
        p += 1
    return p


@register
@dataclass(frozen=True)
class LinearInputGradient(RequantizedGradient):
    """dX of CONV_2D and FULLY_CONNECTED, with the share of LoRA or of a delta where the layer has one."""

    mnemonic: ClassVar[str] = "linear_input_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "weights")
    optional: ClassVar[tuple[str, ...]] = (
        "lora_du", "lora_du_exponent", "lora_a", "lora_a_exponent", "delta", "delta_exponent", "delta_rows", "delta_g",
        *MERGED_OPERANDS, *GAIN_OPERANDS, TRANSPOSED,
    )  # fmt: skip

    window: Window = Window((1, 1))
    x_image: Image = (1, 1, 1)
    y_image: Image = (1, 1, 1)
    prescale_shift: int = 7
    lora_scale: float = 1.0
    x_shape: tuple[int, ...] = ()
    inner: tuple[bool, bool] = (False, False)
    """Of some rows alone: whether rows come before them, and after, which windows reach into and multiply nothing."""

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        return self.x_shape or (1, *self.x_image)

    def weight_unit(self, t: NodeTypes) -> float:
        return largest_scale(t.type("weights"), t.has("gain")) * 2.0 ** (self.prescale_shift - 15)

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale * self.weight_unit(t)

    def path_multiplier(self, t: NodeTypes) -> tuple[int, int]:
        """From units of the path's product (before its exponents) to units of the accumulator."""
        return nm.quantize_multiplier(self.lora_scale / self.weight_unit(t))

    def prescale(self, t: NodeTypes) -> Array:
        """m of each channel; with a gain for a gain of 1."""
        return prescale(t.type("weights").channel_scales, self.y_image[2], gain_headroom(t.has("gain")))

    def _scatter(self, rows: Array) -> Array:
        return self.window.scatter(rows, (rows.shape[0], *self.x_image))

    def accumulator(self, e: Environment) -> NDArray[np.int64]:
        channels = self.y_image[2]
        g = batch(e, "g", -1, channels)
        g = prescaled(g, gained(self.prescale(e), e), self.prescale_shift)
        total = self._scatter(exact_matmul(g, layer_weights(e).reshape(channels, -1)))
        path = self._path(e)
        if path is not None:
            product, exponent = path
            multiplier, shift = self.path_multiplier(e)
            total = nm.saturate32(total + addend(product, multiplier, (shift + exponent).reshape(-1, 1, 1, 1)))
        return total.reshape(-1, *self.shape(e)[1:])

    def _path(self, e: Environment) -> tuple[Array, Array] | None:
        """Integer product of the trained path and its exponent."""
        if e.has("lora_du"):
            rank = e.type("lora_a").shape[0]
            product = exact_matmul(batch(e, "lora_du", -1, rank), e.array("lora_a").reshape(rank, -1))
            return self._scatter(product), e.wide("lora_du_exponent") + e.wide("lora_a_exponent")
        if e.has("delta"):
            chosen = delta_channels(e, self.y_image[2])
            g = batch(e, self.delta_g(e), -1, self.y_image[2])[..., chosen]
            return self._scatter(exact_matmul(g, e.array("delta").reshape(len(chosen), -1))), e.wide("delta_exponent")
        return None

    def delta_g(self, t: NodeTypes) -> str:
        """The operand that the delta's share starts from."""
        return "delta_g" if t.has("delta_g") else "g"

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        channels = self.y_image[2]
        g = batch(e, "g", -1, channels)
        total = self._scatter(matmul(g * np.broadcast_to(np.float64(real_gain(e)), (channels,)), real_weights(e).reshape(channels, -1)))
        if e.has("lora_du"):
            a = e.array("lora_a").astype(np.float64) * 2.0 ** e.array("lora_a_exponent").astype(np.float64)
            du = batch(e, "lora_du", -1, a.shape[0])
            total = total + self._scatter(matmul(du, a.reshape(a.shape[0], -1)))
        if e.has("delta"):
            chosen = delta_channels(e, channels)
            delta = e.array("delta").reshape(len(chosen), -1) * 2.0 ** e.array("delta_exponent").astype(np.float64)
            total = total + self._scatter(matmul(batch(e, self.delta_g(e), -1, channels)[..., chosen], delta))
        return (total.reshape(-1, *self.shape(e)[1:]),)

    def macs(self, t: NodeTypes) -> int:
        rows = met_rows(self.window, self.x_image[0], self.y_image[0], self.inner) if any(self.inner) else self.y_image[0]
        return int(rows * self.y_image[1]) * (t.type("weights").size + sum(t.type(o).size for o in ("lora_a", "delta") if t.has(o)))

    def height(self, t: NodeTypes) -> int:
        shape, g = self.shape(t), t.type("g").shape
        images = len(shape) == len(g) == 4 and (shape[1], g[1]) == (self.x_image[0], self.y_image[0])  # not the rows of a fully connected layer
        return self.x_image[0] if images else 0

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        read, window = gradient_rows(self.window, rows, self.y_image[0])
        x, y = (rows[1] - rows[0], *self.x_image[1:]), (read[1] - read[0], *self.y_image[1:])
        needs = {o: (read, self.y_image[0]) for o in ("g", "delta_g", "lora_du") if t.has(o)}
        return Stripe(replace(self, window=window, x_image=x, y_image=y, x_shape=(1, *x), inner=(rows[0] > 0, rows[1] < self.x_image[0])), needs)

    def reach(self, t: NodeTypes) -> tuple[str, Reach]:
        return "g", window_gradient_reach(self.window, self.x_image, self.y_image)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        channels = self.y_image[2]
        fields: dict[str, Field] = {
            "window": self.window.fields(self.x_image, self.y_image),
            "weights": Argument(n.inputs["weights"]),
            "prescale": Table("prescale", "int16_t", self.prescale(t).astype(np.int16)),
            "prescale_shift": self.prescale_shift,
            "shift": self.shift,
        }
        if t.has(TRANSPOSED):
            fields[TRANSPOSED] = Argument(n.inputs[TRANSPOSED])
        gain = [Argument(n.inputs[o]) if t.has(o) else "NULL" for o in GAIN_OPERANDS]
        arguments: list[Argument | Scratch | str] = [Argument(n.inputs["g"])]
        symbol, scratch, needs = "kt_conv2d_input_gradient_s8", 0, tuple[str, ...]()
        if t.has("gain") and not (t.has("lora_du") or t.has("delta")):
            arguments += gain
            symbol, scratch = "kt_conv2d_scaled_input_gradient_s8", 2 * channels
            needs = ("kernels/convolution/conv2d_input_gradient.c",)
        if t.has("lora_du") or t.has("delta"):
            lora = t.has("lora_du")
            multiplier, shift = self.path_multiplier(t)
            fields |= {"path_channels": t.type("lora_a").shape[0] if lora else channels, "path_multiplier": multiplier, "path_shift": shift}
            if t.has("delta_rows"):
                fields["path_rows"] = Argument(n.inputs["delta_rows"])
            names = ("lora_du", "lora_du_exponent", "lora_a", "lora_a_exponent") if lora else (self.delta_g(t), "", "delta", "delta_exponent")
            arguments += [*gain, *(Argument(n.inputs[o]) if o else "NULL" for o in names)]
            symbol = "kt_conv2d_path_input_gradient_s8"
        arguments += [Argument(n.outputs[0]), *([Scratch()] if scratch else [])]
        struct, source = "kt_conv2d_input_gradient_params", f"kernels/convolution/{symbol[3:-3]}.c"
        return KernelCall(symbol, struct, fields, tuple(arguments), scratch, source, needs)
