"""AVERAGE_POOL_2D and MAX_POOL_2D of int16 images; input and result share their scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...errors import CompileError
from ...ir.binding import TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, register
from .._activation import clamp_range
from .._window import Window
from ..model.average_pool_2d import POOL_FIELDS, window_counts
from ._layer import WideOp, expected_image, not_symmetric

if TYPE_CHECKING:
    from ...export.tflite import TFLiteWriter
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node

OUTSIDE = -(2**15) - 1
"""Below every int16: what the border of the input reads as."""
LARGEST_COUNT = 2**16 - 2


@dataclass(frozen=True)
class WidePool2D(WideOp):
    kind: ClassVar[str] = ""

    window: Window = Window((1, 1))
    activation: str = "none"

    def check(self, t: NodeTypes) -> str | None:
        x, y = t.type("x"), t.result()
        if len(x.shape) != 4:
            return f"needs a 4-dimensional input, has {x.shape}"
        if x.quantization != y.quantization:
            return "input and result have different scales"
        if self.window.kernel[0] * self.window.kernel[1] > LARGEST_COUNT:
            return f"sums under a window of {self.window.kernel} may leave int32"
        return expected_image(self.window, x, y, x.shape[3]) or not_symmetric(x, y)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {
            "window": self.window.fields(t.type("x").shape, t.result().shape),
            "clamp": clamp_range(self.activation, t.result()),
        }
        arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return KernelCall(f"kt_{self.kind}_pool2d_s16", "kt_pool2d_params", fields, arguments, source=f"kernels/pool/{self.kind}_pool2d_s16.c")

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        o = r.options(op)
        r.emit(op, cls(r.window(op, (o["FilterHeight"], o["FilterWidth"])), r.activation(op)), label=f"{cls.kind}_pool")

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        x, padding = w.padded(node, self.window, None)
        if self.window.dilation != (1, 1):
            raise CompileError(node.origin or node.name, f"a pool with dilation {self.window.dilation}", "TensorFlow Lite's pools have none")
        kernel: dict[str, Any] = {"FilterHeight": self.window.kernel[0], "FilterWidth": self.window.kernel[1]}
        fields = {**w.window_fields(self.window, padding), **kernel, **w.activation(self.activation)}
        assert self.tflite is not None
        w.emit(node, next(iter(self.tflite.operators)), (x,), **fields)


@register
@dataclass(frozen=True)
class WideAveragePool2D(WidePool2D):
    mnemonic: ClassVar[str] = "wide_average_pool_2d"
    beside: ClassVar[str] = "average_pool_2d"
    kind: ClassVar[str] = "average"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"AVERAGE_POOL_2D": 3}, "Pool2DOptions", POOL_FIELDS)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        total = self.window.folded(e.wide("x"), 0, np.add)
        count = window_counts(self.window, *e.type("x").shape[1:3])[None, :, :, None]
        magnitude = (np.abs(total) + count // 2) // np.maximum(count, 1)
        y = np.where(total > 0, magnitude, -magnitude)
        return (np.clip(y, *clamp_range(self.activation, e.result())).astype(np.int16),)


@register
@dataclass(frozen=True)
class WideMaxPool2D(WidePool2D):
    mnemonic: ClassVar[str] = "wide_max_pool_2d"
    beside: ClassVar[str] = "max_pool_2d"
    kind: ClassVar[str] = "max"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"MAX_POOL_2D": 3}, "Pool2DOptions", POOL_FIELDS)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        y = self.window.folded(e.wide("x"), OUTSIDE, np.maximum)
        return (np.clip(y, *clamp_range(self.activation, e.result())).astype(np.int16),)
