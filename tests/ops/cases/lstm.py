"""UNIDIRECTIONAL_SEQUENCE_LSTM and its gradient through time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from kernel_driver import Case, codes, int8, pick, scale, zero_point

from cases._parts import Make, Rng, both, f32
from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph
from kiloc.ir.types import Quantization, TensorType, activation, gradient
from kiloc.ir.verify import verify
from kiloc.ops._lstm import DELTAS, Memory
from kiloc.ops.backward._through_time import room_for
from kiloc.ops.backward.lstm_gradient import LstmGradient
from kiloc.ops.model.lstm import Lstm
from kiloc.ops.model.reshape import Reshape


def gate_scales(r: Rng, units: int, low: float, high: float) -> Quantization:
    return Quantization(tuple(np.repeat([scale(r, low, high) for _ in range(4)], units).tolist()), 0, 0)


def arrays(r: Rng, depth: int, units: int) -> dict[str, Any]:
    bias = r.integers(-(2**13), 2**13, 4 * units) if r.random() < 0.8 else r.choice([-(2**31), 2**31 - 1], 4 * units)
    return {"weights": int8(r, 4 * units, depth), "recurrent": int8(r, 4 * units, units), "bias": bias.astype(np.int32)}


def operator(r: Rng) -> Lstm:
    return Lstm(Memory(pick(r, -12, -12, -11, -9, -15, 0), pick(r, 0, 0, 0, 9000)))


def kernel_case(r: Rng) -> Case:
    steps, depth, units = int(r.integers(1, 6)), int(r.integers(1, 12)), int(r.integers(1, 9))
    op, x = operator(r), activation((1, steps, depth), scale(r, -8, 0), zero_point(r))
    y = activation((1, steps, units), pick(r, 1 / 128, f32(0.0078), f32(1e-3), 0.5), zero_point(r))
    data = {"x": int8(r, *x.shape), **arrays(r, depth, units)}
    types = {
        "x": x,
        "weights": TensorType((4 * units, depth), "int8", gate_scales(r, units, -10, -3)),
        "recurrent": TensorType((4 * units, units), "int8", gate_scales(r, units, -10, -3)),
        "bias": TensorType((4 * units,), "int32"),
    }
    if r.random() < 0.6:
        types |= {
            "hidden": TensorType((1, units), "int8", y.quantization),
            "cell": TensorType((1, units), "int16", Quantization((2.0**op.memory.cell_power,))),
        }
        cell = r.integers(-(2**15), 2**15, (1, units))
        data |= {"hidden": int8(r, 1, units), "cell": cell.astype(np.int16)}
    return Case(op, types, data, (y,))


def delta_case(r: Rng) -> Case:
    """With deltas of all channels, or of some."""
    case = kernel_case(r)
    channels = case.types["recurrent"].shape[0]
    chosen = np.sort(r.permutation(channels)[: int(r.integers(1, channels + 1))]) if r.random() < 0.5 else np.arange(channels)
    types, data = dict(case.types), dict(case.arrays)
    for operand, delta in DELTAS.items():
        shape = (len(chosen), case.types[operand].shape[1])
        types |= {delta: TensorType(shape, "int8"), f"{delta}_exponent": TensorType((1,), "int8")}
        data |= {delta: codes(r, *shape), f"{delta}_exponent": np.array([r.integers(-24, 3)], np.int8)}
    if len(chosen) < channels:
        rows = np.full(channels, -1, np.int16)
        rows[chosen] = np.arange(len(chosen))
        types["delta_rows"], data["delta_rows"] = TensorType((channels,), "int16"), rows
    return replace(case, types=types, arrays=data)


def delta_gradient_case(r: Rng) -> Case:
    return gradient_case(r, delta_case)


def gradient_case(r: Rng, make: Callable[[Rng], Case] = kernel_case) -> Case:
    """On the result that the operator gives: its rows are the hidden states."""
    while True:
        forward = make(r)
        if "hidden" not in forward.types:
            break
    assert isinstance(forward.op, Lstm)
    y, shape = forward.results[0], forward.results[0].shape
    types = {"g": gradient(shape, 1.0), "y": y, **forward.types}
    data = {"g": codes(r, *shape), "y": forward.expected()["result 0"], **forward.arrays}
    op = LstmGradient(forward.op.memory, room_for(data["recurrent"]), int(r.integers(0, shape[1] + 1)), shift=int(r.integers(4, 18)))
    return Case(op, types, data)


GENERATORS = {
    "lstm": (kernel_case, 60), "lstm_gradient": (gradient_case, 60), "lstm_delta": (delta_case, 30), "lstm_delta_gradient": (delta_gradient_case, 40),
}  # fmt: skip


def trained(m: Any, x: str, other: str) -> str:
    """Six steps of twenty values."""
    steps, depth, units = 6, 20, 5
    x = m.op(both(m, x, other), "sequence", Reshape((1, steps, depth)), (1, steps, depth))
    constants = {}
    for operand, width, size in (("weights", depth, 0.9), ("recurrent", units, 3.0)):
        scales = np.repeat(size * 1.7 / 127 / width**0.5 * 2.0 ** m.rng.uniform(-1, 0.5, 4), units)
        codes = m.rng.integers(-127, 128, (4 * units, width)).astype(np.int8)
        constants[operand] = m.b.constant(f"lstm.{operand}", codes, Quantization(tuple(map(f32, scales)), 0, 0), operand)
        if operand == "weights":
            bias = (m.rng.uniform(-0.5, 0.5, 4 * units) / (m.type(x).scale * scales)).astype(np.int32)
            constants["bias"] = m.b.constant("lstm.bias", bias, None, "bias")
    return str(m.op(x, "lstm", Lstm(Memory()), (1, steps, units), 1 / 128, 0, **constants))


def graph(steps: int, depth: int, units: int, act: tuple[float, int], power: int, clip: int, weight: float) -> Make:
    def make(rng: Rng) -> Graph:
        b = GraphBuilder("case", "case.tflite")
        y = activation((1, steps, units), f32(act[0]), act[1])
        inputs = {"x": b.input(activation((1, steps, depth), f32(0.02), -7), "x")}
        for operand, data in arrays(rng, depth, units).items():
            scales = Quantization(tuple(np.repeat([f32(weight * s) for s in (1.0, 0.7, 1.4, 0.3)], units).tolist()), 0, 0)
            bias = operand == "bias"
            data = rng.integers(-(2**11), 2**11, 4 * units).astype(np.int32) if bias else data
            inputs[operand] = b.constant(f"layer.{operand}", data, None if bias else scales, operand)
        hidden, cell = TensorType((1, units), "int8", y.quantization), TensorType((1, units), "int16", Quantization((2.0**power,)))
        inputs["hidden"] = b.stream("layer.hidden", hidden, np.full((1, units), y.zero_point, np.int8), "hidden")
        inputs["cell"] = b.stream("layer.cell", cell, np.zeros((1, units), np.int16), "cell")
        return verify(b.finish([b.node("layer", Lstm(Memory(power, clip)), inputs, y, "layer")]))

    return make


def graphs() -> Iterator[tuple[str, Make]]:
    for number, (steps, depth, units) in enumerate(((1, 3, 2), (5, 4, 6), (20, 8, 3), (3, 1, 16), (12, 28, 20))):
        for power in (-12, -11, -9, -15):
            act = ((1 / 128, 0), (0.0078, -1), (0.004, -128), (0.02, 90))[(number + power) % 4]
            yield f"lstm-{steps}-{depth}-{units}-{power}", graph(steps, depth, units, act, power, 0, 0.006)
    yield "lstm-clip", graph(9, 5, 4, (0.0078, 3), -11, 1500, 0.02)
    yield "lstm-steep", graph(9, 5, 4, (0.0078, 3), -10, 0, 0.5)
    yield "lstm-flat", graph(9, 5, 4, (0.0001, -5), -12, 0, 0.00005)
