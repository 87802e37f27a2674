"""NEG, which LiteRT does to the codes whatever their scales are: with zero points of 0 and one scale it is the negative, of -128 itself.

Negatives of .onnx files take any scales and saturate: they are a `Function`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...ir.binding import TFLiteBinding
from ...ir.operator import register
from ...ir.types import TensorType
from ._lookup import CODES, Ints, Lookup, Slopes


@register
@dataclass(frozen=True)
class Neg(Lookup):
    mnemonic: ClassVar[str] = "neg"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"NEG": 1}, "NegOptions")
    oracle: ClassVar[str] = "LiteRT BUILTIN_REF"

    def refuses(self, x: TensorType, y: TensorType) -> str | None:
        if x.quantization != y.quantization or x.zero_point != 0:
            return "turns the sign of codes, which are not the numbers that they stand for with a zero point or another scale"
        return None

    def codes(self, x: TensorType, y: TensorType) -> Ints:
        return np.where(CODES == -128, -128, -CODES)

    def slope(self, x: Slopes) -> Slopes:
        return np.full_like(x, -1.0)
