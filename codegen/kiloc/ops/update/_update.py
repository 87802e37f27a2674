"""Base of the operators of the update phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...ir.kernel_call import Argument
from ...ir.operator import Array, Environment, Names, NodeTypes, Op
from ...ir.types import TensorType


@dataclass(frozen=True)
class Update(Op):
    """No results, state in place: `evaluate_update` is all the meaning."""

    role: ClassVar[str] = "update"

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return ()

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return ()


def pointers(n: Names, *operands: str) -> tuple[Argument | str, ...]:
    """Arguments of operands in order; NULL for an optional one that is not there."""
    return tuple(Argument(n.inputs[o]) if o in n.inputs else "NULL" for o in operands)
