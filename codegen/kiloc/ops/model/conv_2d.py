"""CONV_2D: NHWC convolution with per-channel (or per-tensor) symmetric int8 weights [OC, KH, KW, IC].

Source: TensorFlow Lite 8-bit quantisation specification, section "CONV_2D"; rounding as TensorFlow Lite Micro.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.operator import NodeTypes, register
from .._activation import far_apart
from .._sums import Image
from .._window import Window
from ._linear import Linear

if TYPE_CHECKING:
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node


CONVOLUTION_FIELDS = ("StrideH", "StrideW", "Padding", "DilationHFactor", "DilationWFactor", "FusedActivationFunction")
"""Options of a convolution in .tflite files."""


@register
@dataclass(frozen=True)
class Conv2D(Linear):
    mnemonic: ClassVar[str] = "conv_2d"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"CONV_2D": 3}, "Conv2DOptions", CONVOLUTION_FIELDS, also=("DEPTHWISE_CONV_2D",))
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(also=("Conv",))
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
        w = r.constant(op, 1)
        window, activation, name = r.convolution_window(op, w), r.activation(op), r.name(op, "conv")
        r.emit(op, cls(activation=activation, window=window), r.weights(op, name, w.shape[0]), name=name)

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        x, padding = w.padded(node, self.window, w.graph.type(node.inputs["x"]).zero_point)
        fields = {**w.convolution_fields(self.window, padding), **w.activation(self.activation)}
        w.emit(node, "CONV_2D", (x, *w.weights(node, 0, "Conv2D")), label="Conv2D", **fields)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        w.convolution(node, self.window, self.activation, (0, 3, 1, 2), 1)
