"""A trained bias, gain or LoRA's B as its layer reads it: some channels keep within bounds, so that the layer has a fast kernel:
`passes/bounded_biases.py`.

    y[c] = clip(x[c], low[i], high[i]) where c is chosen[i], else x[c]; of B, each of the values of a channel

What is held has no gradient, so that updates leave it where it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...ir.kernel_call import Argument, Field, KernelCall, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType
from .some_channels import MOST_CHANNELS

SYMBOLS = {"int32": "kt_bound_channels_s32", "int8": "kt_bound_channels_s8"}


@register
@dataclass(frozen=True)
class BoundedChannels(Op):
    """x: int32 or int8 [channels], or int8 [channels, rank]. chosen: ascending. low, high: of each of them; of a channel that is held they are the
    same."""

    mnemonic: ClassVar[str] = "bounded_channels"

    chosen: tuple[int, ...] = (0,)
    low: tuple[int, ...] = (0,)
    high: tuple[int, ...] = (0,)

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (TensorType(t.type("x").shape, t.type("x").dtype),)

    def check(self, t: NodeTypes) -> str | None:
        x = t.type("x")
        if x.dtype not in SYMBOLS or len(x.shape) > 1 + (x.dtype == "int8") or x.shape[0] > MOST_CHANNELS:
            return f"{x} is no bias, gain or B"
        ascending = all(a < b for a, b in zip((-1, *self.chosen), (*self.chosen, x.shape[0]), strict=True))
        ordered = len(self.chosen) == len(self.low) == len(self.high) and all(a <= b for a, b in zip(self.low, self.high, strict=True))
        return None if ascending and ordered else f"has no bounds for channels of {x}"

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return (self.bounded(e.array("x")),)

    evaluate_real = evaluate

    def bounded(self, values: Array) -> Array:
        """Those of all channels, in a copy."""
        y, chosen = values.copy(), list(self.chosen)
        low, high = (np.reshape(end, (-1, *(1,) * (values.ndim - 1))) for end in (self.low, self.high))
        y[chosen] = np.clip(values[chosen], low, high)
        return y

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        x = t.type("x")
        fields: dict[str, Field] = {
            "channels": x.shape[0],
            "values": x.size // x.shape[0],
            "count": len(self.chosen),
            "chosen": Table("chosen", "int16_t", np.array(self.chosen, np.int16)),
            "low": Table("low", "int32_t", np.array(self.low, np.int32)),
            "high": Table("high", "int32_t", np.array(self.high, np.int32)),
        }
        arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return KernelCall(SYMBOLS[x.dtype], "kt_bounded_channels_params", fields, arguments, source="kernels/parameter/bounded_channels.c")


@register
@dataclass(frozen=True)
class ClearChannels(Op):
    """accumulator[c] = 0 for the chosen channels, ascending: those that are held. Of LoRA's B, all values of a channel."""

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "clear_channels"
    operands: ClassVar[tuple[str, ...]] = ("accumulator",)

    chosen: tuple[int, ...] = (0,)

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return ()

    def check(self, t: NodeTypes) -> str | None:
        whole = t.type("accumulator")
        ascending = all(a < b for a, b in zip((-1, *self.chosen), (*self.chosen, whole.shape[0]), strict=True))
        return None if ascending and len(whole.shape) <= 2 and whole.shape[0] <= MOST_CHANNELS else f"{whole} has no such channels"

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return ()

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        cleared = np.array(e.array("accumulator"))
        cleared[list(self.chosen)] = 0
        return {"accumulator": cleared}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        whole = t.type("accumulator")
        fields: dict[str, Field] = {
            "values": whole.size // whole.shape[0],
            "count": len(self.chosen),
            "chosen": Table("chosen", "int16_t", np.array(self.chosen, np.int16)),
        }
        arguments = (Argument(n.inputs["accumulator"]),)
        return KernelCall("kt_clear_channels", "kt_clear_channels_params", fields, arguments, source="kernels/parameter/bounded_channels.c")
