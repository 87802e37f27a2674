"""CONV_2D and FULLY_CONNECTED of int16 activations; a fully connected layer is a 1x1 convolution over a column of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import CompileError
from ...ir.binding import TFLiteBinding
from ...ir.kernel_call import Field, KernelCall
from ...ir.operator import Environment, Names, NodeTypes, register
from .._sums import Image, exact_matmul
from .._window import Window
from ..model import fully_connected
from ..model.conv_2d import CONVOLUTION_FIELDS
from ._layer import WideLayer, expected_image

if TYPE_CHECKING:
    from ...export.tflite import TFLiteWriter
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node


@dataclass(frozen=True)
class WideLinear(WideLayer):
    """Rows under a window times weights [OC, ...]."""

    def window_of(self) -> Window:
        raise NotImplementedError

    def images(self, t: NodeTypes) -> tuple[Image, Image]:
        """Input and result as (height, width, channels)."""
        raise NotImplementedError

    def channels(self, t: NodeTypes) -> int:
        return t.type("weights").shape[0]

    def sums(self, e: Environment) -> NDArray[np.int64]:
        x = e.wide("x")
        rows = self.window_of().patches(x.reshape(x.shape[0], *self.images(e)[0]))
        return np.asarray(exact_matmul(rows, e.array("weights").reshape(self.channels(e), -1).T), np.int64)

    def window_fields(self, t: NodeTypes) -> Field:
        return self.window_of().fields(*self.images(t))

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        symbol = "kt_conv2d_s16" if t.type("bias").dtype == "int64" else "kt_conv2d_s16_bias32"
        return KernelCall(
            symbol, "kt_conv2d_params", self.layer_fields(t, n), self.layer_arguments(n), source="kernels/convolution/conv2d_s16.c"
        )  # fmt: skip


@register
@dataclass(frozen=True)
class WideFullyConnected(WideLinear):
    mnemonic: ClassVar[str] = "wide_fully_connected"
    beside: ClassVar[str] = "fully_connected"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding(
        {"FULLY_CONNECTED": 7}, "FullyConnectedOptions", ("WeightsFormat", "FusedActivationFunction")
    )

    def window_of(self) -> Window:
        return Window((1, 1))

    def images(self, t: NodeTypes) -> tuple[Image, Image]:
        return fully_connected.images(t)

    def check(self, t: NodeTypes) -> str | None:
        return fully_connected.complaint(t) or self.complaint(t)

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        w, layout = r.constant(op, 1), r.options(op)["WeightsFormat"]
        if w.ndim != 2 or w.size == 0 or layout != 0:
            raise CompileError(op.where, f"weights of shape {w.shape} in format {layout}", "export with default weights")
        name = r.name(op, "fc")
        r.emit(op, cls(r.activation(op)), r.weights(op, name, w.shape[0], biases=tuple(b.upper() for b in cls.biases)), name=name)

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        x, y, weights = w.graph.type(node.inputs["x"]), w.graph.type(node.outputs[0]), w.graph.type(node.inputs["weights"])
        if y.shape[-1] != weights.shape[0]:
            raise CompileError(node.origin or node.name, f"the result {y.shape} is not rows of {weights.shape[0]}", "put a RESHAPE after the layer")
        fields: dict[str, Any] = {**w.activation(self.activation), "KeepNumDims": len(y.shape) > 2 and y.shape[:-1] == x.shape[:-1]}
        version = 12 if len(weights.channel_scales) > 1 else 0
        w.emit(node, "FULLY_CONNECTED", (w.operand(node), *w.weights(node, 0, "MatMul")), label="MatMul", version=version, **fields)


@register
@dataclass(frozen=True)
class WideConv2D(WideLinear):
    mnemonic: ClassVar[str] = "wide_conv_2d"
    beside: ClassVar[str] = "conv_2d"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"CONV_2D": 5}, "Conv2DOptions", CONVOLUTION_FIELDS)

    window: Window = Window((1, 1))

    def window_of(self) -> Window:
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
        return expected_image(self.window, x, y, w.shape[0]) or self.complaint(t)

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        w = r.constant(op, 1)
        window, activation, name = r.convolution_window(op, w), r.activation(op), r.name(op, "conv")
        r.emit(op, cls(activation, window), r.weights(op, name, w.shape[0], biases=tuple(b.upper() for b in cls.biases)), name=name)

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        x, padding = w.padded(node, self.window, 0)
        fields = {**w.convolution_fields(self.window, padding), **w.activation(self.activation)}
        w.emit(node, "CONV_2D", (x, *w.weights(node, 0, "Conv2D")), label="Conv2D", **fields)
