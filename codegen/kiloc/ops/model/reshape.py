"""RESHAPE, FLATTEN, SQUEEZE: the same bytes under another shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...ir.graph import Node


@register
@dataclass(frozen=True)
class Reshape(Op):
    mnemonic: ClassVar[str] = "reshape"
    view: ClassVar[bool] = True

    shape: tuple[int, ...] = ()

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (TensorType(self.shape, t.type("x").dtype, t.type("x").quantization),)

    def check(self, t: NodeTypes) -> str | None:
        return None if t.type("x").size == t.result().size else f"{t.type('x').shape} has no view {self.shape}"

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return (e.array("x").reshape(-1, *self.shape[1:]),)

    evaluate_real = evaluate

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        return {"x": b.add(Reshape(b.types(node).type("x").shape), {"x": dy}, f"{node.name}.dx")[0]}

    def kernel_call(self, t: NodeTypes, n: Names) -> None:
        return None
