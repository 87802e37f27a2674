"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED against TensorFlow Lite Micro. Their kernels, which take what methods add to a layer, have
their cases in `test_kernels_against_numpy.py` and its neighbours, and their meaning to jax in `gradients/jax_model.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from cases._parts import ACTIVATIONS, SCALE, SHAPES, ZERO, Make, Rng, f32, one, typed, window_of
from kiloc import numerics as nm
from kiloc.ir.graph import Graph
from kiloc.ir.operator import Op
from kiloc.ir.types import Quantization, TensorType
from kiloc.ops._window import Window
from kiloc.ops.model.conv_2d import Conv2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.ops.model.fully_connected import FullyConnected


def weighted(
    rng: Rng, op: Op, x: TensorType, shape: tuple[int, ...], y_shape: tuple[int, ...], axis: int, per_channel: bool,
    zero: int = 11, reach: float = 1.0, scales: np.ndarray | None = None,
) -> Graph:  # fmt: skip
    """A layer whose result uses the whole int8 range (and clamps a little); reach > 1 clamps more."""
    channels, taps = shape[axis], int(np.prod(shape)) // shape[axis]
    if op.mnemonic != "depthwise_conv_2d":
        taps = int(np.prod(shape[1:]))
    weights = rng.integers(-127, 128, shape).astype(np.int8)
    bias = rng.integers(-4000, 4000, channels).astype(np.int32)
    if scales is None:
        scales = rng.uniform(0.002, 0.02, channels if per_channel else 1)
    scales = np.asarray(scales, np.float32)
    spread = 74.0 * 74.0 * np.sqrt(taps) * x.scale * float(np.median(scales))
    y = typed(y_shape, spread / 60.0 / reach, zero)
    quantization = Quantization(tuple(float(s) for s in scales), 0, axis if len(scales) > 1 else None)
    return one(op, x, y, weights=(weights, quantization), bias=(bias, None))


def conv(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], scheme: str, *, channels: tuple[int, int] = (3, 5),
    dilation: tuple[int, int] = (1, 1), act: str = "none", depthwise: int = 0, per_channel: bool = True, x_zero: int = ZERO, **more: Any,
) -> Make:  # fmt: skip
    """CONV_2D, or DEPTHWISE_CONV_2D with `depthwise` results a channel."""

    def make(rng: Rng) -> Graph:
        window = window_of(size, kernel, stride, scheme, dilation)
        x = typed((1, *size, channels[0]), SCALE, x_zero)
        out = channels[0] * depthwise if depthwise else channels[1]
        op = DepthwiseConv2D(window, act) if depthwise else Conv2D(activation=act, window=window)
        shape = (1, *kernel, out) if depthwise else (out, *kernel, channels[0])
        return weighted(rng, op, x, shape, (1, *window.output(*size), out), 3 if depthwise else 0, per_channel, **more)

    return make


def conv_cases() -> Iterator[tuple[str, Make]]:
    geometries = [
        (size, kernel, stride)
        for size in SHAPES
        for kernel in ((1, 1), (3, 3), (2, 3), (1, 5), (4, 1))
        for stride in ((1, 1), (2, 2), (3, 3), (2, 1), (1, 3))
    ]
    for number, ((size, kernel, stride), scheme) in enumerate(product(geometries, ("same", "valid"))):
        if scheme == "valid" and (kernel[0] > size[0] or kernel[1] > size[1]):
            continue
        act, per_channel = ACTIVATIONS[number % 4], number % 3 > 0
        text = f"{size}-{kernel}-{stride}-{scheme}-{act}-{'channel' if per_channel else 'tensor'}".replace(" ", "")
        yield f"conv-{text}", conv(size, kernel, stride, scheme, act=act, per_channel=per_channel)
        yield f"depthwise-{text}", conv(size, kernel, stride, scheme, act=act, per_channel=per_channel, depthwise=1 + number % 3)
    for kind, depthwise in (("conv", 0), ("depthwise", 2)):
        for dilation, scheme in product(((2, 2), (3, 1), (1, 2)), ("same", "valid")):
            yield f"{kind}-dilation{dilation}-{scheme}", conv((9, 8), (3, 3), (1, 1), scheme, dilation=dilation, depthwise=depthwise)
        for zero, y_zero in product((-128, 127, 0), (-128, 127)):
            yield f"{kind}-zero{zero}to{y_zero}", conv((6, 5), (3, 3), (1, 1), "same", depthwise=depthwise, x_zero=zero, zero=y_zero)
        yield f"{kind}-large", conv((21, 13), (11, 9), (2, 1), "same", depthwise=depthwise)
        yield f"{kind}-whole", conv((10, 4), (10, 4), (1, 1), "valid", depthwise=depthwise)
        yield f"{kind}-row", conv((1, 40), (1, 17), (1, 2), "same", depthwise=depthwise)
        yield f"{kind}-deep", conv((3, 3), (3, 3), (1, 1), "same", depthwise=depthwise, channels=(70, 33))
        yield f"{kind}-clamping", conv((6, 6), (3, 3), (1, 1), "same", depthwise=depthwise, reach=8.0)
        dead = np.array([0.01, 1e-12, 0.01, 3e-9, 0.003, 1e-7])
        yield f"{kind}-dead-channels", conv((5, 5), (3, 3), (1, 1), "same", channels=(3, 6), depthwise=depthwise, scales=dead)
        yield f"{kind}-one-channel", conv((5, 5), (3, 3), (2, 2), "same", channels=(1, 1), depthwise=depthwise and 1)
        yield f"{kind}-uneven-pad", explicit(kind)


def explicit(kind: str) -> Make:
    """Padding that is neither SAME nor VALID: written with a PAD in front."""

    def make(rng: Rng) -> Graph:
        window = Window((3, 2), (2, 1), (0, 2, 3, 1))
        x = typed((1, 6, 5, 3), SCALE, 9)
        op = Conv2D(window=window) if kind == "conv" else DepthwiseConv2D(window)
        shape = (4, 3, 2, 3) if kind == "conv" else (1, 3, 2, 6)
        out = (1, *window.output(6, 5), 4 if kind == "conv" else 6)
        return weighted(rng, op, x, shape, out, 0 if kind == "conv" else 3, True)

    return make


def ties(kind: str, multiplier: float, zero: int) -> Make:
    """A 1x1 convolution or a layer whose sums are scaled by a power of two: every rounding is a tie or exact."""

    def make(rng: Rng) -> Graph:
        op, lead = (Conv2D(), (1, 5, 5)) if kind == "conv" else (FullyConnected(), (1, 25))
        weights = rng.choice([-3, -2, -1, 1, 2, 3, 5], (6, 1, 1, 3) if kind == "conv" else (6, 3)).astype(np.int8)
        bias = rng.integers(-9, 9, 6).astype(np.int32)
        x, y = typed((*lead, 3), 0.5, zero), typed((*lead, 6), 0.25 / multiplier, min(-zero, 127))
        return one(op, x, y, weights=(weights, Quantization((0.5,))), bias=(bias, None))

    return make


def fully_connected(rows: tuple[int, ...], depth: int, channels: int, act: str, per_channel: bool, x_zero: int = ZERO, **more: Any) -> Make:
    def make(rng: Rng) -> Graph:
        x = typed((*rows, depth), SCALE, x_zero)
        return weighted(rng, FullyConnected(activation=act), x, (channels, depth), (*rows, channels), 0, per_channel, **more)

    return make


def fully_connected_cases() -> Iterator[tuple[str, Make]]:
    for number, (depth, channels, per_channel) in enumerate(product((1, 3, 64, 301), (1, 2, 10, 129), (False, True))):
        act = ACTIVATIONS[number % 4]
        yield f"fc-{depth}x{channels}-{act}-{'channel' if per_channel else 'tensor'}", fully_connected((1,), depth, channels, act, per_channel)
    yield "fc-rows", fully_connected((1, 7), 12, 5, "none", False)
    yield "fc-rows-4d", fully_connected((1, 2, 3), 12, 5, "relu", True)
    for zero, y_zero in product((-128, 127), (-128, 127)):
        yield f"fc-zero{zero}to{y_zero}", fully_connected((1,), 40, 8, "none", False, x_zero=zero, zero=y_zero)
    for number, per_channel in product(range(6), (False, True)):
        yield f"fc-near-ties-{number}-{'channel' if per_channel else 'tensor'}", near_ties("fc", per_channel)
        yield f"conv-near-ties-{number}-{'channel' if per_channel else 'tensor'}", near_ties("conv", per_channel)


def near_ties(kind: str, per_channel: bool) -> Make:
    """Sums (all of them bias) that round differently where the product of the two scales is taken in float32 and in double.

    The kernels' sources take it in float32 for FULLY_CONNECTED with one scale; the interpreter takes it in double everywhere.
    """

    def make(rng: Rng) -> Graph:
        x_scale, w_scale = f32(rng.uniform(0.01, 0.02)), f32(rng.uniform(0.001, 0.002))
        y_scale = f32(x_scale * w_scale * 9e6)
        products = (float(np.float32(x_scale) * np.float32(w_scale)), x_scale * w_scale)
        multipliers = [nm.quantize_multiplier(p / y_scale) for p in products]
        assert multipliers[0] != multipliers[1]
        near = np.floor((rng.integers(-100, 100, 64) + 0.5) * 9e6)[:, None] + np.arange(-60, 60)
        first, second = (nm.requantize(near.astype(np.int64), *m) for m in multipliers)
        bias = near[first != second][:16].astype(np.int32)
        assert bias.size == 16
        x, y = typed((1, 3) if kind == "fc" else (1, 1, 1, 3), x_scale, 0), typed((1, 16) if kind == "fc" else (1, 1, 1, 16), y_scale, 0)
        shape = {"fc": (16, 3), "conv": (16, 1, 1, 3)}[kind]
        op = FullyConnected() if kind == "fc" else Conv2D()
        quantization = Quantization((w_scale,) * 16 if per_channel else (w_scale,), 0, 0 if per_channel else None)
        return one(op, x, y, weights=(np.zeros(shape, np.int8), quantization), bias=(bias, None))

    return make


def sweep(number: int) -> Make:
    """Any geometry, scales, zero points and activation at once."""

    def make(rng: Rng) -> Graph:
        size = (int(rng.integers(1, 12)), int(rng.integers(1, 12)))
        kernel = (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
        stride, dilation = (int(rng.integers(1, 4)), int(rng.integers(1, 4))), (1, 1)
        if number % 4 == 0:
            stride, dilation = (1, 1), (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        scheme = "valid" if all((kernel[i] - 1) * dilation[i] < size[i] for i in (0, 1)) and number % 2 else "same"
        inner = conv(
            size, kernel, stride, scheme, channels=(int(rng.integers(1, 9)), int(rng.integers(1, 9))), dilation=dilation,
            act=str(rng.choice(ACTIVATIONS)), depthwise=int(rng.integers(0, 4)), per_channel=bool(rng.integers(2)),
            x_zero=int(rng.integers(-128, 128)), zero=int(rng.integers(-128, 128)), reach=float(rng.uniform(0.1, 4.0)),
        )  # fmt: skip
        return inner(rng)

    return make


def graphs() -> Iterator[tuple[str, Make]]:
    yield from conv_cases()
    yield from fully_connected_cases()
    for number in range(300):
        yield f"sweep-{number}", sweep(number)
    for multiplier, zero in product((0.5, 0.25, 2**-6, 1.0, 4.0), (0, -128, 77)):
        yield f"conv-ties-{multiplier}-{zero}", ties("conv", multiplier, zero)
        yield f"fc-ties-{multiplier}-{zero}", ties("fc", multiplier, zero)
