"""QUANTIZE, RELU and RELU6."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from kernel_driver import Case, int8, pick, scale, zero_point

from cases._parts import SCALE, Make, Meaning, Rng, one, scales_far_apart, typed
from kiloc.ir.graph import Graph
from kiloc.ir.types import RANGES, Quantization, TensorType, activation
from kiloc.ops.model.requantize import KERNELS, Requantize


def kernel_case(r: Rng) -> Case:
    shape = (1, pick(r, int(r.integers(1, 70)), 700))
    x = activation(shape, scale(r), zero_point(r))
    y = activation(shape, float(np.float32(x.scale * pick(r, 0.5, 1.0, 3.0, 1e-9, 1e12))), zero_point(r))
    return Case(Requantize(pick(r, "none", "relu", "relu6")), {"x": x}, {"x": int8(r, *shape)}, (y,))


def quantized(r: Rng, shape: tuple[int, ...], dtype: str, near: float) -> TensorType:
    """A tensor of any type that QUANTIZE knows."""
    low, high = RANGES[dtype]
    zero = 0 if dtype == "int32" else int(pick(r, low, high, (low + high + 1) // 2, r.integers(low, high + 1)))
    return TensorType(shape, dtype, Quantization((float(np.float32(near)),), zero))


def values(r: Rng, t: TensorType) -> np.ndarray:
    low, high = RANGES[t.dtype]
    drawn = r.integers(low, high + 1, t.shape)
    return (r.choice([low, high], t.shape) if r.random() < 0.2 else drawn).astype(t.dtype)


def kernel_case_of_types(r: Rng) -> Case:
    source, result = list(KERNELS)[int(r.integers(len(KERNELS)))]
    shape = (1, int(r.integers(1, 70)))
    x = quantized(r, shape, source, scale(r))
    y = quantized(r, shape, result, x.scale * pick(r, 0.5, 1.0, 3.0, 1e-4, 200.0))
    return Case(Requantize(), {"x": x}, {"x": values(r, x)}, (y,))


def kernel_case_of_sign(r: Rng) -> Case:
    size, zero = int(r.integers(1, 70)), int(r.integers(-128, 128))
    types = [TensorType((1, size), dtype, Quantization((SCALE,), zero + up)) for dtype, up in (("int8", 0), ("uint8", 128))]
    x, y = types if r.random() < 0.5 else types[::-1]
    return Case(Requantize(), {"x": x}, {"x": values(r, x)}, (y,))


GENERATORS = {"requantize": (kernel_case, 16), "requantize types": (kernel_case_of_types, 64), "requantize sign": (kernel_case_of_sign, 16)}

JAX = {"requantize": Meaning(lambda op, x: x)}


def graph(act: str, ratio: float, zero: int, y_zero: int, scale: float = SCALE, exact: bool = False) -> Make:
    def make(rng: Rng) -> Graph:
        x = typed((1, 256), scale, zero)
        return one(Requantize(act), x, x if exact else typed((1, 256), scale / ratio, y_zero))

    return make


def any_scales(act: str) -> Make:
    def make(rng: Rng) -> Graph:
        scales, zeros = scales_far_apart(rng)
        return graph(act, scales[0] / scales[1], zeros[0], zeros[1])(rng)

    return make


def graph_of_types(source: str, result: str, ratio: float, zeros: tuple[int, int]) -> Make:
    def make(rng: Rng) -> Graph:
        given = zip((source, result), (SCALE, SCALE / ratio), zeros, strict=True)
        x, y = (TensorType((1, 512), dtype, Quantization((float(np.float32(step)),), zero)) for dtype, step, zero in given)
        return one(Requantize(), x, y)

    return make


def graphs_of_types() -> Iterator[tuple[str, Make]]:
    """int8 and uint8 with the zero points of one number, and of others; 16 and 32 bits."""
    for source, result in KERNELS:
        if (source, result) != ("int8", "int8"):
            for ratio, shifted in product((1.0, 0.3, 1.7, 0.004, 256.0), (0, 5, -20)):
                middle = -(2**15) if shifted == 5 else 0  # as SOFTMAX has it
                zeros = [{"int8": -7, "uint8": 121, "int16": middle}.get(dtype, 0) for dtype in (source, result)]
                zeros[1] += shifted if result in ("int8", "uint8") else 0
                yield f"{source}-to-{result}-{ratio}-{shifted}", graph_of_types(source, result, ratio, (zeros[0], zeros[1]))


def graphs() -> Iterator[tuple[str, Make]]:
    yield from graphs_of_types()
    ratios = (1.0, 0.5, 0.25, 2.0, 0.3, 1.7, 0.01, 40.0, 0.999)
    for ratio, (zero, y_zero) in product(ratios, ((0, 0), (-128, 127), (127, -128), (-7, 12))):
        yield f"quantize-{ratio}-{zero}-{y_zero}", graph("none", ratio, zero, y_zero)
        yield f"relu-{ratio}-{zero}-{y_zero}", graph("relu", ratio, zero, y_zero)
    for step, zero in product((0.01, 0.03, 0.1, 1.0, 12.0), (-128, -20, 0, 100)):
        yield f"relu6-{step}-{zero}", graph("relu6", 1.0, zero, zero, step, exact=True)
    for number in range(300):
        if number % 4 > 1:
            yield f"element-sweep-{number}", any_scales("none" if number % 4 == 2 else "relu")
