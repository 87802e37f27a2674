"""DEPTHWISE_CONV_2D with its constants packed for the fast kernels: the same results, from another form of the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ...ir.graph import Node, Value
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.reach import Reach
from ...ir.types import TensorType
from .._gain import GAIN_OPERANDS, gain_factor, summed_bias
from .._merged import MERGED
from .._window import Window
from ..model.conv_2d import Conv2D
from ..model.depthwise_conv_2d import DepthwiseConv2D
from . import _packing as packing
from .packed import packed, packed_on_stack, requantization

BAND_ROWS = {(1, 1): (4, 2), (2, 2): (2, 1)}
"""Result rows that a band may have, by stride: more are faster, fewer let the result lie nearer to the input."""

MOST_EXPANDED = 8
"""Input channels of a depthwise layer that may be computed as a convolution."""

TILE_ROWS = (8, 4, 2)
"""Of a band that goes by tiles of two by two results, likewise."""

MOST_TILED = 128
"""Rows or columns of a window that goes so: fewer."""

LINE_ROWS = (1,)
"""Of lines, which are windows of one row or one column: one at a time."""

FEWEST_TILED = 12
"""Results of a channel for which the weights of its tiles are worth making."""

FEWEST_OF_LINE = 5
"""Results of a phase of a single line, of which several then share them."""

COLUMN_PAIR = 96
STRIDED_COLUMN_PAIR = 80
"""Bytes of two columns of four channels of a band: six or five rows of int16."""


@register
@dataclass(frozen=True)
class PackedDepthwise(Op):
    """stream: int32 [words]. bias, fold, limit: as `PackedLinear`.

    layer: the operator that this stands for, in bands upright (`_window.py`), weights its weights' type, image: rows and columns of its x. relu:
    rounded half up. rows: of a band; 0: position by position. Bands of 3x3 windows have a kernel of their own, others go by tiles of two by two
    results, or of four neighbours in a line.
    """

    mnemonic: ClassVar[str] = "packed_depthwise"
    role: ClassVar[str] = "kernel"
    operands: ClassVar[tuple[str, ...]] = ("x", "stream", "bias")
    optional: ClassVar[tuple[str, ...]] = ("fold", *GAIN_OPERANDS)

    layer: DepthwiseConv2D = field(default_factory=DepthwiseConv2D)
    weights: TensorType = field(default_factory=lambda: TensorType((1, 1, 1, 1), "int8"))
    image: tuple[int, int] = (1, 1)
    relu: bool = False
    rows: int = 0
    limit: int = 0

    @property
    def window(self) -> Window:
        return self.layer.window

    @property
    def banded(self) -> bool:
        """Whether its bands are those of 3x3 windows, with a stream of their own."""
        return self.rows > 0 and is_banded(self.layer, self.weights.shape[3])

    @property
    def tiled(self) -> bool:
        return self.rows > 0 and not self.banded

    def plain(self, t: NodeTypes) -> NodeTypes:
        """Types of the layer that this stands for."""
        channels = self.weights.shape[3]
        x = replace(t.type("x"), shape=(1, *self.image, channels))
        y = replace(t.result(), shape=(1, *self.window.output(*self.image), channels))
        return NodeTypes({"x": x, "weights": self.weights, "bias": TensorType((channels,), "int32")}, (y,))

    def check(self, t: NodeTypes) -> str | None:
        return self.layer.check(self.plain(t))

    # -- meaning --------------------------------------------------------------------------------------
    def unpacked(self, e: Environment) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Weights [channels, taps] and requantisation [channels, 3]."""
        channels = self.weights.shape[3]
        if self.banded:
            return banded_weights(e.array("stream"), channels)
        return quad_weights(e.array("stream"), channels)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        weights, epilogue = self.unpacked(e)
        bias = summed_bias(e)
        if e.has("fold"):
            bias = np.clip(bias, -self.limit, self.limit) + e.wide("fold")
        taps = weights.T.reshape(self.weights.shape)
        plain = self.plain(e)
        arrays = {"x": e.array("x").reshape(-1, *plain.type("x").shape[1:]), "weights": taps, "bias": bias + e.type("x").zero_point * weights.sum(1)}
        sums = self.layer.accumulator(Environment(plain.operands, plain.results, arrays))
        assert np.abs(sums).max(initial=0) <= packing.LARGEST_SUM, "packed without proof"
        if e.has("gain"):
            epilogue = packing.with_gain(epilogue, gain_factor(e.wide("gain"), e.wide("gain_exponent")))
        return (packing.short_result(epilogue, sums, self.relu).astype(np.int8).reshape(-1, *e.result().shape[1:]),)

    def macs(self, t: NodeTypes) -> int:
        return self.layer.macs(self.plain(t))

    @property
    def in_place(self) -> str | None:  # type: ignore[override]
        """Bands keep the rows that they overwrite for the next one: of 3x3 windows in vectors one row."""
        banded, tiled = self.banded and self.window.pad == (1, 1, 1, 1), self.tiled and self.window.keeps_phases
        return "x" if (banded or tiled) and self.window.keeps_size else None

    def reach(self, t: NodeTypes) -> tuple[str, Reach] | None:
        if self.in_place:
            return None
        operand, reach = self.layer.reach(self.plain(t))
        if self.tiled and goes_all_over(self.window):
            return operand, reach.in_bands(len(reach.first))
        return operand, reach.in_bands(self.rows * self.plain(t).result().shape[2]) if self.rows else reach

    # -- C --------------------------------------------------------------------------------------------
    def tiles_scratch(self) -> int:
        """Bytes of the weights and values that tiles, or lines, work on."""
        window, results = self.window, self.window.largest_phase(self.window.output(*self.image))
        if is_line(window):
            axis = line_axis(window)
            return line_scratch(window.kernel[axis], window.stride[axis], results[axis])
        return tile_scratch(window, self.rows, results[1])

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        width = self.plain(t).result().shape[2]
        fields: dict[str, Field] = {
            "window": self.window.fields(self.plain(t).type("x").shape, self.plain(t).result().shape),
            "outside": t.type("x").zero_point,
            "stream": Argument(n.inputs["stream"]),
            "fold": Argument(n.inputs["fold"]) if t.has("fold") else "NULL",
            "bias_limit": self.limit,
            "rows": self.rows,
        }
        gain = [Argument(n.inputs[o]) for o in GAIN_OPERANDS if t.has(o)]
        scratch = 4 * packing.padded(self.weights.shape[3]) * (1 + packing.EPILOGUE if gain else 1) if t.has("fold") or gain else 0
        name, source, needs = "packed_depthwise", "packed_depthwise", list[str]()
        if self.tiled:
            scratch += self.tiles_scratch()
            name, source = "tiled_depthwise", "tiled_depthwise"
        if self.banded:
            strided = "_strided" if self.window.stride == (2, 2) else ""
            pairs = -(-width // 2) * self.window.stride[1] + 1
            scratch = (STRIDED_COLUMN_PAIR if strided else COLUMN_PAIR) * pairs + (scratch if gain else 0)
            scratch += self.image[1] * self.weights.shape[3] if self.in_place else 0
            name, source, needs = f"banded_depthwise{strided}", "banded_depthwise", ["product/band.c"]
        if gain:
            name, source = f"{name}_scaled", source if self.tiled else f"{source}_scaled"
        name += "_relu" if self.relu else ""
        operands = (Argument(n.inputs["x"]), Argument(n.inputs["bias"]), *gain)
        arguments = (*operands, Argument(n.outputs[0]), Scratch() if scratch else "NULL")
        return KernelCall(
            f"kt_{name}_s8", "kt_packed_depthwise_params", fields, arguments, scratch, f"kernels/packed_depthwise/{source}.c", tuple(needs)
        )


def upright(layer: DepthwiseConv2D, t: NodeTypes) -> tuple[DepthwiseConv2D, TensorType, tuple[int, int]]:
    """A layer, its weights' type, and rows and columns of its x, seen upright (`_window.py`)."""
    weights, (_, height, width, _) = t.type("weights"), t.type("x").shape
    window, image = layer.window.upright((height, width))
    return replace(layer, window=window), replace(weights, shape=(1, *window.kernel, weights.shape[3])), image


def is_banded(layer: DepthwiseConv2D, channels: int) -> bool:
    """Whether bands of a layer are those of 3x3 windows."""
    window = layer.window
    return window.kernel == (3, 3) and window.dilation == (1, 1) and window.stride in BAND_ROWS and channels % packing.QUAD == 0


def quads(channels: int) -> list[int]:
    """Channels in fours, as the stream has them: where they are no multiple of four it ends with the last four, some of them for the second time; of
    fewer than four it repeats the last."""
    if channels < packing.QUAD:
        return [min(c, channels - 1) for c in range(packing.QUAD)]
    whole = channels - channels % packing.QUAD
    return [*range(whole), *(range(channels - packing.QUAD, channels) if whole < channels else ())]


def stream_of(weights: NDArray[np.int64], words: NDArray[np.int64]) -> NDArray[np.int32]:
    """Of weights [channels, taps]: four channels at a time taps x {first and third, second and fourth}, then their requantisation."""
    quads = weights.reshape(-1, packing.QUAD, weights.shape[1]).transpose(0, 2, 1)
    pairs = (quads[..., :2] & 0xFFFF) | (quads[..., 2:] & 0xFFFF) << 16
    return packing.as_stream(np.concatenate([pairs.reshape(len(quads), -1), words.reshape(len(quads), -1)], 1))


def packed_weights(stream: NDArray[np.generic], channels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Weights [channels, taps] and requantisation [channels, 3]: the inverse of `stream_of`."""
    words = stream.astype(np.int32).reshape(channels // packing.QUAD, -1)
    pairs, epilogue = np.ascontiguousarray(words[:, : -4 * packing.EPILOGUE]), words[:, -4 * packing.EPILOGUE :]
    halves = pairs.view(np.int16).reshape(len(words), -1, 2, 2)  # [quad, tap, even or odd, low or high]
    weights = halves.transpose(0, 3, 2, 1).reshape(channels, -1)
    return weights.astype(np.int64), epilogue.reshape(channels, packing.EPILOGUE).astype(np.int64)


def quad_weights(stream: NDArray[np.generic], channels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Weights [channels, taps] and requantisation [channels, 3] of a stream of the quads of so many channels."""
    order = quads(channels)
    weights, epilogue = packed_weights(stream, len(order))
    first = [order.index(c) for c in range(channels)]
    return weights[first], epilogue[first]


def banded_stream(weights: NDArray[np.int64], words: NDArray[np.int64]) -> NDArray[np.int32]:
    """Of weights [channels, 9]: for each channel three kernel rows as the bytes {w1, w0, w2, w1}, then its requantisation."""
    rows = weights.reshape(-1, 3, 3)[..., [1, 0, 2, 1]] & 0xFF
    packed_rows = (rows << np.array([0, 8, 16, 24])).sum(2)
    return packing.as_stream(np.concatenate([packed_rows, words], 1))


def banded_weights(stream: NDArray[np.generic], channels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Weights [channels, 9] and requantisation [channels, 3]: the inverse of `banded_stream`."""
    words = stream.astype(np.int32).reshape(channels, -1)
    rows = np.ascontiguousarray(words[:, :3]).view(np.int8).reshape(channels, 3, 4)
    return rows[..., [1, 0, 2]].reshape(channels, 9).astype(np.int64), words[:, 3:].astype(np.int64)


def band_rows(node: Node) -> tuple[int, ...]:
    """Rows of a band that the layer's window may allow, of one dimension over the right image, most first."""
    layer = node.op
    assert isinstance(layer, DepthwiseConv2D)
    if is_banded(layer, packing.QUAD):
        return BAND_ROWS[layer.window.stride]
    if is_line(layer.window):
        return LINE_ROWS
    return TILE_ROWS if goes_by_tiles(layer.window) else ()


def is_line(window: Window) -> bool:
    """Whether a window has one row or one column, and several taps along it."""
    return min(window.kernel) == 1 < max(window.kernel)


def goes_by_tiles(window: Window) -> bool:
    """Whether four results share what they read: two by two, or neighbours in a line, of each phase of a dilated window."""
    near = max(window.stride) <= 2 and 1 < max(window.kernel) < MOST_TILED
    phased = all(1 in (kernel, dilation) for kernel, dilation in zip(window.kernel, window.of_phase.dilation, strict=True))
    return near and phased and not (is_line(window) and any(window.pad[1 - line_axis(window) :: 2]))


def goes_all_over(window: Window) -> bool:
    """Whether tiles read rows at the end of the image before they have written those at its beginning: lines may lie across the image, and each
    phase of a dilated window is all over it."""
    return is_line(window) or window.phases != (1, 1)


def fills_phases(window: Window, image: tuple[int, int]) -> bool:
    """Whether each phase reads some rows and columns of an image."""
    return all(count <= size for count, size in zip(window.phases, image, strict=True))


def tile_rows(layer: DepthwiseConv2D, channels: int, image: tuple[int, int], rows: int) -> int:
    """Rows of a band of a layer that goes by tiles, of those of `band_rows`; 0 where it does not, or single positions take less."""
    window = layer.window
    few = channels >= packing.QUAD and results_together(window, window.output(*image)) < FEWEST_TILED
    if few or not goes_by_tiles(window) or not fills_phases(window, image):
        return 0
    return rows * layer.window.stride[0] if is_banded(layer, packing.QUAD) else rows


def results_together(window: Window, results: tuple[int, int]) -> int:
    """Results of a channel that share the weights of their tiles: of the largest phase; all of a single line whose phases are not too short."""
    height, width = window.largest_phase(results)
    single = is_line(window) and results[1 - line_axis(window)] == 1 and height * width >= FEWEST_OF_LINE
    return results[0] * results[1] if single else height * width


def line_axis(window: Window) -> int:
    """0 where the lines of a window of one column lie down the image, 1 where those of one row lie along it."""
    return int(window.kernel[0] == 1)


def line_scratch(taps: int, stride: int, results: int) -> int:
    """Bytes of the weights of four channels and of the buffer of a line of so many results."""
    pairs = max(-(-(taps + stride) // 2), 2)
    return 32 * pairs + 16 * ((-(-results // 4) * 2 - 1) * stride + pairs)


def tile_scratch(window: Window, rows: int, width: int) -> int:
    """The same of a band of so many rows, for results of a width."""
    pairs = -(-(window.kernel[1] + window.stride[1]) // 2)
    columns = (-(-width // 2) - 1) * window.stride[1] + pairs
    return 32 * pairs * window.kernel[0] + 16 * columns * ((rows - 1) * window.stride[0] + window.kernel[0])


def packed_depthwise(rows: int, node: Node, t: NodeTypes, values: Mapping[str, Value]) -> tuple[Node, list[Value], str]:
    """The node that stands for a layer, in bands of so many rows or 0, and the constants that it adds. Raises NotProved."""
    layer, channels = node.op, t.type("x").shape[3]
    assert isinstance(layer, DepthwiseConv2D)
    convolution = packed if rows else packed_on_stack
    placed, weights_type, image = upright(layer, t)
    if rows and not is_banded(placed, channels):
        rows = tile_rows(placed, channels, image, rows)
    if layer.multiplier_of_depth(t) != 1 or (channels < packing.QUAD and not rows):
        return as_convolution(convolution, node, t, values)
    if channels % packing.QUAD and t.has("gain"):
        raise packing.NotProved(f"a gain of channels that are no multiple of {packing.QUAD}")
    if channels < packing.QUAD and t.has(MERGED):
        raise packing.NotProved(f"fewer than {packing.QUAD} channels, and trained weights")
    if not rows:  # by position as it is
        placed, weights_type, image = layer, t.type("weights"), (t.type("x").shape[1], t.type("x").shape[2])
    constant = values[node.inputs["weights"]].data
    assert constant is not None
    weights = constant.astype(np.int64).reshape(-1, constant.shape[3]).T
    q = requantization(layer, t)
    z, bias = t.type("x").zero_point, packing.bias_of(values[node.inputs["bias"]], t.has("gain"))
    start = packing.start(q, weights, packing.bounds_of(t, weights, z), z, bias, t.has("gain"), t.has(MERGED))
    op = PackedDepthwise(placed, weights_type, image, packing.rounds_half_up(q), rows, start.limit)
    stream = banded_stream(weights, start.words[:channels]) if op.banded else stream_of(weights[quads(channels)], start.words[quads(channels)])
    inputs, added = packing.packed_values(node, stream, start.operand, start.data[:channels], start.words[:channels])
    slow = f"its channels are no multiple of {packing.QUAD}" if channels % packing.QUAD and not rows else ""
    return replace(node, op=op, inputs=inputs), added, slow


def as_convolution(
    packer: Callable[[Node, NodeTypes, Mapping[str, Value]], tuple[Node, list[Value], str]], node: Node, t: NodeTypes, values: Mapping[str, Value]
) -> tuple[Node, list[Value], str]:
    """The node that stands for a depthwise layer as a convolution, whose other weights are 0. Raises NotProved.

    Of layers that have no form of their own; each result takes as many products as there are input channels.
    """
    layer, inputs, outputs = node.op, t.type("x").shape[3], t.type("weights").shape[3]
    assert isinstance(layer, DepthwiseConv2D)
    factor = layer.multiplier_of_depth(t)
    what = "several results of each input channel" if factor > 1 else f"fewer than {packing.QUAD} channels"
    if inputs > MOST_EXPANDED:
        raise packing.NotProved(what)
    weights = values[node.inputs["weights"]]
    if t.has(MERGED):
        raise packing.NotProved(f"{what}, and trained weights")
    assert weights.data is not None and weights.type.quantization is not None
    data = np.zeros((outputs, *layer.window.kernel, inputs), np.int8)
    for channel in range(outputs):
        data[channel, ..., channel // factor] = weights.data[0, ..., channel]
    type_ = replace(weights.type, shape=data.shape, quantization=replace(weights.type.quantization, axis=0))
    whole = replace(node, op=Conv2D(activation=layer.activation, window=layer.window))
    chosen, added, slow = packer(
        whole, NodeTypes({**t.operands, "weights": type_}, t.results), {**values, weights.name: replace(weights, type=type_, data=data)}
    )
    return chosen, added, slow or f"{what}: a convolution that multiplies by zeros"
