"""The gradient of a packed 1x1 layer to its input whose transposed weights are made from inference's for some input channels at a time.

So there is one copy of the weights in flash, and less scratch than a transposed copy takes: a block of positions is read into a panel, and of each
part of the weights all its products are computed. Every block makes the weights again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.graph import Node, Value
from ...ir.kernel_call import Argument, KernelCall, Scratch
from ...ir.operator import Array, Names, NodeTypes, register
from ..backward.input_gradient import LinearInputGradient
from . import _packing as packing
from .packed_input_gradient import SCALED_PANEL, SHIFTS, UNCALIBRATED, PackedInputGradient, StreamedInputGradient, packed_input_gradient, phases
from .shared_input_gradient import stream_of_layer, stream_step, weights_of

ONE_BLOCK = 64
"""Positions at most that are one block: then weights are made once."""

PARTS = (32, 16, 8)
"""Input channels whose weights are made at once for one block of all positions, where memory has no room for all of them."""

REPEATED = ((32, 32), (16, 16), (16, 8), (8, 8), (6, 16), (6, 8))
"""Positions of a block, and input channels whose weights are made at once, where every block makes them again; each takes longer than the one
before it, and less scratch, or panels on the stack."""

STACK_WORDS = 192
"""A panel of so many lies on the stack (KT_BLOCK_PANEL in the runtime)."""


@register
@dataclass(frozen=True)
class BlockedInputGradient(StreamedInputGradient):
    """stream: int32 [words], of a `PackedLinear`; step: its words from four output channels to the next four.

    block: positions whose gradients the panel holds, an even number; part: input channels whose weights are made at once.
    """

    mnemonic: ClassVar[str] = "blocked_input_gradient"

    step: int = 2
    block: int = 2
    part: int = packing.QUAD

    @property
    def made(self) -> int:
        """Weights that a call makes."""
        height, width, depth = self.layer.x_image
        return self.weights.size * (1 if self.part == depth else -(-height * width // self.block))

    @property
    def repeats(self) -> bool:
        """Whether it makes them several times."""
        return self.made > self.weights.size

    def plain_weights(self, stream: Array) -> Array:
        return weights_of(stream, self.step, self.layer.window, self.weights)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        ((_, _, order),) = phases(self.layer.window, self.layer.y_image[2])
        fields = {**self.layer_fields(t, n), "step": self.step, "positions": self.block, "channels": self.part}
        arguments = (Argument(n.inputs["g"]), Argument(n.outputs[0]), Scratch())
        panel = len(order) * self.block
        scratch = (4 * panel if panel > STACK_WORDS else 0) + 2 * len(order) * self.part
        return KernelCall(
            "kt_blocked_input_gradient_s8",
            "kt_blocked_input_gradient_params",
            fields,
            arguments,
            scratch,
            "kernels/packed_convolution/blocked_input_gradient.c",
            ("product/gradient.c", SCALED_PANEL, "kernels/packed_convolution/repack_stream.c"),
        )


def blocks_of(layer: LinearInputGradient, repeated: bool) -> list[tuple[int, int]]:
    """Positions of a block and input channels of a part, fastest first; none where the product gives no results. repeated: blocks may make weights
    again, and as others are then likely to be, all weights are made at once in this form too, which saves the code of another."""
    if not layer.window.pointwise or layer.shift not in (UNCALIBRATED, *SHIFTS):
        return []
    height, width, depth = layer.x_image
    positions = -(-height * width // 2) * 2
    blocks = [(positions, part) for part in PARTS] if positions <= ONE_BLOCK else []
    blocks += [(block, part) for block, part in REPEATED if block < positions] if repeated else []
    return [*([(2, depth)] if repeated else []), *((block, part) for block, part in blocks if part < depth)]


def blocked_input_gradient(
    block: int, part: int, node: Node, t: NodeTypes, values: Mapping[str, Value], forward: tuple[Node, Value] | None
) -> tuple[Node, list[Value], str]:
    """The node that stands for a gradient, the constant that it reads with the layer, and why it is not the fastest. Raises NotProved.

    block, part: of `blocks_of`. forward: the layer with its kernel, and the stream of this; None where it has none.
    """
    stream = stream_of_layer(node, forward)
    found, _, _ = packed_input_gradient(node, t, values)
    operator = found.op
    assert isinstance(operator, PackedInputGradient) and not t.has("lora_du")
    op = BlockedInputGradient(operator.layer, operator.weights, False, stream_step(operator.layer, stream), block, part)
    inputs = {**{o: v for o, v in node.inputs.items() if o != "weights"}, "stream": stream.name}
    return replace(node, op=op, inputs=inputs), [stream], packing.MEMORY if op.repeats else ""
