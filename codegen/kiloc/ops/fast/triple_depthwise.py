"""DEPTHWISE_CONV_2D for cores that multiply one pair of numbers at a time: three sums in two words, as in `triple.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ...ir.graph import Node, Value
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch
from ...ir.operator import Environment, Names, NodeTypes, register
from ...ir.reach import Reach
from .._gain import GAIN_OPERANDS
from .._merged import MERGED, widest
from ..model.depthwise_conv_2d import DepthwiseConv2D
from . import _packing as packing
from .packed import requantization
from .packed_depthwise import PackedDepthwise, as_convolution, upright
from .triple import FEWER_VALUES, chunks_hold, triple

FEWER_ROWS = (9, 3)
"""Bands that leave speed for scratch: so many result rows."""

Ints = NDArray[np.int64]


@register
@dataclass(frozen=True)
class TripleDepthwise(PackedDepthwise):
    """stream: int32 [words]. bias, fold, limit, layer, weights, relu, rows: as `PackedDepthwise`; rows are never 0."""

    mnemonic: ClassVar[str] = "triple_depthwise"

    def unpacked(self, e: Environment) -> tuple[Ints, Ints]:
        words = e.array("stream").astype(np.int32).reshape(self.weights.shape[3], -1)
        height, width = self.weights.shape[1:3]
        taps = np.ascontiguousarray(words[:, : -packing.EPILOGUE]).view(np.int8)[:, : height * width]
        weights = taps.reshape(-1, width, height).transpose(0, 2, 1).reshape(len(words), -1).astype(np.int64)
        assert chunks_hold(weights, weights.shape[1]), "packed without proof"
        return weights, words[:, -packing.EPILOGUE :].astype(np.int64)

    @property
    def in_place(self) -> str | None:  # type: ignore[override]
        """A channel is read before it is written, in bands but for the rows that the next one reads again, which are kept."""
        return "x" if self.window.keeps_size and self.window.keeps_phases else None

    def reach(self, t: NodeTypes) -> tuple[str, Reach] | None:
        if self.in_place:
            return None
        operand, reach = self.layer.reach(self.plain(t))
        if self.window.phases != (1, 1):  # each is all over the image
            return operand, reach.in_bands(len(reach.first))
        return operand, reach.in_bands(self.rows * self.plain(t).result().shape[2])

    def first_words(self, t: NodeTypes) -> int:
        """Bytes in front of the band: what the stream has of one channel, where a gain changes it."""
        return 4 * (-(-self.window.kernel[0] * self.window.kernel[1] // 4) + packing.EPILOGUE) if t.has("gain") else 0

    def scratch(self, t: NodeTypes) -> int:
        """Bytes: of the columns of a band, of the rows that are kept, and of what stands in front."""
        w, (height, width) = self.window.of_phase, self.window.largest_view(self.image)
        columns = (width - 1) * w.stride[1] + (w.kernel[1] - 1) * w.dilation[1] + 1
        group = -(-min(self.rows, height) // 3)
        kept = w.pad[0] // self.window.phases[0] * width if self.in_place and self.rows < height else 0
        beyond = 8 * (w.kernel[0] % 2 == 0)  # which windows of an even number of rows read times 0
        return self.first_words(t) + 8 * columns * ((group - 1) * w.stride[0] + (w.kernel[0] - 1) * w.dilation[0] + 1) + beyond + -(-kept // 4) * 4

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {
            "window": self.window.fields(self.plain(t).type("x").shape, self.plain(t).result().shape),
            "outside": t.type("x").zero_point,
            "stream": Argument(n.inputs["stream"]),
            "fold": Argument(n.inputs["fold"]) if t.has("fold") else "NULL",
            "bias_limit": self.limit,
            "rows": self.rows,
        }
        relu = "_relu" if self.relu else ""
        name, source = f"triple_depthwise{relu}", f"triple_depthwise{relu}"
        if t.has("gain"):
            name, source = f"triple_depthwise_scaled{relu}", "triple_depthwise_scaled"
        operands = [n.inputs[o] for o in ("x", "bias", *GAIN_OPERANDS) if t.has(o)]
        arguments: tuple[Argument | Scratch, ...] = (*map(Argument, (*operands, n.outputs[0])), Scratch())
        source = f"kernels/triple_depthwise/{source}.c"
        return KernelCall(
            f"kt_{name}_s8",
            "kt_triple_depthwise_params",
            fields,
            arguments,
            self.scratch(t),
            source,
            ("product/triple_rows.c", "product/triple_results.c"),
            frozenset({"kt_tapped_rows"} if self.window.kernel == (3, 3) else ()),
        )


def stored(weights: Ints, shape: tuple[int, ...], words: Ints) -> NDArray[np.int32]:
    """Of weights [channels, taps] of a window of this shape: for each channel bytes [kernel column][kernel row] in whole words, then its
    requantisation."""
    columns = weights.reshape(-1, *shape).transpose(0, 2, 1).reshape(len(weights), -1)
    whole = np.pad(columns, ((0, 0), (0, -columns.shape[1] % 4))).astype(np.int8)
    return np.concatenate([np.ascontiguousarray(whole).view(np.int32), words.astype(np.int32)], 1).ravel()


def triple_depthwise(most: int, node: Node, t: NodeTypes, values: Mapping[str, Value]) -> tuple[Node, list[Value], str]:
    """The node that stands for a layer, in bands of at most so many rows (0: of all), and the constants that it adds. Raises NotProved."""
    layer = node.op
    assert isinstance(layer, DepthwiseConv2D)
    if layer.multiplier_of_depth(t) != 1:
        return as_convolution(partial(triple, 0 if most == 0 else FEWER_VALUES[most == FEWER_ROWS[-1]]), node, t, values)
    constant = values[node.inputs["weights"]].data
    assert constant is not None
    weights = constant.astype(np.int64).reshape(-1, constant.shape[3]).T
    if not chunks_hold(widest(weights) if t.has(MERGED) else weights, weights.shape[1]):
        raise packing.NotProved("sums reach 2^20")
    q = requantization(layer, t)
    z, bias = t.type("x").zero_point, packing.bias_of(values[node.inputs["bias"]], t.has("gain"))
    start = packing.start(q, weights, packing.bounds_of(t, weights, z), z, bias, t.has("gain"), t.has(MERGED))
    layer, weights_type, image = upright(layer, t)
    height = layer.window.largest_view(image)[0]
    op = TripleDepthwise(layer, weights_type, image, packing.rounds_half_up(q), min(most or height, height), start.limit)
    channels = len(weights)
    stream = stored(weights, constant.shape[1:3], start.words[:channels])
    inputs, added = packing.packed_values(node, stream, start.operand, start.data[:channels], start.words[:channels])
    return replace(node, op=op, inputs=inputs), added, ""
