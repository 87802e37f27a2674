"""Convolutions, fully connected and depthwise layers of the forward pass, drawn at random for the tests of their kernels."""

from __future__ import annotations

import numpy as np
from kernel_driver import Case, Rng, bias, codes, int8, one, pick, scale, window_and_size, zero_point

from kiloc.ir.operator import Op
from kiloc.ir.types import Quantization, TensorType, activation, scalar
from kiloc.ops._window import Window
from kiloc.ops.model.conv_2d import Conv2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.ops.model.fully_connected import FullyConnected


def channel_scales(r: Rng, channels: int) -> Quantization:
    if r.random() < 0.2:
        return Quantization((scale(r),), 0)
    scales = [scale(r, -12, -4) for _ in range(channels)]
    if r.random() < 0.2:
        scales[0] = 1e-9
    return Quantization(tuple(float(np.float32(s)) for s in scales), 0, 0)


def result_scale(r: Rng, x: TensorType, weights: TensorType, depth: int) -> float:
    """So that results spread over int8; sometimes far off, so that shifts saturate."""
    product = x.scale * float(np.median(weights.channel_scales)) * max(depth, 1) ** 0.5 * 100
    return float(np.float32(product * pick(r, 1.0, 0.3, 5.0, 1e-4, 1e6)))


def linear(r: Rng, kind: str) -> Case:
    fully = kind == "once" or r.random() < 0.4
    ci, co, rank = int(r.integers(1, 12)), int(r.integers(1, 11)) if kind != "once" else 100, pick(r, 1, 4, 3)
    if kind == "lora" and r.random() < 0.1:  # more channels than wait for their addends, than are laid out for rank 4
        ci, co = int(r.integers(1, 3)), pick(r, int(r.integers(65, 80)), int(r.integers(257, 330)))
    activation_name = pick(r, "none", "relu", "relu6", "relu_n1_to_1")
    rounding = "once" if kind == "once" else "twice"
    factor = float(r.uniform(0.1, 8))
    op: Op
    x_shape: tuple[int, ...]
    w_shape: tuple[int, ...]
    y_shape: tuple[int, ...]
    if fully:
        rows = int(r.integers(1, 5)) if kind != "once" else 20
        x_shape, w_shape, y_shape = (1, rows, ci * 9), (co, ci * 9), (1, rows, co)
        op, positions = FullyConnected(activation_name, rounding, factor), rows
    else:
        window, h, w = window_and_size(r)
        out = window.output(h, w)
        x_shape, w_shape, y_shape = (1, h, w, ci), (co, *window.kernel, ci), (1, *out, co)
        op, positions = Conv2D(activation_name, rounding, factor, window), out[0] * out[1]
    x = activation(x_shape, scale(r), zero_point(r))
    weights = TensorType(w_shape, "int8", channel_scales(r, co))
    depth = int(np.prod(w_shape[1:]))
    y = activation(y_shape, result_scale(r, x, weights, depth), zero_point(r))
    types = {"x": x, "weights": weights, "bias": TensorType((co,), "int32")}
    arrays = {"x": int8(r, *x_shape), "weights": int8(r, *w_shape), "bias": bias(r, co)}
    exponent = int(r.integers(-20, 4)) if r.random() < 0.8 else int(r.integers(-90, 90))
    if kind == "lora":
        types |= {"lora_u": TensorType((1, positions, rank), "int8"), "lora_b": TensorType((co, rank), "int8")}
        types |= {"lora_range": scalar("int8"), "lora_b_exponent": scalar("int8")}
        arrays |= {"lora_u": codes(r, 1, positions, rank), "lora_b": codes(r, co, rank)}
        arrays |= {"lora_range": one(int(r.integers(0, 12))), "lora_b_exponent": one(exponent)}
    if kind == "delta":
        types |= {"delta": TensorType(w_shape, "int8"), "delta_exponent": scalar("int8")}
        arrays |= {"delta": codes(r, *w_shape), "delta_exponent": one(exponent)}
    return Case(op, types, arrays, (y,))


def depthwise(r: Rng, channels: int = 0) -> Case:
    """channels: what their number is a multiple of, with one result each; 0: any number, several results."""
    window, h, w = window_and_size(r)
    ci, factor = (channels * int(r.integers(1, 4)), 1) if channels else (int(r.integers(1, 9)), pick(r, 1, 1, 2, 3))
    co = ci * factor
    x = activation((1, h, w, ci), scale(r), zero_point(r))
    weights = TensorType((1, *window.kernel, co), "int8", channel_scales(r, co))
    y = activation((1, *window.output(h, w), co), result_scale(r, x, weights, window.kernel[0] * window.kernel[1]), zero_point(r))
    types = {"x": x, "weights": weights, "bias": TensorType((co,), "int32")}
    arrays = {"x": int8(r, *x.shape), "weights": int8(r, *weights.shape), "bias": bias(r, co)}
    return Case(DepthwiseConv2D(window, pick(r, "none", "relu", "relu6")), types, arrays, (y,))


def sized(r: Rng, kind: str, channels: int, outputs: int, window: Window, size: tuple[int, int]) -> Case:
    """A layer of any size, with the sums of its weights that kernels for Helium read, or without, and then with values and weights of -128."""
    depthwise_layer, out = kind == "depthwise", window.output(*size)
    shape = (1, *window.kernel, outputs) if depthwise_layer else (outputs, *window.kernel, channels)
    axis, taps = (3, window.kernel[0] * window.kernel[1]) if depthwise_layer else (0, int(np.prod(shape[1:])))
    x = activation((1, *size, channels), scale(r), zero_point(r))
    low = pick(r, -127, -128)
    weights = TensorType(shape, "int8", channel_scales(r, outputs))
    y = activation((1, *out, outputs), result_scale(r, x, weights, taps), zero_point(r))
    types = {"x": x, "weights": weights, "bias": TensorType((outputs,), "int32")}
    arrays = {"x": int8(r, *x.shape), "weights": int8(r, *shape, low=low), "bias": bias(r, outputs)}
    if low == -127:
        sums = arrays["weights"].astype(np.int64).sum(tuple(i for i in range(4) if i != axis))
        types["offset_sums"], arrays["offset_sums"] = TensorType((outputs,), "int32"), (-x.zero_point * sums).astype(np.int32)
    name = pick(r, "none", "relu", "relu6")
    if low == -128 and r.random() < 0.4:  # two products of -128 with itself leave int16
        for values in (arrays["x"], arrays["weights"]):
            values[r.random(values.shape) < 0.6] = -128
    return Case(DepthwiseConv2D(window, name) if depthwise_layer else Conv2D(activation=name, window=window), types, arrays, (y,))


def large_depthwise(r: Rng) -> Case:
    """Rows of pixels longer than a vector, columns of single pixels, large windows, several results a channel, up to 80 channels."""
    channels, factor = (int(r.integers(1, 8)), pick(r, 1, 2, 3)) if r.random() < 0.5 else (int(r.integers(8, 81)), 1)
    size = pick(r, (int(r.integers(1, 12)), int(r.integers(1, 12))), (int(r.integers(1, 6)), int(r.integers(8, 70))), (int(r.integers(8, 60)), 1))
    kernel = pick(r, (3, 3), (3, 3), (5, 5), (7, 7), (int(r.integers(1, 8)), int(r.integers(1, 8))), (9, 9))
    stride, dilation = pick(r, (1, 1), (1, 1), (2, 2), (2, 1)), (1, 1)
    if r.random() < 0.3:
        stride, dilation = (pick(r, 1, 2), 1), (pick(r, 1, 2), 2)
    spread = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    pad = (spread[0] // 2, spread[1] // 2, spread[0] - spread[0] // 2, spread[1] - spread[1] // 2)
    return sized(r, "depthwise", channels, factor * channels, Window(kernel, stride, pad, dilation), size)


def few_taps(r: Rng) -> Case:
    """Windows along one axis of two to six values, some of them dilated, over one row or several, or down a column."""
    taps, dilation = int(r.integers(2, 7)), pick(r, 1, 1, 2, 3)
    reach = (taps - 1) * dilation
    before = pick(r, 0, reach, reach // 2)
    size = (pick(r, 1, 1, int(r.integers(2, 8))), max(reach + 1 - before, 1) + int(r.integers(0, 150 if r.random() < 0.2 else 40)))
    window = Window((1, taps), pad=(0, before, 0, pick(r, 0, reach - before)), dilation=(1, dilation))
    if r.random() < 0.3:
        window, size = window.turned, (size[1], pick(r, 1, size[0]))
    channels, factor = (int(r.integers(1, 8)), pick(r, 1, 2, 3)) if r.random() < 0.5 else (int(r.integers(8, 40)), 1)
    case = sized(r, "depthwise", channels, factor * channels, window, size)
    return with_large_biases(r, case) if r.random() < 0.2 else case


def large_conv2d(r: Rng) -> Case:
    """Windows of a few values, and of more than Helium's panel holds; results of more channels than are computed at once."""
    kernel = pick(r, (1, 1), (3, 3), (3, 3), (5, 5))
    channels = int(r.integers(1, 49)) // (kernel[0] * kernel[1]) + 1 if r.random() < 0.5 else int(r.integers(577, 1800)) // (kernel[0] * kernel[1])
    pad = pick(r, (0, 0, 0, 0), (kernel[0] // 2, kernel[1] // 2, kernel[0] // 2, kernel[1] // 2))
    stride, dilation = pick(r, (1, 1), (2, 2)), pick(r, (1, 1), (1, 1), (2, 2))
    size = tuple((k - 1) * d + int(r.integers(1, 5)) for k, d in zip(kernel, dilation, strict=True))
    outputs = pick(r, int(r.integers(1, 20)), int(r.integers(60, 75)))
    case = sized(r, "conv", channels, outputs, Window(kernel, stride, pad, dilation), size)  # type: ignore[arg-type]
    return with_large_biases(r, case) if r.random() < 0.2 else case


def with_large_biases(r: Rng, case: Case) -> Case:
    """Sums that leave int32, and those next to them."""
    case.arrays["bias"][:] = r.choice([-(2**31), 2**31 - 1, 2**30 + 1, 0], case.arrays["bias"].size)
    return case


def many_channels(r: Rng) -> Case:
    """Few results of many channels, or of windows of few values, with any strides: what Helium computes position by position."""
    kernel = pick(r, (1, 1), (2, 2), (3, 3), (3, 3), (5, 5), (1, 3), (4, 1), (7, 7))
    stride, dilation = (pick(r, 1, 2), pick(r, 1, 2)), (pick(r, 1, 2), pick(r, 1, 2))
    channels = pick(r, 16 * int(r.integers(1, 5)), int(r.integers(1, 90)), int(r.integers(500, 530)))
    pad = tuple(int(r.integers(0, k)) for k in (*kernel, *kernel))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    least = [max(n - pad[axis] - pad[axis + 2], 1) for axis, n in enumerate(reach)]
    size = (least[0] + int(r.integers(0, 5)), least[1] + int(r.integers(0, 5)))
    case = sized(r, "depthwise", channels, channels, Window(kernel, stride, pad, dilation), size)  # type: ignore[arg-type]
    return with_large_biases(r, case) if r.random() < 0.1 else case
