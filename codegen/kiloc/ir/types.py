"""Tensor types: shape, element type and quantisation."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final

ELEMENT_BYTES: Final = {"int8": 1, "uint8": 1, "int16": 2, "int32": 4, "int64": 8, "float32": 4}
RANGES: Final = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-(2**15), 2**15 - 1), "int32": (-(2**31), 2**31 - 1)}
"""Least and greatest value of the element types of activations. Operators compute with int8 unless they say otherwise; inputs and results of
a model may have any of them."""


@dataclass(frozen=True)
class Quantization:
    """real = scale * (q - zero_point).

    scale: one value, or one per index of `axis`. Every scale is a float32 value held in a Python float.
    zero_point: always 0 for weights, biases and gradients, and for int32.
    """

    scale: tuple[float, ...]
    zero_point: int = 0
    axis: int | None = None

    @property
    def per_tensor(self) -> float:
        assert len(self.scale) == 1, "one scale expected"
        return self.scale[0]


@dataclass(frozen=True)
class TensorType:
    """Shape (activations carry a leading batch axis of 1), element type, quantisation.

    The scale of a gradient is relative: its real value is q * scale * 2^exponent, where the exponent is
    the one that the loss chose for the sample.
    """

    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.size * ELEMENT_BYTES[self.dtype]

    @property
    def scale(self) -> float:
        assert self.quantization is not None, "a quantised tensor expected"
        return self.quantization.per_tensor

    @property
    def zero_point(self) -> int:
        assert self.quantization is not None, "a quantised tensor expected"
        return self.quantization.zero_point

    @property
    def channel_scales(self) -> tuple[float, ...]:
        assert self.quantization is not None, "a quantised tensor expected"
        return self.quantization.scale


def activation(shape: tuple[int, ...], scale: float, zero_point: int) -> TensorType:
    """An int8 activation with one scale."""
    return TensorType(shape, "int8", Quantization((scale,), zero_point))


def gradient(shape: tuple[int, ...], scale: float) -> TensorType:
    """An int8 activation gradient; `scale` is relative to the exponent of the loss."""
    return TensorType(shape, "int8", Quantization((scale,), 0))


def scalar(dtype: str) -> TensorType:
    return TensorType((1,), dtype)
