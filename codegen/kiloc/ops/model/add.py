"""ADD of two int8 tensors.

Both are brought to a common scale with 20 extra bits, added, and requantised once.
Source: TensorFlow Lite 8-bit quantisation specification, section "ADD".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.operator import register
from ._sum import Sum


@register
@dataclass(frozen=True)
class Add(Sum):
    mnemonic: ClassVar[str] = "add"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"ADD": 2}, "AddOptions", ("FusedActivationFunction",))
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Add",))
