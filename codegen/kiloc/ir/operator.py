"""The contract of an operator, and the table of all of them.

An operator is a frozen dataclass of attributes. Everything the compiler knows about it is in its class: result
types, exact meaning in NumPy, gradient, C kernel, and how files of models hold it. `ops/model/_template.py` shows the smallest complete one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from .binding import OnnxBinding, TFLiteBinding
from .types import TensorType

if TYPE_CHECKING:
    from ..autodiff import GradientBuilder
    from ..export.onnx import OnnxWriter
    from ..export.tflite import TFLiteWriter
    from ..frontend.onnx_file import Operator as OnnxOperator
    from ..frontend.onnx_reader import OnnxReader
    from ..frontend.qdq import AnyValue
    from ..frontend.tflite import TFLiteReader
    from ..frontend.tflite_file import Operator as TFLiteOperator
    from .graph import Node
    from .kernel_call import KernelCall
    from .reach import Reach
    from .stripe import Rows, Stripe

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
    variadic: ClassVar[bool] = False
    """Any number of further operands x1, x2, ... may follow x."""
    element_types: ClassVar[tuple[str, ...]] = ("int8",)
    """Element types of the quantised activations that it takes and gives; of several, `check` says which go together."""
    kept: ClassVar[tuple[str, ...]] = ()
    """Operands of kind "stream": the node reads them and leaves there what the next call of inference reads."""
    view: ClassVar[bool] = False
    """The result is the operand's bytes under another shape: no kernel, no copy."""
    in_place: ClassVar[str | None] = None
    """Operand, of the result's size, of which the kernel reads no element after writing it: the first result may be the same buffer."""
    folds: ClassVar[str] = ""
    """Of an operator that reduces all rows to one result: the operand through which stripes hand it on, "" of any other."""
    no_gradient: ClassVar[str] = ""
    """Of an operator without `gradient`: why, "" for no particular reason."""
    tflite: ClassVar[TFLiteBinding | None] = None
    onnx: ClassVar[OnnxBinding | None] = None
    """What files call it; None: no file of the format has it."""
    beside: ClassVar[str] = ""
    """Mnemonic of an operator with whose names in .tflite files this one shares: it reads those whose first input is of one of its element types."""
    replaces: ClassVar[str] = ""
    """Mnemonic of an operator whose place in the registry this one takes, with its names: one with a kernel of its own, from a plugin."""
    oracle: ClassVar[str] = ""
    """Of an operator with names in files: whose integers its own are compared with, as "tflite-micro", "LiteRT BUILTIN_REF" or "onnxruntime"."""

    @classmethod
    def required(cls, given: Iterable[str]) -> tuple[str, ...]:
        """The operands that a node of a model has, given their names: `operands`, and of a variadic operator all that follow x without a gap."""
        names, more = set(given), list(cls.operands)
        while cls.variadic and f"x{len(more)}" in names:
            more.append(f"x{len(more)}")
        return tuple(more)

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
        raise NoGradient(self.no_gradient or f"{self.mnemonic.upper()} has no gradient")

    def view_offset(self, t: NodeTypes) -> int:
        """Of a view: bytes from the beginning of the operand to that of the result."""
        return 0

    def height(self, t: NodeTypes) -> int:
        """Rows of the result that can be computed by themselves, of a parameter's gradient those that it sums; 0: the operator has no stripes."""
        return 0

    def least_rows(self, t: NodeTypes, rows: Rows) -> Rows:
        """The rows that are computed where these are needed: more, where these alone read none of an operand."""
        return rows

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        """What computes these rows, some of `height`: each row has the bits that it has in the whole."""
        raise NotImplementedError(self.mnemonic)

    def reach(self, t: NodeTypes) -> tuple[str, Reach] | None:
        """The operand that the first result may overlap, and what the kernel reads of it when; None: they lie apart."""
        return None

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall | None:
        """The C call of a node; None for views, and for transfers to slow memory and back (`page.py`)."""
        raise NotImplementedError(self.mnemonic)

    def macs(self, t: NodeTypes) -> int:
        """Multiply-accumulate operations of one sample."""
        return 0

    # -- files of models, for operators with a binding. As they stand here the methods suit operators that work element by element: every operand
    #    is an activation of the result's shape, and an attribute `activation`, where there is one, is the fused activation.
    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        """Add the nodes of an operator of a file, with `r.emit`. Raises CompileError for what the operator cannot do."""
        r.elementwise(op, cls)

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        """Add the operators of a node to a file, with `w.emit`. Raises CompileError for what the format cannot hold."""
        w.elementwise(node)

    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> AnyValue | list[AnyValue]:
        """What an operator of a file computes: mostly `r.result`, which waits for its QuantizeLinear; of several results a list. Raises
        CompileError."""
        return r.elementwise(op, cls)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        """Add the nodes of the format, with `w.emit` and `w.result`. Raises CompileError."""
        w.elementwise(node)


OpClass = TypeVar("OpClass", bound=type[Op])

REGISTRY: dict[str, type[Op]] = {}


CHOSEN = "chosen"


def kernel_field(default: Any) -> Any:
    """A field that the choice of kernels sets and that means nothing: with its default it is not written, so that texts, and what is named by them,
    do not change with the kernels that there are."""
    return field(default=default, metadata={CHOSEN: True})


def later_field(default: Any) -> Any:
    """A field that an operator got when there were models of it: with its default it is not written, so that what is named by texts, such as the
    base of an adapter, keeps its name."""
    return field(default=default, metadata={CHOSEN: True})


def register(cls: OpClass) -> OpClass:
    """Class decorator: makes the operator known under its mnemonic, and under its names in files. Raises CompileError where one is taken by
    another operator than the one that it replaces."""
    where = f"operator {cls.__name__}"
    if not isinstance(cls.mnemonic, str) or not re.fullmatch("[a-z][a-z0-9_]*", cls.mnemonic):
        what = f"its mnemonic {cls.mnemonic!r} is no name of lower-case letters, digits and _"
        raise CompileError(where, what, 'mnemonic: ClassVar[str] = "scale"')
    for other in REGISTRY.values():
        if other.mnemonic == cls.replaces:
            continue
        taken = [cls.mnemonic] if other.mnemonic == cls.mnemonic else []
        if other.beside or cls.beside:
            apart = not set(other.element_types) & set(cls.element_types) or other.mnemonic == cls.beside or other.beside == cls.mnemonic
            if apart and not taken:
                continue
        taken += [name for name in (cls.tflite.operators if cls.tflite else ()) if other.tflite and name in other.tflite.operators]
        taken += [name for name in (cls.onnx.operators if cls.onnx else ()) if other.onnx and name in other.onnx.operators]
        if taken:
            raise CompileError(where, f"{taken[0]} is the name of {other.__module__}.{other.__qualname__}", "choose another name")
    REGISTRY.pop(cls.replaces, None)
    REGISTRY[cls.mnemonic] = cls
    return cls


def reads_tflite(dtype: str = "") -> dict[str, type[Op]]:
    """The class that reads each operator of a .tflite file; dtype: the element type of its first input, where a class of its own may read it."""
    bound = [cls for cls in REGISTRY.values() if cls.tflite and (not cls.beside or dtype in cls.element_types)]
    return {name: cls for cls in sorted(bound, key=lambda c: c.beside != "") if cls.tflite for name in cls.tflite.operators}


def reads_onnx() -> dict[str, type[Op]]:
    """The class that reads each operator of an .onnx file."""
    return {name: cls for cls in REGISTRY.values() if cls.onnx for name in cls.onnx.operators}
