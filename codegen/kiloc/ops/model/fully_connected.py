"""FULLY_CONNECTED: weights [OC, K] applied to every row of the input.

Source: TensorFlow Lite 8-bit quantisation specification, section "FULLY_CONNECTED". TensorFlow Lite Micro rounds twice,
as in convolutions; LiteRT rounds once.
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
class FullyConnected(Linear):
    mnemonic: ClassVar[str] = "fully_connected"

    def window_of(self, t: NodeTypes) -> Window:
        return Window((1, 1))

    def images(self, t: NodeTypes) -> tuple[Image, Image]:
        channels, depth = t.type("weights").shape
        rows = t.type("x").size // depth
        return (rows, 1, depth), (rows, 1, channels)

    def check(self, t: NodeTypes) -> str | None:
        x, w, y = t.type("x"), t.type("weights"), t.result()
        if len(w.shape) != 2 or x.size % w.shape[1]:
            return f"weights {w.shape} do not fit an input of {x.shape}"
        if y.size != x.size // w.shape[1] * w.shape[0]:
            return f"result is {y.shape}, expected {x.size // w.shape[1]} rows of {w.shape[0]}"
        return far_apart(*self.multipliers(t)[1].tolist())
