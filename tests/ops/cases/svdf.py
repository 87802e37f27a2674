"""SVDF with states of 8 and of 16 bits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from kernel_driver import Case, int8, pick, scale, zero_point

from cases._parts import Make, Rng, f32
from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph
from kiloc.ir.types import RANGES, Quantization, TensorType, activation
from kiloc.ir.verify import verify
from kiloc.ops.model.svdf import Svdf


def wide(r: Rng, dtype: str, *shape: int) -> np.ndarray:
    low, high = RANGES[dtype]
    kind = r.integers(3)
    values = r.integers(low, high + 1, shape) if kind else r.choice([low, high], shape)
    return values.astype(dtype)


def of_width(bits: int) -> object:
    def kernel_case(r: Rng) -> Case:
        depth, units, rank, memory = int(r.integers(1, 12)), int(r.integers(1, 6)), pick(r, 1, 1, 2, 4), int(r.integers(1, 12))
        dtype, filters = f"int{bits}", units * rank
        state = TensorType((1, filters * memory), dtype, Quantization((scale(r, -9, 1),), zero_point(r) if bits == 8 else 0))
        types = {
            "x": activation((1, depth), scale(r), zero_point(r)),
            "weights": TensorType((filters, depth), "int8", Quantization((scale(r),))),
            "time": TensorType((filters, memory), dtype, Quantization((scale(r, -9 if bits == 8 else -16, 0),))),
            "bias": TensorType((units,), "int32"),
            "state": state,
        }
        bias = r.integers(-(2**14), 2**14, units) if r.random() < 0.8 else r.choice([-(2**31), 2**31 - 1], units)
        data = {
            "x": int8(r, 1, depth), "weights": int8(r, filters, depth), "time": wide(r, dtype, filters, memory), "bias": bias.astype(np.int32),
            "state": wide(r, dtype, 1, filters * memory),
        }  # fmt: skip
        return Case(Svdf(rank), types, data, (activation((1, units), scale(r, -6, 3), zero_point(r)),))

    return kernel_case


GENERATORS = {"svdf": (of_width(8), 40), "svdf_wide": (of_width(16), 40)}


def graph(dtype: str, rank: int, memory: int, zeros: tuple[int, int, int], growth: float) -> Make:
    def make(rng: Rng) -> Graph:
        b = GraphBuilder("case", "case.tflite")
        depth, units = 9, 5
        filters, bits = units * rank, 8 if dtype == "int8" else 16
        x = activation((1, depth), f32(0.05), zeros[0])
        w, time = Quantization((f32(0.01),)), Quantization((f32(0.01 if bits == 8 else 0.00003),))
        state = TensorType(
            (1, filters * memory), dtype, Quantization((f32(0.15 / growth if bits == 8 else 0.0005 / growth),), zeros[1] if bits == 8 else 0)
        )
        small = rng.integers(-127, 128, (filters, memory)) if bits == 8 else rng.integers(-9000, 9000, (filters, memory))
        inputs = {
            "x": b.input(x, "x"),
            "weights": b.constant("layer.weights", rng.integers(-127, 128, (filters, depth)).astype(np.int8), w, "weights"),
            "time": b.constant("layer.time", small.astype(dtype), time, "time"),
            "bias": b.constant("layer.bias", rng.integers(-999, 1000, units).astype(np.int32), None, "bias"),
            "state": b.stream("layer.state", state, np.full(state.shape, state.zero_point, dtype), "state"),
        }
        y = activation((1, units), f32(0.4 * (rank * memory) ** 0.5), zeros[2])
        return verify(b.finish([b.node("layer", Svdf(rank), inputs, y, "layer")]))

    return make


def graphs() -> Iterator[tuple[str, Make]]:
    for dtype, rank, memory in product(("int8", "int16"), (1, 2), (1, 2, 8, 30)):
        for zeros, growth in (((-128, -50, -128), 1.0), ((0, 0, 0), 1.0), ((5, 100, 90), 4.0), ((127, -128, 3), 0.2)):
            yield f"svdf-{dtype}-{rank}-{memory}-{zeros}-{growth}".replace(" ", ""), graph(dtype, rank, memory, zeros, growth)
