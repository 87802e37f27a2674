"""The gradient of a packed layer to its input from the stream that the layer itself reads: one copy of the weights in flash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...ir.graph import Node, Value
from ...ir.kernel_call import Argument, KernelCall, Scratch
from ...ir.operator import Array, Names, NodeTypes, register
from ...ir.types import TensorType
from ...numerics import INT32_MAX
from .._window import Window
from ..backward.input_gradient import LinearInputGradient
from . import _packing as packing
from .packed import PackedLinear
from .packed_input_gradient import LORA, SHIFTS, UNCALIBRATED, StreamedInputGradient, largest_sum

SHARED = "it shares its weights with inference, which takes less flash"
"""Why a gradient is not the fastest of its kind."""

POSITIONS = 4
"""Computed at once."""

STACK_BYTES = 768
"""Panel and sums of so many may lie on the stack (KT_STACK_WORDS in the runtime)."""

BLOCK_BYTES = 256
"""Sums of a 1x1 window, which are on the stack always (KT_BLOCK_SUMS)."""

MOST_SUMS = 128
"""Of a single position that the stack holds; its panel may then be laid in parts."""


@register
@dataclass(frozen=True)
class SharedInputGradient(StreamedInputGradient):
    """stream: int32 [words], of a `PackedLinear`; step: its words from four output channels to the next four."""

    mnemonic: ClassVar[str] = "shared_input_gradient"
    optional: ClassVar[tuple[str, ...]] = LORA
    positions: ClassVar[int] = POSITIONS

    step: int = 2

    def plain_weights(self, stream: Array) -> Array:
        return weights_of(stream, self.step, self.layer.window, self.weights)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        op, fields = self.layer, {**self.layer_fields(t, n), "step": self.step}
        symbol, path = "kt_shared_input_gradient_s8", list[Argument]()
        if t.has("lora_du"):
            multiplier, shift = op.path_multiplier(self.plain(t))
            fields = {"layer": fields, "path_channels": t.type("lora_a").shape[0], "path_multiplier": multiplier, "path_shift": shift}
            symbol, path = "kt_shared_path_input_gradient_s8", [Argument(n.inputs[o]) for o in LORA]
        arguments = (Argument(n.inputs["g"]), *path, Argument(n.outputs[0]), "NULL" if self.on_stack else Scratch())
        scratch = 0 if self.on_stack else scratch_bytes(op)
        needs = ("product/backward.c",)
        unreached = frozenset({"kt_walk_with_scratch" if self.on_stack else "kt_walk_on_stack"})
        return KernelCall(
            symbol, f"{symbol[:-3]}_params", fields, arguments, scratch, f"kernels/packed_convolution/{symbol[3:-3]}.c", needs, unreached
        )


def weights_of(stream: Array, step: int, window: Window, weights: TensorType) -> Array:
    """The weights that the stream of a `PackedLinear` holds. step: its words from four output channels to the next four."""
    channels = weights.shape[0]
    size = weights.size // channels
    order = packing.window_order(window.kernel, window.dilation[1], size // (window.kernel[0] * window.kernel[1]))
    words = stream.view(np.uint32).astype(np.int64).reshape(-1, step)[:, : 2 * len(order)]
    found = packing.unpaired(words.reshape(-1, len(order), 2), channels, size, order)
    return np.asarray(found.astype(np.int8).reshape(weights.shape))


def scratch_bytes(layer: LinearInputGradient) -> int:
    """Of the panel, and of the sums where a window has several taps."""
    channels, window = packing.padded(layer.y_image[2]), layer.window
    if is_single(layer):
        return 2 * channels
    columns = -(-(window.kernel[1] - 1) * window.dilation[1] // window.stride[1]) + POSITIONS
    return 2 * columns * channels + (4 * POSITIONS * layer.x_image[2] if window.kernel != (1, 1) else 0)


def is_single(layer: LinearInputGradient) -> bool:
    """One position, as of a fully connected layer: then the product back through the stream takes no longer than the transposed one."""
    return layer.window.pointwise and layer.x_image[:2] == (1, 1)


def _fits_stack(layer: LinearInputGradient) -> bool:
    if is_single(layer) and layer.x_image[2] <= MOST_SUMS:
        return True
    return scratch_bytes(layer) + (BLOCK_BYTES if layer.window.kernel == (1, 1) else 0) <= STACK_BYTES


def stream_of_layer(node: Node, forward: tuple[Node, Value] | None) -> Value:
    """The stream of the layer whose gradient this is, where the gradient can be computed from it. Raises NotProved.

    forward: the layer with its kernel, and the stream of this; None where it has none.
    """
    layer = node.op
    assert isinstance(layer, LinearInputGradient)
    if forward is None or not isinstance(forward[0].op, PackedLinear) or forward[0].op.winograd or forward[0].op.exact:
        raise packing.NotProved("inference reads no stream of pairs")
    if not set(node.inputs) <= {"g", "weights", *LORA}:
        raise packing.NotProved("weights or gains of its layer are trained")
    if layer.x_image[2] % packing.QUAD:
        raise packing.NotProved(f"its input channels are no multiple of {packing.QUAD}")
    return forward[1]


def stream_step(layer: LinearInputGradient, stream: Value) -> int:
    """Words of a layer's stream from four output channels to the next four."""
    return stream.type.size // (packing.padded(layer.y_image[2]) // packing.QUAD)


def shared_input_gradient(
    node: Node, t: NodeTypes, values: Mapping[str, Value], forward: tuple[Node, Value] | None, on_stack: bool = False
) -> tuple[Node, list[Value], str]:
    """The node that stands for a gradient, the constant that it reads with the layer, and why it is not the fastest. Raises NotProved.

    forward: the layer with its kernel, and the stream of this; None where it has none. on_stack: the panel is.
    """
    layer = node.op
    assert isinstance(layer, LinearInputGradient)
    stream = stream_of_layer(node, forward)
    if min(layer.window.pad) < 0:
        raise packing.NotProved("its window is cut")
    if layer.shift not in (UNCALIBRATED, *SHIFTS):
        raise packing.NotProved(f"its sums are shifted by {layer.shift}")
    constant = values[node.inputs["weights"]].data
    assert constant is not None
    weights = constant.astype(np.int64).reshape(layer.y_image[2], *layer.window.kernel, layer.x_image[2])
    if not t.has("lora_du") and largest_sum(weights, layer, t) + (1 << max(layer.shift - 1, 0)) > INT32_MAX:
        raise packing.NotProved("its sums and half a unit of the result may leave int32")
    if on_stack and not _fits_stack(layer):
        raise packing.NotProved("sharing them takes more memory")
    op = SharedInputGradient(layer, t.type("weights"), on_stack, stream_step(layer, stream))
    inputs = {**{o: v for o, v in node.inputs.items() if o != "weights"}, "stream": stream.name}
    return replace(node, op=op, inputs=inputs), [stream], "" if is_single(layer) else SHARED
