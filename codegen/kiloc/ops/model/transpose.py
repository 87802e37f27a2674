"""TRANSPOSE of any axes; in the graph the batch axis stays in front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType
from .._walk import move_call, strides, too_many_axes
from ._movement import emit, moved

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node


@register
@dataclass(frozen=True)
class Transpose(Op):
    """permutation[i]: the axis of x that becomes axis i."""

    mnemonic: ClassVar[str] = "transpose"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"TRANSPOSE": 2}, "TransposeOptions")
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding()
    oracle: ClassVar[str] = "tflite-micro"

    permutation: tuple[int, ...] = (0,)

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        x = t.type("x")
        return (TensorType(tuple(x.shape[i] for i in self.permutation), x.dtype, x.quantization),)

    def check(self, t: NodeTypes) -> str | None:
        if self.permutation[0] != 0 or sorted(self.permutation) != list(range(len(t.type("x").shape))):
            return f"permutation {self.permutation} moves the batch axis or does not fit {t.type('x').shape}"
        y = [t.type("x").shape[i] for i in self.permutation]
        return too_many_axes(y, self._steps(t), strides(y)) if len(y) > 4 else None

    def _steps(self, t: NodeTypes) -> list[int]:
        """Elements of x from one index to the next of each axis of the result."""
        return [strides(t.type("x").shape)[i] for i in self.permutation]

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return (np.ascontiguousarray(e.array("x").transpose(self.permutation)),)

    evaluate_real = evaluate

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        inverse = tuple(int(i) for i in np.argsort(self.permutation))
        return {"x": b.add(Transpose(inverse), {"x": dy}, f"{node.name}.dx")[0]}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        y, lead = t.result().shape, 4 - len(self.permutation)
        if lead < 0:
            return move_call(n, y, self._steps(t), strides(y))
        fields: dict[str, Field] = {"output": (1,) * lead + y, "stride": (0,) * lead + tuple(self._steps(t))}
        arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return KernelCall("kt_transpose_s8", "kt_transpose_params", fields, arguments, source="kernels/layout/transpose.c")

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        x, permutation = op.input(0), tuple(r.integers(op, 1))
        if x is None or sorted(permutation) != list(range(len(x.shape))) or not permutation:
            raise CompileError(op.where, f"permutation {permutation} does not fit its input", "export the model again")
        (value,), front = moved(r, op, [x], [i for i, p in enumerate(permutation) if i != p])
        emit(r, op, cls((*range(front), *(p + front for p in permutation))), {"x": value})

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        w.emit(node, "TRANSPOSE", (w.operand(node), w.indices(f"{node.name}/permutation", self.permutation)))

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        w.emit("Transpose", [w.last(w.operand(node))], node.outputs[0], perm=self.permutation)
        w.order[node.outputs[0]] = "last"
