"""LOGISTIC, 1 / (1 + exp(-x)), int8 to int8 in gemmlowp fixed point with 4 integer bits.

Source: TensorFlow Lite Micro; the result has scale 1/256 and zero point -128.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.operator import register
from ...ir.types import Quantization, TensorType
from .. import _fixed_point
from ._lookup import Ints, Lookup, Slopes
from ._saturating import INTEGER_BITS, saturating, too_coarse


@register
@dataclass(frozen=True)
class Logistic(Lookup):
    mnemonic: ClassVar[str] = "logistic"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"LOGISTIC": 2})
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Sigmoid",))
    fixed: ClassVar[Quantization | None] = Quantization((1 / 256,), -128)

    def refuses(self, x: TensorType, y: TensorType) -> str | None:
        return too_coarse(x)

    def codes(self, x: TensorType, y: TensorType) -> Ints:
        return saturating(x, lambda a: _fixed_point.logistic(a, INTEGER_BITS), 8, -128)

    def slope(self, x: Slopes) -> Slopes:
        p = 1 / (1 + np.exp(-x))
        return np.asarray(p * (1 - p))
