"""The gradient of a depthwise layer to its input with its constants packed for the fast kernels: those that the layer itself reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ...ir.graph import Node, Value
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.reach import Reach
from ...ir.types import TensorType
from .._gain import GAIN_OPERANDS
from .._merged import MERGED
from .._window import Window
from ..model.depthwise_conv_2d import DepthwiseInputGradient
from . import _packing as packing
from .packed_depthwise import (
    COLUMN_PAIR,
    FEWEST_TILED,
    LINE_ROWS,
    TILE_ROWS,
    PackedDepthwise,
    banded_stream,
    banded_weights,
    fills_phases,
    goes_all_over,
    goes_by_tiles,
    is_line,
    line_axis,
    line_scratch,
    quad_weights,
    quads,
    results_together,
    stream_of,
    tile_scratch,
)

SHIFTS = range(2, 32)
"""Of the sums, that the kernel can do."""

BAND_ROWS = (4, 2)

FEWEST_STRIDED = 32
"""Results of a channel in the largest part for which the weights and the buffers of all parts are worth making."""

LEAST_INSIDE = {"armv6m": 0.55, "armv7m": 0.42, "triple": 0.42}
"""Of what tiles of two by two multiply, the share that lies inside the image, for which they take less than the kernel that multiplies nothing else;
by the kernels of cores without the DSP extension."""
STRIDED_SHARE = 1.25
"""So many times that of windows with a stride, whose tiles are made ready for several parts."""

MOST_TAPS = 255
"""Products of 16 and 8 bits, each at most 2^22, whose sum stays within 32 bits with half a unit of any shift, at most 2^30."""


def upright(layer: DepthwiseInputGradient) -> DepthwiseInputGradient:
    """A gradient whose window and images are seen upright (`_window.py`)."""
    _, height, width, channels = layer.x_shape
    if layer.window.output(height, width) != layer.y_shape[1:3]:  # of some rows alone
        return layer
    window, image = layer.window.upright((height, width))
    return replace(layer, window=window, x_shape=(1, *image, channels), y_shape=(1, *window.output(*image), channels))


def is_banded(layer: DepthwiseInputGradient) -> bool:
    """Whether its bands are those of 3x3 windows with a border of 1; others go by tiles."""
    w = layer.window
    return w.kernel == (3, 3) and w.stride == (1, 1) and w.dilation == (1, 1) and w.pad == (1, 1, 1, 1) and layer.x_shape[3] % packing.QUAD == 0


def tiles_take_less(layer: DepthwiseInputGradient, kernels: str) -> bool:
    """Whether tiles are faster than what else cores without the DSP extension have for a gradient: rows of 3x3 windows, or for windows that meet more
    border than image what multiplies nothing but the image."""
    window = layer.window
    if window.kernel == (1, 1) or (window.kernel == (3, 3) and window.phases == (1, 1)):
        return False
    return is_line(window) or share_inside(layer) >= LEAST_INSIDE[kernels] * (1 if window.stride == (1, 1) else STRIDED_SHARE)


def band_rows(node: Node) -> tuple[int, ...]:
    """Rows that a band of a gradient may have, most first."""
    assert isinstance(node.op, DepthwiseInputGradient)
    if is_line(node.op.window):
        return LINE_ROWS
    return BAND_ROWS if is_banded(node.op) else TILE_ROWS


@register
@dataclass(frozen=True)
class PackedDepthwiseInputGradient(Op):
    """stream: int32, that of the layer in bands or in tiles. layer: the operator that this stands for, weights its weights' type. rows: of a band."""

    mnemonic: ClassVar[str] = "packed_depthwise_input_gradient"
    role: ClassVar[str] = "kernel"
    operands: ClassVar[tuple[str, ...]] = ("g", "stream")
    optional: ClassVar[tuple[str, ...]] = GAIN_OPERANDS

    layer: DepthwiseInputGradient = field(default_factory=DepthwiseInputGradient)
    weights: TensorType = field(default_factory=lambda: TensorType((1, 1, 1, 1), "int8"))
    rows: int = BAND_ROWS[0]

    @property
    def in_place(self) -> str | None:  # type: ignore[override]
        return "g" if self.layer.window.keeps_size and self.layer.window.keeps_phases else None

    def reach(self, t: NodeTypes) -> tuple[str, Reach] | None:
        if self.in_place:
            return None
        operand, reach = self.layer.reach(self.plain(t))
        if goes_all_over(self.layer.window):
            return operand, reach.in_bands(len(reach.first))
        return operand, reach.in_bands(self.rows * self.layer.window.stride[0] * self.layer.x_shape[2])

    def plain(self, t: NodeTypes) -> NodeTypes:
        """Types of the operator that this stands for."""
        return NodeTypes({**{o: v for o, v in t.operands.items() if o != "stream"}, "weights": self.weights}, t.results)

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return self.layer.infer(self.plain(t))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        arrays = {o: a for o, a in dict(e.arrays).items() if o != "stream"}
        channels = self.weights.shape[3]
        if is_banded(self.layer):
            weights, _ = banded_weights(e.array("stream"), channels)
        else:
            weights, _ = quad_weights(e.array("stream"), channels)
        arrays["weights"] = weights.astype(np.int8).T.reshape(self.weights.shape)
        return self.layer.evaluate(Environment(self.plain(e).operands, e.results, arrays))

    def macs(self, t: NodeTypes) -> int:
        return self.layer.macs(self.plain(t))

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        op = upright(self.layer)
        width, channels = op.x_shape[2:]
        fields: dict[str, Field] = {
            "window": op.window.fields(op.x_shape, op.y_shape),
            "stream": Argument(n.inputs["stream"]),
            "prescale": Table("prescale", "int16_t", op.prescale(self.plain(t)).astype(np.int16)),
            "prescale_shift": op.prescale_shift,
            "shift": op.shift,
            "rows": self.rows,
        }
        gain = [Argument(n.inputs[o]) for o in GAIN_OPERANDS if t.has(o)]
        arguments: tuple[Argument | Scratch, ...] = (Argument(n.inputs["g"]), *gain, Argument(n.outputs[0]), Scratch())
        struct, scaled = "kt_banded_depthwise_input_gradient_params", "scaled_" if gain else ""
        if is_banded(op):
            scratch = COLUMN_PAIR * (-(-width // 2) + 1) + width * channels
            source = f"kernels/packed_depthwise/banded_depthwise{'_scaled' if gain else ''}.c"
            return KernelCall(f"kt_banded_depthwise_{scaled}input_gradient_s8", struct, fields, arguments, scratch, source, ("product/band.c",))
        source = "kernels/packed_depthwise/tiled_depthwise.c"
        return KernelCall(f"kt_tiled_depthwise_{scaled}input_gradient_s8", struct, fields, arguments, gradient_scratch(op, self.rows), source)


def packed_depthwise_gradient(
    rows: int, node: Node, t: NodeTypes, values: Mapping[str, Value], forward: tuple[Node, Value] | None = None
) -> tuple[Node, list[Value], str]:
    """The node that stands for a gradient, in bands of so many rows, and the constant that it reads. Raises NotProved.

    forward: the layer with its kernel, and the stream of this; None where it has none. Without bands of its own the gradient gets a stream.
    """
    layer = node.op
    assert isinstance(layer, DepthwiseInputGradient)
    channels, banded = layer.x_shape[3], is_banded(layer)
    if layer.y_shape[3] != channels or channels < packing.QUAD:
        raise packing.NotProved(f"it has fewer than {packing.QUAD} channels, or several results of each")
    if not banded:
        check_tiles(upright(layer))
    if layer.prescale_shift > 16:
        raise packing.NotProved(f"its gradient is scaled by a shift of {layer.prescale_shift}")
    if layer.shift not in SHIFTS:
        raise packing.NotProved(f"its sums are shifted by {layer.shift}")
    op = PackedDepthwiseInputGradient(layer, t.type("weights"), rows)
    if t.has(MERGED):
        return replace(node, op=op), [], ""
    constant = values[node.inputs["weights"]].data
    assert constant is not None
    if forward is not None and type(forward[0].op) is PackedDepthwise and forward[0].op.banded == banded:
        value = forward[1]
    else:
        weights, order = constant.astype(np.int64).reshape(-1, channels).T, list(range(channels)) if banded else quads(channels)
        stream = (banded_stream if banded else stream_of)(weights[order], np.zeros((len(order), packing.EPILOGUE), np.int64))
        what = "bands" if banded else "tiles"
        value = Value(
            f"{node.inputs['weights']}.{what}", TensorType(stream.shape, "int32"), "constant", stream, f"{node.origin or node.name}, in {what}"
        )
    inputs = {**{o: v for o, v in node.inputs.items() if o != "weights"}, "stream": value.name}
    return replace(node, op=op, inputs=inputs), [value], ""


def share_inside(layer: DepthwiseInputGradient) -> float:
    """Products with values of the image among those that tiles of a gradient compute."""
    window, share = layer.window, 1.0
    for axis in (0, 1):
        kernel, stride, size, results = window.kernel[axis], window.stride[axis], layer.x_shape[1 + axis], layer.y_shape[1 + axis]
        places = np.arange(results)[:, None] * stride - window.pad[axis] + np.arange(kernel) * window.dilation[axis]
        share *= float(((places >= 0) & (places < size)).sum()) * stride / (kernel * (size + size % 2))
    return share


def parts_of(layer: DepthwiseInputGradient) -> tuple[int, int]:
    """Rows and columns of the largest of the parts that its result is computed in: with a stride of two those at even places, and so on, with
    dilation its phases."""
    window, sizes = layer.window, layer.x_shape[1:3]
    height, width = (-(-size // max(pair)) for size, pair in zip(sizes, zip(window.stride, window.phases, strict=True), strict=True))
    return height, width


def gradient_scratch(layer: DepthwiseInputGradient, rows: int) -> int:
    """Bytes of the weights of four channels and of the buffer of a band, of the largest part."""
    taps = [-(-kernel // stride) for kernel, stride in zip(layer.window.kernel, layer.window.stride, strict=True)]
    if is_line(layer.window):
        axis = line_axis(layer.window)
        return line_scratch(taps[axis], 1, parts_of(layer)[axis])
    return tile_scratch(Window((max(taps[0], 2), taps[1])), rows, parts_of(layer)[1])


def check_tiles(layer: DepthwiseInputGradient) -> None:
    """Raises NotProved where a gradient does not go by tiles."""
    window = layer.window
    height, width = parts_of(layer)
    strided, dilated = max(window.stride) > 1, window.phases != (1, 1)
    if not goes_by_tiles(window) or (strided and dilated) or not fills_phases(window, (layer.y_shape[1], layer.y_shape[2])):
        raise packing.NotProved("its window has a stride of more than two, or a dilation with a stride or larger than the image")
    if is_line(window) and window.stride[1 - line_axis(window)] > 1 and layer.x_shape[2 - line_axis(window)] > 1:
        raise packing.NotProved("its lines have others between them that no window meets")
    together = height * width if strided else results_together(window, (layer.x_shape[1], layer.x_shape[2]))
    if together < (FEWEST_STRIDED if strided else FEWEST_TILED) or (width == 1 and not is_line(window)):
        raise packing.NotProved("its image is too small for tiles")
    if strided and window.kernel == (3, 3) and layer.x_shape[3] % packing.QUAD == 0:
        raise packing.NotProved("of a 3x3 window with a stride tiles would take longer")
    if window.kernel[0] * window.kernel[1] > MOST_TAPS:
        raise packing.NotProved(f"its window has more than {MOST_TAPS} taps")
