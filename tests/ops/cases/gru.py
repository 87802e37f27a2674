"""GRU, against onnxruntime in `e2e/test_onnx_forms.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from kernel_driver import Case, int8, pick, scale, zero_point

from cases._parts import Rng, f32
from kiloc.ir.types import Quantization, TensorType, activation
from kiloc.ops._lstm import GATE_SCALE
from kiloc.ops.model.gru import Gru


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


GENERATORS = {"gru": (kernel_case, 60)}
