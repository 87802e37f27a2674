"""PAD and PADV2 along any axes: values in front of, behind and between those of x. `pad.py` has the borders of images, which layers run over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType
from .._walk import move_call, strides, too_many_axes

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...ir.graph import Node


@register
@dataclass(frozen=True)
class PadAxes(Op):
    """before, after, between: values that each axis gets in front, behind, and between two of its own; value: the code of all of them."""

    mnemonic: ClassVar[str] = "pad_axes"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({}, also=("PAD", "PADV2", "TRANSPOSE_CONV"))
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(also=("ConvTranspose", "Pad"))
    oracle: ClassVar[str] = "tflite-micro"

    before: tuple[int, ...] = (0,)
    after: tuple[int, ...] = (0,)
    between: tuple[int, ...] = (0,)
    value: int = 0

    def shape(self, x: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(b + a + d + (d - 1) * m for b, a, m, d in zip(self.before, self.after, self.between, x, strict=True))

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (TensorType(self.shape(t.type("x").shape), t.type("x").dtype, t.type("x").quantization),)

    def check(self, t: NodeTypes) -> str | None:
        shape = t.type("x").shape
        if not len(shape) == len(self.before) == len(self.after) == len(self.between):
            return f"pads {self.before} and {self.after} of {shape}"
        if min(*self.before, *self.after, *self.between) < 0 or self.before[0] or self.after[0] or not -128 <= self.value <= 127:
            return f"pads {self.before} and {self.after} with {self.value}"
        return too_many_axes(shape, strides(shape), self._steps(shape))

    def _steps(self, x: tuple[int, ...]) -> list[int]:
        return [s * (m + 1) for s, m in zip(strides(self.shape(x)), self.between, strict=True)]

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        if any(self.between):
            what = f"puts {self.between} values between two of its input, for which .onnx files have no operator"
            raise CompileError(node.origin or node.name, what, "write a .tflite file")
        pads = w.integers(f"{node.name}/pads", (*self.before, *self.after))
        value = w.constant(f"{node.name}/value", np.array(self.value, np.int8))
        w.moved(node, w.emit("Pad", [w.last(w.operand(node)), pads, value], f"{node.name}/padded"))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        x = e.array("x")
        y = np.full((len(x), *self.shape(e.type("x").shape)[1:]), self.value, x.dtype)
        own = zip(self.before[1:], self.between[1:], x.shape[1:], strict=True)
        y[(slice(None), *(slice(b, b + (d - 1) * (m + 1) + 1, m + 1) for b, m, d in own))] = x
        return (y,)

    evaluate_real = evaluate

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        """What was there before; an operator of its own only because two files cannot import each other."""
        op = Unpad(self.before, self.between, b.types(node).type("x").shape)
        return {"x": b.add(op, {"x": dy}, f"{node.name}.dx")[0]}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        shape = t.type("x").shape
        start = sum(b * s for b, s in zip(self.before, strides(self.shape(shape)), strict=True))
        return move_call(n, shape, strides(shape), self._steps(shape), (0, start), (t.result().size, self.value))

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        if any(self.between):
            raise CompileError(node.origin or node.name, "pads between the values", "the format has no operator for it")
        amounts = np.array([self.before, self.after]).T.ravel().tolist()
        paddings = w.indices(f"{node.name}/paddings", amounts, (len(self.before), 2))
        y = w.graph.type(node.outputs[0])
        filler = w.tensor(f"{node.name}/value", TensorType((1,), "int8", y.quantization), np.array([self.value], np.int8))
        w.emit(node, "PADV2", (w.operand(node), paddings, filler), version=2, table="PadV2Options")


@register
@dataclass(frozen=True)
class Unpad(Op):
    """The gradient of `PadAxes`: g without what was put around and between its values."""

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "unpad"

    before: tuple[int, ...] = (0,)
    between: tuple[int, ...] = (0,)
    shape: tuple[int, ...] = (1,)

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (TensorType(self.shape, t.type("x").dtype, t.type("x").quantization),)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        own = zip(self.before[1:], self.between[1:], self.shape[1:], strict=True)
        return (np.ascontiguousarray(e.array("x")[(slice(None), *(slice(b, b + (d - 1) * (m + 1) + 1, m + 1) for b, m, d in own))]),)

    evaluate_real = evaluate

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        steps = strides(t.type("x").shape)
        start = sum(b * s for b, s in zip(self.before, steps, strict=True))
        return move_call(n, self.shape, [s * (m + 1) for s, m in zip(steps, self.between, strict=True)], strides(self.shape), (start, 0))
