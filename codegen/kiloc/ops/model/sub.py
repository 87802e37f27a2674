"""SUB of two int8 tensors: both are brought to a common scale with 20 extra bits, subtracted, and requantised once.

Source: TensorFlow Lite 8-bit quantisation specification, section "SUB".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.operator import register
from ._sum import Sum


@register
@dataclass(frozen=True)
class Sub(Sum):
    mnemonic: ClassVar[str] = "sub"
    commutes: ClassVar[bool] = False
    sign: ClassVar[int] = -1
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"SUB": 2}, "SubOptions", ("FusedActivationFunction",))
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Sub",))
