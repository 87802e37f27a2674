"""RSQRT, 1 / sqrt(x), int8 to int8 with an inverse square root of 31 bits.

Source: TensorFlow Lite Micro, which stops where x is negative; here such a code gives what zero gives, the largest one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.operator import register
from ...ir.types import TensorType
from .._fixed_point import inverse_square_root
from ._lookup import CODES, Ints, Lookup, Slopes

if TYPE_CHECKING:
    from ...export.onnx import OnnxWriter
    from ...ir.graph import Node

SHIFT = 20


@register
@dataclass(frozen=True)
class Rsqrt(Lookup):
    mnemonic: ClassVar[str] = "rsqrt"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"RSQRT": 2})
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(also=("Sqrt", "Reciprocal"))

    def multiplier(self, x: TensorType, y: TensorType) -> tuple[int, int]:
        return nm.quantize_multiplier(float(1 / (np.sqrt(np.float64(x.scale)) * np.float64(y.scale))))

    def codes(self, x: TensorType, y: TensorType) -> Ints:
        multiplier, shift = self.multiplier(x, y)
        found = np.full(256, 127, np.int64)
        for i, value in enumerate(CODES - x.zero_point):
            if value > 0:
                mantissa, exponent = inverse_square_root(int(value))
                root = nm.requantize(1, mantissa, exponent + SHIFT)
                found[i] = nm.requantize(root, multiplier, shift - SHIFT) + y.zero_point
        return found

    def slope(self, x: Slopes) -> Slopes:
        return np.where(x > 0, -0.5 * np.where(x > 0, x, 1.0) ** -1.5, 0.0)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        """Sqrt and Reciprocal, which are read as this operator."""
        x = w.operand(node)
        root = w.emit("Sqrt", [w.real(node, x, x)], f"{node.name}/root")
        w.result(node, w.emit("Reciprocal", [root], f"{node.name}/reciprocal"), w.order[x])
