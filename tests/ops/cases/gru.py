"""GRU, against onnxruntime in `e2e/test_onnx_forms.py`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from kernel_driver import Case, codes, int8, pick, scale, zero_point

from cases._parts import Rng, both, f32
from kiloc.ir.types import Quantization, TensorType, activation, gradient
from kiloc.ops._lstm import GATE_SCALE
from kiloc.ops.backward._through_time import room_for
from kiloc.ops.backward.gru_gradient import GruGradient
from kiloc.ops.model.gru import Gru
from kiloc.ops.model.reshape import Reshape


def gate_scales(r: Rng, units: int) -> Quantization:
    return Quantization(tuple(np.repeat([scale(r, -10, -3) for _ in range(3)], units).tolist()), 0, 0)


def arrays(r: Rng, depth: int, units: int) -> dict[str, Any]:
    bias = r.integers(-(2**13), 2**13, 3 * units) if r.random() < 0.8 else r.choice([-(2**31), 2**31 - 1], 3 * units)
    inner = r.integers(-(2**13), 2**13, units) if r.random() < 0.8 else r.choice([-(2**31), 2**31 - 1], units)
    constants = {"bias": bias.astype(np.int32), "inner": inner.astype(np.int32)}
    return {"weights": int8(r, 3 * units, depth), "recurrent": int8(r, 3 * units, units), **constants}


def types(r: Rng, x: TensorType, depth: int, units: int) -> dict[str, TensorType]:
    return {
        "x": x,
        "weights": TensorType((3 * units, depth), "int8", gate_scales(r, units)),
        "recurrent": TensorType((3 * units, units), "int8", gate_scales(r, units)),
        "bias": TensorType((3 * units,), "int32"),
        "inner": TensorType((units,), "int32", Quantization((GATE_SCALE,))),
    }


def kernel_case(r: Rng) -> Case:
    steps, depth, units = int(r.integers(1, 6)), int(r.integers(1, 12)), int(r.integers(1, 9))
    x = activation((1, steps, depth), scale(r, -8, 0), zero_point(r))
    y = activation((1, steps, units), pick(r, 1 / 128, f32(0.0078), f32(1e-3), 0.5), zero_point(r))
    return Case(Gru(), types(r, x, depth, units), {"x": int8(r, *x.shape), **arrays(r, depth, units)}, (y,))


def next_case(r: Rng) -> Case:
    """One step that goes on from a state."""
    depth, units = int(r.integers(1, 12)), int(r.integers(1, 9))
    x, y = activation((1, 1, depth), scale(r, -8, 0), zero_point(r)), activation((1, 1, units), pick(r, 1 / 128, f32(1e-3), 0.5), zero_point(r))
    kept = {"hidden": activation((1, units), y.scale, y.zero_point), "state": TensorType((1, units), "int16", Quantization((2.0**-15,)))}
    data = {"hidden": int8(r, 1, units), "state": r.integers(-(2**15), 2**15, (1, units)).astype(np.int16)}
    return Case(Gru(), {**types(r, x, depth, units), **kept}, {"x": int8(r, *x.shape), **arrays(r, depth, units), **data}, (y,))


def with_lora(r: Rng, case: Case) -> Case:
    """The same with LoRA beside the weights of the input."""
    steps, rank, rows = case.types["x"].shape[1], int(r.integers(1, 6)), case.types["weights"].shape[0]
    shapes = {"lora_u": (1, steps, rank), "lora_b": (rows, rank), "lora_b_exponent": (1,), "lora_range": (1,)}
    data = {"lora_u": codes(r, 1, steps, rank), "lora_b": codes(r, rows, rank)}
    data |= {o: r.integers(-16, 4, 1).astype(np.int8) for o in ("lora_b_exponent", "lora_range")}
    added = {o: TensorType(shape, "int8") for o, shape in shapes.items()}
    return replace(case, op=replace(case.op, lora_scale=pick(r, 1.0, 0.5, 3.0)), types={**case.types, **added}, arrays={**case.arrays, **data})


def gradient_case(r: Rng, lora: bool = False) -> Case:
    """On the result that the operator gives: its rows are what the products read."""
    forward = with_lora(r, kernel_case(r)) if lora else kernel_case(r)
    y, shape = forward.results[0], forward.results[0].shape
    types = {"g": gradient(shape, 1.0), "y": y, **forward.types}
    data = {"g": codes(r, *shape), "y": forward.expected()["result 0"], **forward.arrays}
    every = int(r.integers(0, shape[1] + 1))
    scale = getattr(forward.op, "lora_scale", 1.0)
    return Case(GruGradient(room_for(data["recurrent"]), every, scale, shift=int(r.integers(4, 18))), types, data)


GENERATORS = {
    "gru": (kernel_case, 30), "gru next": (next_case, 20), "gru_gradient": (gradient_case, 30),
    "gru with lora": (lambda r: with_lora(r, kernel_case(r)), 30), "gru next with lora": (lambda r: with_lora(r, next_case(r)), 20),
    "gru_gradient with lora": (lambda r: gradient_case(r, True), 30),
}  # fmt: skip


def trained(m: Any, x: str, other: str, steps: int = 6) -> str:
    """Steps over 120 values."""
    depth, units = 120 // steps, 5
    x = m.op(both(m, x, other), "sequence", Reshape((1, steps, depth)), (1, steps, depth))
    constants = {}
    for operand, width, size in (("weights", depth, 0.9), ("recurrent", units, 2.0)):
        scales = np.repeat(size * 1.7 / 127 / width**0.5 * 2.0 ** m.rng.uniform(-1, 0.5, 3), units)
        codes = m.rng.integers(-127, 128, (3 * units, width)).astype(np.int8)
        constants[operand] = m.b.constant(f"gru.{operand}", codes, Quantization(tuple(map(f32, scales)), 0, 0), operand)
        if operand == "weights":
            bias = (m.rng.uniform(-0.5, 0.5, 3 * units) / (m.type(x).scale * scales)).astype(np.int32)
            constants["bias"] = m.b.constant("gru.bias", bias, None, "bias")
    inner = (m.rng.uniform(-0.5, 0.5, units) / GATE_SCALE).astype(np.int32)
    constants["inner"] = m.b.constant("gru.inner", inner, Quantization((GATE_SCALE,)), "inner")
    return str(m.op(x, "gru", Gru(), (1, steps, units), 1 / 128, 0, **constants))
