"""The contract of an operator, and the table of all of them.

An operator is a frozen dataclass of attributes. Everything the compiler knows about it is in its class: result
types, exact meaning in NumPy, gradient, C kernel. `ops/model/_template.py` shows the smallest complete one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from .types import TensorType

if TYPE_CHECKING:
    from ..autodiff import GradientBuilder
    from .graph import Node
    from .kernel_call import KernelCall
    from .reach import Reach

Array = NDArray[Any]


class NoGradient(Exception):
    """Raised by `Op.gradient` where the operator cannot be trained through; the message says why."""


@dataclass(frozen=True)
class NodeTypes:
    """Types of the operands of a node, and of its results once they are known."""

    operands: Mapping[str, TensorType]
    results: tuple[TensorType, ...] = ()

    def type(self, operand: str) -> TensorType:
        return self.operands[operand]

    def has(self, operand: str) -> bool:
        return operand in self.operands

    def result(self, index: int = 0) -> TensorType:
        return self.results[index]


@dataclass(frozen=True)
class Environment(NodeTypes):
    """Types and arrays of one evaluation.

    Arrays of activations and gradients carry a batch axis of any length N in front, scalars are [N];
    constants and state have exactly their type's shape.
    """

    arrays: Mapping[str, Array] = ()  # type: ignore[assignment]

    def array(self, operand: str) -> Array:
        return self.arrays[operand]

    def wide(self, operand: str) -> NDArray[np.int64]:
        """The operand as int64, so that sums cannot overflow."""
        return self.arrays[operand].astype(np.int64)


@dataclass(frozen=True)
class Names:
    """Names behind the operands and results of one node, for `kernel_call`."""

    inputs: Mapping[str, str]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Op:
    """Base of all operators."""

    mnemonic: ClassVar[str] = ""
    role: ClassVar[str] = "forward"
    """"forward" (a model's or an adapter's own operator), "backward", "update", or "kernel" (stands for another in a fast form)."""
    operands: ClassVar[tuple[str, ...]] = ("x",)
    optional: ClassVar[tuple[str, ...]] = ()
    view: ClassVar[bool] = False
    """The result is the operand's bytes under another shape: no kernel, no copy."""
    in_place: ClassVar[str | None] = None
    """Operand, of the result's size, of which the kernel reads no element after writing it: the first result may be the same buffer."""

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...] | None:
        """Result types where operands and attributes determine them, else None (then `check` decides)."""
        return None

    def check(self, t: NodeTypes) -> str | None:
        """What is wrong with the types of a node, or None."""
        return None

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        """The exact meaning. Results carry the batch axis of the operands."""
        raise NotImplementedError(self.mnemonic)

    def evaluate_real(self, e: Environment) -> tuple[Array, ...]:
        """Backward operators only: the same in float64, gradients in real values, for calibration and checks."""
        raise NotImplementedError(self.mnemonic)

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        """Operators that change state: operand name -> its array after the node (batch of one)."""
        return {}

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        """Add backward nodes; returns operand -> gradient value. Raises NoGradient."""
        raise NoGradient(f"{self.mnemonic.upper()} has no gradient")

    def reach(self, t: NodeTypes) -> tuple[str, Reach] | None:
        """The operand that the first result may overlap, and what the kernel reads of it when; None: they lie apart."""
        return None

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall | None:
        """The C call of a node; None for views, and for transfers to slow memory and back (`page.py`)."""
        raise NotImplementedError(self.mnemonic)

    def macs(self, t: NodeTypes) -> int:
        """Multiply-accumulate operations of one sample."""
        return 0


OpClass = TypeVar("OpClass", bound=type[Op])

REGISTRY: dict[str, type[Op]] = {}


def register(cls: OpClass) -> OpClass:
    """Class decorator: makes the operator known under its mnemonic."""
    assert cls.mnemonic and cls.mnemonic not in REGISTRY, cls
    REGISTRY[cls.mnemonic] = cls
    return cls
