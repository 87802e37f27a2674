"""DEPTHWISE_CONV_2D of int16 activations: weights [1, KH, KW, OC] with OC = IC * depth multiplier, sums of 64 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...ir.binding import TFLiteBinding
from ...ir.kernel_call import Field, KernelCall
from ...ir.operator import Environment, Names, NodeTypes, register
from .._window import Window
from ..model.conv_2d import CONVOLUTION_FIELDS
from ._layer import WideLayer, expected_image

if TYPE_CHECKING:
    from ...export.tflite import TFLiteWriter
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node


@register
@dataclass(frozen=True)
class WideDepthwiseConv2D(WideLayer):
    mnemonic: ClassVar[str] = "wide_depthwise_conv_2d"
    beside: ClassVar[str] = "depthwise_conv_2d"
    biases: ClassVar[tuple[str, ...]] = ("int64",)
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"DEPTHWISE_CONV_2D": 5}, "DepthwiseConv2DOptions", CONVOLUTION_FIELDS)

    window: Window = Window((1, 1))

    def channels(self, t: NodeTypes) -> int:
        return t.type("weights").shape[3]

    def multiplier_of_depth(self, t: NodeTypes) -> int:
        return self.channels(t) // t.type("x").shape[3]

    def check(self, t: NodeTypes) -> str | None:
        x, w = t.type("x"), t.type("weights")
        if len(x.shape) != 4 or len(w.shape) != 4 or w.shape[3] % x.shape[3] or w.shape[:3] != (1, *self.window.kernel):
            return f"weights {w.shape} do not fit an input of {x.shape} under a {self.window.kernel} kernel"
        return expected_image(self.window, x, t.result(), w.shape[3]) or self.complaint(t)

    def sums(self, e: Environment) -> NDArray[np.int64]:
        x, weights, out = e.wide("x"), e.wide("weights")[0], e.result().shape[1:3]
        padded = np.repeat(self.window.padded(x), self.multiplier_of_depth(e), axis=3)
        total = np.zeros((x.shape[0], *out, self.channels(e)), np.int64)
        for ky, kx, rows, columns in self.window.taps((out[0], out[1])):
            total += padded[:, rows, columns] * weights[ky, kx]
        return total

    def macs(self, t: NodeTypes) -> int:
        return t.result().size * self.window.kernel[0] * self.window.kernel[1]

    def window_fields(self, t: NodeTypes) -> Field:
        return self.window.fields(t.type("x").shape, t.result().shape)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields = {**self.layer_fields(t, n), "depth_multiplier": self.multiplier_of_depth(t)}
        source = "kernels/depthwise/depthwise_conv2d_s16.c"
        return KernelCall("kt_depthwise_conv2d_s16", "kt_depthwise_conv2d_params", fields, self.layer_arguments(n), source=source)

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        w = r.constant(op, 1)
        window, activation, name = r.convolution_window(op, w), r.activation(op), r.name(op, "depthwise")
        r.image(op)
        r.emit(op, cls(activation, window), r.weights(op, name, w.shape[3], axis=3, biases=("INT64",)), name=name)

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        x, padding = w.padded(node, self.window, 0)
        fields = {**w.convolution_fields(self.window, padding), **w.activation(self.activation)}
        fields["DepthMultiplier"] = w.graph.type(node.inputs["weights"]).shape[3] // w.graph.type(node.inputs["x"]).shape[3]
        w.emit(node, "DEPTHWISE_CONV_2D", (x, *w.weights(node, 3, "depthwise")), label="depthwise", **fields)
