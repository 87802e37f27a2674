"""CONCATENATION and PACK: operands one behind the other along an axis. Their codes are moved as they are, as interpreters do it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall, Pointers, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, NoGradient, Op, register
from ...ir.types import TensorType
from ._movement import axis_of, emit, moved, viewed
from .slice import Slice

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...frontend.onnx_file import Operator as OnnxOperator
    from ...frontend.onnx_reader import OnnxReader
    from ...frontend.qdq import AnyValue
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node


@register
@dataclass(frozen=True)
class Concatenate(Op):
    """y = x, x1, x2, ... along an axis; y has the scale of x."""

    mnemonic: ClassVar[str] = "concatenate"
    variadic: ClassVar[bool] = True
    element_types: ClassVar[tuple[str, ...]] = ("int8", "int16")
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding(
        {"CONCATENATION": 2, "PACK": 2}, "ConcatenationOptions", ("Axis", "FusedActivationFunction"), others={"PACK": ("PackOptions", ("Axis",))}
    )
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Concat",))
    oracle: ClassVar[str] = "tflite-micro"

    axis: int = 1

    def parts(self, t: NodeTypes) -> list[TensorType]:
        return [t.type(o) for o in self.required(t.operands)]

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        x = t.type("x")
        extent = sum(p.shape[self.axis] for p in self.parts(t))
        return (TensorType((*x.shape[: self.axis], extent, *x.shape[self.axis + 1 :]), x.dtype, x.quantization),)

    def check(self, t: NodeTypes) -> str | None:
        shape, a = t.type("x").shape, self.axis
        if not 0 < a < len(shape):
            return f"joins axis {a} of {shape}"
        for p in self.parts(t):
            if p.dtype != t.type("x").dtype:
                return f"joins {t.type('x').dtype} and {p.dtype}"
            if p.shape[:a] != shape[:a] or p.shape[a + 1 :] != shape[a + 1 :]:
                return f"joins {shape} and {p.shape} along axis {a}"
        return None

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        arrays = [e.array(o) for o in self.required(e.operands)]
        count = max(map(len, arrays))  # constants and what is kept from call to call have no batch
        return (np.concatenate([np.broadcast_to(x, (count, *x.shape[1:])) for x in arrays], self.axis),)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        t, found, begin = b.types(node), {}, 0
        if t.result().dtype != "int8":
            raise NoGradient(f"its activations are {t.result().dtype}, and gradients are int8")
        for operand, part in zip(self.required(node.inputs), self.parts(t), strict=True):
            if b.wants(node.inputs[operand]):
                if part.scale != t.result().scale:
                    raise NoGradient("its operands have different scales, of which interpreters take no notice")
                op = Slice.along(t.result().shape, self.axis, begin, part.shape[self.axis])
                found[operand] = b.add(op, {"x": dy}, f"{node.name}.d{operand}")[0]
            begin += part.shape[self.axis]
        return found

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        operands = self.required(t.operands)
        widths = np.array([prod(p.shape[self.axis :]) for p in self.parts(t)], np.int32)
        fields: dict[str, Field] = {
            "outer": prod(t.result().shape[: self.axis]), "parts": len(operands), "width": Table("widths", "int32_t", widths)
        }  # fmt: skip
        symbol = "kt_concatenate_s8" if t.result().dtype == "int8" else "kt_concatenate_s16"
        arguments = (Pointers(tuple(n.inputs[o] for o in operands)), Argument(n.outputs[0]))
        return KernelCall(symbol, "kt_concatenate_params", fields, arguments, source="kernels/layout/concatenate.c")

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        x = op.input(0)
        if x is None or any(t is None or len(t.shape) != len(x.shape) for t in op.inputs):
            raise CompileError(op.where, "joins tensors of different ranks", "export the model again")
        packs = op.kind == "PACK"
        axis = axis_of(op, int(r.options(op)["Axis"]), len(x.shape) + packs)
        if not packs and r.activation(op) != "none":
            raise CompileError(op.where, f"clamps its result ({r.activation(op)}), which no interpreter does", "put the activation in front of it")
        values, front = moved(r, op, op.inputs, [0] if packs else [axis])
        if packs:
            for i, value in enumerate(values):
                shape = r.b.values[value].type.shape
                values[i] = viewed(r, op, value, (*shape[: axis + front], 1, *shape[axis + front :]))
        given = [r.b.values[v].type.quantization for v in values]
        if not packs and any(q != r.activation_type(op.outputs[0], *cls.element_types).quantization for q in given):
            raise CompileError(op.where, "joins tensors of different scales, which no interpreter does", "put a QUANTIZE in front of each operand")
        if any(q != given[0] for q in given):
            r.b.notes.append(f"{op.kind} joins tensors of different scales: codes are moved as they are")
        emit(r, op, cls(axis + front), {"x" if i == 0 else f"x{i}": v for i, v in enumerate(values)}, label="pack" if packs else "")

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        w.emit(node, "CONCATENATION", [w.operand_or_constant(node, o) for o in self.required(node.inputs)], Axis=self.axis)

    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> AnyValue:
        return r.concatenated(op)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        """Of real numbers where all have one scale, which an input of the model has from its DequantizeLinear alone; else of codes as they are."""
        operands = self.required(node.inputs)
        names, types = [w.operand_or_constant(node, o) for o in operands], [w.graph.type(node.inputs[o]) for o in operands]
        if any(t.quantization != w.graph.type(node.outputs[0]).quantization for t in types):
            w.moved(node, w.emit("Concat", names, f"{node.name}/joined", axis=self.axis))
            return
        reals = [w.real(node, node.inputs[o], name) for o, name in zip(operands, names, strict=True)]
        w.result(node, w.emit("Concat", reals, f"{node.name}/joined", axis=self.axis), "last")
