"""TANH, int8 to int8 in gemmlowp fixed point with 4 integer bits.

Source: TensorFlow Lite Micro; the result has scale 1/128 and zero point 0.
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
class Tanh(Lookup):
    mnemonic: ClassVar[str] = "tanh"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"TANH": 2})
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Tanh",))
    fixed: ClassVar[Quantization | None] = Quantization((1 / 128,), 0)

    def refuses(self, x: TensorType, y: TensorType) -> str | None:
        return too_coarse(x)

    def codes(self, x: TensorType, y: TensorType) -> Ints:
        return saturating(x, lambda a: _fixed_point.tanh(a, INTEGER_BITS), 7, 0)

    def slope(self, x: Slopes) -> Slopes:
        return np.asarray(1 - np.tanh(x) ** 2)
