"""RESIZE_BILINEAR: each value of the result between four of the image, with weights in 1/1024 whose products are exact.

Source: TensorFlow Lite reference kernel ResizeBilinearInteger; rounded to nearest, ties away from zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType
from ..backward.resample_gradient import Pairs, ResampleGradient
from ._movement import emit
from .gather import output_size

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node

BITS = 10
"""Of a weight."""


@register
@dataclass(frozen=True)
class ResizeBilinear(Op):
    """size: height and width of the result; the options say which positions of the two images meet."""

    mnemonic: ClassVar[str] = "resize_bilinear"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"RESIZE_BILINEAR": 2}, "ResizeBilinearOptions", ("AlignCorners", "HalfPixelCenters"))
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(also=("Resize",))
    oracle: ClassVar[str] = "tflite-micro"

    size: tuple[int, int] = (1, 1)
    align_corners: bool = False
    half_pixel: bool = False

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        x = t.type("x")
        return (TensorType((1, *self.size, x.shape[-1]), x.dtype, x.quantization),)

    def check(self, t: NodeTypes) -> str | None:
        return None if len(t.type("x").shape) == 4 else f"needs an image, has {t.type('x').shape}"

    def positions(self, axis: int, extent: int) -> NDArray[np.int64]:
        """[size, 3]: for each index of the result the lower and the upper index of the image, and the weight of the upper."""
        size, one = self.size[axis], 1 << BITS
        step = (one * extent + size // 2) // size
        if self.align_corners and size > 1:
            step = (one * (extent - 1) + (size - 1) // 2) // (size - 1)
        at = np.arange(size, dtype=np.int64) * step + (step // 2 - one // 2 if self.half_pixel else 0)
        lower = np.clip(at // one, 0, extent - 1)
        upper = np.minimum(np.where(at + one - 1 < 0, 0, (at + one - 1) // one), extent - 1)
        return np.stack([lower, upper, at - lower * one], 1)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        x, one = e.wide("x"), 1 << BITS
        for axis in (0, 1):
            lower, upper, weight = self.positions(axis, e.type("x").shape[1 + axis]).T
            weight = weight.reshape((1, -1, 1, 1) if axis == 0 else (1, 1, -1, 1))
            x = x.take(lower, 1 + axis) * (one - weight) + x.take(upper, 1 + axis) * weight
        half = np.int64(1 << (2 * BITS - 1))
        magnitude = (np.abs(x) + half) >> (2 * BITS)
        return (np.where(x > 0, magnitude, -magnitude).astype(np.int8),)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        t = b.types(node)
        rows, columns = (self._pairs(axis, t.type("x").shape[1 + axis]) for axis in (0, 1))
        op = ResampleGradient(1, t.type("x").shape, t.result().shape, rows, columns, BITS)
        return {"x": b.add(op, {"g": dy}, f"{node.name}.dx")[0]}

    def _pairs(self, axis: int, extent: int) -> Pairs:
        """(index of the image, index of the result, weight), each pair of indices once."""
        found: dict[tuple[int, int], int] = {}
        for o, (lower, upper, weight) in enumerate(self.positions(axis, extent).tolist()):
            for i, w in ((lower, (1 << BITS) - weight), (upper, weight)):
                found[i, o] = found.get((i, o), 0) + w
        return tuple((i, o, w) for (i, o), w in sorted(found.items()) if w)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        x, y = t.type("x").shape, t.result().shape
        tables: dict[str, Any] = {
            name: Table(name, "int32_t", self.positions(axis, x[1 + axis]).astype(np.int32)) for axis, name in enumerate(("rows", "columns"))
        }
        fields: dict[str, Field] = {"outer": 1, "input": x[1:3], "output": y[1:3], "block": x[3], **tables}
        arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return KernelCall("kt_resize_bilinear_s8", "kt_resize_params", fields, arguments, source="kernels/layout/resize_bilinear.c")

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        size, o = output_size(r, op), r.options(op)
        emit(r, op, cls(size, bool(o["AlignCorners"]), bool(o["HalfPixelCenters"])), {"x": r.value(op.input(0), op.where)})

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        inputs = w.operand(node), w.indices(f"{node.name}/size", self.size)
        w.emit(node, "RESIZE_BILINEAR", inputs, AlignCorners=self.align_corners, HalfPixelCenters=self.half_pixel)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        mode = "half_pixel" if self.half_pixel else "align_corners" if self.align_corners else "asymmetric"
        x, channels = w.operand(node), w.graph.type(node.inputs["x"]).shape[3]
        sizes = w.integers(f"{node.name}/sizes", (1, channels, *self.size))
        inputs = [w.real(node, x, w.first(x)), "", "", sizes]
        real = w.emit("Resize", inputs, f"{node.name}/resized", mode="linear", coordinate_transformation_mode=mode)
        w.result(node, real, "first")
