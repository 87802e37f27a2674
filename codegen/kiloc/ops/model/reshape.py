"""RESHAPE, FLATTEN, SQUEEZE: the same bytes under another shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import RANGES, TensorType
from .relabel import Relabel

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node


@register
@dataclass(frozen=True)
class Reshape(Op):
    mnemonic: ClassVar[str] = "reshape"
    element_types: ClassVar[tuple[str, ...]] = tuple(RANGES)
    view: ClassVar[bool] = True
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"RESHAPE": 1, "EXPAND_DIMS": 1, "SQUEEZE": 1}, "ReshapeOptions")
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding()
    oracle: ClassVar[str] = "tflite-micro"

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

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        x, shape = r.value(op.input(0), op.where), r.reshaped(op)
        type_ = r.b.values[x].type
        if len(op.outputs) != 1 or type_.quantization == r.activation_type(op.outputs[0], *cls.element_types).quantization:
            r.emit(op, cls(shape))
            return
        r.b.notes.append(f"{op.kind} gives its result another scale than its input has: codes are moved as they are")
        if type_.shape != shape:
            x = r.b.node(r.b.unique(f"{x}.shaped"), cls(shape), {"x": x}, TensorType(shape, type_.dtype, type_.quantization), op.where)
        r.emit(op, Relabel(), {"x": x})

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        w.emit(node, "RESHAPE", (w.operand(node), w.indices(f"{node.name}/shape", w.graph.type(node.outputs[0]).shape)))

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        y = node.outputs[0]
        shape = w.constant(f"{node.name}/shape", np.array(w.graph.type(y).shape, np.int64))
        w.emit("Reshape", [w.last(w.operand(node)), shape], y)
        w.order[y] = "last"
