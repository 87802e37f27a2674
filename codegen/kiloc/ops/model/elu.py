"""ELU: x, or exp(x) - 1 where x is negative, by a table that TensorFlow Lite fills in float32."""

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
class Elu(Lookup):
    mnemonic: ClassVar[str] = "elu"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"ELU": 1})
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Elu",))

    def codes(self, x: TensorType, y: TensorType) -> Ints:
        return looked_up(lambda v: np.where(v < 0, np.exp(np.minimum(v, 0).astype(np.float64)).astype(np.float32) - np.float32(1), v), x, y)

    def slope(self, x: Slopes) -> Slopes:
        return np.where(x < 0, np.exp(np.minimum(x, 0)), 1.0)
