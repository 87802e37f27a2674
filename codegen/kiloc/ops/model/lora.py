"""LoRA's own operators: the down-projection u = A x and the gradient of u.

Storage: A and B are int8 codes with one power of two each; u is int8 with scale s_x * 2^range. `range` is state: one is
added after an update whose samples saturated u. Formulas: docs/internals/training.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, kernel_field, register
from ...ir.stripe import Rows, Stripe
from ...ir.types import TensorType, gradient, scalar
from .._sums import Image, exact_matmul
from .._window import Window
from .._window_rows import forward_rows
from ..backward._gradient import Real, batch, fitting_shift
from ..backward.parameter_gradient import WeightGradient

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...ir.graph import Node

MOST_CHUNK = 64
"""Values of a window whose sums are three in two words (KT_PROJECTED_CHUNK in the runtime)."""
ROWS_AT_ONCE = 4
"""Positions that the kernel of short rows takes at once, at most (KT_PROJECTED_AT_ONCE in the runtime)."""


@dataclass(frozen=True)
class DownProjection(Op):
    """u[p, j] = clamp(shift_round(sum_k A[j, k] (x[p, k] - z_x), range - a_exponent), low, 127), x under the window.

    low: -127, or 0 for a rectifier. saturated (state, optional): set to 1 when an element exceeded 127, or fell below a
    low of -127. Operands after x: A, its exponent, the range of u. triple: by the kernel with three sums in two words.
    """

    low: ClassVar[int] = -127
    optional: ClassVar[tuple[str, ...]] = ("saturated",)

    window: Window = Window((1, 1))
    x_image: Image = (1, 1, 1)
    u_image: Image = (1, 1, 1)
    triple: bool = kernel_field(False)

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (TensorType((1, self.u_image[0] * self.u_image[1], self.u_image[2]), "int8"),)

    def raw(self, e: Environment) -> NDArray[np.int64]:
        """u before the clamp."""
        _, a, exponent, reach = self.operands
        x = (e.wide("x") - e.type("x").zero_point).reshape(-1, *self.x_image)
        total = exact_matmul(self.window.patches(x), e.array(a).reshape(self.u_image[2], -1).T)
        return nm.shift_round(total, e.wide(reach) - e.wide(exponent))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return (np.clip(self.raw(e), self.low, 127).astype(np.int8),)

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        if not e.has("saturated"):
            return {}
        raw = self.raw(e)
        hit = raw.max(initial=0) > 127 or (self.low < 0 and raw.min(initial=0) < self.low)
        return {"saturated": (e.array("saturated") | hit).astype(np.int8)}

    def height(self, t: NodeTypes) -> int:
        return self.u_image[0] if len(t.type("x").shape) == 4 and t.type("x").shape[1] == self.x_image[0] else 0

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        read, window = forward_rows(self.window, rows, self.x_image[0])
        x, u = (read[1] - read[0], *self.x_image[1:]), (rows[1] - rows[0], *self.u_image[1:])
        return Stripe(replace(self, window=window, x_image=x, u_image=u), {"x": (read, self.x_image[0])})

    def macs(self, t: NodeTypes) -> int:
        return self.u_image[0] * self.u_image[1] * t.type(self.operands[1]).size

    def triple_scratch(self, weights: int) -> tuple[bool, int]:
        """Whether the kernel reads rows, whose words of A take no more scratch than a panel does, and bytes of scratch. weights: of A."""
        rank, (height, width, depth), window = self.u_image[2], self.x_image, self.window
        length = -(-weights // rank // 4) * 4
        panel = 16 * (min(length, MOST_CHUNK) + 1) + (rank + 1) // 2 * 2 * length + -(-depth // 4) * 4
        pixels = window.kernel == window.stride == (1, 1) and window.pad == (0, 0, 0, 0) and self.u_image[:2] == (height, width)
        in_place = pixels and length == depth and height * width >= ROWS_AT_ONCE
        rows = 12 * length * -(-rank // 4) + (0 if in_place else ROWS_AT_ONCE * length)
        return rows <= panel, min(rows, panel)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {
            "window": self.window.fields(self.x_image, self.u_image),
            "input_offset": -t.type("x").zero_point,
            "low": self.low,
        }
        arguments: list[Argument | Scratch | str] = [Argument(n.inputs[o]) for o in self.operands]
        arguments.append(Argument(n.inputs["saturated"]) if t.has("saturated") else "NULL")
        struct, arguments = "kt_down_projection_params", [*arguments, Argument(n.outputs[0])]
        if self.triple:
            rows, scratch = self.triple_scratch(t.type(self.operands[1]).size)
            symbol = "kt_triple_down_projection_rows_s8" if rows else "kt_triple_down_projection_s8"
            product = ("triple", "triple_fill", "triple_panel", "triple_results")
            needs = ("product/projection.c",) if rows else tuple(f"product/{name}.c" for name in product)
            return KernelCall(symbol, struct, fields, (*arguments, Scratch()), scratch, f"kernels/lora/{symbol[3:-3]}.c", needs)
        return KernelCall("kt_down_projection_s8", struct, fields, tuple(arguments), source="kernels/lora/down_projection.c")


@register
@dataclass(frozen=True)
class LoRADown(DownProjection):
    """LoRA's inner values u = A x: A slides over the input with the layer's own window; u is int8 and signed."""

    mnemonic: ClassVar[str] = "lora_down"
    operands: ClassVar[tuple[str, ...]] = ("x", "lora_a", "lora_a_exponent", "lora_range")


@register
@dataclass(frozen=True)
class LoRAInnerGradient(Op):
    """du[p, j] = sum_c B[c, j] g[p, c], brought to int8 by the power of two that just fits.

    The exponent follows the growth of B, so it is found for each sample (two passes, no buffer). Second result: the
    exponent of du, B's included, at most 127; the loss's exponent comes on top.
    """

    role: ClassVar[str] = "backward"
    mnemonic: ClassVar[str] = "lora_inner_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "lora_b", "lora_b_exponent")

    lora_scale: float = 1.0

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        channels, rank = t.type("lora_b").shape
        positions = t.type("g").size // channels
        return gradient((1, positions, rank), t.type("g").scale * self.lora_scale), scalar("int8")

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        total = exact_matmul(batch(e, "g", -1, e.type("lora_b").shape[0]), e.array("lora_b"))
        shift = fitting_shift(total)
        du = nm.saturate8(nm.shift_round(total, shift[:, None, None])).astype(np.int8)
        return du, np.minimum(e.wide("lora_b_exponent") + shift, 127).astype(np.int8)

    def evaluate_real(self, e: Environment) -> tuple[Real, Array]:
        b = e.array("lora_b").astype(np.float64) * 2.0 ** e.array("lora_b_exponent").astype(np.float64)
        g = batch(e, "g", -1, b.shape[0])
        return g @ b * self.lora_scale, np.zeros(g.shape[0], np.int8)

    def macs(self, t: NodeTypes) -> int:
        return 2 * t.type("g").size * t.type("lora_b").shape[1]

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        channels, rank = t.type("lora_b").shape
        fields: dict[str, Field] = {"positions": t.type("g").size // channels, "channels": channels, "rank": rank}
        arguments = [Argument(n.inputs[o]) for o in ("g", "lora_b", "lora_b_exponent")] + [Argument(o) for o in n.outputs]
        struct, source = "kt_lora_inner_gradient_params", "kernels/lora/lora_inner_gradient.c"
        return KernelCall("kt_lora_inner_gradient_s8", struct, fields, tuple(arguments), source=source)


def lora_gradient(b: GradientBuilder, node: Node, g: str, window: Window, x_image: Image, y_image: Image, lora_scale: float) -> dict[str, str]:
    """Accumulate the gradients of A and B of a layer, if it has LoRA; what the input gradient needs for LoRA's share. g: of the layer's sums."""
    if "lora_u" not in node.inputs:
        return {}
    t, down = b.types(node), b.producer(node.inputs["lora_u"])
    x_scale, u_image = t.type("x").scale, (*y_image[:2], t.type("lora_b").shape[1])
    b.accumulate(
        node, "lora_b", WeightGradient(Window((1, 1)), u_image, y_image, x_scale * lora_scale),
        {"g": g, "x": node.inputs["lora_u"], "exponent_offset": node.inputs["lora_range"]},
    )  # fmt: skip
    inner = {"g": g, "lora_b": node.inputs["lora_b"], "lora_b_exponent": node.inputs["lora_b_exponent"]}
    du, du_exponent = b.add(LoRAInnerGradient(lora_scale), inner, f"{node.name}.du")
    b.accumulate(
        down, "lora_a", WeightGradient(window, x_image, u_image, x_scale),
        {"g": du, "x": node.inputs["x"], "exponent_offset": du_exponent},
    )  # fmt: skip
    a = {o: down.inputs[o] for o in ("lora_a", "lora_a_exponent")}
    return {"lora_du": du, "lora_du_exponent": du_exponent, **a}


@register
@dataclass(frozen=True)
class AdaptRange(Op):
    """After an update: range += saturated (at most 30), saturated = 0."""

    role: ClassVar[str] = "update"
    mnemonic: ClassVar[str] = "adapt_range"
    operands: ClassVar[tuple[str, ...]] = ("lora_range", "saturated")

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return ()

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return ()

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        grown = np.minimum(e.array("lora_range") + e.array("saturated"), 30).astype(np.int8)
        return {"lora_range": grown, "saturated": np.zeros(1, np.int8)}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        arguments = (Argument(n.inputs["lora_range"]), Argument(n.inputs["saturated"]))
        return KernelCall("kt_adapt_range", "", {}, arguments, source="optim/adapt_range.c")
