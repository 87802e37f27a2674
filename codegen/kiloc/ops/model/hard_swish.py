"""HARD_SWISH, x clip(x + 3, 0, 6) / 6, int8 to int8 in 16-bit fixed point.

Source: TensorFlow Lite reference kernel. Steps of x are split in 128; x on the scale of the result, not yet shifted, times a factor in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.operator import register
from ...ir.types import TensorType
from ._lookup import CODES, Ints, Lookup, Slopes

HIGH, LOW = 2**15 - 1, -(2**15)


def _multiplier(real: float) -> tuple[int, int]:
    """(16-bit multiplier, shift)."""
    multiplier, shift = nm.quantize_multiplier(real)
    return min((multiplier + (1 << 15)) >> 16, HIGH), shift


def _rounded_product(a: Ints, b: int) -> Ints:
    """a b / 2^15, rounded: gemmlowp's SaturatingRoundingDoublingHighMul of int16."""
    product = a * b
    product = product + np.where(product >= 0, 1 << 14, 1 - (1 << 14))
    return np.minimum(np.where(product >= 0, product >> 15, -((-product) >> 15)), HIGH)


@register
@dataclass(frozen=True)
class HardSwish(Lookup):
    mnemonic: ClassVar[str] = "hard_swish"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"HARD_SWISH": 1}, "HardSwishOptions")
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("HardSwish",))

    def multipliers(self, x: TensorType, y: TensorType) -> tuple[tuple[int, int], tuple[int, int]]:
        """To steps of the result, and to 3 / 2^15."""
        fine = np.float32(1 / 128) * np.float32(x.scale)
        with np.errstate(over="ignore"):
            ratios = fine / np.float32(y.scale), fine / (np.float32(3) / np.float32(32768))
        return _multiplier(float(ratios[0])), _multiplier(float(ratios[1]))

    def refuses(self, x: TensorType, y: TensorType) -> str | None:
        (_, shift), (_, relu_shift) = self.multipliers(x, y)
        return "the scales lie further apart than TensorFlow Lite's kernel allows" if not -15 <= shift <= 0 or not -15 <= relu_shift <= 15 else None

    def codes(self, x: TensorType, y: TensorType) -> Ints:
        (multiplier, shift), (relu_multiplier, relu_shift) = self.multipliers(x, y)
        fine = (CODES - x.zero_point).astype(np.int64) * 128
        on_result = _rounded_product(fine, multiplier)
        factor = np.clip(fine << max(relu_shift - 1, 0), LOW, HIGH)
        factor = _rounded_product(factor, relu_multiplier)
        if relu_shift > 0:
            factor = np.clip(factor << 1, LOW, HIGH)
        factor = nm.divide_by_power(factor, max(-relu_shift, 0))
        product = ((factor + (1 << 15)) >> 1) * on_result
        truncated = np.where(product >= 0, product >> 15, -((-product) >> 15))
        return nm.divide_by_power(truncated, -shift) + y.zero_point

    def slope(self, x: Slopes) -> Slopes:
        inside = (x / 3 + 0.5) * ((x > -3) & (x < 3))
        return np.asarray(inside + (x >= 3))
