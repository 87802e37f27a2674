"""Files of one operator with numbers that are legal but rare: odd sizes, strides longer than windows, dilation, depth multipliers, zero points at
the ends of int8, scales near the limits of a multiplier, weights that drive sums to the ends of int32, a batch of -1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tflite
from hypothesis import strategies as st
from tflite_files import FileOperator, FileTensor, build

ACTIVATIONS = (0, 1, 2, 3)
"""None, RELU, RELU_N1_TO_1, RELU6 of the format."""
SAME, VALID = tflite.Padding.SAME, tflite.Padding.VALID
ENDS = (-128, 127)
LONGEST_ROW = 511
"""Of a softmax: TensorFlow Lite Micro ends the process at rows of 512 and more equal values, whose probabilities are all 0 in int8."""

zero_points = st.one_of(st.sampled_from((*ENDS, *ENDS, -127, 126, -1, 0, 1)), st.integers(-128, 127))
lengths = st.one_of(st.sampled_from((1, 1, 2, 3, 5, 7, 13)), st.integers(1, 17))
activations = st.sampled_from((0, 0, 0, *ACTIVATIONS))


@st.composite
def powers(draw: st.DrawFn, low: float, high: float) -> float:
    """A positive float32, often just beside a power of two, where a multiplier takes another shift."""
    exponent = draw(st.floats(low, high, allow_nan=False))
    if draw(st.booleans()):
        exponent = float(round(exponent))
    value = np.float32(2.0**exponent)
    beside = draw(st.sampled_from((0, 0, 1, -1)))
    return float(np.nextafter(value, np.float32(np.inf) if beside > 0 else np.float32(0)) if beside else value)


def signature(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """What a converter writes beside the shape of a tensor with a batch that may vary."""
    return (-1, *shape[1:]) if draw(st.booleans()) and draw(st.booleans()) else None


def activation(draw: st.DrawFn, shape: tuple[int, ...], scale: float, name: str) -> FileTensor:
    return FileTensor(shape, scale=(scale,), zero=(draw(zero_points),), name=name, signature=signature(draw, shape))


def codes(draw: st.DrawFn, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """int8 weights: any, the ends, or all of one sign, which sums do not forgive."""
    kind = draw(st.sampled_from(("any", "ends", "largest", "smallest", "zero")))
    if kind == "any":
        return rng.integers(-128, 128, shape).astype(np.int8)
    if kind == "ends":
        return rng.choice(np.array([-128, -127, 127], np.int8), shape)
    return np.full(shape, {"largest": 127, "smallest": -127, "zero": 0}[kind], np.int8)


def result_length(size: int, kernel: int, stride: int, dilation: int, padding: int) -> int:
    reach = (kernel - 1) * dilation + 1
    return -(-size // stride) if padding == SAME else (size - reach) // stride + 1


@st.composite
def window(draw: st.DrawFn, dilated: bool) -> tuple[tuple[int, int], tuple[int, int], dict[str, Any], tuple[int, int]]:
    """(size of the image, kernel, options of the format, size of the result)."""
    padding = draw(st.sampled_from((SAME, VALID)))
    found = []
    for _ in range(2):
        kernel, dilation = draw(st.integers(1, 5)), draw(st.sampled_from((1, 1, 2, 3))) if dilated else 1
        reach = (kernel - 1) * dilation + 1
        size, stride = draw(lengths) + (reach - 1 if padding == VALID else 0), draw(st.sampled_from((1, 1, 2, 3, 5, 7)))
        found.append((size, kernel, stride, dilation, result_length(size, kernel, stride, dilation, padding)))
    (h, w), kernel, (sh, sw), (dh, dw), (oh, ow) = zip(*found, strict=True)
    options = {"Padding": padding, "StrideH": sh, "StrideW": sw, "FusedActivationFunction": draw(activations)}
    if dilated:
        options |= {"DilationHFactor": dh, "DilationWFactor": dw}
    return (h, w), (kernel[0], kernel[1]), options, (oh, ow)


def room_for_bias(quotients: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """The largest bias of each channel with which nothing leaves int32, nor where a multiplier above 1 shifts it to the left."""
    shift = np.maximum(np.frexp(quotients)[1] + 1, 0)  # one more: rounding may bring the mantissa to 1
    return np.clip((2**31 - 1) // 2.0**shift - 255 * sums, 0, 2**30)


def layer(
    draw: st.DrawFn, kind: str, table: str, x: tuple[int, ...], w: tuple[int, ...], y: tuple[int, ...], axis: int, options: dict[str, Any]
) -> bytes:
    """A layer with weights and a bias; the quotient of its scales is drawn, from where nothing is left to where everything saturates."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels = w[axis]
    one = kind == "FULLY_CONNECTED" or draw(st.booleans())
    x_scale, y_scale = draw(powers(-12, 3)), draw(powers(-12, 3))
    quotients = [draw(powers(-34, 4)) for _ in range(1 if one else min(channels, 3))]
    scales = np.array([float(np.float32(q * y_scale / x_scale)) for q in quotients])
    scales = np.maximum(np.resize(scales, 1 if one else channels), 1e-37)
    weights, bias_kind = codes(draw, rng, w), draw(st.sampled_from(("small", "largest", "none")))
    bias = rng.integers(-(2**12), 2**12, channels)
    if bias_kind == "largest":
        sums = np.abs(weights.astype(np.int64)).sum(tuple(i for i in range(len(w)) if i != axis))
        bias = rng.choice([-1, 1], channels) * room_for_bias(x_scale * scales / y_scale, sums)
    tensors = [
        activation(draw, x, x_scale, "x"),
        FileTensor(w, scale=tuple(scales), zero=(0,) * len(scales), axis=axis, data=weights, name="w"),
        FileTensor((channels,), "INT32", tuple(np.maximum(scales * x_scale, 1e-37)), (0,) * len(scales), 0, bias.astype(np.int32), "b"),
        activation(draw, y, y_scale, "y"),
    ]
    left_out = (0, 1) if kind == "DEPTHWISE_CONV_2D" else (0, 1, -1)  # as TensorFlow Lite Micro takes each
    inputs = left_out if bias_kind == "none" else (0, 1, 2)
    return build(tensors, [FileOperator(kind, inputs, (3,), table, options)], (0,), (3,))


@st.composite
def conv(draw: st.DrawFn) -> bytes:
    size, kernel, options, out = draw(window(True))
    depth, channels = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    w = (channels, *kernel, depth)
    return layer(draw, "CONV_2D", "Conv2DOptions", (1, *size, depth), w, (1, *out, channels), 0, options)


@st.composite
def depthwise(draw: st.DrawFn) -> bytes:
    size, kernel, options, out = draw(window(True))
    depth, multiplier = draw(st.integers(1, 6)), draw(st.sampled_from((1, 1, 2, 3, 8)))
    channels = depth * multiplier
    options["DepthMultiplier"] = multiplier
    return layer(draw, "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", (1, *size, depth), (1, *kernel, channels), (1, *out, channels), 3, options)


@st.composite
def fully_connected(draw: st.DrawFn) -> bytes:
    depth, channels = draw(st.one_of(st.integers(1, 33), st.sampled_from((1, 127, 128, 129)))), draw(st.integers(1, 9))
    rows = draw(st.sampled_from((1, 1, 1, 2, 5)))
    options = {"FusedActivationFunction": draw(activations)}
    return layer(draw, "FULLY_CONNECTED", "FullyConnectedOptions", (rows, depth), (channels, depth), (rows, channels), 0, options)


@st.composite
def pool(draw: st.DrawFn) -> bytes:
    size, kernel, options, out = draw(window(False))
    depth, scale, zero = draw(st.integers(1, 6)), draw(powers(-10, 2)), draw(zero_points)
    options |= {"FilterHeight": kernel[0], "FilterWidth": kernel[1]}
    tensors = [FileTensor((1, *s, depth), scale=(scale,), zero=(zero,), signature=signature(draw, (1, *s, depth))) for s in (size, out)]
    kind = draw(st.sampled_from(("AVERAGE_POOL_2D", "MAX_POOL_2D")))
    return build(tensors, [FileOperator(kind, (0,), (1,), "Pool2DOptions", options)], (0,), (1,))


@st.composite
def add(draw: st.DrawFn) -> bytes:
    shape = (1, draw(lengths), draw(lengths))
    scales = [draw(powers(-14, 4)) for _ in range(3)]
    tensors = [activation(draw, shape, s, n) for s, n in zip(scales, ("x", "other", "y"), strict=True)]
    options = {"FusedActivationFunction": draw(activations)}
    return build(tensors, [FileOperator("ADD", (0, 1), (2,), "AddOptions", options)], (0, 1), (2,))


@st.composite
def mean(draw: st.DrawFn) -> bytes:
    shape, keep = (1, draw(lengths), draw(lengths), draw(st.integers(1, 6))), draw(st.booleans())
    axes = draw(st.sampled_from(((1, 2), (2, 1), (1,), (2,), (3,), (-1,), (-3, -2), (1, 2, 3))))
    gone = {a % 4 for a in axes}
    result = tuple(1 if i in gone else n for i, n in enumerate(shape) if keep or i not in gone)
    x, y = activation(draw, shape, draw(powers(-8, 2)), "x"), activation(draw, result, draw(powers(-8, 2)), "y")
    tensors = [x, FileTensor((len(axes),), "INT32", None, data=np.array(axes, np.int32)), y]
    return build(tensors, [FileOperator("MEAN", (0, 1), (2,), "ReducerOptions", {"KeepDims": keep})], (0,), (2,))


@st.composite
def softmax(draw: st.DrawFn) -> bytes:
    shape = draw(st.sampled_from(((1,), (1, 3), (1, 5, 1))))
    shape = (*shape, draw(st.one_of(st.integers(1, 40), st.sampled_from((1, 255, 256, 257, LONGEST_ROW)))))
    tensors = [activation(draw, shape, draw(powers(-14, 3)), "x"), FileTensor(shape, scale=(1 / 256,), zero=(-128,))]
    options = {"Beta": draw(st.sampled_from((1.0, 1.0, 0.5, 3.0, 0.01)))}
    return build(tensors, [FileOperator("SOFTMAX", (0,), (1,), "SoftmaxOptions", options)], (0,), (1,))


@st.composite
def requantize(draw: st.DrawFn) -> bytes:
    shape, scale = (1, draw(lengths), draw(lengths)), draw(powers(-10, 2))
    kind = draw(st.sampled_from(("QUANTIZE", "QUANTIZE", "RELU", "RELU6")))
    y = activation(draw, shape, max(float(np.float32(scale / draw(powers(-34, 12)))), 1e-37), "y")
    tensors = [activation(draw, shape, scale, "x"), y]
    if kind == "RELU6":  # with two scales it is refused
        tensors[1] = FileTensor(shape, scale=tensors[0].scale, zero=tensors[0].zero)
    return build(tensors, [FileOperator(kind, (0,), (1,), "QuantizeOptions" if kind == "QUANTIZE" else "")], (0,), (1,))


@st.composite
def pad(draw: st.DrawFn) -> bytes:
    size, depth = (draw(lengths), draw(lengths)), draw(st.integers(1, 5))
    amounts = np.array([(0, 0), *((draw(st.integers(0, 6)), draw(st.integers(0, 6))) for _ in range(2)), (0, 0)], np.int32)
    result = (1, *(int(n + a.sum()) for n, a in zip(size, amounts[1:3], strict=True)), depth)
    scale, zero = draw(powers(-10, 2)), draw(zero_points)
    x, y = (FileTensor(s, scale=(scale,), zero=(zero,), signature=signature(draw, s)) for s in ((1, *size, depth), result))
    tensors = [x, FileTensor((4, 2), "INT32", None, data=amounts), y]
    inputs: tuple[int, ...] = (0, 1)
    if draw(st.booleans()):
        tensors.append(FileTensor((1,), scale=(scale,), zero=(zero,), data=np.array([draw(st.sampled_from((-128, -1, 0, 5, 127)))], np.int8)))
        inputs = (0, 1, 3)
    kind, table = ("PADV2", "PadV2Options") if len(inputs) == 3 else ("PAD", "PadOptions")
    return build(tensors, [FileOperator(kind, inputs, (2,), table)], (0,), (2,))


OPERATORS: dict[str, Callable[[], st.SearchStrategy[bytes]]] = {
    f.__name__: f for f in (conv, depthwise, fully_connected, pool, add, mean, softmax, requantize, pad)
}
