"""What the operators' `read_onnx` work with: windows, weights, biases and results, on top of the values of a QDQ model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import CompileError
from ..ir.operator import Op
from ..ir.types import Quantization
from ..ops._window import Window, same_padding
from ..ops.model._lookup import Lookup
from ..ops.model.conv_2d import Conv2D
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ..ops.model.gather import Gather
from ..ops.model.pad_axes import PadAxes
from .build import QUANTIZE_HINT, checked_quantization, checked_scales
from .limits import check_size, checked_window
from .onnx_elementwise import elementwise
from .onnx_file import QUANTIZE, Operator
from .onnx_functions import function
from .onnx_moves import concatenated, gathered, padded, resized, sliced, split
from .onnx_recurrent import gru, lstm
from .onnx_tensors import EXPORT_AGAIN
from .onnx_values import Values, checked_axes
from .qdq import NO_OFFSET, Activation, AnyValue, Array, Bias, Constant, Index, Layer, Pending, column_order, is_ordered, positions

_WEIGHTS_HINT = 'quantise with weight_type=QuantType.QInt8, or with extra_options={"WeightSymmetric": True}'


class OnnxReader(Values):
    """The values of a model, and what operators make of them. Shapes of images are the graph's, [1, H, W, C]."""

    positions = staticmethod(positions)
    is_ordered = staticmethod(is_ordered)
    column_order = staticmethod(column_order)
    checked_axes = staticmethod(checked_axes)

    @staticmethod
    def check_size(op: Operator, shape: tuple[int, ...]) -> None:
        """Refuses a tensor without elements, or with more than any microcontroller holds."""
        check_size(op.where, shape)

    @staticmethod
    def is_constant(x: AnyValue) -> bool:
        return isinstance(x, Constant)

    @staticmethod
    def batched(shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape with a batch of 1 in front."""
        return shape if len(shape) > 1 and shape[0] == 1 else (1, *shape)

    # -- results --------------------------------------------------------------------------------------
    def result(
        self, op: Operator, label: str, make: Callable[[str], Op], inputs: dict[str, str], shape: tuple[int, ...], index: Index, **more: Any
    ) -> Pending:
        """What an operator computes, which waits for its QuantizeLinear. label: what a node without a name is called; make: the operator for
        a fused activation; inputs: operand -> value of the graph; shape: of the result in the graph; index: where each element of the
        file's result lies in it; more: as in `Pending`."""
        return Pending(op, label, make, inputs, shape, index, **more)

    def elementwise(self, op: Operator, kind: type[Op]) -> Pending:
        """An operator whose inputs are its operands, in the order of its class; its attribute `activation` takes a clamp that follows."""
        return elementwise(self, op, kind)

    def function(self, op: Operator, alone: Lookup | None = None) -> Pending:
        """An operator of one operand that is a table of its codes. alone: the class that has the integers of TensorFlow Lite's kernel."""
        return function(self, op, alone)

    def rows(self, op: Operator, label: str, node: Op, q: Quantization) -> Pending:
        """An operator along an axis, the last one for it; before opset 13 along that axis and all behind it. q: of its result."""
        x = self.activation(op)
        rank, opset = x.index.ndim, op.int_of("opset", self.model.opset)
        if rank < 1:
            raise CompileError(op.where, "has an input without axes", EXPORT_AGAIN)
        axis = checked_axes(op, [op.int_of("axis", -1 if opset >= 13 else 1)], rank)[0]
        last = range(axis, axis + 1) if opset >= 13 else range(axis, rank)
        order = [i for i in range(rank) if i not in last] + list(last)
        moved = x.index.transpose(order)
        shape = self.batched((*moved.shape[: rank - len(last)], int(np.prod(moved.shape[rank - len(last) :]))))
        value = self.arrange(x, moved, shape, op.where)
        index = positions(moved.shape).transpose(np.argsort(order))
        return self.result(op, label, lambda _: node, {"x": value}, shape, index, clamps=False, kept=q)

    def split(self, op: Operator) -> list[AnyValue]:
        """The parts of an axis, one for each result."""
        return split(self, op)

    def sliced(self, op: Operator) -> AnyValue:
        return sliced(self, op)

    def gathered(self, op: Operator) -> AnyValue:
        return gathered(self, op)

    def concatenated(self, op: Operator) -> AnyValue:
        return concatenated(self, op)

    def padded(self, op: Operator) -> AnyValue:
        return padded(self, op)

    def resized(self, op: Operator) -> AnyValue:
        return resized(self, op)

    def lstm(self, op: Operator) -> list[AnyValue]:
        return lstm(self, op)

    def gru(self, op: Operator) -> list[AnyValue]:
        return gru(self, op)

    def keeps_scale(self, op: Operator, q: Quantization) -> bool:
        """The result is quantised like this everywhere."""
        return all(c.kind == QUANTIZE and self.parameters(c)[0] == q for c in self.model.consumers(op.outputs[0]))

    def needs_finer_steps(self, op: Operator, q: Quantization) -> bool:
        """The result is quantised with steps less than half as long as those of q."""
        followers = [c for c in self.model.consumers(op.outputs[0]) if c.kind == QUANTIZE]
        return any(2 * self.parameters(c)[0].per_tensor < q.per_tensor for c in followers)

    def reals(self, op: Operator, position: int, shape: tuple[int, ...]) -> Array:
        """A constant as finite real numbers that are stretched to a shape."""
        c = self.constant(op, position)
        with np.errstate(over="ignore", invalid="ignore"):
            real = c.real()
        stretches = real.ndim <= len(shape) and all(a in (1, b) for a, b in zip(real.shape[::-1], shape[::-1], strict=False))
        if c.data.dtype.kind not in "iuf" or not stretches or np.any(np.abs(real) > np.finfo(np.float32).max) or np.any(np.isnan(real)):
            raise CompileError(op.where, f"takes '{c.name}', a {c.data.dtype} of shape {c.data.shape}, for {shape}", EXPORT_AGAIN)
        return np.broadcast_to(real, shape)

    # -- weights and biases ---------------------------------------------------------------------------
    def weights(self, op: Operator, position: int = 1) -> Constant:
        """Quantised weights with zero at 0, in int16: around a zero point they may need a ninth bit, for which `fitted` or `narrow` sees."""
        w = self.constant(op, position)
        if w.scale is None:
            raise CompileError(op.where, f"its weights '{w.name}' are {w.data.dtype}, not quantised", QUANTIZE_HINT)
        if str(w.data.dtype) not in ("int8", "uint8"):
            raise CompileError(op.where, f"has weights of type {w.data.dtype}; only int8 is supported", QUANTIZE_HINT)
        check_size(op.where, w.data.shape)
        return replace(w, data=w.centred().astype(np.int16), zero_points=NO_OFFSET)

    @staticmethod
    def narrow(op: Operator, data: Array) -> Array:
        """Weights in int8, refused where they do not fit."""
        low, high = int(data.min()), int(data.max())
        if low < -128 or high > 127:
            what = f"has weights from {low} to {high} around their zero point, which does not fit int8"
            raise CompileError(op.where, what, _WEIGHTS_HINT)
        return data.astype(np.int8)

    def fitted(self, op: Operator, value: str, data: Array) -> tuple[str, Array]:
        """Weights [..., K] in int8 and the value [..., K] that they multiply. Where one does not fit, its channel is read once more, for the rest of
        it: the sums are the same."""
        left, channels = data.astype(np.int64), np.arange(data.shape[-1])
        parts: list[Array] = []
        read: list[Array] = []
        while not parts or channels.size:
            parts.append(np.clip(left, -128, 127))
            read.append(channels)
            left = left - parts[-1]
            more = np.flatnonzero(left.reshape(-1, left.shape[-1]).any(0))
            left, channels = left[..., more], channels[more]
        if len(parts) == 1:
            return value, parts[0].astype(np.int8)
        depth, type_ = data.shape[-1], self.b.values[value].type
        if type_.shape[-1] != depth:
            shape = self.batched((type_.size // depth, depth))
            value = self.arrange(Activation(value, positions(shape), "int8"), positions(shape), shape, op.where)
            type_ = self.b.values[value].type
        again = sum(len(c) for c in read[1:])
        self.b.notes.append(f"{op.where}: {again} of {depth} input channels are read twice, because weights around their zero point have nine bits")
        node = Gather(len(type_.shape) - 1, (tuple(int(c) for c in np.concatenate(read)),))
        shape = (*type_.shape[:-1], depth + again)
        check_size(op.where, shape)
        return self.b.node(self.name("twice"), node, {"x": value}, replace(type_, shape=shape), op.where), np.concatenate(parts, -1).astype(np.int8)

    def layer(self, op: Operator, x: str, w: Constant, data: Array, axis: int) -> Layer:
        """`data` are the weights, zero at 0, as the operator wants them, with output channels along `axis`."""
        scales = w.scales_along(0)
        if scales is None:
            raise CompileError(op.where, "has weight scales along another axis than the output channels", "quantise per tensor or per output channel")
        q = checked_quantization(op.where, scales, np.zeros(1, np.int64), axis)
        units = np.broadcast_to(np.float64(self.b.values[x].type.scale) * scales, (w.data.shape[0],))
        return Layer(w.name, data.astype(np.int8), q, units, axis)

    def _per_channel(self, op: Operator, part: Array, p: Pending) -> Array:
        """What a constant holds for each channel (the last axis of the result's value)."""
        if part.ndim > p.index.ndim or any(a not in (1, b) for a, b in zip(part.shape[::-1], p.index.shape[::-1], strict=False)):
            raise CompileError(op.where, f"takes a constant of shape {part.shape} and {p.index.shape}", EXPORT_AGAIN)
        flat = np.empty(p.index.size)
        flat[p.index.ravel()] = np.broadcast_to(part, p.index.shape).ravel()
        rows = flat.reshape(-1, p.shape[-1])
        if np.any(rows != rows[0]) or not np.all(np.isfinite(rows[0])):
            raise CompileError(op.where, f"takes a constant of shape {part.shape}, not one finite number a channel", "only biases may be constant")
        return np.asarray(rows[0])

    def with_bias(self, op: Operator, c: Constant, p: Pending, factor: float = 1.0) -> Pending:
        """A layer's result with factor times a constant added to it."""
        assert p.layer is not None
        if c.data.dtype.kind not in "iuf" or not np.isfinite(factor):
            raise CompileError(op.where, f"has a bias of type {c.data.dtype}", EXPORT_AGAIN)
        data, scale = (self._per_channel(op, part, p) for part in (c.centred(), c.scales()))
        bias = Bias(c.name, data, scale * factor)
        return replace(p, layer=replace(p.layer, bias=p.layer.bias.plus(bias) if p.layer.bias else bias))

    def with_factor(self, op: Operator, factor: Array, p: Pending) -> Pending:
        """A layer's result with every channel multiplied: its scales take the size, its weights the sign."""
        assert p.layer is not None
        layer, f = p.layer, self._per_channel(op, factor, p)
        signs = np.sign(f).reshape([-1 if i == layer.axis else 1 for i in range(layer.weights.ndim)]).astype(np.int64)
        weights = layer.weights * signs
        if weights.max(initial=0) > 127:
            raise CompileError(op.where, "turns the sign of a weight of -128", _WEIGHTS_HINT)
        size = np.where(f == 0, 1.0, np.abs(f))
        scales = (np.array(layer.quantization.scale) * size).astype(np.float32).astype(np.float64)
        q = checked_quantization(op.where, scales, np.zeros(1, np.int64), layer.axis)
        units = layer.units * (scales / np.array(layer.quantization.scale))
        bias = layer.bias.times(f) if layer.bias else None
        return replace(p, layer=replace(layer, weights=weights.astype(np.int8), quantization=q, units=units, bias=bias))

    def multiplied(self, op: Operator, w: Constant, factor: float) -> Constant:
        """Weights times a number, which their scales take; a negative one turns their signs."""
        assert w.scale is not None
        scale = (w.scale * abs(factor)).astype(np.float32).astype(np.float64)
        if not np.isfinite(factor) or factor == 0 or (factor < 0 and w.data.min() == -128):
            raise CompileError(op.where, f"multiplies its weights by {factor}", "export with alpha = 1")
        return replace(w, data=-w.data if factor < 0 else w.data, scale=checked_scales(op.where, scale))

    def weighted(
        self, op: Operator, label: str, value: str, window: Window, weight: tuple[int, float], shape: tuple[int, ...], index: Index
    ) -> Pending:
        """Sums of a value [1, H, W, C] under a window, every element with the same weight: its code and its scale. A layer that takes factors
        and addends for each channel; shape, index: as in `result`."""
        channels, (code, scale) = shape[-1], weight
        scales = np.full(channels, np.float64(np.float32(scale)))
        q = checked_quantization(op.where, scales, np.zeros(1, np.int64), 3)
        data, units = np.full((1, *window.kernel, channels), code, np.int8), scales * self.b.values[value].type.scale
        layer = Layer("", data, q, units, 3, slack=window.kernel == (1, 1))

        def make(activation: str) -> Op:
            return DepthwiseConv2D(window, activation) if channels > 1 else Conv2D(activation=activation, window=window)

        return self.result(op, label, make, {"x": value}, shape, index, layer=layer)

    def window_mean(self, op: Operator, value: str, window: Window, shape: tuple[int, ...], index: Index) -> Pending:
        """The mean under a window that lies inside the image everywhere."""
        return self.weighted(op, "mean", value, window, (1, 1 / (window.kernel[0] * window.kernel[1])), shape, index)

    # -- windows --------------------------------------------------------------------------------------
    @staticmethod
    def image(op: Operator, x: Activation) -> Index:
        """The order of x as [1, H, W, C]; a signal [1, C, L] is an image of width 1."""
        order = x.index[..., None] if x.index.ndim == 3 else x.index
        if order.ndim != 4 or order.shape[0] != 1:
            raise CompileError(op.where, f"has an input of shape {x.index.shape}", "two-dimensional operators with a batch of 1 are supported")
        return order.transpose(0, 2, 3, 1)

    @staticmethod
    def file_order(shape: tuple[int, ...], rank: int) -> Index:
        """The index of a result that the file holds channels-first, as an image or as a signal."""
        order = positions(shape).transpose(0, 3, 1, 2)
        return order[..., 0] if rank == 3 else order

    def _pair(self, op: Operator, name: str, rank: int, default: list[int] | None) -> tuple[int, int]:
        """A spatial attribute as (height, width)."""
        found = op.ints_of(name, default)
        if found is None or len(found) != rank - 2 or any(not 0 < i <= 1 << 16 for i in found):
            raise CompileError(op.where, f"attribute {name} is {found}", EXPORT_AGAIN)
        return found[0], found[1] if rank == 4 else 1

    def window(self, op: Operator, image: tuple[int, ...], rank: int, kernel: tuple[int, int]) -> Window:
        """Stride, dilation and padding; ceil_mode as a longer border behind the image."""
        ones = [1] * (rank - 2)
        stride, dilation = self._pair(op, "strides", rank, ones), self._pair(op, "dilations", rank, ones)
        mode, pads = op.text_of("auto_pad", "NOTSET"), op.ints_of("pads", [0, 0] * (rank - 2)) or []
        if len(pads) != 2 * (rank - 2) or any(not 0 <= p <= 1 << 16 for p in pads) or mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
            raise CompileError(op.where, f"pads {pads} with auto_pad {mode}", EXPORT_AGAIN)
        before, after = [0, 0], [0, 0]
        for i in range(rank - 2):
            if mode == "NOTSET":
                before[i], after[i] = pads[i], pads[i + rank - 2]
            elif mode != "VALID":
                upper = same_padding(image[i + 1], kernel[i], stride[i], dilation[i])
                before[i], after[i] = upper if mode == "SAME_UPPER" else upper[::-1]
            spare = image[i + 1] + before[i] + after[i] - (kernel[i] - 1) * dilation[i] - 1
            if op.int_of("ceil_mode", 0) and spare % stride[i] and (spare // stride[i] + 1) * stride[i] < image[i + 1] + before[i]:
                after[i] += stride[i] - spare % stride[i]
        return checked_window(op.where, Window(kernel, stride, (before[0], before[1], after[0], after[1]), dilation), image)

    def convolution_window(self, op: Operator, image: tuple[int, ...], rank: int, w: Constant) -> Window:
        """The window that weights [out, in, KH, KW] (or [out, in, K] of a signal) slide over an image."""
        kernel = (w.data.shape[2], w.data.shape[3] if rank == 4 else 1)
        if self._pair(op, "kernel_shape", rank, list(w.data.shape[2:])) != kernel:
            raise CompileError(op.where, f"attribute kernel_shape is {op.ints_of('kernel_shape')} for weights {w.data.shape}", EXPORT_AGAIN)
        return self.window(op, image, rank, kernel)

    def spread(self, op: Operator, value: str, rank: int, w: Constant) -> tuple[str, Window]:
        """The image of a transposed convolution with zeros between its elements, and the window that slides over it in steps of one.

        w: weights [OC, IC, KH, KW], turned. Zero is the image's zero point.
        """
        type_ = self.b.values[value].type
        ones = [1] * (rank - 2)
        stride, dilation = self._pair(op, "strides", rank, ones), self._pair(op, "dilations", rank, ones)
        kernel = (w.data.shape[2], w.data.shape[3] if rank == 4 else 1)
        extra, wanted = op.ints_of("output_padding", [0] * (rank - 2)) or [], op.ints_of("output_shape")
        pads, mode = op.ints_of("pads", [0, 0] * (rank - 2)) or [], op.text_of("auto_pad", "NOTSET")
        sound = len(pads) == 2 * (rank - 2) and len(extra) == rank - 2 and all(0 <= p <= 1 << 16 for p in (*pads, *extra))
        if not sound or wanted is not None or mode not in ("NOTSET", "VALID"):
            raise CompileError(
                op.where, f"pads {pads} with auto_pad {mode} and output_shape {wanted}", "export it with pads and output_padding alone"
            )
        border = [0, 0, 0, 0]
        for i in range(rank - 2):
            reach = (kernel[i] - 1) * dilation[i]
            border[i], border[i + 2] = reach - pads[i], reach - pads[i + rank - 2] + extra[i]
        between = (0, stride[0] - 1, stride[1] - 1, 0)
        spread = PadAxes((0,) * 4, (0,) * 4, between, type_.zero_point)
        shape = spread.shape(type_.shape)
        check_size(op.where, shape)
        if any(between):
            value = self.b.node(self.name("spread"), spread, {"x": value}, replace(type_, shape=shape), op.where)
        return value, checked_window(op.where, Window(kernel, (1, 1), (border[0], border[1], border[2], border[3]), dilation), shape)

    def pool_window(self, op: Operator, image: tuple[int, ...], rank: int) -> Window:
        """The window of a pool, which must meet the image everywhere."""
        w = self.window(op, image, rank, self._pair(op, "kernel_shape", rank, None))
        out = w.output(image[1], image[2])
        check_size(op.where, (1, *out, image[3]))
        for i in (0, 1):
            reach = (w.kernel[i] - 1) * w.dilation[i] + 1
            if w.pad[i] >= reach or (out[i] - 1) * w.stride[i] >= image[i + 1] + w.pad[i]:
                raise CompileError(op.where, f"pads {w.pad} leave a window without an element of the image", EXPORT_AGAIN)
        return w

    def border_code(self, op: Operator, x: Activation) -> int:
        """The code of the border: a real value behind DequantizeLinear, else the file's own code."""
        c = self.constant(op, 2) if op.input(2) else None
        real = float(c.real().ravel()[0]) if c is not None and c.data.size else op.float_of("value", 0.0)
        if not np.isfinite(real):
            raise CompileError(op.where, f"pads with {real}", "pad with zero")
        q = self.quantization(x)
        if x.dtype == "float32":
            return int(np.clip(np.rint(real / q.per_tensor) + q.zero_point, -128, 127))
        return int(np.clip(real - 128 * (x.dtype == "uint8"), -128, 127))
