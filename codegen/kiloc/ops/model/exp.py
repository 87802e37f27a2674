"""EXP, by a table that LiteRT fills in float32."""

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
class Exp(Lookup):
    mnemonic: ClassVar[str] = "exp"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"EXP": 2}, "ExpOptions")
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Exp",))
    oracle: ClassVar[str] = "LiteRT BUILTIN_REF"

    def codes(self, x: TensorType, y: TensorType) -> Ints:
        with np.errstate(over="ignore"):
            return looked_up(lambda v: np.exp(v.astype(np.float64)), x, y)

    def slope(self, x: Slopes) -> Slopes:
        return np.exp(x)
