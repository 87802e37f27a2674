"""MINIMUM of two int8 tensors of one scale: the smaller of two codes.

Source: TensorFlow Lite Micro compares the codes as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.operator import Array, NodeTypes, register
from ._choice import Choice


@register
@dataclass(frozen=True)
class Minimum(Choice):
    mnemonic: ClassVar[str] = "minimum"
    sign: ClassVar[int] = -1
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"MINIMUM": 2}, "MaximumMinimumOptions")
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Min",))

    def compute(self, t: NodeTypes, x: Array, other: Array) -> Array:
        return np.asarray(np.minimum(x, other) + t.result().zero_point)
