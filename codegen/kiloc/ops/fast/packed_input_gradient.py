"""The gradient of a convolution or fully connected layer to its input, from transposed weights packed for the fast kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ...ir.graph import Node, Value
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, kernel_field, register
from ...ir.reach import Reach
from ...ir.types import TensorType
from ...numerics import INT32_MAX
from .._gain import GAIN_OPERANDS, gain_headroom
from .._merged import MERGED, widest
from .._window import Window
from ..backward.input_gradient import LinearInputGradient, largest_prescale, prescaled
from . import _packing as packing

LORA = ("lora_du", "lora_du_exponent", "lora_a", "lora_a_exponent")
DELTA = ("delta", "delta_exponent")


STACK_BYTES = 512
"""A panel of so many may lie on the stack (KT_SMALL_PANEL in the runtime), where the product gives results and no sums need stack too."""

SHIFTS = range(2, 32)
"""Of the sums, that the product can do."""

UNCALIBRATED = 0
"""The shift before calibration, which finds one of those: what is planned without it takes the same form."""


@dataclass(frozen=True)
class StreamedInputGradient(Op):
    """What stands for a gradient to an input whose weights are a stream of words.

    layer: the operator that it stands for, weights its weights' type. on_stack: the panel is, and not in the arena.
    """

    role: ClassVar[str] = "kernel"
    operands: ClassVar[tuple[str, ...]] = ("g", "stream")
    positions: ClassVar[int] = 2
    """Computed at once."""

    layer: LinearInputGradient = field(default_factory=LinearInputGradient)
    weights: TensorType = field(default_factory=lambda: TensorType((1, 1), "int8"))
    on_stack: bool = False

    def plain(self, t: NodeTypes) -> NodeTypes:
        """Types of the operator that this stands for."""
        return NodeTypes({**{o: v for o, v in t.operands.items() if o != "stream"}, "weights": self.weights}, t.results)

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return self.layer.infer(self.plain(t))

    def plain_weights(self, stream: Array) -> Array:
        """The weights that a stream holds, as the operator has them."""
        raise NotImplementedError

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        arrays = {**{o: a for o, a in dict(e.arrays).items() if o != "stream"}, "weights": self.plain_weights(e.array("stream"))}
        return self.layer.evaluate(Environment(self.plain(e).operands, e.results, arrays))

    def macs(self, t: NodeTypes) -> int:
        return self.layer.macs(self.plain(t))

    def reach(self, t: NodeTypes) -> tuple[str, Reach]:
        operand, reach = self.layer.reach(self.plain(t))
        stride, width = self.layer.window.stride, self.layer.x_image[1]
        group = self.positions * stride[1]  # positions that are read together, in one row
        return operand, reach if stride == (1, 1) else reach.in_bands(group if width % group == 0 else width)

    def layer_fields(self, t: NodeTypes, n: Names) -> dict[str, Field]:
        """What every such kernel is told of the layer."""
        m = self.layer.prescale(self.plain(t))
        return {
            "window": self.layer.window.fields(self.layer.x_image, self.layer.y_image),
            "stream": Argument(n.inputs["stream"]),
            "prescale": Table("prescale", "int16_t", packing.whole_quads(m).astype(np.int16)),
            "prescale_shift": self.layer.prescale_shift,
            "shift": self.layer.shift,
        }


SCALED_PANEL = "product/scaled_panel.c"
"""Fills the panels of 1x1 windows."""


@register
@dataclass(frozen=True)
class PackedInputGradient(StreamedInputGradient):
    """stream: int32 [words]: for each phase of the positions (kt/kernels/packed_convolution.h) its taps, last first, of every input channel.

    path_limit: what LoRA may add to sums that start from half a unit of the result; 0: not known. first: of a 1x1 window, input channels whose
    weights the stream holds, those behind them have the stream `rest`; 0: all.
    """

    mnemonic: ClassVar[str] = "packed_input_gradient"
    optional: ClassVar[tuple[str, ...]] = ("rest", *LORA, *DELTA, "delta_rows", *GAIN_OPERANDS)

    path_limit: int = kernel_field(0)
    first: int = 0

    def plain_weights(self, stream: Array) -> Array:
        return unpacked(stream, self.layer.window, self.weights)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        if not self.first:
            return super().evaluate(e)
        arrays = {o: a for o, a in dict(e.arrays).items() if o != "rest"}
        arrays["stream"] = np.concatenate([e.array("stream"), e.array("rest")])
        return super().evaluate(Environment({o: t for o, t in e.operands.items() if o != "rest"}, e.results, arrays))

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        op, channels, fields = self.layer, self.layer.y_image[2], self.layer_fields(t, n)
        arguments: list[Argument | Scratch | str] = [Argument(n.inputs["g"])]
        struct, symbol = "kt_packed_input_gradient_params", "kt_packed_input_gradient_s8"
        if _has_path(t):
            lora = t.has("lora_du")
            multiplier, shift = op.path_multiplier(self.plain(t))
            fields |= {"path_channels": t.type("lora_a").shape[0] if lora else channels, "path_multiplier": multiplier, "path_shift": shift}
            fields["path_limit"] = self.path_limit
            fields["path_rows"] = Argument(n.inputs["delta_rows"]) if t.has("delta_rows") else "NULL"
            arguments += [Argument(n.inputs[o]) for o in LORA] if lora else [Argument(n.inputs["g"]), "NULL", *(Argument(n.inputs[o]) for o in DELTA)]
            struct, symbol = "kt_packed_path_input_gradient_params", "kt_packed_path_input_gradient_s8"
        elif t.has("gain"):
            arguments += [Argument(n.inputs[o]) for o in GAIN_OPERANDS]
            symbol = "kt_packed_scaled_input_gradient_s8"
        elif op.window.pointwise and self._gives_results(t):
            struct, symbol = "kt_packed_pointwise_input_gradient_params", "kt_packed_pointwise_input_gradient_s8"
            fields |= {"first": self.first, "rest": Argument(n.inputs["rest"]) if self.first else "NULL"}
        arguments += [Argument(n.outputs[0]), "NULL" if self.on_stack else Scratch()]
        scratch = 0 if self.on_stack else panel_bytes(op) + (2 * packing.padded(channels) if t.has("gain") else 0)
        needs = ("product/sums.c", "product/gradient.c", SCALED_PANEL)  # one of them may not be reached, but without optimisation is named
        return KernelCall(
            symbol, struct, fields, tuple(arguments), scratch, f"kernels/packed_convolution/{symbol[3:-3]}.c", needs, self._unreached(t)
        )

    def _gives_results(self, t: NodeTypes) -> bool:
        """Whether the product does, and not sums."""
        return not _has_path(t) and self.layer.x_image[2] % packing.QUAD == 0 and self.layer.shift in SHIFTS

    def _unreached(self, t: NodeTypes) -> frozenset[str]:
        """Of the ways to walk over the positions (packed_input_gradient.h) those of other windows, and sums where the product gives results."""
        window = self.layer.window
        results = self._gives_results(t)
        way = "kt_walk_pointwise" if results and window.pointwise else "kt_walk_positions" if window.stride == (1, 1) else "kt_walk_rows"
        found = {"kt_walk_pointwise", "kt_walk_positions", "kt_walk_rows"} - {way}
        if results and all(order for _, _, order in phases(window, self.layer.y_image[2])):
            found.add("kt_product_exact_sums")
        return frozenset(found if self.on_stack else {*found, "kt_walk_on_stack"})


def _has_path(t: NodeTypes) -> bool:
    """Whether a trained path adds to the gradient."""
    return t.has("lora_du") or t.has("delta")


def panel_bytes(layer: LinearInputGradient) -> int:
    return 8 * max(len(order) for _, _, order in phases(layer.window, layer.y_image[2]))


def phases(window: Window, channels: int) -> Iterator[tuple[list[int], list[int], list[tuple[int, int]]]]:
    """For each phase the kernel rows and columns that meet its positions, last first, and the order of its pairs."""
    for fy in range(window.stride[0]):
        for fx in range(window.stride[1]):
            rows = list(range(fy, window.kernel[0], window.stride[0]))[::-1]
            columns = list(range(fx, window.kernel[1], window.stride[1]))[::-1]
            taps = len(rows) * len(columns)
            order = [(tap * channels + a, tap * channels + b if b >= 0 else -1) for tap in range(taps) for a, b in packing.run_order(channels)]
            yield rows, columns, order


def transposed_stream(weights: NDArray[np.int64], window: Window) -> NDArray[np.int32]:
    """Of weights [OC, KH, KW, IC]."""
    parts = []
    for rows, columns, order in phases(window, weights.shape[0]):
        if order:
            part = weights[:, rows][:, :, columns].transpose(3, 1, 2, 0).reshape(weights.shape[3], -1)
            parts.append(packing.exact_words(part, order).ravel())
    return packing.as_stream(np.concatenate(parts))


def unpacked(stream: NDArray[np.generic], window: Window, weights: TensorType) -> NDArray[np.int8]:
    """The inverse of `transposed_stream`, of the weights' shape."""
    channels, depth = weights.shape[0], weights.size // weights.shape[0] // (window.kernel[0] * window.kernel[1])
    found = np.zeros((channels, *window.kernel, depth), np.int64)
    words, at = stream.view(np.uint32).astype(np.int64).ravel(), 0
    for rows, columns, order in phases(window, channels):
        if not order:
            continue
        size = packing.padded(depth) // 2 * len(order)
        part = packing.from_exact_words(words[at : at + size], depth, len(rows) * len(columns) * channels, order)
        at += size
        for i, ky in enumerate(rows):
            for j, kx in enumerate(columns):
                found[:, ky, kx] = part.reshape(depth, len(rows), len(columns), channels)[:, i, j].T
    return found.astype(np.int8).reshape(weights.shape)


def largest_sum(weights: NDArray[np.int64], layer: LinearInputGradient, t: NodeTypes) -> int:
    """A bound of the sums of one input channel, whatever the gradient."""
    m = largest_prescale(t.type("weights").channel_scales, len(weights), gain_headroom(t.has("gain")))
    scaled = prescaled(127, m, layer.prescale_shift)
    return int((np.abs(weights).sum((1, 2)) * scaled[:, None]).sum(0).max())


def packed_input_gradient(node: Node, t: NodeTypes, values: Mapping[str, Value], on_stack: bool = False) -> tuple[Node, list[Value], str]:
    """The node that stands for a gradient, and the constant that it adds. on_stack: the panel is. Raises NotProved."""
    layer = node.op
    assert isinstance(layer, LinearInputGradient)
    if t.has("gain") and _has_path(t):
        raise packing.NotProved("its gains are trained beside its weights")
    if layer.window.dilation != (1, 1) or min(layer.window.pad) < 0:
        raise packing.NotProved("its window is dilated or cut")
    constant = values[node.inputs["weights"]].data
    assert constant is not None
    weights = constant.astype(np.int64).reshape(layer.y_image[2], *layer.window.kernel, layer.x_image[2])
    sums = _has_path(t) or layer.x_image[2] % packing.QUAD or layer.shift not in (UNCALIBRATED, *SHIFTS)
    if on_stack and (sums or t.has("gain") or panel_bytes(layer) > STACK_BYTES):
        raise packing.NotProved(packing.MEMORY)
    if not sums and largest_sum(widest(weights) if t.has(MERGED) else weights, layer, t) + (1 << max(layer.shift - 1, 0)) > INT32_MAX:
        raise packing.NotProved("its sums and half a unit of the result may leave int32")
    limit = INT32_MAX - largest_sum(weights, layer, t) - (1 << layer.shift - 1) if t.has("lora_du") and layer.shift in SHIFTS else 0
    op = PackedInputGradient(layer, t.type("weights"), on_stack, max(limit, 0))
    if t.has(MERGED):
        return replace(node, op=op), [], ""
    stream = transposed_stream(weights, layer.window)
    name = f"{node.inputs['weights']}.transposed"
    value = Value(name, TensorType(stream.shape, "int32"), "constant", stream, f"{node.origin or node.name}, transposed")
    inputs = {**{o: v for o, v in node.inputs.items() if o != "weights"}, "stream": name}
    return replace(node, op=op, inputs=inputs), [value], ""
