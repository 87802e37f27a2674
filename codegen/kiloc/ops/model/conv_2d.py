"""CONV_2D: NHWC convolution with per-channel (or per-tensor) symmetric int8 weights [OC, KH, KW, IC].

Source: TensorFlow Lite 8-bit quantisation specification, section "CONV_2D"; rounding as TensorFlow Lite Micro.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...ir.operator import NodeTypes, register
from .._activation import far_apart
from .._sums import Image
from .._window import Window
from ._linear import Linear


@register
@dataclass(frozen=True)
class Conv2D(Linear):
    mnemonic: ClassVar[str] = "conv_2d"

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
