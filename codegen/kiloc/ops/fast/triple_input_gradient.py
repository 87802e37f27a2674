"""The gradient of a layer with three sums in two words to its input, from the stream that the layer itself reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...ir.graph import Node, Value
from ...ir.kernel_call import Argument, KernelCall, Scratch
from ...ir.operator import Array, Names, NodeTypes, register
from ...ir.reach import Reach
from .._gain import GAIN_OPERANDS
from .._merged import MERGED
from ..backward.input_gradient import LinearInputGradient
from . import _packing as packing
from .packed_input_gradient import DELTA, LORA, StreamedInputGradient
from .triple import FOUR, TripleLinear, restored

POSITIONS = 4
"""Computed at once."""

BLOCK = 32
"""Input channels whose sums the stack holds (KT_GATHER_BLOCK in the runtime)."""


@register
@dataclass(frozen=True)
class TripleInputGradient(StreamedInputGradient):
    """stream: int32 [words], of a `TripleLinear` with such chunks."""

    mnemonic: ClassVar[str] = "triple_input_gradient"
    optional: ClassVar[tuple[str, ...]] = (*LORA, *DELTA, "delta_rows", *GAIN_OPERANDS)
    positions: ClassVar[int] = POSITIONS

    chunk: int = 0

    @property
    def length(self) -> int:
        """Values under the window, in whole fours."""
        return -(-self.weights.size // self.weights.shape[0] // FOUR) * FOUR

    def reach(self, t: NodeTypes) -> tuple[str, Reach]:
        """A block of the input channels of all positions of a group is written before the next one is computed."""
        operand, reach = self.layer.reach(self.plain(t))
        window, width, depth = self.layer.window, self.layer.x_image[1], self.layer.x_image[2]
        if window.stride == (1, 1) and depth <= BLOCK:
            return operand, reach
        if window.pointwise:
            return operand, reach.in_bands(POSITIONS)
        group = POSITIONS * window.stride[1]
        return operand, reach.in_bands(group if width % group == 0 else width)

    def plain_weights(self, stream: Array) -> Array:
        channels = self.weights.shape[0]
        words = np.ascontiguousarray(stream).view(np.uint8)[: -(-channels // 2) * 2 * self.length]
        weights = restored(words, channels, self.length, self.chunk)[:, : self.weights.size // channels]
        return np.asarray(weights.astype(np.int8).reshape(self.weights.shape))

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields = {**self.layer_fields(t, n), "length": self.length, "chunk": self.chunk}
        symbol, path, scratch = "kt_triple_input_gradient_s8", list[Argument | str](), 0
        needs: tuple[str, ...] = ("product/triple_backward.c",)
        if t.has("lora_du") or t.has("delta"):
            lora = t.has("lora_du")
            multiplier, shift = self.layer.path_multiplier(self.plain(t))
            channels = t.type("lora_a").shape[0] if lora else self.layer.y_image[2]
            fields = {"layer": fields, "path_channels": channels, "path_multiplier": multiplier, "path_shift": shift}
            fields["path_rows"] = Argument(n.inputs["delta_rows"]) if t.has("delta_rows") else "NULL"
            path = [Argument(n.inputs[o]) for o in LORA] if lora else [Argument(n.inputs["g"]), "NULL", *(Argument(n.inputs[o]) for o in DELTA)]
            symbol = "kt_triple_path_input_gradient_s8"
        struct = f"{symbol[:-3]}_params"
        if t.has("gain"):
            needs = (*needs, f"kernels/triple_convolution/{symbol[3:-3]}.c")
            symbol, path, scratch = "kt_triple_scaled_input_gradient_s8", [Argument(n.inputs[o]) for o in GAIN_OPERANDS], 2 * self.layer.y_image[2]
        arguments: tuple[Argument | Scratch | str, ...] = (Argument(n.inputs["g"]), *path, Argument(n.outputs[0]), *([Scratch()] if scratch else []))
        return KernelCall(symbol, struct, fields, arguments, scratch, f"kernels/triple_convolution/{symbol[3:-3]}.c", needs)


def triple_input_gradient(node: Node, t: NodeTypes, forward: tuple[Node, Value] | None) -> tuple[Node, list[Value], str]:
    """The node that stands for a gradient, the constant that it reads with the layer, and why it is not the fastest. Raises NotProved.

    forward: the layer with its kernel, and the stream of this; None where it has none.
    """
    layer = node.op
    assert isinstance(layer, LinearInputGradient)
    if forward is None or not isinstance(forward[0].op, TripleLinear):
        raise packing.NotProved("inference has no three sums in two words")
    if t.has("gain") and (t.has("lora_du") or t.has("delta")):
        raise packing.NotProved("its gains are trained beside its weights")
    if t.has("delta") and (*layer.x_image[:2], *layer.y_image[:2]) != (1, 1, 1, 1):
        raise packing.NotProved("a delta that is not merged into its weights")  # it reads g again when results lie over it
    if layer.x_image[2] % FOUR:
        raise packing.NotProved(f"its input channels are no multiple of {FOUR}")
    op = TripleInputGradient(layer, t.type("weights"), chunk=forward[0].op.chunk)
    if t.has(MERGED):
        return replace(node, op=op), [], ""
    stream = forward[1]
    inputs = {**{o: v for o, v in node.inputs.items() if o != "weights"}, "stream": stream.name}
    return replace(node, op=op, inputs=inputs), [stream], ""
