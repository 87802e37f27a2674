"""FULLY_CONNECTED: weights [OC, K] applied to every row of the input.

Source: TensorFlow Lite 8-bit quantisation specification, section "FULLY_CONNECTED". TensorFlow Lite Micro rounds twice,
as in convolutions; LiteRT rounds once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.operator import NodeTypes, register
from .._activation import far_apart
from .._sums import Image
from .._window import Window
from ._linear import Linear
from .batch_matmul import BatchMatMul

if TYPE_CHECKING:
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...frontend.onnx_file import Operator as OnnxOperator
    from ...frontend.onnx_reader import OnnxReader
    from ...frontend.qdq import Activation, AnyValue, Constant, Pending
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node


def images(t: NodeTypes) -> tuple[Image, Image]:
    """Input and result as images of one column: weights [channels, depth] meet each row of depth values."""
    channels, depth = t.type("weights").shape
    rows = t.type("x").size // depth
    return (rows, 1, depth), (rows, 1, channels)


def complaint(t: NodeTypes) -> str | None:
    """What is wrong with the shapes of input, weights [channels, depth] and result."""
    x, w, y = t.type("x"), t.type("weights"), t.result()
    if len(w.shape) != 2 or x.size % w.shape[1]:
        return f"weights {w.shape} do not fit an input of {x.shape}"
    if y.size != x.size // w.shape[1] * w.shape[0]:
        return f"result is {y.shape}, expected {x.size // w.shape[1]} rows of {w.shape[0]}"
    return None


@register
@dataclass(frozen=True)
class FullyConnected(Linear):
    mnemonic: ClassVar[str] = "fully_connected"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding(
        {"FULLY_CONNECTED": 4}, "FullyConnectedOptions", ("WeightsFormat", "FusedActivationFunction")
    )
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Gemm", "MatMul"))
    oracle: ClassVar[str] = "tflite-micro, LiteRT BUILTIN_REF"

    def window_of(self, t: NodeTypes) -> Window:
        return Window((1, 1))

    def images(self, t: NodeTypes) -> tuple[Image, Image]:
        return images(t)

    def height(self, t: NodeTypes) -> int:
        """Its rows are no rows of an image."""
        return 0

    def check(self, t: NodeTypes) -> str | None:
        return complaint(t) or far_apart(*self.multipliers(t)[1].tolist())

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        w, layout = r.constant(op, 1), r.options(op)["WeightsFormat"]
        if w.ndim != 2 or w.size == 0 or layout != 0:
            raise CompileError(op.where, f"weights of shape {w.shape} in format {layout}", "export with default weights")
        name = r.name(op, "fc")
        r.emit(op, cls(activation=r.activation(op)), r.weights(op, name, w.shape[0]), name=name)

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        x, y, weights = w.graph.type(node.inputs["x"]), w.graph.type(node.outputs[0]), w.graph.type(node.inputs["weights"])
        if y.shape[-1] != weights.shape[0]:
            raise CompileError(node.origin or node.name, f"the result {y.shape} is not rows of {weights.shape[0]}", "put a RESHAPE after the layer")
        fields: dict[str, Any] = {**w.activation(self.activation), "KeepNumDims": len(y.shape) > 2 and y.shape[:-1] == x.shape[:-1]}
        inputs = (w.operand(node), *w.weights(node, 0, "MatMul"))
        version = 12 if len(weights.channel_scales) > 1 else 0  # the first with one scale a channel
        w.emit(node, "FULLY_CONNECTED", inputs, label="MatMul", version=version, **fields)

    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> AnyValue:
        """MatMul and Gemm with constant weights on either side: W x is the transpose of x^T W^T."""
        found = [r.value(op.input(i), op.where) for i in (0, 1)]
        constant = next((i for i in (1, 0) if r.is_constant(found[i])), None)
        if constant is None:
            return BatchMatMul.read_onnx(r, op)
        gemm = op.kind == "Gemm"
        w, x = r.weights(op, constant), r.activation(op, 1 - constant)
        transposed = [gemm and bool(op.int_of(name, 0)) for name in ("transA", "transB")]
        if w.data.ndim > 2 and set(w.data.shape[:-2]) == {1}:
            w = w.rearranged(lambda a: a.reshape(a.shape[-2:]))
        if w.data.ndim != 2 or (transposed[1 - constant] and x.index.ndim != 2):
            raise CompileError(op.where, f"multiplies {x.index.shape} and weights of {w.data.shape}", "weights must be a constant matrix")
        if transposed[constant] == (constant == 0):
            w = w.rearranged(lambda a: a.swapaxes(0, 1))
        if transposed[1 - constant] == (constant == 1) and x.index.ndim > 1:
            x = replace(x, index=x.index.swapaxes(-1, -2))
        if gemm and op.float_of("alpha", 1.0) != 1.0:
            w = r.multiplied(op, w, op.float_of("alpha", 1.0))
        p = cls._rows(r, op, x, w)
        if constant == 0:
            p = replace(p, index=p.index.swapaxes(-1, -2))
        if not gemm or not op.input(2):
            return p
        return r.with_bias(op, r.constant(op, 2), p, op.float_of("beta", 1.0))

    @classmethod
    def _rows(cls, r: OnnxReader, op: OnnxOperator, x: Activation, w: Constant) -> Pending:
        """Rows of x times w [N, K]. Where x lies in another order than the file's, the weights' columns move instead."""
        if x.index.ndim < 1 or x.index.shape[-1] != w.data.shape[1]:
            raise CompileError(op.where, f"multiplies {x.index.shape} by weights of {w.data.shape[::-1]}", "weights must be a constant matrix")
        channels, depth = w.data.shape
        columns, value = r.column_order(x.index.reshape(-1, depth)), x.value
        if columns is None:
            columns, value = np.arange(depth), r.arrange(x, x.index, r.batched((*x.index.shape,)), op.where)
        file_shape = (*x.index.shape[:-1], channels)
        shape = r.batched(file_shape)
        r.check_size(op, shape)
        data = np.empty(w.data.shape, w.data.dtype)
        data[:, columns] = w.data
        value, data = r.fitted(op, value, data)
        layer = r.layer(op, value, w, data, 0)
        return r.result(op, "fc", lambda a: cls(activation=a), {"x": value}, shape, r.positions(file_shape), layer=layer)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        x, y, weights = w.operand(node), w.graph.type(node.outputs[0]).shape, w.graph.type(node.inputs["weights"])
        tensor = w.last(x)
        if len(w.graph.type(x).shape) != 2 or w.graph.type(x).shape[1] != weights.shape[1]:
            tensor = w.emit("Reshape", [tensor, w.constant(f"{node.name}/rows", np.array([-1, weights.shape[1]], np.int64))], f"{node.name}/flat")
        real = w.emit("Gemm", [w.real(node, x, tensor), *w.weights(node, lambda data: data)], f"{node.name}/gemm", transB=1)
        w.result(node, real if len(y) == 2 else w.reshaped(node, real, y), "last", self.activation)
