"""Gradients of trainable tensors: exact int32 sums of one sample, added to a float32 accumulator.

accumulator += (float)sum * (scale * 2^exponent), one float32 rounding each. |sum| <= 127 * 255 * positions, so int32 holds
66,310 positions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, kernel_field, register
from ...ir.stripe import Rows, Stripe
from ...ir.types import TensorType
from .._sums import COLUMN_SUMS, Image, exact_matmul
from .._window import Window
from .._window_rows import forward_rows
from ._gradient import Real, batch
from .gradient_mask import image_height

FEWEST_POSITIONS = 4
"""Of a gradient that takes three sums in two words (KT_FEWEST_POSITIONS in the runtime)."""


@dataclass(frozen=True)
class ParameterGradient(Op):
    """Base: adds sums * scale to the operand `accumulator`."""

    role: ClassVar[str] = "backward"

    unscaled: bool = field(default=False, kw_only=True)
    """The accumulator takes the sums as they are: of some rows of the gradient, which others follow (`gradient_of_sums.py`)."""

    def factor(self, t: NodeTypes) -> float:
        """What the sums are multiplied with, beside the exponents."""
        return 1.0 if self.unscaled else self.scale(t)

    def largest(self, t: NodeTypes) -> int:
        """A bound of the sums of the whole gradient."""
        return nm.INT32_MAX

    def scale(self, t: NodeTypes) -> float:
        raise NotImplementedError

    def sums(self, e: Environment) -> NDArray[np.int64]:
        """Exact sums of each sample, [N, *accumulator shape]."""
        raise NotImplementedError

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return ()

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        sums = self.sums(e)
        assert sums.shape[0] == 1 and np.abs(sums).max(initial=0) <= nm.INT32_MAX
        exponent = e.wide("exponent").reshape(-1)
        if e.has("exponent_offset"):
            exponent = exponent + e.wide("exponent_offset").reshape(-1)
        scale = np.float32(self.factor(e)) * nm.power_of_two(np.clip(exponent, -126, 127))
        accumulator = e.array("accumulator")
        return {"accumulator": accumulator + sums[0].astype(np.float32).reshape(accumulator.shape) * scale}


def largest_value(x: TensorType) -> int:
    """The largest |x - z_x| that int8 codes hold."""
    zero_point = x.quantization.zero_point if x.quantization else 0
    return max(127 - zero_point, 128 + zero_point)


@register
@dataclass(frozen=True)
class BiasGradient(ParameterGradient):
    """db[c] = sum over positions of g[p, c]."""

    mnemonic: ClassVar[str] = "bias_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "exponent", "accumulator")

    def scale(self, t: NodeTypes) -> float:
        return t.type("g").scale

    def sums(self, e: Environment) -> NDArray[np.int64]:
        return np.asarray(batch(e, "g", -1, e.type("accumulator").size).sum(1))

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        return (batch(e, "g", -1, e.type("accumulator").size).sum(1),)

    def height(self, t: NodeTypes) -> int:
        return image_height(t.type("g"))

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        return Stripe(self, {"g": (rows, self.height(t))})

    def largest(self, t: NodeTypes) -> int:
        return 128 * (t.type("g").size // t.type("accumulator").size)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        channels = t.type("accumulator").size
        fields = {"positions": t.type("g").size // channels, "channels": channels, "scale": self.factor(t)}
        arguments = tuple(Argument(n.inputs[o]) for o in ("g", "exponent", "accumulator"))
        source = "kernels/parameter/bias_gradient.c"
        return KernelCall("kt_bias_gradient", "kt_bias_gradient_params", fields, arguments, source=source, needs=(COLUMN_SUMS,))


@register
@dataclass(frozen=True)
class WeightGradient(ParameterGradient):
    """dW[c, k] = sum over positions of g[p, c] * (x[p, k] - z_x), x under the window of the layer.

    unit: real value of one step of x and of any factor behind the product; exponent_offset: a further power of two
    (the range of LoRA's inner tensor, or the exponent of its gradient). rows: where not every channel is trained, the
    accumulator's row for each channel, -1 for none.
    """

    mnemonic: ClassVar[str] = "weight_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "x", "exponent", "accumulator")
    optional: ClassVar[tuple[str, ...]] = ("exponent_offset", "rows")

    window: Window = Window((1, 1))
    x_image: Image = (1, 1, 1)
    y_image: Image = (1, 1, 1)
    unit: float = 1.0
    bordered: bool = kernel_field(False)
    """Whether scratch has room for x with its border: `fast/weight_gradient.py`."""
    transposed: int = kernel_field(0)
    """Inputs, a multiple of 3, that scratch has room for at all positions."""

    def scale(self, t: NodeTypes) -> float:
        return t.type("g").scale * self.unit

    def bordered_size(self) -> tuple[int, int]:
        """Rows and columns that all windows together meet, border included."""
        w, y = self.window, self.y_image
        height, width = ((y[a] - 1) * w.stride[a] + (w.kernel[a] - 1) * w.dilation[a] + 1 for a in (0, 1))
        return height, width

    def scratch(self) -> int:
        """Bytes."""
        height, width = self.bordered_size()
        positions = self.y_image[0] * self.y_image[1]
        return height * width * self.x_image[2] if self.bordered else positions * (self.transposed + 2) if self.transposed else 0

    def _zero_point(self, t: NodeTypes) -> int:
        quantization = t.type("x").quantization
        return quantization.zero_point if quantization else 0

    def _rows(self, e: Environment) -> NDArray[np.int64]:
        x = e.wide("x") - self._zero_point(e)
        return np.asarray(self.window.patches(x.reshape(x.shape[0], *self.x_image)))

    def _gradient(self, e: Environment) -> Array:
        """g of the trained channels."""
        g = batch(e, "g", -1, self.y_image[2])
        return np.asarray(g[..., e.array("rows") >= 0] if e.has("rows") else g)

    def sums(self, e: Environment) -> NDArray[np.int64]:
        g = self._gradient(e)
        return exact_matmul(g.transpose(0, 2, 1), self._rows(e))

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        g = self._gradient(e)
        offset = e.array("exponent_offset").astype(np.float64) if e.has("exponent_offset") else np.zeros(1)
        return (g.transpose(0, 2, 1) @ self._rows(e).astype(np.float64) * (self.unit * 2.0 ** offset.reshape(-1, 1, 1)),)

    def height(self, t: NodeTypes) -> int:
        height, width, _ = self.y_image
        inner = t.type("g").shape[:2] == (1, height * width) and len(t.type("g").shape) == 3  # of LoRA, position by position
        return height if inner or image_height(t.type("g")) == height else 0

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        read, window = forward_rows(self.window, rows, self.x_image[0])
        x, y = (read[1] - read[0], *self.x_image[1:]), (rows[1] - rows[0], *self.y_image[1:])
        needs = {"g": (rows, self.y_image[0]), "x": (read, self.x_image[0])}
        return Stripe(replace(self, window=window, x_image=x, y_image=y), needs)

    def largest(self, t: NodeTypes) -> int:
        return self.y_image[0] * self.y_image[1] * 128 * largest_value(t.type("x"))

    def macs(self, t: NodeTypes) -> int:
        return self.y_image[0] * self.y_image[1] * t.type("accumulator").size

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {
            "window": self.window.fields(self.x_image, self.y_image),
            "input_offset": -self._zero_point(t),
            "scale": self.factor(t),
        }
        if t.has("rows"):
            fields["rows"] = Argument(n.inputs["rows"])
        offset: Argument | str = Argument(n.inputs["exponent_offset"]) if t.has("exponent_offset") else "NULL"
        symbol = "kt_weight_gradient"
        operands = (Argument(n.inputs["g"]), Argument(n.inputs["x"]), Argument(n.inputs["exponent"]), offset, Argument(n.inputs["accumulator"]))
        if self.transposed:
            fields["transposed"] = self.transposed
        arguments: tuple[Argument | Scratch | str, ...] = (*operands, Scratch() if self.scratch() else "NULL")
        reached = self.y_image[2] > 1 and self.y_image[0] * self.y_image[1] >= FEWEST_POSITIONS
        unreached = frozenset[str]() if reached else frozenset({"kt_triple_weight_gradient"})
        windows = self.window.kernel[1] > 1 or (self.scratch() > 0 and not self.transposed)
        unreached |= frozenset() if windows else frozenset({"add_windows"})
        source = "kernels/convolution/weight_gradient.c"
        return KernelCall(symbol, "kt_weight_gradient_params", fields, arguments, self.scratch(), source, unreached=unreached)
