"""Layers of int16 activations: CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED with biases of 64 and of 32 bits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from kernel_driver import Case, pick, scale

from cases._parts import ACTIVATIONS, SHAPES, Make, Rng, f32, one, window_of
from kiloc.ir.graph import Graph
from kiloc.ir.operator import Op
from kiloc.ir.types import Quantization, TensorType
from kiloc.ops._window import Window
from kiloc.ops.wide.conv_2d import WideConv2D, WideFullyConnected
from kiloc.ops.wide.depthwise_conv_2d import WideDepthwiseConv2D


def wide(shape: tuple[int, ...], step: float) -> TensorType:
    """An int16 activation."""
    return TensorType(shape, "int16", Quantization((f32(step),)))


def int16(r: Rng, *shape: int) -> np.ndarray:
    """Any codes, only the ends, or small ones."""
    kind = r.integers(3)
    drawn = r.choice([-(2**15), 2**15 - 1], shape) if kind == 0 else r.integers(-(2**15), 2**15, shape) >> (6 if kind == 1 else 0)
    return drawn.astype(np.int16)


def layer_types(
    r: Rng, x: tuple[int, ...], weights: tuple[int, ...], y: tuple[int, ...], axis: int, bias: str
) -> tuple[dict[str, TensorType], TensorType]:
    """Operands of a layer, and its result with a scale that uses its range."""
    channels, taps = weights[axis], int(np.prod(weights)) // weights[axis]
    scales = np.asarray(r.uniform(0.002, 0.02, channels if r.random() < 0.7 else 1), np.float32)
    types = {
        "x": wide(x, scale(r, -12, -4)),
        "weights": TensorType(weights, "int8", Quantization(tuple(map(float, scales)), 0, axis if len(scales) > 1 else None)),
        "bias": TensorType((channels,), bias),
    }
    spread = 74.0 * np.sqrt(taps) * types["x"].scale * float(np.median(scales)) * pick(r, 0.5, 1.0, 3.0)
    return types, wide(y, spread)


def layer_data(r: Rng, types: dict[str, TensorType]) -> dict[str, Any]:
    limit = 2**34 if types["bias"].dtype == "int64" and r.random() < 0.3 else 2**22
    return {
        "weights": r.integers(-127, 128, types["weights"].shape).astype(np.int8),
        "bias": r.integers(-limit, limit, types["bias"].shape).astype(types["bias"].dtype),
    }


def conv_of(r: Rng, depthwise: bool, pointwise: bool = False) -> tuple[Op, tuple[int, ...], tuple[int, ...], tuple[int, ...], int]:
    """An operator, and the shapes of its input, weights and result, with the axis of its scales."""
    size, depth, out = (int(r.integers(1, 8)), int(r.integers(1, 8))), int(r.integers(1, 5)), int(r.integers(1, 7))
    dilation = pick(r, (1, 1), (1, 1), (2, 1), (1, 2))
    kernel = (int(r.integers(1, 4)), int(r.integers(1, 4)))
    scheme = "valid" if all((k - 1) * d < s for k, d, s in zip(kernel, dilation, size, strict=True)) and r.random() < 0.5 else "same"
    window = window_of(size, kernel, pick(r, (1, 1), (2, 1), (2, 2)), scheme, dilation)
    x, act = (1, *size, depth), pick(r, "none", "none", "relu", "relu6")
    if depthwise:
        times = int(r.integers(1, 4))
        return WideDepthwiseConv2D(act, window), x, (1, *kernel, depth * times), (1, *window.output(*size), depth * times), 3
    return WideConv2D(act, window), x, (out, *kernel, depth), (1, *window.output(*size), out), 0


def kernel_case(kind: str, bias: str) -> Any:
    def case(r: Rng) -> Case:
        if kind == "fully_connected":
            rows, depth, out = int(r.integers(1, 4)), int(r.integers(1, 40)), int(r.integers(1, 9))
            op: Op = WideFullyConnected(pick(r, "none", "relu"))
            shapes, axis = ((1, rows, depth), (out, depth), (1, rows, out)), 0
        else:
            op, *parts, axis = conv_of(r, kind == "depthwise")
            shapes = (parts[0], parts[1], parts[2])
        types, y = layer_types(r, *shapes, axis, bias)
        return Case(op, types, {"x": int16(r, *types["x"].shape), **layer_data(r, types)}, (y,))

    return case


GENERATORS = {
    "wide conv_2d": (kernel_case("conv_2d", "int64"), 40),
    "wide conv_2d bias32": (kernel_case("conv_2d", "int32"), 30),
    "wide depthwise": (kernel_case("depthwise", "int64"), 40),
    "wide fully_connected": (kernel_case("fully_connected", "int64"), 20),
}


def graph(kind: str, bias: str, op: Op, shapes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]) -> Make:
    def make(rng: Rng) -> Graph:
        axis = 3 if kind == "depthwise" else 0
        types, y = layer_types(rng, *shapes, axis, bias)
        if kind == "fully_connected" and rng.random() < 0.5:
            types["weights"] = TensorType(types["weights"].shape, "int8", Quantization(types["weights"].channel_scales[:1]))
        data = layer_data(rng, types)
        return one(op, types["x"], y, weights=(data["weights"], types["weights"].quantization), bias=(data["bias"], None))

    return make


def graphs() -> Iterator[tuple[str, Make]]:
    for number, (size, kernel, stride, scheme) in enumerate(product(SHAPES, ((1, 1), (3, 3), (2, 3)), ((1, 1), (2, 2)), ("same", "valid"))):
        if scheme == "valid" and any(k > s for k, s in zip(kernel, size, strict=True)):
            continue
        window, act = window_of(size, kernel, stride, scheme), ACTIVATIONS[number % 4]
        out = window.output(*size)
        name = f"{size}-{kernel}-{stride}-{scheme}-{act}".replace(" ", "")
        bias = ("int64", "int64", "int32")[number % 3]
        conv = WideConv2D(act, window), ((1, *size, 3), (5, *kernel, 3), (1, *out, 5))
        yield f"wide-conv-{bias}-{name}", graph("conv_2d", bias, *conv)
        times = 1 + number % 2
        depthwise = WideDepthwiseConv2D(act, window), ((1, *size, 3), (1, *kernel, 3 * times), (1, *out, 3 * times))
        yield f"wide-depthwise-{name}", graph("depthwise", "int64", *depthwise)
    dilated = Window((3, 3), (1, 1), (0, 0, 0, 0), (2, 2))
    yield "wide-conv-dilated", graph("conv_2d", "int64", WideConv2D("none", dilated), ((1, 7, 6, 2), (4, 3, 3, 2), (1, 3, 2, 4)))
    yield "wide-conv-long", graph("conv_2d", "int64", WideConv2D(), ((1, 1, 2, 900), (3, 1, 1, 900), (1, 1, 2, 3)))
    for number, (depth, out, bias) in enumerate(product((1, 7, 64, 700), (1, 3, 10), ("int64", "int32"))):
        shapes = ((1, depth), (out, depth), (1, out))
        yield f"wide-fc-{number}-{depth}-{out}-{bias}", graph("fully_connected", bias, WideFullyConnected(ACTIVATIONS[number % 4]), shapes)
