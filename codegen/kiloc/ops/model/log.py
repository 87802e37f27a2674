"""LOG, by a table that LiteRT fills in float32. What is not positive has no logarithm: it gives the smallest code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.operator import register
from ...ir.types import TensorType
from ._lookup import Ints, Lookup, Slopes, looked_up


@register
@dataclass(frozen=True)
class Log(Lookup):
    mnemonic: ClassVar[str] = "log"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"LOG": 2})
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Log",))
    oracle: ClassVar[str] = "LiteRT BUILTIN_REF"

    def codes(self, x: TensorType, y: TensorType) -> Ints:
        smallest = np.float32(y.scale) * np.float32(-128 - y.zero_point)

        def logarithm(v: Slopes) -> Slopes:
            return np.where(v > 0, np.log(np.where(v > 0, v, 1).astype(np.float64)).astype(np.float32), smallest)

        return looked_up(logarithm, x, y)

    def slope(self, x: Slopes) -> Slopes:
        return np.where(x > 0, 1 / np.where(x > 0, x, 1.0), 0.0)
