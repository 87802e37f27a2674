"""TRANSPOSE of up to four axes; the batch axis stays in front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...ir.graph import Node


@register
@dataclass(frozen=True)
class Transpose(Op):
    """permutation[i]: the axis of x that becomes axis i."""

    mnemonic: ClassVar[str] = "transpose"

    permutation: tuple[int, ...] = (0,)

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        x = t.type("x")
        return (TensorType(tuple(x.shape[i] for i in self.permutation), x.dtype, x.quantization),)

    def check(self, t: NodeTypes) -> str | None:
        if self.permutation[0] != 0 or len(self.permutation) > 4:
            return f"permutation {self.permutation} moves the batch axis or has more than four axes"
        return None

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return (np.ascontiguousarray(e.array("x").transpose(self.permutation)),)

    evaluate_real = evaluate

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        inverse = tuple(int(i) for i in np.argsort(self.permutation))
        return {"x": b.add(Transpose(inverse), {"x": dy}, f"{node.name}.dx")[0]}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        shape = t.type("x").shape
        strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
        lead = 4 - len(shape)
        fields: dict[str, Field] = {
            "output": (1,) * lead + t.result().shape,
            "stride": (0,) * lead + tuple(strides[i] for i in self.permutation),
        }
        arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return KernelCall("kt_transpose_s8", "kt_transpose_params", fields, arguments, source="kernels/layout/transpose.c")
