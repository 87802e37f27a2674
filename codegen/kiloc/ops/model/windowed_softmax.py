"""SOFTMAX of square matrices of scores in which each position sees only those that are near: what `attention_window` makes of a model's own.

Elements at a distance of `window` and more from the diagonal are not there: their probability is 0, and they are in no sum. It runs as part of
attention by rows and has no kernel alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, register
from ...ir.types import RANGES
from .softmax import Softmax

if TYPE_CHECKING:
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...ir.graph import Node


@register
@dataclass(frozen=True)
class WindowedSoftmax(Softmax):
    """window: positions that one sees on either side, itself included."""

    mnemonic: ClassVar[str] = "windowed_softmax"
    element_types: ClassVar[tuple[str, ...]] = ("int8",)
    tflite: ClassVar[TFLiteBinding | None] = None
    onnx: ClassVar[OnnxBinding | None] = None
    oracle: ClassVar[str] = ""

    window: int = 1

    def check(self, t: NodeTypes) -> str | None:
        shape = t.type("x").shape
        if len(shape) < 3 or shape[-1] != shape[-2] or not 1 <= self.window <= shape[-1]:
            return f"a window of {self.window} over scores of shape {shape}"
        return super().check(t)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        size = e.type("x").shape[-1]
        x = e.wide("x").reshape(e.array("x").shape[0], -1, size, size)
        near = np.abs(np.arange(size)[None] - np.arange(size)[:, None]) < self.window
        y = self.probabilities(e, x, near) + RANGES["int8"][0]
        return (y.astype(np.int8).reshape(-1, *e.result().shape[1:]),)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        raise NotImplementedError("windows are part of attention by rows")

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        raise CompileError(node.origin or node.name, "no file says that attention has a window", "build without attention_window")

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        self.write_tflite(w, node)  # type: ignore[arg-type]
