"""LEAKY_RELU: x, or alpha x where x is negative, each requantised with a multiplier of its own.

Source: TensorFlow Lite reference kernel; rounded twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.operator import register
from ...ir.types import TensorType
from .._activation import far_apart
from ._lookup import CODES, Ints, Lookup, Slopes


@register
@dataclass(frozen=True)
class LeakyRelu(Lookup):
    mnemonic: ClassVar[str] = "leaky_relu"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"LEAKY_RELU": 2}, "LeakyReluOptions", ("Alpha",))
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("LeakyRelu",))

    alpha: float = 0.01

    def multipliers(self, x: TensorType, y: TensorType) -> tuple[tuple[int, int], tuple[int, int]]:
        """Of values from zero on, and of negative ones: quotients in float64, as TensorFlow Lite Micro takes them."""
        scale, result = np.float64(x.scale), np.float64(y.scale)
        multiplier, shift = nm.quantize_multiplier(float(scale * np.float64(np.float32(abs(self.alpha))) / result))
        return nm.quantize_multiplier(float(scale / result)), (int(np.sign(self.alpha)) * multiplier, shift)

    def refuses(self, x: TensorType, y: TensorType) -> str | None:
        if not np.isfinite(self.alpha):
            return f"alpha is {self.alpha}"
        return far_apart(*(shift for _, shift in self.multipliers(x, y)))

    def codes(self, x: TensorType, y: TensorType) -> Ints:
        value = CODES - x.zero_point
        same, slow = (nm.requantize(value, *m) for m in self.multipliers(x, y))
        return np.where(value >= 0, same, slow) + y.zero_point

    def slope(self, x: Slopes) -> Slopes:
        return np.where(x >= 0, 1.0, self.alpha)
