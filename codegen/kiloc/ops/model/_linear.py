"""What CONV_2D and FULLY_CONNECTED share: the product, its trainable addends and its gradients.

A fully connected layer is a 1x1 convolution over a column of rows, so both use the same kernels. Beside the
frozen weights a layer may have

- a trainable bias: int32 in units of s_x * s_w[c], added to the accumulator;
- LoRA: a = alpha / rank; acc[c] += a / s_w[c] * 2^(u_range + b_exponent) * sum_j B[c, j] * u[j], where u is LORA_DOWN's result;
- a delta V: acc[c] += 2^exponent / s_w[c] * sum_k V[r, k] * (x[k] - z_x). V has a row for each channel (r = c), or
  only for some: then `delta_rows` says which row a channel uses, -1 for none;
- a delta that is merged into the weights, which are other weights then: see `_merged.py`;
- a gain of each channel, in the layer's one requantisation: see `_gain.py`.

Addends are requantised into the int32 accumulator before it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, Op
from ...ir.reach import Reach
from ...ir.stripe import Rows, Stripe
from .._activation import clamp_range
from .._gain import GAIN_OPERANDS, gain_bytes, gain_headroom, gain_operands, summed_bias, with_gain
from .._merged import MERGED, MERGED_OPERANDS, delta_operand, layer_weights, widest
from .._offset_sums import OPERAND, offset_sums_field
from .._sums import Image, addend, addend_multipliers, exact_matmul, output_scales, with_delta
from .._window import Window
from .._window_reach import window_reach
from .._window_rows import forward_rows
from ..backward.gain_gradient import bias_gradient, scaled_gradient
from ..backward.gradient_mask import masked
from ..backward.input_gradient import LinearInputGradient, prescale_shift
from ..backward.new_head_gradient import NewHeadInputGradient
from ..backward.parameter_gradient import WeightGradient
from .lora import lora_gradient

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...ir.graph import Node


@dataclass(frozen=True)
class Linear(Op):
    """y = clamp(requantize(W x + b + addends)); subclasses say how rows and windows are laid out.

    rounding: "twice" (TensorFlow Lite Micro) or "once" (LiteRT's FULLY_CONNECTED).
    """

    operands: ClassVar[tuple[str, ...]] = ("x", "weights", "bias")
    optional: ClassVar[tuple[str, ...]] = (
        "lora_u", "lora_b", "lora_b_exponent", "lora_range", "delta", "delta_exponent", "delta_rows", *MERGED_OPERANDS, *GAIN_OPERANDS, OPERAND,
    )  # fmt: skip

    activation: str = "none"
    rounding: str = "twice"
    lora_scale: float = 1.0

    # -- layout ---------------------------------------------------------------------------------------
    def window_of(self, t: NodeTypes) -> Window:
        raise NotImplementedError

    def images(self, t: NodeTypes) -> tuple[Image, Image]:
        """Input and result as (height, width, channels)."""
        raise NotImplementedError

    def rows(self, e: Environment) -> NDArray[np.int32]:
        """x - z_x under each window: [N, positions, K]."""
        x = e.array("x").astype(np.int32) - np.int32(e.type("x").zero_point)
        return self.window_of(e).patches(x.reshape(x.shape[0], *self.images(e)[0]))

    def multipliers(self, t: NodeTypes) -> tuple[nm.Ints, nm.Ints]:
        channels = t.type("weights").shape[0]
        scales = output_scales(t.type("x"), t.type("weights"), channels) / t.result().scale
        return nm.quantize_multipliers(scales)

    # -- meaning --------------------------------------------------------------------------------------
    def accumulator(self, e: Environment) -> NDArray[np.int64]:
        """int32 sums before the requantisation: [N, positions, channels]."""
        rows = self.rows(e)
        weights = layer_weights(e).reshape(e.type("weights").shape[0], -1)
        total = exact_matmul(rows, weights.T)
        if e.has("lora_u"):
            u = e.array("lora_u").reshape(rows.shape[0], rows.shape[1], -1)
            exponent = e.wide("lora_range") + e.wide("lora_b_exponent")
            multiplier, shift = addend_multipliers(e.type("weights"), weights.shape[0], self.lora_scale)
            total = total + addend(exact_matmul(u, e.array("lora_b").T), multiplier, shift + exponent)
        if e.has("delta"):
            total = with_delta(e, total, rows)
        return nm.saturate32(total + summed_bias(e))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        y = self._scaled(e, self.accumulator(e), *with_gain(e, *self.multipliers(e)))
        return (y.astype(np.int8).reshape(-1, *e.result().shape[1:]),)

    def requantized(self, t: NodeTypes, sums: nm.Ints) -> nm.Ints:
        """Results of int32 sums [..., channels] of a layer without a gain; a greater sum gives no lesser result."""
        return self._scaled(t, sums, *self.multipliers(t))

    def _scaled(self, t: NodeTypes, sums: nm.Ints, multiplier: nm.Ints, shift: nm.Ints) -> nm.Ints:
        scale = nm.requantize if self.rounding == "twice" else nm.requantize_once
        return np.asarray(np.clip(scale(sums, multiplier, shift) + t.result().zero_point, *clamp_range(self.activation, t.result())))

    def macs(self, t: NodeTypes) -> int:
        positions = t.result().size // t.type("weights").shape[0]
        count = positions * t.type("weights").size
        if t.has("lora_u"):
            count += positions * t.type("lora_b").size
        return count + (positions * t.type("delta").size if t.has("delta") else 0)

    def height(self, t: NodeTypes) -> int:
        return self.images(t)[1][0] if len(t.type("x").shape) == len(t.result().shape) == 4 else 0

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        height, fields = self.images(t)[0][0], cast(Any, self)  # a layer with rows has the field `window`
        read, window = forward_rows(self.window_of(t), rows, height)
        needs = {"x": (read, height)} | ({"lora_u": (rows, self.height(t))} if t.has("lora_u") else {})
        return Stripe(replace(fields, window=window), needs)

    def reach(self, t: NodeTypes) -> tuple[str, Reach]:
        return "x", window_reach(self.window_of(t), *self.images(t))

    # -- C --------------------------------------------------------------------------------------------
    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        multiplier, shift = self.multipliers(t)
        x, y = self.images(t)
        fields: dict[str, Field] = {
            "window": self.window_of(t).fields(x, y),
            "input_offset": -t.type("x").zero_point,
            "output_offset": t.result().zero_point,
            "clamp": clamp_range(self.activation, t.result()),
            "weights": Argument(n.inputs["weights"]),
            "multiplier": Table("multiplier", "int32_t", multiplier.astype(np.int32)),
            "shift": Table("shift", "int8_t", shift.astype(np.int8)),
            **offset_sums_field(t, n),
        }
        arguments: list[Argument | Scratch | str] = [Argument(n.inputs["x"]), Argument(n.inputs["bias"])]
        scratch, needs = 0, tuple[str, ...]()
        symbol = "kt_conv2d_s8" if self.rounding == "twice" else "kt_conv2d_once_s8"
        for kind, operands in (("lora", ("lora_u", "lora_b", "lora_range", "lora_b_exponent")), ("delta", ("delta", "delta_exponent"))):
            if not t.has(operands[0]):
                continue
            scale, offset = addend_multipliers(t.type("weights"), t.type("weights").shape[0], self.lora_scale if kind == "lora" else 1.0)
            fields["addend_multiplier"] = Table(f"{kind}_multiplier", "int32_t", scale.astype(np.int32))
            fields["addend_shift"] = Table(f"{kind}_shift", "int8_t", offset.astype(np.int8))
            if kind == "lora":
                fields["rank"] = t.type("lora_b").shape[1]
            if t.has("delta_rows"):
                fields["rows"] = Argument(n.inputs["delta_rows"])
            arguments += [Argument(n.inputs[o]) for o in operands]
            symbol = f"kt_conv2d_{kind}_s8"
        assert not (t.has("lora_u") and t.has("delta")), "a layer takes LoRA or a delta"
        if t.has("gain"):
            needs = (f"kernels/convolution/{symbol[3:-3]}.c",)
            symbol, scratch = symbol.replace("_s8", "_scaled_s8"), gain_bytes(y[2], 0 if t.has("lora_u") or t.has("delta") else y[0] * y[1])
            arguments += [Argument(n.inputs[o]) for o in GAIN_OPERANDS]
        assert self.rounding == "twice" or symbol == "kt_conv2d_once_s8", "trainable weights need rounding twice"
        arguments += [Argument(n.outputs[0]), *([Scratch()] if scratch else [])]
        source = f"kernels/convolution/{symbol[3:-3]}.c"
        return KernelCall(symbol, "kt_conv2d_params", fields, tuple(arguments), scratch, source, needs)

    # -- gradient -------------------------------------------------------------------------------------
    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:

        t = b.types(node)
        g = masked(b, node, dy, *clamp_range(self.activation, t.result()))
        bias_gradient(b, node, g)
        scaled = scaled_gradient(b, node, g)
        path = {**self._delta_gradient(b, node, scaled), **gain_operands(node)}
        path |= lora_gradient(b, node, scaled, self.window_of(t), *self.images(t), self.lora_scale)
        if not b.wants(node.inputs["x"]):
            return {}

        weights, window = b.constant(node.inputs["weights"]), self.window_of(t)
        headroom = gain_headroom(t.has("gain"))
        weights = widest(weights) if t.has(MERGED) else weights
        prescale = prescale_shift(weights.reshape(weights.shape[0], *window.kernel, -1), t.type("weights").channel_scales, headroom)
        op = LinearInputGradient(window, *self.images(t), prescale, self.lora_scale, t.type("x").shape)
        operands = {"g": g, "weights": node.inputs["weights"], **path}
        if b.is_new_head(node):
            dx, b.exponent = b.add(NewHeadInputGradient(op), {**operands, "exponent": b.exponent}, f"{node.name}.dx")
        else:
            dx = b.add(op, operands, f"{node.name}.dx")[0]
        return {"x": dx}

    def _delta_gradient(self, b: GradientBuilder, node: Node, g: str) -> dict[str, str]:
        """Accumulate the delta's gradient; what the input gradient needs for the delta's share."""

        t = b.types(node)
        delta = delta_operand(t)
        if not delta:
            return {}
        rows = {"rows": node.inputs[f"{delta}_rows"]} if f"{delta}_rows" in node.inputs else {}
        op = WeightGradient(self.window_of(t), *self.images(t), t.type("x").scale)
        b.accumulate(node, delta, op, {"g": g, "x": node.inputs["x"], **rows})
        if delta == MERGED:
            return {o: node.inputs[o] for o in MERGED_OPERANDS if o in node.inputs}
        share = {o: node.inputs[o] for o in ("delta", "delta_exponent", "delta_rows") if o in node.inputs}
        return share | ({"delta_g": g} if "gain" in node.inputs else {})
