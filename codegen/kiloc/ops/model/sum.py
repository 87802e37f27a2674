"""SUM over neighbouring axes: MEAN without the division.

Source: TensorFlow Lite Micro; LiteRT's reference kernel requantises otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.operator import Environment, NodeTypes, register
from ...ir.types import TensorType, gradient
from ..backward._gradient import Real
from ..backward.gradient_mask import masked
from .mean import Mean, MeanGradient

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.onnx import OnnxWriter
    from ...ir.graph import Node


@register
@dataclass(frozen=True)
class Sum(Mean):
    """axes: increasing, without gaps, never the batch axis."""

    mnemonic: ClassVar[str] = "sum"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"SUM": 2}, "ReducerOptions")
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("ReduceSum",))

    def multiplier(self, t: NodeTypes) -> tuple[int, int]:
        return nm.quantize_multiplier(float(np.float64(t.type("x").scale) / np.float64(t.result().scale)))

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        shape = b.types(node).type("x").shape
        g = masked(b, node, dy, -128, 127)
        return {"x": b.add(SpreadGradient(shape, self.split(shape)), {"g": g}, f"{node.name}.dx")[0]}

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        x, y = w.operand(node), w.graph.type(node.outputs[0]).shape
        axes = w.integers(f"{node.name}/axes", self.axes)
        real = w.emit("ReduceSum", [w.real(node, x, w.last(x)), axes], f"{node.name}/sum", keepdims=0)
        dropped = tuple(d for i, d in enumerate(w.graph.type(x).shape) if i not in self.axes)
        w.result(node, real if y == dropped else w.reshaped(node, real, y), "last")


@register
@dataclass(frozen=True)
class SpreadGradient(MeanGradient):
    """Every element of the summed axes takes g."""

    mnemonic: ClassVar[str] = "spread_gradient"

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (gradient(self.x_shape, t.type("g").scale),)

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        return (np.asarray(self.evaluate(e)[0], np.float64),)
