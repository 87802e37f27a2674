"""The gradient of LoRA's inner tensor in stripes of rows: its largest sum first, over all stripes, then the rows with the power of two of it.

Both together are `LoRAInnerGradient`, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.stripe import Rows, Stripe
from ...ir.types import TensorType, gradient, scalar
from .._sums import exact_matmul
from ..update._update import pointers
from ._gradient import batch
from .gradient_mask import image_height


def _sums(e: Environment) -> Array:
    return exact_matmul(batch(e, "g", -1, e.type("lora_b").shape[0]), e.array("lora_b"))


def _call(symbol: str, t: NodeTypes, arguments: tuple[Argument | str, ...]) -> KernelCall:
    channels, rank = t.type("lora_b").shape
    fields: dict[str, Field] = {"positions": t.type("g").size // channels, "channels": channels, "rank": rank}
    return KernelCall(symbol, "kt_lora_inner_gradient_params", fields, arguments, source="kernels/lora/lora_inner_rows.c")


@dataclass(frozen=True)
class _InnerSums(Op):
    """What computes the sums of B^T g for rows of g."""

    def macs(self, t: NodeTypes) -> int:
        return t.type("g").size * t.type("lora_b").shape[1]

    def height(self, t: NodeTypes) -> int:
        return image_height(t.type("g"))

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        return Stripe(self, {"g": (rows, self.height(t))})


@register
@dataclass(frozen=True)
class LoRAInnerPeak(_InnerSums):
    """The largest |sum_c B[c, j] g[p, c]|, or `peak` where that is larger: int32."""

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "lora_inner_peak"
    operands: ClassVar[tuple[str, ...]] = ("g", "lora_b")
    optional: ClassVar[tuple[str, ...]] = ("peak",)
    in_place: ClassVar[str | None] = "peak"
    folds: ClassVar[str] = "peak"

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (scalar("int32"),)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        total = np.abs(_sums(e))
        peak = total.reshape(len(total), -1).max(1)
        return (np.maximum(peak, e.wide("peak") if e.has("peak") else 0).astype(np.int32),)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        return _call("kt_lora_inner_peak", t, (*pointers(n, "g", "lora_b", "peak"), Argument(n.outputs[0])))


@register
@dataclass(frozen=True)
class LoRAInnerRows(_InnerSums):
    """du, rounded with the power of two of the largest sum."""

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "lora_inner_rows"
    operands: ClassVar[tuple[str, ...]] = ("g", "lora_b", "peak")

    lora_scale: float = 1.0

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        channels, rank = t.type("lora_b").shape
        return (gradient((1, t.type("g").size // channels, rank), t.type("g").scale * self.lora_scale),)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        shift = np.maximum(nm.bit_length(e.wide("peak")) - 7, 0).reshape(-1, 1, 1)
        return (nm.saturate8(nm.shift_round(_sums(e), shift)).astype(np.int8),)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        return _call("kt_lora_inner_rows_s8", t, (*pointers(n, "g", "lora_b", "peak"), Argument(n.outputs[0])))


@register
@dataclass(frozen=True)
class LoRAInnerExponent(Op):
    """The exponent of du: min(B's + the power of two of the largest sum, 127)."""

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "lora_inner_exponent"
    operands: ClassVar[tuple[str, ...]] = ("peak", "lora_b_exponent")

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (scalar("int8"),)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        shift = np.maximum(nm.bit_length(e.wide("peak")) - 7, 0)
        return (np.minimum(e.wide("lora_b_exponent") + shift, 127).astype(np.int8),)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        arguments = (*pointers(n, "peak", "lora_b_exponent"), Argument(n.outputs[0]))
        return KernelCall("kt_lora_inner_exponent", "", {}, arguments, source="kernels/lora/lora_inner_rows.c")
