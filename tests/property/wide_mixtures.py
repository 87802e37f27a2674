"""Parts of `mixtures.py` whose activations are int16: an int8 value widened, a few operators of int16, and a value of int8 again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kiloc.ir.operator import NodeTypes, Op
from kiloc.ir.types import Quantization, TensorType
from kiloc.ops.model.concatenate import Concatenate
from kiloc.ops.model.requantize import Requantize
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.wide.conv_2d import WideConv2D, WideFullyConnected
from kiloc.ops.wide.depthwise_conv_2d import WideDepthwiseConv2D
from kiloc.ops.wide.elementwise import WideAdd, WideMul, WideSub
from kiloc.ops.wide.functions import WideLogistic, WideTanh
from kiloc.ops.wide.pool_2d import WideAveragePool2D, WideMaxPool2D
from kiloc.ops.wide.softmax import WideSoftmax

if TYPE_CHECKING:
    from .mixtures import Mixture

UNIT = 2.0**-15
"""The scale that functions and shares have."""
ACTIVATIONS = ("none", "none", "relu", "relu6")
KINDS = ("function", "shares", "pair", "pair", "layer", "layer", "pool", "joined", "viewed")


class WidePart:
    """Adds to a mixture's graph; every method gives one more int16 value, or None where it does not fit."""

    def __init__(self, mixture: Mixture) -> None:
        self.m = mixture

    def type(self, *shape: int, step: float) -> TensorType:
        return TensorType(tuple(shape), "int16", Quantization((float(np.float32(step)),)))

    def widened(self, x: str) -> str:
        t = self.m.type(x)
        return self.m.node(Requantize(), {"x": x}, self.type(*t.shape, step=t.scale / self.m.pick(16, 128, 250)))

    def made(self, x: str) -> str:
        """From an int8 value to another one."""
        y, count = self.widened(x), self.m.between(1, 3)
        for _ in range(count):
            y = getattr(self, self.m.pick(*KINDS))(y) or y
        return self.m.node(Requantize(), {"x": y}, self.m.result(*self.m.type(y).shape))

    # -- one more value -------------------------------------------------------------------------------
    def function(self, x: str) -> str:
        return self.m.node(self.m.pick(WideLogistic(), WideTanh()), {"x": x}, self.type(*self.m.type(x).shape, step=UNIT))

    def shares(self, x: str) -> str:
        return self.m.node(WideSoftmax(), {"x": x}, self.type(*self.m.type(x).shape, step=UNIT))

    def pair(self, x: str) -> str | None:
        """With another int8 value, a constant of a value a channel, or itself."""
        t, kind = self.m.type(x), self.m.pick(WideAdd, WideSub, WideMul)
        fits = [v for v in self.m.values if self.m.type(v).shape == t.shape]
        if fits and self.m.chance(0.5):
            other = self.widened(str(self.m.pick(*fits)))
        elif self.m.chance(0.6):
            codes = self.m.rng.integers(-(2**15), 2**15, (*(1 for _ in t.shape[1:]), t.shape[-1])).astype(np.int16)
            self.m.count += 1
            other = self.m.builder.constant(f"wide_{self.m.count}", codes, Quantization((float(np.float32(t.scale * 0.7)),)), "")
        else:
            other = x
        step = t.scale * self.m.type(other).scale * self.m.pick(3e3, 2e4) if kind is WideMul else t.scale * self.m.pick(0.5, 1.0, 2.0)
        return self.checked(kind(self.m.pick(*ACTIVATIONS)), {"x": x, "other": other}, self.type(*t.shape, step=step))

    def layer(self, x: str) -> str:
        *front, depth = self.m.type(x).shape
        n, act = self.m.between(1, 5), self.m.pick(*ACTIVATIONS)
        if len(front) != 3:
            return self.weighted(WideFullyConnected(act), x, (*front, n), (n, depth), n)
        window = self.m.window(front[1], front[2])
        image = (1, *window.output(front[1], front[2]))
        if self.m.chance(0.4):
            return self.weighted(WideDepthwiseConv2D(act, window), x, (*image, depth), (1, *window.kernel, depth), depth)
        return self.weighted(WideConv2D(act, window), x, (*image, n), (n, *window.kernel, depth), n)

    def weighted(self, op: Op, x: str, y: tuple[int, ...], weights: tuple[int, ...], channels: int) -> str:
        self.m.count += 1
        name, r = f"wide_{self.m.count}", self.m.rng
        step = float(np.float32(0.01))
        data, bias = r.integers(-127, 128, weights).astype(np.int8), r.integers(-(2**18), 2**18, channels)
        inputs = {
            "x": x,
            "weights": self.m.builder.constant(f"{name}.weights", data, Quantization((step,)), ""),
            "bias": self.m.builder.constant(
                f"{name}.bias", bias.astype("int32" if self.m.chance(0.3) and y[-1:] != weights[-1:] else "int64"), None, ""
            ),
        }
        spread = self.m.type(x).scale * step * 74 * (data.size / channels) ** 0.5
        return self.m.builder.node(name, op, inputs, self.type(*y, step=spread * self.m.pick(0.3, 1.0)), name)

    def pool(self, x: str) -> str | None:
        t = self.m.type(x)
        if len(t.shape) != 4:
            return None
        window, act = self.m.window(t.shape[1], t.shape[2]), self.m.pick(*ACTIVATIONS)
        y = TensorType((1, *window.output(t.shape[1], t.shape[2]), t.shape[3]), "int16", t.quantization)
        return self.m.node(self.m.pick(WideAveragePool2D(window, act), WideMaxPool2D(window, act)), {"x": x}, y)

    def joined(self, x: str) -> str | None:
        t = self.m.type(x)
        return None if t.size > 200 else self.m.node(Concatenate(self.m.between(1, len(t.shape) - 1)), {"x": x, "x1": x})

    def viewed(self, x: str) -> str:
        return self.m.node(Reshape((1, self.m.type(x).size)), {"x": x})

    def checked(self, op: Op, inputs: dict[str, str], y: TensorType) -> str | None:
        return None if op.check(NodeTypes({o: self.m.type(v) for o, v in inputs.items()}, (y,))) else self.m.node(op, inputs, y)
