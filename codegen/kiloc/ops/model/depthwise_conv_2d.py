"""DEPTHWISE_CONV_2D: one kernel a channel, weights [1, KH, KW, OC] with OC = IC * depth multiplier.

Source: TensorFlow Lite 8-bit quantisation specification, section "DEPTHWISE_CONV_2D".

A trainable layer may have a delta V [1, KH, KW, n] that is merged into its weights, with a column for each channel or only for some
(`_merged.py`), and a gain: the formulas of `_linear.py`, the sums over taps of one channel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.reach import Reach
from ...ir.stripe import Rows, Stripe, rows_of
from .._activation import clamp_range, far_apart
from .._gain import GAIN_OPERANDS, gain_bytes, gain_headroom, gain_operands, gained, largest_scale, real_gain, summed_bias, with_gain
from .._merged import MERGED, MERGED_OPERANDS, ROWS, layer_weights, real_weights, widest
from .._offset_sums import OPERAND, offset_sums_field
from .._sums import chosen_channels, output_scales, sum_type
from .._window import Window
from .._window_reach import window_gradient_reach, window_reach
from .._window_rows import forward_rows, gradient_rows, met_rows
from ..backward._gradient import Real, RequantizedGradient, batch
from ..backward.gain_gradient import bias_gradient, scaled_gradient
from ..backward.gradient_mask import masked
from ..backward.input_gradient import largest_prescale, prescale, prescaled
from ..backward.parameter_gradient import ParameterGradient, largest_value
from .conv_2d import CONVOLUTION_FIELDS, Conv2D

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...frontend.onnx_file import Operator as OnnxOperator
    from ...frontend.onnx_reader import OnnxReader
    from ...frontend.qdq import AnyValue
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node


@register
@dataclass(frozen=True)
class DepthwiseConv2D(Op):
    mnemonic: ClassVar[str] = "depthwise_conv_2d"
    operands: ClassVar[tuple[str, ...]] = ("x", "weights", "bias")
    optional: ClassVar[tuple[str, ...]] = (*MERGED_OPERANDS, *GAIN_OPERANDS, OPERAND)
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"DEPTHWISE_CONV_2D": 3}, "DepthwiseConv2DOptions", CONVOLUTION_FIELDS)
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Conv", "ConvTranspose"))
    oracle: ClassVar[str] = "tflite-micro"

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
        x, out = e.wide("x") - e.type("x").zero_point, e.result().shape[1:3]
        weights, several = layer_weights(e, 3)[0], self.multiplier_of_depth(e)
        kind = sum_type(x, weights, self.window.kernel[0] * self.window.kernel[1])
        padded, weights = self.window.padded(x.astype(kind)), weights.astype(kind)
        padded = np.repeat(padded, several, axis=3) if several > 1 else padded
        total = np.zeros((x.shape[0], *out, weights.shape[2]), kind)
        for ky, kx, rows, columns in self.window.taps((out[0], out[1])):
            total += padded[:, rows, columns] * weights[ky, kx]
        total = total + summed_bias(e)
        return nm.saturate32(total) if e.has("gain") else total

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return (self._scaled(e, self.accumulator(e), *with_gain(e, *self.multipliers(e))).astype(np.int8),)

    def requantized(self, t: NodeTypes, sums: nm.Ints) -> nm.Ints:
        """Results of int32 sums [..., channels] of a layer without a gain; a greater sum gives no lesser result."""
        return self._scaled(t, sums, *self.multipliers(t))

    def _scaled(self, t: NodeTypes, sums: nm.Ints, multiplier: nm.Ints, shift: nm.Ints) -> nm.Ints:
        scaled = nm.requantize(sums, multiplier, shift) + t.result().zero_point
        return np.asarray(np.clip(scaled, *clamp_range(self.activation, t.result())))

    def macs(self, t: NodeTypes) -> int:
        return t.result().size * self.window.kernel[0] * self.window.kernel[1]

    def height(self, t: NodeTypes) -> int:
        return t.result().shape[1]

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        height = t.type("x").shape[1]
        read, window = forward_rows(self.window, rows, height)
        return Stripe(replace(self, window=window), {"x": (read, height)})

    def reach(self, t: NodeTypes) -> tuple[str, Reach]:
        return "x", window_reach(self.window, t.type("x").shape, t.result().shape)

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
            **offset_sums_field(t, n),
        }
        arguments: list[Argument | Scratch | str] = [Argument(n.inputs["x"]), Argument(n.inputs["bias"])]
        symbol, scratch, needs = "kt_depthwise_conv2d_s8", 0, tuple[str, ...]()
        if t.has("gain"):
            needs = (f"kernels/depthwise/{symbol[3:-3]}.c",)
            symbol, scratch = symbol.replace("_s8", "_scaled_s8"), scratch + gain_bytes(len(shift))
            arguments += [Argument(n.inputs[o]) for o in GAIN_OPERANDS]
        arguments += [Argument(n.outputs[0]), *([Scratch()] if scratch else [])]
        source = f"kernels/depthwise/{symbol[3:-3]}.c"
        return KernelCall(symbol, "kt_depthwise_conv2d_params", fields, tuple(arguments), scratch, source, needs)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        t = b.types(node)
        g = masked(b, node, dy, *clamp_range(self.activation, t.result()))
        bias_gradient(b, node, g)
        scaled = scaled_gradient(b, node, g)
        merged = {o: node.inputs[o] for o in MERGED_OPERANDS if o in node.inputs}
        if merged:
            rows = {"rows": merged[ROWS]} if ROWS in merged else {}
            op = DepthwiseWeightGradient(self.window, t.type("x").shape, t.result().shape)
            b.accumulate(node, MERGED, op, {"g": scaled, "x": node.inputs["x"], **rows})
        if not b.wants(node.inputs["x"]):
            return {}
        scales, headroom = t.type("weights").channel_scales, gain_headroom(t.has("gain"))
        weights = b.constant(node.inputs["weights"])
        p = depthwise_prescale_shift(widest(weights) if merged else weights, scales, self.multiplier_of_depth(t), headroom)
        dx = DepthwiseInputGradient(self.window, t.type("x").shape, t.result().shape, p)
        operands = {"g": g, "weights": node.inputs["weights"], **merged, **gain_operands(node)}
        return {"x": b.add(dx, operands, f"{node.name}.dx")[0]}

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        w = r.constant(op, 1)
        window, activation, name = r.convolution_window(op, w), r.activation(op), r.name(op, "depthwise")
        if r.image(op)[3] == 1:  # one input channel: an ordinary convolution
            constants = r.weights(op, name, w.shape[3], lambda d: d.transpose(3, 1, 2, 0))
            r.emit(op, Conv2D(activation=activation, window=window), constants, name=name)
            return
        r.emit(op, cls(window, activation), r.weights(op, name, w.shape[3], axis=3), name=name)

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        x, padding = w.padded(node, self.window, w.graph.type(node.inputs["x"]).zero_point)
        fields = {**w.convolution_fields(self.window, padding), **w.activation(self.activation)}
        fields["DepthMultiplier"] = w.graph.type(node.inputs["weights"]).shape[3] // w.graph.type(node.inputs["x"]).shape[3]
        w.emit(node, "DEPTHWISE_CONV_2D", (x, *w.weights(node, 3, "depthwise")), label="depthwise", **fields)

    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> AnyValue:
        """One group for each channel; any other number of groups is a CONV_2D. A transposed convolution is one over an image that is spread."""
        x, w = r.activation(op), r.weights(op)
        order, rank, group = r.image(op, x), x.index.ndim, op.int_of("group", 1)
        value = r.arrange(x, order, order.shape, op.where)
        if w.data.ndim != rank or group < 1 or w.data.shape[0] % group:
            what = f"has weights {w.data.shape} in {group} groups for an input of {x.index.shape}"
            raise CompileError(op.where, what, "export the model again")
        if op.kind == "ConvTranspose":
            w = w.rearranged(lambda a: turned_weights(a, group))
            value, window = r.spread(op, value, rank, w)
        else:
            window = r.convolution_window(op, order.shape, rank, w)
        data = w.data[..., None] if rank == 3 else w.data
        image, channels = r.b.values[value].type.shape, order.shape[3]
        if data.shape[1] * group != channels or data.shape[0] % group:
            what = f"has weights {w.data.shape} in {group} groups for an input of {x.index.shape}"
            raise CompileError(op.where, what, "export the model again")
        shape = (1, *window.output(image[1], image[2]), data.shape[0])
        r.check_size(op, shape)
        index = r.file_order(shape, rank)
        if group == channels > 1:
            layer = r.layer(op, value, w, r.narrow(op, data.transpose(1, 2, 3, 0)), 3)
            p = r.result(op, "depthwise", lambda a: cls(window, a), {"x": value}, shape, index, layer=layer)
        else:
            value, dense = r.fitted(op, value, _without_groups(r, op, data, group).transpose(0, 2, 3, 1))
            layer = r.layer(op, value, w, dense, 0)
            p = r.result(op, "conv", lambda a: Conv2D(activation=a, window=window), {"x": value}, shape, index, layer=layer)
        if not op.input(2):
            return p
        bias = r.constant(op, 2)
        if bias.data.shape != (data.shape[0],):
            what = f"has a bias of shape {bias.data.shape} for {data.shape[0]} channels"
            raise CompileError(op.where, what, "export the model again")
        return r.with_bias(op, bias.rearranged(lambda a: a.reshape(1, -1, *[1] * (rank - 2))), p)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        w.convolution(node, self.window, self.activation, (3, 0, 1, 2), w.graph.type(node.inputs["x"]).shape[3])


def turned_weights(data: Array, groups: int) -> Array:
    """Weights [IC, OC / groups, ...] of a transposed convolution as those of the convolution that computes it: [OC, IC / groups, ...], turned."""
    depth, out = data.shape[0] // groups, data.shape[1]
    parts = data.reshape(groups, depth, out, *data.shape[2:]).swapaxes(1, 2).reshape(groups * out, depth, *data.shape[2:])
    return np.flip(parts, tuple(range(2, data.ndim)))


def _without_groups(r: OnnxReader, op: OnnxOperator, data: Array, groups: int) -> Array:
    """Weights [OC, IC / groups, KH, KW] as those of one group, with 0 for the channels of the others."""
    if groups == 1:
        return data
    out, depth = data.shape[0] // groups, data.shape[1]
    r.check_size(op, (data.shape[0], depth * groups, *data.shape[2:]))
    dense = np.zeros((data.shape[0], depth * groups, *data.shape[2:]), data.dtype)
    for i in range(groups):
        dense[i * out : (i + 1) * out, i * depth : (i + 1) * depth] = data[i * out : (i + 1) * out]
    r.b.notes.append(f"{op.where}: {groups} groups run as one, with weights of 0 between them")
    return dense


def depthwise_prescale_shift(weights: Array, scales: tuple[float, ...], depth: int, headroom: float = 1.0) -> int:
    """The smallest p >= 7 for which sums over the taps and over the results of one input stay in int32. headroom: as `prescale`."""
    sums = np.abs(weights.astype(np.int64)).sum((0, 1, 2))
    m = largest_prescale(scales, sums.size, headroom)
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
    optional: ClassVar[tuple[str, ...]] = (*MERGED_OPERANDS, *GAIN_OPERANDS)

    window: Window = Window((1, 1))
    x_shape: tuple[int, ...] = ()
    y_shape: tuple[int, ...] = ()
    prescale_shift: int = 7
    inner: tuple[bool, bool] = (False, False)
    """Of some rows alone: whether rows come before them, and after, which windows reach into and multiply nothing."""

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        return self.x_shape

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale * self.weight_unit(t)

    def weight_unit(self, t: NodeTypes) -> float:
        return largest_scale(t.type("weights"), t.has("gain")) * 2.0 ** (self.prescale_shift - 15)

    def prescale(self, t: NodeTypes) -> Array:
        """m of each channel; with a gain for a gain of 1."""
        return prescale(t.type("weights").channel_scales, self.y_shape[3], gain_headroom(t.has("gain")))

    def _scatter(self, g: Array, weights: Array) -> Array:
        several, channels = weights.shape[-1] // self.x_shape[3], self.x_shape[3]

        def part(samples: slice, tap: int) -> Array:
            products: Array = g[samples] * weights.reshape(-1, weights.shape[-1])[tap]
            return products.reshape(*products.shape[:3], channels, several).sum(4) if several > 1 else products

        return self.window.scattered(part, (g.shape[0], *self.x_shape[1:]), np.result_type(g, weights))

    def accumulator(self, e: Environment) -> NDArray[np.int64]:
        g = batch(e, "g", *self.y_shape[1:])
        m = gained(self.prescale(e), e)
        return self._scatter(prescaled(g, m, self.prescale_shift), layer_weights(e, 3)[0])

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        return (self._scatter(batch(e, "g", *self.y_shape[1:]), real_weights(e, 3)[0] * real_gain(e)),)

    def macs(self, t: NodeTypes) -> int:
        rows = met_rows(self.window, self.x_shape[1], self.y_shape[1], self.inner) if any(self.inner) else self.y_shape[1]
        return int(rows * self.y_shape[2] * self.window.kernel[0] * self.window.kernel[1]) * self.y_shape[3]

    def height(self, t: NodeTypes) -> int:
        return self.x_shape[1]

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        read, window = gradient_rows(self.window, rows, self.y_shape[1])
        x, y = (rows_of(shape, shape[1], r[1] - r[0]) for shape, r in ((self.x_shape, rows), (self.y_shape, read)))
        inner = (rows[0] > 0, rows[1] < self.x_shape[1])
        return Stripe(replace(self, window=window, x_shape=x, y_shape=y, inner=inner), {"g": (read, self.y_shape[1])})

    def reach(self, t: NodeTypes) -> tuple[str, Reach]:
        return "g", window_gradient_reach(self.window, self.x_shape, self.y_shape)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {
            "window": self.window.fields(self.x_shape, self.y_shape),
            "depth_multiplier": self.y_shape[3] // self.x_shape[3],
            "weights": Argument(n.inputs["weights"]),
            "prescale": Table("prescale", "int16_t", self.prescale(t).astype(np.int16)),
            "prescale_shift": self.prescale_shift,
            "shift": self.shift,
        }
        arguments: list[Argument | Scratch | str] = [Argument(n.inputs["g"])]
        symbol, scratch, needs = "kt_depthwise_input_gradient_s8", self._piece() * self.x_shape[3], tuple[str, ...]()
        if t.has("gain"):
            arguments += [Argument(n.inputs[o]) for o in GAIN_OPERANDS]
            symbol, needs = "kt_depthwise_scaled_input_gradient_s8", ("kernels/depthwise/depthwise_input_gradient.c",)
            scratch += -(-self.y_shape[3] // 2) * 4
        arguments += [Argument(n.outputs[0]), Scratch()]
        struct, source = "kt_depthwise_input_gradient_params", f"kernels/depthwise/{symbol[3:-3]}.c"
        return KernelCall(symbol, struct, fields, tuple(arguments), scratch, source, needs, self._unreached(t))

    def _unreached(self, t: NodeTypes) -> frozenset[str]:
        """Of the ways of dsp/depthwise_input_gradient.c those that are for other windows."""
        possible = set[str]()
        if self.y_shape[3] == self.x_shape[3]:
            column = self.window.kernel[1] == self.x_shape[2] == self.y_shape[2] == 1
            three = {(1, 1): "three_by_three", (2, 2): "kt_strided_gradient"}.get(self.window.stride) if self._is_three_by_three() else None
            possible = {three} if three else {"any_window", "one_column"} if column else {"any_window"}
        return frozenset({"three_by_three", "kt_strided_gradient", "any_window", "one_column"} - possible)

    def _is_three_by_three(self) -> bool:
        """A window whose results beyond the last gradient are the last two columns or rows at most."""
        w = self.window
        if w.kernel != (3, 3) or w.dilation != (1, 1) or not all(0 <= pad < 3 for pad in w.pad[:2]):
            return False
        behind = (self.x_shape[1 + a] - ((self.y_shape[1 + a] - 1) * w.stride[a] - w.pad[a] + 3) for a in (0, 1))
        return (w.stride == (2, 2) and self.x_shape[3] % 4 == 0) or (w.stride == (1, 1) and max(behind) <= 0)

    def _piece(self) -> int:
        """Bytes of scratch for each input channel: an int32 sum, or the results that variants compute at once, of a row or of two."""
        w, width = self.window, self.x_shape[2]
        if w.kernel != (3, 3) or w.stride not in ((1, 1), (2, 2)) or w.dilation != (1, 1):
            return 4
        return max(2 * width, 4) if width <= 8 else min(width, 16)


@register
@dataclass(frozen=True)
class DepthwiseWeightGradient(ParameterGradient):
    """dV[tap, r] = sum over positions of g[p, c] (x[p, tap, c / multiplier] - z_x), c the channel of column r."""

    mnemonic: ClassVar[str] = "depthwise_weight_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "x", "exponent", "accumulator")
    optional: ClassVar[tuple[str, ...]] = ("rows",)

    window: Window = Window((1, 1))
    x_shape: tuple[int, ...] = ()
    y_shape: tuple[int, ...] = ()

    def height(self, t: NodeTypes) -> int:
        return self.y_shape[1]

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        read, window = forward_rows(self.window, rows, self.x_shape[1])
        x, y = (rows_of(shape, shape[1], r[1] - r[0]) for shape, r in ((self.x_shape, read), (self.y_shape, rows)))
        needs = {"g": (rows, self.y_shape[1]), "x": (read, self.x_shape[1])}
        return Stripe(replace(self, window=window, x_shape=x, y_shape=y), needs)

    def largest(self, t: NodeTypes) -> int:
        return self.y_shape[1] * self.y_shape[2] * 128 * largest_value(t.type("x"))

    def scale(self, t: NodeTypes) -> float:
        return t.type("g").scale * t.type("x").scale

    def _products(self, e: Environment) -> Array:
        """[N, KH, KW, columns]"""
        chosen, (h, w) = chosen_channels(e, "rows", self.y_shape[3]), self.y_shape[1:3]
        g = batch(e, "g", *self.y_shape[1:])[..., chosen]
        x = self.window.padded(batch(e, "x", *self.x_shape[1:]) - e.type("x").zero_point)
        x = np.repeat(x, self.y_shape[3] // self.x_shape[3], axis=3)[..., chosen]
        taps = [(g * x[:, rows, columns]).sum((1, 2)) for _, _, rows, columns in self.window.taps((h, w))]
        return np.stack(taps, 1).reshape(len(g), *self.window.kernel, len(chosen))

    def sums(self, e: Environment) -> NDArray[np.int64]:
        return self._products(e)[:, None]

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        return (self._products(e)[:, None] * e.type("x").scale,)

    def macs(self, t: NodeTypes) -> int:
        return self.y_shape[1] * self.y_shape[2] * t.type("accumulator").size

    def level(self) -> dict[str, Field]:
        """Initialisers of its kt_window. An image of one column is one of one row: kernels go along rows."""
        (_, height, width, inputs), (_, results, _, outputs) = self.x_shape, self.y_shape
        if width == self.y_shape[2] == self.window.kernel[1] == 1 and (self.window.pad[1], self.window.pad[3]) == (0, 0):
            return self.window.turned.fields((1, height, inputs), (1, results, outputs))
        return self.window.fields(self.x_shape, self.y_shape)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {
            "window": self.level(),
            "depth_multiplier": self.y_shape[3] // self.x_shape[3],
            "input_offset": -t.type("x").zero_point,
            "scale": self.factor(t),
            "columns": t.type("accumulator").shape[3],
            **({"rows": Argument(n.inputs["rows"])} if t.has("rows") else {}),
        }
        arguments = tuple(Argument(n.inputs[o]) for o in self.operands)
        symbol = "kt_depthwise_weight_gradient"
        return KernelCall(symbol, f"{symbol}_params", fields, arguments, source="kernels/depthwise/depthwise_weight_gradient.c")
