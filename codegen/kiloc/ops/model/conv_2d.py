"""CONV_2D: NHWC convolution with per-channel (or per-tensor) symmetric int8 weights [OC, KH, KW, IC].

Source: TensorFlow Lite 8-bit quantisation specification, section "CONV_2D"; rounding as TensorFlow Lite Micro.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.operator import NodeTypes, register
from .._activation import far_apart
from .._sums import Image
from .._window import Window
from ._linear import Linear
from .pad_axes import PadAxes

if TYPE_CHECKING:
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node


CONVOLUTION_FIELDS = ("StrideH", "StrideW", "Padding", "DilationHFactor", "DilationWFactor", "FusedActivationFunction")
"""Options of a convolution in .tflite files."""

TRANSPOSED_FIELDS = ("StrideH", "StrideW", "Padding", "FusedActivationFunction")


@register
@dataclass(frozen=True)
class Conv2D(Linear):
    mnemonic: ClassVar[str] = "conv_2d"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding(
        {"CONV_2D": 3, "TRANSPOSE_CONV": 3}, "Conv2DOptions", CONVOLUTION_FIELDS, also=("DEPTHWISE_CONV_2D",),
        others={"TRANSPOSE_CONV": ("TransposeConvOptions", TRANSPOSED_FIELDS)},
    )  # fmt: skip
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(also=("Conv", "ConvTranspose"))
    oracle: ClassVar[str] = "tflite-micro"

    window: Window = Window((1, 1))

    def window_of(self, t: NodeTypes) -> Window:
        return self.window

    def images(self, t: NodeTypes) -> tuple[Image, Image]:
        (_, h, w, c), (_, oh, ow, oc) = t.type("x").shape, t.result().shape
        return (h, w, c), (oh, ow, oc)

    def check(self, t: NodeTypes) -> str | None:
        x, w, y = t.type("x"), t.type("weights"), t.result()
        if len(x.shape) != 4 or len(w.shape) != 4 or len(y.shape) != 4:
            return f"needs 4-dimensional tensors, has {x.shape}, {w.shape} -> {y.shape}"
        if w.shape[1:3] != self.window.kernel or w.shape[3] != x.shape[3]:
            return f"weights {w.shape} do not fit a {self.window.kernel} kernel over {x.shape[3]} channels"
        expected = (1, *self.window.output(x.shape[1], x.shape[2]), w.shape[0])
        return far_apart(*self.multipliers(t)[1].tolist()) if y.shape == expected else f"result is {y.shape}, expected {expected}"

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        if op.kind == "TRANSPOSE_CONV":
            cls._read_transposed(r, op)
            return
        w = r.constant(op, 1)
        window, activation, name = r.convolution_window(op, w), r.activation(op), r.name(op, "conv")
        r.emit(op, cls(activation=activation, window=window), r.weights(op, name, w.shape[0]), name=name)

    @classmethod
    def _read_transposed(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        """A convolution, with the kernel turned round, over an image whose values are a stride apart with the zero point between them."""
        source, result = replace(op, inputs=[op.input(2), op.input(1), op.input(3)]), op.outputs[0]
        w, o, (height, width, depth) = r.constant(op, 1), r.options(op), r.image(source)[1:]
        stride, kernel = (int(o["StrideH"]), int(o["StrideW"])), w.shape[1:3]
        if w.ndim != 4 or w.size == 0 or w.shape[3] != depth or len(result.shape) != 4 or min(stride) < 1 or o["Padding"] not in (0, 1):
            raise CompileError(op.where, f"weights of shape {w.shape} with stride {stride} over {depth} channels", "export the model again")
        spread = tuple((d - 1) * s + 1 for d, s in zip((height, width), stride, strict=True))
        r.check_size(op, (1, *spread, depth))
        before = [k - 1 for k in kernel]
        if o["Padding"] == 0:  # SAME
            before = [k - 1 - max(d + k - 1 - y, 0) // 2 for k, d, y in zip(kernel, spread, result.shape[1:3], strict=True)]
        after = [y + k - 1 - b - d for y, k, b, d in zip(result.shape[1:3], kernel, before, spread, strict=True)]
        if min(*before, *after) < 0:
            raise CompileError(op.where, f"makes {result.shape} of {(height, width)} with stride {stride}", "export the model again")
        name, value = r.name(op, "transpose_conv"), r.value(op.input(2), op.where)
        if stride != (1, 1):
            type_ = r.b.values[value].type
            pad = PadAxes((0,) * 4, (0,) * 4, (0, stride[0] - 1, stride[1] - 1, 0), type_.zero_point)
            value = r.b.node(r.b.unique(f"{name}.spread"), pad, {"x": value}, pad.infer(NodeTypes({"x": type_}))[0], op.where)
        window = r.checked_window(op, Window((kernel[0], kernel[1]), (1, 1), (before[0], before[1], after[0], after[1])), (1, *spread, depth))
        layer = r.weights(source, name, w.shape[0], lambda data: np.ascontiguousarray(data[:, ::-1, ::-1]))
        r.emit(op, cls(activation=r.activation(op), window=window), {"x": value, **layer}, name=name)

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        x, padding = w.padded(node, self.window, w.graph.type(node.inputs["x"]).zero_point)
        fields = {**w.convolution_fields(self.window, padding), **w.activation(self.activation)}
        w.emit(node, "CONV_2D", (x, *w.weights(node, 0, "Conv2D")), label="Conv2D", **fields)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        w.convolution(node, self.window, self.activation, (0, 3, 1, 2), 1)
