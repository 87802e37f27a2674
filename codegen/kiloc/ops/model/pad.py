"""PAD and PADV2 of an NHWC tensor in height and width, with a constant (by default the zero point)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.reach import Reach
from ...ir.types import TensorType, gradient

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...ir.graph import Node

Border = tuple[int, int, int, int]


@register
@dataclass(frozen=True)
class Pad(Op):
    """pad: (top, left, bottom, right); value: the int8 that fills the border."""

    mnemonic: ClassVar[str] = "pad"

    pad: Border = (0, 0, 0, 0)
    value: int = 0

    def check(self, t: NodeTypes) -> str | None:
        n, h, w, c = t.type("x").shape
        expected = (n, h + self.pad[0] + self.pad[2], w + self.pad[1] + self.pad[3], c)
        return None if t.result().shape == expected else f"result is {t.result().shape}, expected {expected}"

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        top, left, bottom, right = self.pad
        return (np.pad(e.array("x"), ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=self.value),)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        return {"x": b.add(PadGradient(self.pad), {"g": dy}, f"{node.name}.dx")[0]}

    def reach(self, t: NodeTypes) -> tuple[str, Reach]:
        (_, height, width, channels), line = t.type("x").shape, t.result().shape[2] * t.type("x").shape[3]
        source = np.arange(t.result().shape[1]) - self.pad[0]
        inside = (source >= 0) & (source < height)
        first = np.where(inside, source, height) * (width * channels)
        return "x", Reach(first, np.where(inside, source + 1, 0) * (width * channels), line)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {"input": t.type("x").shape[1:], "output": t.result().shape[1:], "pad": self.pad[:2], "value": self.value}
        return KernelCall("kt_pad_s8", "kt_pad_params", fields, (Argument(n.inputs["x"]), Argument(n.outputs[0])), source="kernels/layout/pad.c")


@register
@dataclass(frozen=True)
class PadGradient(Op):
    """g without the border."""

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "pad_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g",)

    pad: Border = (0, 0, 0, 0)

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        n, h, w, c = t.type("g").shape
        return (gradient((n, h - self.pad[0] - self.pad[2], w - self.pad[1] - self.pad[3], c), t.type("g").scale),)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        top, left, bottom, right = self.pad
        g = e.array("g")
        return (g[:, top : g.shape[1] - bottom, left : g.shape[2] - right],)

    evaluate_real = evaluate

    def reach(self, t: NodeTypes) -> tuple[str, Reach]:
        (_, _, width, channels), (_, rows, columns, _) = t.type("g").shape, t.result().shape
        first = ((np.arange(rows) + self.pad[0]) * width + self.pad[1]) * channels
        return "g", Reach(first, first + columns * channels, columns * channels)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {"input": t.result().shape[1:], "output": t.type("g").shape[1:], "pad": self.pad[:2], "value": 0}
        arguments = (Argument(n.inputs["g"]), Argument(n.outputs[0]))
        return KernelCall("kt_pad_gradient_s8", "kt_pad_params", fields, arguments, source="kernels/layout/pad_gradient.c")
