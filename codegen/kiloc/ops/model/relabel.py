"""The same codes under another scale: what interpreters make of an operator that moves codes where a file gives its result a scale of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register

if TYPE_CHECKING:
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...ir.graph import Node

READ_AS = ("RESHAPE", "CONCATENATION", "PACK", "SPLIT", "SPLIT_V", "UNPACK", "SLICE", "STRIDED_SLICE", "GATHER", "TILE", "PAD", "TRANSPOSE")


@register
@dataclass(frozen=True)
class Relabel(Op):
    mnemonic: ClassVar[str] = "relabel"
    view: ClassVar[bool] = True
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({}, also=READ_AS)
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding()
    oracle: ClassVar[str] = "tflite-micro"

    def check(self, t: NodeTypes) -> str | None:
        x, y = t.type("x"), t.result()
        return None if (x.shape, x.dtype) == (y.shape, y.dtype) else f"result is {y}, expected the shape and type of {x}"

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return (e.array("x"),)

    def kernel_call(self, t: NodeTypes, n: Names) -> None:
        return None

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        raise CompileError(
            node.origin or node.name, "gives codes another scale, which DequantizeLinear and QuantizeLinear cannot say", "write a .tflite file"
        )

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        shape = w.indices(f"{node.name}/shape", w.graph.type(node.outputs[0]).shape)
        w.emit(node, "RESHAPE", (w.operand(node), shape), version=1, table="ReshapeOptions")
