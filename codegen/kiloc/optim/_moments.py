"""State values of moments, in float32 or in blocks of 8-bit codes."""

from __future__ import annotations

import numpy as np

from ..ir.graph import Value
from ..ir.types import TensorType
from ..ops.update._moments import blocks


def linear_moment(name: str, shape: tuple[int, ...], bits: int) -> list[Value]:
    """A signed moment that starts at 0."""
    return _moment(name, shape, "float32") if bits == 32 else _moment(name, shape, "int8")


def root_moment(name: str, shape: tuple[int, ...], bits: int) -> list[Value]:
    """A moment >= 0 that starts at 0."""
    return _moment(name, shape, "float32") if bits == 32 else _moment(name, shape, "uint8")


def _moment(name: str, shape: tuple[int, ...], dtype: str) -> list[Value]:
    values = [Value(name, TensorType(shape, dtype), "optimizer", np.zeros(shape, dtype))]
    if dtype != "float32":
        scales = (blocks(int(np.prod(shape))),)
        values.append(Value(f"{name}_scale", TensorType(scales, "float32"), "optimizer", np.zeros(scales, np.float32)))
    return values
