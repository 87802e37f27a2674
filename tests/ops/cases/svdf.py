"""SVDF with states of 8 and of 16 bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
from kernel_driver import Case, codes, int8, pick, scale, zero_point

from cases._parts import Make, Rng, both, f32
from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph
from kiloc.ir.types import RANGES, Quantization, TensorType, activation, gradient
from kiloc.ir.verify import verify
from kiloc.ops.backward.svdf_gradient import SvdfInputGradient, narrowing_for
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.svdf import Svdf


def wide(r: Rng, dtype: str, *shape: int) -> np.ndarray:
    low, high = RANGES[dtype]
    kind = r.integers(3)
    values = r.integers(low, high + 1, shape) if kind else r.choice([low, high], shape)
    return values.astype(dtype)


def of_width(bits: int) -> Callable[[Rng], Case]:
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


def gradient_of_width(bits: int) -> Callable[[Rng], Case]:
    def gradient_case(r: Rng) -> Case:
        """Also where features are limited."""
        forward = of_width(bits)(r)
        assert isinstance(forward.op, Svdf)
        shape, operands = forward.results[0].shape, ("x", "weights", "time")
        types = {"g": gradient(shape, 1.0), **{o: forward.types[o] for o in operands}}
        data = {"g": codes(r, *shape), **{o: forward.arrays[o] for o in operands}}
        feature = forward.op.feature_multiplier(forward.node_types())
        op = SvdfInputGradient(forward.op.rank, feature, narrowing_for(data["weights"], data["time"]), shift=int(r.integers(0, 20)))
        return Case(op, types, data)

    return gradient_case


GENERATORS = {
    "svdf": (of_width(8), 40), "svdf_wide": (of_width(16), 40),
    "svdf_gradient": (gradient_of_width(8), 30), "svdf_wide_gradient": (gradient_of_width(16), 30),
}  # fmt: skip


def trained(m: Any, x: str, other: str) -> str:
    """Eight units of two filters, which have kept four features each."""
    depth, units, rank, memory = 60, 8, 2, 5
    x = m.op(both(m, x, other), "slice", Reshape((1, 2 * depth)), (1, 2 * depth))
    filters, half = units * rank, m.rng.integers
    state = TensorType((1, filters * memory), "int16", Quantization((f32(2e-4),)))
    scales = {"weights": Quantization((f32(0.004),)), "time": Quantization((f32(3e-5),))}
    w, time = half(-127, 128, (filters, 2 * depth)).astype(np.int8), half(-20000, 20000, (filters, memory)).astype(np.int16)
    bias = (m.rng.uniform(-0.5, 0.5, units) / (state.scale * scales["time"].per_tensor)).astype(np.int32)
    constants = {
        "weights": m.b.constant("svdf.weights", w, scales["weights"], "weights"),
        "time": m.b.constant("svdf.time", time, scales["time"], "time"),
        "bias": m.b.constant("svdf.bias", bias, None, "bias"),
        "state": m.b.stream("svdf.state", state, half(-5000, 5000, state.shape).astype(np.int16), "state"),
    }
    return str(m.op(x, "svdf", Svdf(rank), (1, units), 0.05, 0, **constants))


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
