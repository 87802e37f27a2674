"""ADD of two int8 tensors.

Both are brought to a common scale with 20 extra bits, added, and requantised once.
Source: TensorFlow Lite 8-bit quantisation specification, section "ADD".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.operator import register
from ._sum import Sum

if TYPE_CHECKING:
    from ...frontend.onnx_file import Operator as OnnxOperator
    from ...frontend.onnx_reader import OnnxReader
    from ...frontend.qdq import AnyValue


@register
@dataclass(frozen=True)
class Add(Sum):
    mnemonic: ClassVar[str] = "add"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"ADD": 2}, "AddOptions", ("FusedActivationFunction",))
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Add",))

    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> AnyValue:
        """A constant operand is the bias of the layer in front."""
        return r.with_constant_operand(op) or r.elementwise(op, cls)
