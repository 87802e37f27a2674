"""SQRT in float32, cut to a whole number of steps, as LiteRT has it: it stops where x is negative; here such a code gives what zero gives.

Square roots of .onnx files are rounded: they are a `Function`.
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
class Sqrt(Lookup):
    mnemonic: ClassVar[str] = "sqrt"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"SQRT": 1})
    oracle: ClassVar[str] = "LiteRT BUILTIN_REF"

    def codes(self, x: TensorType, y: TensorType) -> Ints:
        root = np.sqrt(np.float32(x.scale) * np.maximum(CODES - x.zero_point, 0).astype(np.float32))
        steps = np.floor((root / np.float32(y.scale)).astype(np.float64))
        return np.asarray(np.minimum(steps, 2.0**30).astype(np.int64) + y.zero_point)

    def slope(self, x: Slopes) -> Slopes:
        return np.where(x > 0, 0.5 / np.sqrt(np.where(x > 0, x, 1.0)), 0.0)
