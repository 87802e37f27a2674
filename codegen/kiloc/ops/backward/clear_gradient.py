"""The start of a parameter's gradient where no accumulator in the state holds it: zeros in the arena."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...ir.kernel_call import Argument, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType


@register
@dataclass(frozen=True)
class ClearGradient(Op):
    """Zeros where the gradient of one parameter will be summed: float32, of the parameter's shape, without a batch axis."""

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "clear_gradient"
    operands: ClassVar[tuple[str, ...]] = ()

    shape: tuple[int, ...] = ()

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (TensorType(self.shape, "float32"),)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return (np.zeros(self.shape, np.float32),)

    evaluate_real = evaluate

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields = {"size": t.result().size}
        return KernelCall(
            "kt_clear_gradient", "kt_clear_gradient_params", fields, (Argument(n.outputs[0]),), source="kernels/parameter/clear_gradient.c"
        )
