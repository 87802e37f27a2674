"""ABS: the distance from zero, requantised where the scales differ.

Source: TensorFlow Lite Micro; rounded twice.
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
class Abs(Lookup):
    mnemonic: ClassVar[str] = "abs"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"ABS": 2}, "AbsOptions")
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Abs",))

    def multiplier(self, x: TensorType, y: TensorType) -> tuple[int, int]:
        return nm.quantize_multiplier(float(np.float64(x.scale) / np.float64(y.scale)))

    def refuses(self, x: TensorType, y: TensorType) -> str | None:
        return far_apart(self.multiplier(x, y)[1])

    def codes(self, x: TensorType, y: TensorType) -> Ints:
        value = np.abs(CODES - x.zero_point)
        return np.asarray((value if x.scale == y.scale else nm.requantize(value, *self.multiplier(x, y))) + y.zero_point)

    def slope(self, x: Slopes) -> Slopes:
        return np.sign(x)
