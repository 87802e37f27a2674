"""Stopping a gradient where the forward result was clamped.

mask = (y > low) and (y < high), from the saved int8 or int16 result or from one saved bit an element. Without it deep networks
do not train. The layer whose result the loss reads is not masked: a saturated wrong class must still learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...ir.kernel_call import Argument, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.stripe import Rows, Stripe
from ...ir.types import TensorType

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...ir.graph import Node


def masked(b: GradientBuilder, node: Node, dy: str, low: int, high: int) -> str:
    """dy with the elements zeroed that the clamp of `node` held; dy itself for the result the loss reads."""
    y = node.outputs[0]
    if b.is_logits(y):
        return dy
    return b.add(MaskGradient(low, high), {"g": dy, "y": y}, f"{node.name}.masked")[0]


def image_height(x: TensorType, multiple: int = 1) -> int:
    """Rows of an image; 0 of anything else, and of one whose rows have no multiple of so many elements."""
    rows = x.shape[1] if len(x.shape) == 4 else 0
    return rows if rows and x.size // rows % multiple == 0 else 0


def suffix(t: NodeTypes) -> str:
    """Of the kernels that read a forward result."""
    return {"int8": "_s8", "int16": "_s16"}[t.type("y").dtype]


def source(t: NodeTypes) -> str:
    return "mask_s16.c" if t.type("y").dtype == "int16" else "mask.c"


def unpack(bits: Array, shape: tuple[int, ...]) -> Array:
    """Packed bits [N, bytes], lowest bit first, to [N, *shape] of 0 and 1."""
    size = int(np.prod(shape))
    return np.unpackbits(bits, axis=1, bitorder="little")[:, :size].reshape(bits.shape[0], *shape)


@register
@dataclass(frozen=True)
class MaskGradient(Op):
    """g where low < y < high, else 0; works in place on g."""

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "mask_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "y")
    in_place: ClassVar[str | None] = "g"
    element_types: ClassVar[tuple[str, ...]] = ("int8", "int16")

    low: int = -128
    high: int = 127

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (t.type("g"),)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        y = e.array("y").reshape(e.array("g").shape)
        return (e.array("g") * ((y > self.low) & (y < self.high)),)

    evaluate_real = evaluate

    def height(self, t: NodeTypes) -> int:
        return image_height(t.type("g"))

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        return Stripe(self, dict.fromkeys(("g", "y"), (rows, self.height(t))))

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields = {"size": t.type("g").size, "low": self.low, "high": self.high}
        arguments = (Argument(n.inputs["g"]), Argument(n.inputs["y"]), Argument(n.outputs[0]))
        return KernelCall(f"kt_mask_gradient{suffix(t)}", "kt_mask_params", fields, arguments, source=f"kernels/elementwise/{source(t)}")


@register
@dataclass(frozen=True)
class SaveMask(Op):
    """One bit an element, lowest bit first: 1 where low < y < high."""

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "save_mask"
    operands: ClassVar[tuple[str, ...]] = ("y",)
    element_types: ClassVar[tuple[str, ...]] = ("int8", "int16")

    low: int = -128
    high: int = 127

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (TensorType((1, (t.type("y").size + 7) // 8), "uint8"),)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        y = e.array("y").reshape(e.array("y").shape[0], -1)
        return (np.packbits((y > self.low) & (y < self.high), axis=1, bitorder="little"),)

    def height(self, t: NodeTypes) -> int:
        return image_height(t.type("y"), 8)

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        return Stripe(self, {"y": (rows, self.height(t))})

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields = {"size": t.type("y").size, "low": self.low, "high": self.high}
        arguments = (Argument(n.inputs["y"]), Argument(n.outputs[0]))
        return KernelCall(f"kt_save_mask{suffix(t)}", "kt_mask_params", fields, arguments, source=f"kernels/elementwise/{source(t)}")


@register
@dataclass(frozen=True)
class ApplyMask(Op):
    """g where the saved bit is 1, else 0; works in place on g."""

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "apply_mask"
    operands: ClassVar[tuple[str, ...]] = ("g", "mask")
    in_place: ClassVar[str | None] = "g"

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (t.type("g"),)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        g = e.array("g")
        return (g * unpack(e.array("mask"), g.shape[1:]).astype(g.dtype),)

    evaluate_real = evaluate

    def height(self, t: NodeTypes) -> int:
        return image_height(t.type("g"), 8)

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        return Stripe(self, dict.fromkeys(("g", "mask"), (rows, self.height(t))))

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        arguments = (Argument(n.inputs["g"]), Argument(n.inputs["mask"]), Argument(n.outputs[0]))
        return KernelCall(
            "kt_apply_mask_s8",
            "kt_mask_params",
            {"size": t.type("g").size, "low": 0, "high": 0},
            arguments,
            source="kernels/elementwise/mask.c",
        )
