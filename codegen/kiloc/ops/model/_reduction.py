"""How operators that reduce axes read .tflite files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import CompileError
from ...ir.operator import NodeTypes
from ._movement import axis_of, integers, moved
from .transpose import Transpose

if TYPE_CHECKING:
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator


def reduced(r: TFLiteReader, op: TFLiteOperator) -> tuple[str, tuple[int, ...]]:
    """The value of an operator that reduces axes (its input 1), and neighbouring axes of it: others are brought together first."""
    x = op.input(0)
    if x is None or not x.shape:
        raise CompileError(op.where, "needs an input with axes", "export the model again")
    given = integers(r, op, 1).ravel().tolist()
    if not given:
        raise CompileError(op.where, "reduces no axes", "export the model again")
    axes = {axis_of(op, a, len(x.shape)) for a in given}
    (value,), front = moved(r, op, [x], axes)
    chosen, type_ = sorted(a + front for a in axes), r.b.values[value].type
    whole = range(chosen[0], chosen[-1] + 1)
    if all(i in chosen or type_.shape[i] == 1 for i in whole):
        return value, tuple(whole)
    order = (*(i for i in range(len(type_.shape)) if i not in chosen), *chosen)
    turn = Transpose(order)
    complaint = turn.check(NodeTypes({"x": type_}))
    if complaint is not None:
        raise CompileError(op.where, complaint, "export the model again")
    value = r.b.node(r.b.unique(f"{value}.turned"), turn, {"x": value}, turn.infer(NodeTypes({"x": type_}))[0], op.where)
    return value, tuple(range(len(order) - len(chosen), len(order)))
