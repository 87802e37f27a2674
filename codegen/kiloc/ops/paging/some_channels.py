"""Some channels of a trained tensor where a layer runs on these alone, and of their gradient the way back to all: `passes/narrowed_training.py`.

A tensor is [outer, channels, block]: `chosen` are the channels that are taken. State and adapters have all channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from ...ir.kernel_call import Argument, Field, KernelCall, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import ELEMENT_BYTES, TensorType

MOST_CHANNELS = 2**15
"""Of a table of indices in 16 bits."""


@dataclass(frozen=True)
class SomeChannels(Op):
    """axis: of the whole tensor, which has `channels` there. chosen: ascending."""

    role: ClassVar[str] = "backward"

    axis: int = 0
    channels: int = 1
    chosen: tuple[int, ...] = (0,)

    def _fields(self, whole: TensorType, width: int) -> dict[str, Field]:
        return {
            "outer": prod(whole.shape[: self.axis]),
            "channels": self.channels,
            "count": len(self.chosen),
            "block": prod(whole.shape[self.axis + 1 :]) * width,
            "chosen": Table("chosen", "int16_t", np.array(self.chosen, np.int16)),
        }

    def _complaint(self, whole: TensorType) -> str | None:
        fits = self.axis < len(whole.shape) and whole.shape[self.axis] == self.channels <= MOST_CHANNELS
        ascending = all(a < b for a, b in zip((-1, *self.chosen), (*self.chosen, self.channels), strict=True))
        return None if fits and ascending else f"{whole} has no {len(self.chosen)} channels of {self.channels} along axis {self.axis}"


@register
@dataclass(frozen=True)
class TakeChannels(SomeChannels):
    """The chosen channels of a trained tensor, without a batch axis."""

    mnemonic: ClassVar[str] = "take_channels"

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        shape = list(t.type("x").shape)
        shape[self.axis] = len(self.chosen)
        return (TensorType(tuple(shape), t.type("x").dtype),)

    def check(self, t: NodeTypes) -> str | None:
        return self._complaint(t.type("x"))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return (np.ascontiguousarray(e.array("x").take(self.chosen, self.axis)),)

    evaluate_real = evaluate

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields = self._fields(t.type("x"), ELEMENT_BYTES[t.type("x").dtype])
        arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return KernelCall("kt_take_channels", "kt_some_channels_params", fields, arguments, source="kernels/parameter/some_channels.c")


@register
@dataclass(frozen=True)
class AddChannels(SomeChannels):
    """accumulator += part, a gradient of the chosen channels; that of the others is 0."""

    mnemonic: ClassVar[str] = "add_channels"
    operands: ClassVar[tuple[str, ...]] = ("part", "accumulator")

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return ()

    def check(self, t: NodeTypes) -> str | None:
        return self._complaint(t.type("accumulator"))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return ()

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        whole = np.array(e.array("accumulator"))
        np.moveaxis(whole, self.axis, 0)[list(self.chosen)] += np.moveaxis(e.array("part"), self.axis, 0)
        return {"accumulator": whole}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields, arguments = self._fields(t.type("accumulator"), 1), tuple(Argument(n.inputs[o]) for o in self.operands)
        return KernelCall("kt_add_channels", "kt_some_channels_params", fields, arguments, source="kernels/parameter/some_channels.c")
