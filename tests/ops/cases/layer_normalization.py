"""LayerNormalization and its gradient, against onnxruntime in `unit/test_onnx_patterns.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from kernel_driver import Case, coarser, codes, int8, pick, scale, zero_point

from cases._parts import Meaning, Rng, both
from cases.wide_layers import int16
from cases.wide_layers import wide as int16_of
from kiloc.ir.types import RANGES, Quantization, TensorType, activation, gradient
from kiloc.ops._normalization import epsilon_of
from kiloc.ops.model.layer_normalization import BETA_BITS, LayerNormalization, LayerNormalizationGradient


def constants(r: Rng, depth: int, unit: float) -> tuple[dict[str, TensorType], dict[str, Any]]:
    types = {
        "gamma": TensorType((depth,), "int16", Quantization((unit,))),
        "beta": TensorType((depth,), "int32", Quantization((unit / 2**BETA_BITS,))),
    }
    gamma = r.integers(-(2**15), 2**15, depth) if r.random() < 0.8 else np.full(depth, pick(r, -(2**15), 2**15 - 1))
    beta = r.integers(-(2**21), 2**21, depth) if r.random() < 0.8 else r.choice([-(2**31), 2**31 - 1], depth)
    return types, {"gamma": gamma.astype(np.int16), "beta": beta.astype(np.int32)}


def kernel_case(r: Rng, wide: bool = False) -> Case:
    """Rows of all lengths, with one code alone too, and epsilons that outweigh the variance."""
    depth, rows = pick(r, 1, 2, 3, 16, 65, 300, 2048), int(r.integers(1, 4))
    x = activation((1, rows, depth), scale(r, -10, -1), zero_point(r))
    values = coarser(int8(r, *x.shape), pick(r, 1, 1, 16, 128))
    if wide:
        x = int16_of(x.shape, scale(r, -16, -6))
        values = (int16(r, *x.shape) >> pick(r, 0, 0, 4, 8, 14)).astype(np.int16)
    if r.random() < 0.2:  # one value far from all others: the largest that there is
        values[:] = RANGES[x.dtype][0]
        values[..., 0] = RANGES[x.dtype][1]
    types, data = constants(r, depth, 2.0**-14)
    y = activation(x.shape, scale(r, -7, -3), zero_point(r))
    epsilon = pick(r, 1e-5, 1e-5, 1e-12, 0.0, 1.0, 100.0)
    op = LayerNormalization(depth, epsilon if epsilon_of(epsilon, depth, x.scale) else 1e-5)
    return Case(op, {"x": x, **types}, {"x": values, **data}, (y,))


def gradient_case(r: Rng, wide: bool = False) -> Case:
    forward = kernel_case(r, wide)
    shape = forward.types["x"].shape
    assert isinstance(forward.op, LayerNormalization)
    op = LayerNormalizationGradient(shape, forward.op.depth, forward.op.epsilon, shift=int(r.integers(0, 24)))
    types = {"g": gradient(shape, 1.0), "x": forward.types["x"], "gamma": forward.types["gamma"]}
    return Case(op, types, {"g": codes(r, *shape), "x": forward.arrays["x"], "gamma": forward.arrays["gamma"]})


GENERATORS = {
    "layer_normalization": (kernel_case, 40),
    "layer_normalization int16": (lambda r: kernel_case(r, True), 40),
    "layer_normalization_gradient": (gradient_case, 40),
    "layer_normalization_gradient int16": (lambda r: gradient_case(r, True), 40),
}


def trained(m: Any, x: str, other: str) -> str:
    """Rows of four channels."""
    y, depth, unit = both(m, x, other), 4, 2.0**-15
    given = {"gamma": m.rng.uniform(0.4, 0.9, depth) / unit, "beta": m.rng.uniform(-0.3, 0.3, depth) / unit * 2**BETA_BITS}
    types = {"gamma": ("int16", unit), "beta": ("int32", unit / 2**BETA_BITS)}
    found = {o: m.b.constant(f"norm.{o}", v.astype(types[o][0]), Quantization((types[o][1],)), o) for o, v in given.items()}
    return str(m.op(y, "norm", LayerNormalization(depth, 1e-3), m.type(y).shape, 0.02, 7, **found))


def real(op: LayerNormalization, x: Any, gamma: Any, beta: Any) -> Any:
    from jax import numpy

    rows = x.reshape(-1, op.depth)
    centred = rows - rows.mean(-1, keepdims=True)
    found = centred / numpy.sqrt((centred * centred).mean(-1, keepdims=True) + op.epsilon) * gamma.ravel() + beta.ravel()
    return found.reshape(x.shape)


JAX = {"layer_normalization": Meaning(real)}
