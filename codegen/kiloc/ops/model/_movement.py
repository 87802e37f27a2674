"""How operators that move values read .tflite files: axes of the file to axes of the graph, and results in the shape and scale of the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ...errors import CompileError
from ...ir.operator import NodeTypes, Op
from ...ir.types import TensorType
from .relabel import Relabel
from .reshape import Reshape

if TYPE_CHECKING:
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...frontend.tflite_file import Tensor


def integers(r: TFLiteReader, op: TFLiteOperator, position: int) -> NDArray[Any]:
    """A constant of integers of any size: indices, extents, axes."""
    data = r.constant(op, position)
    if data.dtype.kind != "i":
        raise CompileError(op.where, f"input {position} is a {data.dtype}", "export the model again")
    return data


def axis_of(op: TFLiteOperator, axis: int, rank: int) -> int:
    """An axis that a file may count from behind."""
    if not -rank <= axis < rank:
        raise CompileError(op.where, f"names axis {axis} of {rank}", "export the model again")
    return axis % rank


def moved(r: TFLiteReader, op: TFLiteOperator, tensors: Sequence[Tensor | None], touched: Iterable[int]) -> tuple[list[str], int]:
    """The values of inputs whose axes `touched` the operator works along, and how many axes the graph has in front of the file's.

    The batch of 1 stays what it is unless the operator works along it: then, as where a tensor has no batch, one more axis stands in front.
    """
    values = [_value(r, op, t) for t in tensors]
    shapes = [t.shape for t in tensors if t is not None]
    in_front = [r.rows_first(t) for t in tensors if t is not None]
    if not any(in_front) and 0 not in set(touched):
        return values, 0
    for i, (shape, done) in enumerate(zip(shapes, in_front, strict=True)):
        if not done:
            values[i] = viewed(r, op, values[i], (1, *(1 if d < 1 else d for d in shape)))
    return values, 1


def viewed(r: TFLiteReader, op: TFLiteOperator, value: str, shape: tuple[int, ...]) -> str:
    """A value under another shape; of a constant another constant."""
    v = r.b.values[value]
    if v.data is not None and v.kind == "constant":
        return r.b.constant(r.b.unique(value), v.data.reshape(shape), v.type.quantization, v.origin)
    return r.b.node(r.b.unique(f"{value}.shaped"), Reshape(shape), {"x": value}, _shaped(v.type, shape), op.where)


def _value(r: TFLiteReader, op: TFLiteOperator, t: Tensor | None) -> str:
    if t is not None and t.data is not None and t.index not in r.known:
        type_ = r.activation_type(t, "int8", "int16")
        return r.b.constant(r.b.unique("constant"), t.data.reshape(type_.shape), type_.quantization, t.name)
    return r.value(t, op.where)


def _shaped(type_: TensorType, shape: tuple[int, ...]) -> TensorType:
    return TensorType(shape, type_.dtype, type_.quantization)


def emit(r: TFLiteReader, op: TFLiteOperator, node: Op, inputs: Mapping[str, str], result: int = 0, label: str = "") -> None:
    """Add the node of an operator that moves values, and what gives its result the shape and the scale that the file has for it."""
    operands = {o: r.b.values[v].type for o, v in inputs.items()}
    types = node.infer(NodeTypes(operands))
    assert types is not None
    complaint = node.check(NodeTypes(operands, types))
    if complaint is not None:
        raise CompileError(op.where, complaint, "export the model again")
    t, type_, name = op.outputs[result], types[0], r.name(op, label or node.mnemonic, result)
    wanted, value = r.activation_type(t, *node.element_types), dict(inputs)
    if wanted.size != type_.size:
        raise CompileError(op.where, f"its result is {t.shape}, but {type_.shape[1:]} follows from its inputs", "export the model again")
    steps: list[tuple[Op, Any]] = [(node, type_)]
    if type_.shape != wanted.shape:
        steps.append((Reshape(wanted.shape), _shaped(type_, wanted.shape)))
    if type_.quantization != wanted.quantization:
        r.b.notes.append(f"{op.kind} gives its result another scale than its input has: codes are moved as they are")
        steps.append((Relabel(), wanted))
    for i, (step, to) in enumerate(steps):
        last = i == len(steps) - 1
        value = {"x": r.b.node(name if last else r.b.unique(f"{name}.{step.mnemonic}"), step, value, to, op.where)}
    r.known[t.index] = value["x"]
