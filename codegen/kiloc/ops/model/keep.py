"""What a streaming model keeps from call to call: CALL_ONCE, VAR_HANDLE, READ_VARIABLE and ASSIGN_VARIABLE of .tflite files.

A variable of the file is a value of kind "stream". Operators read it where it lies; `Keep` writes it, after all that read what it held before.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from .slice import Slice

if TYPE_CHECKING:
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node


@register
@dataclass(frozen=True)
class Keep(Op):
    """The kept value becomes x, or a part of it."""

    mnemonic: ClassVar[str] = "keep"
    operands: ClassVar[tuple[str, ...]] = ("x", "kept")
    kept: ClassVar[tuple[str, ...]] = ("kept",)
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding(
        {"ASSIGN_VARIABLE": 1, "READ_VARIABLE": 1, "VAR_HANDLE": 1, "CALL_ONCE": 1}, "AssignVariableOptions",
        others={"VAR_HANDLE": ("VarHandleOptions", ("Container", "SharedName")), "CALL_ONCE": ("CallOnceOptions", ("InitSubgraphIndex",))},
        several=("ASSIGN_VARIABLE", "CALL_ONCE"),
    )  # fmt: skip
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding()
    oracle: ClassVar[str] = "tflite-micro"

    part: Slice | None = None

    def infer(self, t: NodeTypes) -> tuple[()]:
        return ()

    def check(self, t: NodeTypes) -> str | None:
        x, kept = t.type("x"), t.type("kept")
        complaint = self._part(t).check(t)
        fits = (prod(self._part(t).size), x.dtype) == (kept.size, kept.dtype)
        return complaint if complaint or fits else f"keeps {x} in {kept}"

    def _part(self, t: NodeTypes) -> Slice:
        return self.part or Slice.whole(t.type("x").shape)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return ()

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        return {"kept": self._part(e).evaluate(e)[0].reshape(e.type("kept").shape)}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        return self._part(t).kernel_call(t, Names(n.inputs, (n.inputs["kept"],)))

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        if op.kind == "VAR_HANDLE":
            r.variables.handle(op)
        elif op.kind == "READ_VARIABLE":
            r.variables.read(r, op)
        elif op.kind == "ASSIGN_VARIABLE":
            r.variables.assign(r, op)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        raise CompileError(node.origin or node.name, "keeps values from call to call, for which .onnx files have no operator", "write a .tflite file")

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        raise CompileError(
            node.origin or node.name, "keeps values from call to call, which is not written yet", "keep the file that it was read from"
        )
