"""Fused activations as integer clamp ranges."""

from __future__ import annotations

import numpy as np

from ..ir.types import RANGES, TensorType

ACTIVATIONS = ("none", "relu", "relu6", "relu_n1_to_1")


def clamp_range(activation: str, y: TensorType) -> tuple[int, int]:
    """[low, high] of the int8 or int16 result (TensorFlow Lite's CalculateActivationRangeQuantized)."""

    def quantized(real: float) -> int:
        ratio = np.clip(np.float64(real) / np.float64(y.scale), -1e9, 1e9).astype(np.float32)
        return y.zero_point + int(np.floor(np.abs(ratio) + np.float32(0.5)) * np.sign(ratio))

    low, high = RANGES[y.dtype]
    if activation in ("relu", "relu6"):
        low = max(low, quantized(0.0))
    if activation == "relu6":
        high = min(high, quantized(6.0))
    if activation == "relu_n1_to_1":
        low, high = max(low, quantized(-1.0)), min(high, quantized(1.0))
    return low, high


def far_apart(*shifts: int) -> str | None:
    """Complaint about scales whose quotient no 32-bit sum survives, or None."""
    return f"the scales lie 2^{max(shifts)} apart" if max(shifts, default=0) > 30 else None
