"""A global average pool of an image that comes in stripes of rows: the sums of its channels, and their means at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.stripe import Rows, Stripe
from ...ir.types import TensorType
from ..update._update import pointers


@register
@dataclass(frozen=True)
class ChannelSums(Op):
    """Of each channel of x the sum of its codes, added to `sums`: int32 [1, C]."""

    mnemonic: ClassVar[str] = "channel_sums"
    optional: ClassVar[tuple[str, ...]] = ("sums",)
    in_place: ClassVar[str | None] = "sums"
    folds: ClassVar[str] = "sums"

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (TensorType((1, t.type("x").shape[-1]), "int32"),)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        x = e.wide("x")
        total = x.reshape(len(x), -1, x.shape[-1]).sum(1)
        return ((total + (e.wide("sums") if e.has("sums") else 0)).astype(np.int32),)

    def height(self, t: NodeTypes) -> int:
        return t.type("x").shape[1] if len(t.type("x").shape) == 4 else 0

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        return Stripe(self, {"x": (rows, self.height(t))})

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        channels = t.type("x").shape[-1]
        fields: dict[str, Field] = {"positions": t.type("x").size // channels, "channels": channels}
        arguments = (*pointers(n, "x", "sums"), Argument(n.outputs[0]))
        return KernelCall("kt_channel_sums_s8", "kt_channel_sums_params", fields, arguments, source="kernels/pool/channel_sums.c")


@register
@dataclass(frozen=True)
class AverageOfSums(Op):
    """sums / count as AVERAGE_POOL_2D rounds them, limited to `clamp`: the result of a pool over the whole image."""

    mnemonic: ClassVar[str] = "average_of_sums"
    operands: ClassVar[tuple[str, ...]] = ("sums",)

    count: int = 1
    clamp: tuple[int, int] = (-128, 127)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        total = e.wide("sums")
        magnitude = (np.abs(total) + self.count // 2) // self.count
        y = np.clip(np.where(total > 0, magnitude, -magnitude), *self.clamp)
        return (y.astype(np.int8).reshape(-1, *e.result().shape[1:]),)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {"channels": t.type("sums").size, "count": self.count, "clamp": self.clamp}
        arguments = (Argument(n.inputs["sums"]), Argument(n.outputs[0]))
        return KernelCall("kt_average_of_sums", "kt_average_of_sums_params", fields, arguments, source="kernels/pool/channel_sums.c")
