"""Makes the weights of a layer with a merged delta, in the order in which its kernel reads them.

The layouts are those of constants, of which this gives the same bytes at run time: each is described where the compiler packs a frozen layer
(`packed.py`, `triple.py`, ...). A layout that requantises takes the words of every channel's requantisation, and gives what the input's zero
point adds to the sums (`fold`), which depends on the weights. `Merged` puts it in front of a kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ...ir.kernel_call import Argument, Field, KernelCall, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType
from .._merged import EXPONENT, MERGED, ROWS, in_rows, largest_sums, layer_weights, lowest_weight
from .._sums import addend_multipliers
from .._window import Window
from . import _packing as packing
from . import packed_depthwise, packed_input_gradient, triple, triple_depthwise

Ints = NDArray[np.int64]
EPILOGUE = "epilogue"
"""Operand: words [channels, 3] of the requantisation."""


@register
@dataclass(frozen=True)
class MergeWeights(Op):
    """weights int8, merged_delta int8, its exponent [1], rows int16 [channels] -> what `layout` names.

    layout: a key of `LAYOUTS`. axis: of the output channels. window: of the layer; depth: its input channels. zero_point: of its input. chunk: of
    "triple". exact: whether "packed" holds exact words. largest: of the sums of |W'| of each channel, () where they need no bound; spare: by how
    much every weight of a channel may move at once, so that their sum stays within it; lowest: of a weight.
    """

    mnemonic: ClassVar[str] = "merge_weights"
    role: ClassVar[str] = "kernel"
    operands: ClassVar[tuple[str, ...]] = ("weights", MERGED, EXPONENT)
    optional: ClassVar[tuple[str, ...]] = (ROWS, EPILOGUE)

    layout: str = "plain"
    axis: int = 0
    window: Window = Window((1, 1))
    depth: int = 1
    zero_point: int = 0
    chunk: int = 0
    exact: bool = False
    largest: tuple[int, ...] = ()
    spare: tuple[int, ...] = ()
    lowest: int = -127

    def results(self, t: NodeTypes) -> dict[str, TensorType]:
        """Member of the kernel's parameters -> what is made for it."""
        weights = np.zeros(t.type("weights").shape, np.int64)
        words = np.zeros((weights.shape[self.axis], packing.EPILOGUE), np.int64) if t.has(EPILOGUE) else None
        return {name: TensorType(a.shape, a.dtype.name) for name, a in self.laid_out(weights, words).items()}

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return tuple(self.results(t).values())

    def laid_out(self, weights: Ints, words: Ints | None) -> dict[str, Array]:
        """The results of weights in the layer's own shape."""
        return LAYOUTS[self.layout].lay(self, weights, words)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        words = e.wide(EPILOGUE) if e.has(EPILOGUE) else None
        return tuple(self.laid_out(layer_weights(e, self.axis), words).values())

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        weights = t.type("weights")
        channels = weights.shape[self.axis]
        multiplier, shift = addend_multipliers(weights, channels, 1.0)
        fields: dict[str, Field] = {
            "weights": Argument(n.inputs["weights"]),
            "multiplier": Table("delta_multiplier", "int32_t", multiplier.astype(np.int32)),
            "shift": Table("delta_shift", "int8_t", shift.astype(np.int8)),
            "rows": Argument(n.inputs[ROWS]) if t.has(ROWS) else "NULL",
            "largest": Table("largest", "int32_t", np.array(self.largest, np.int32)) if self.largest else "NULL",
            "spare": Table("spare", "int8_t", np.array(self.spare, np.int8)) if self.largest else "NULL",
            "epilogue": Argument(n.inputs[EPILOGUE]) if t.has(EPILOGUE) else "NULL",
            "channels": channels,
            "trained": t.type(MERGED).shape[self.axis],
            "by_column": int(self.axis > 0),
            "lowest": self.lowest,
            "offset": -self.zero_point,
            "kernel": self.window.kernel,
            "stride": self.window.stride,
            "depth": self.depth,
            "dilated": int(self.window.dilation[1] > 1),
            "chunk": self.chunk,
            "exact": int(self.exact),
        }
        layout = LAYOUTS[self.layout]
        made = [Argument(o) for o in n.outputs]
        arguments: tuple[Argument | str, ...] = (Argument(n.inputs[MERGED]), Argument(n.inputs[EXPONENT]), *made, *["NULL"] * layout.unused)
        return KernelCall(layout.symbol, "kt_merging_params", fields, arguments, source=f"kernels/merging/{layout.symbol[3:]}.c", needs=layout.needs)


@dataclass(frozen=True)
class Layout:
    """lay: its results. unused: results of the C function that are left out, which come last. needs: other files of its C."""

    symbol: str
    lay: Callable[[MergeWeights, Ints, Ints | None], dict[str, Array]]
    unused: int = 0
    needs: tuple[str, ...] = ()


def merge_weights(
    layout: str, weights: Array, axis: int, window: Window, depth: int, zero_point: int = 0, chunk: int = 0, exact: bool = False
) -> MergeWeights:
    """Of these frozen weights."""
    rows = in_rows(weights, axis)
    largest = largest_sums(rows)
    if largest is None:
        return MergeWeights(layout, axis, window, depth, zero_point, chunk, exact, lowest=lowest_weight(weights))
    spare = np.minimum((largest - np.abs(rows).sum(1)) // rows.shape[1], 127)
    return MergeWeights(layout, axis, window, depth, zero_point, chunk, exact, tuple(largest.tolist()), tuple(spare.tolist()), lowest_weight(weights))


def _fold(op: MergeWeights, rows: Ints, whole: bool) -> NDArray[np.int32]:
    """What the zero point adds to the sums of each channel. whole: of channels rounded up to four."""
    fold = -op.zero_point * rows.sum(1)
    return packing.whole_quads(fold) if whole else fold.astype(np.int32)


def _plain(op: MergeWeights, weights: Ints, words: Ints | None) -> dict[str, Array]:
    return {"weights": weights.astype(np.int8)}


def _with_offsets(op: MergeWeights, weights: Ints, words: Ints | None) -> dict[str, Array]:
    return {"weights": weights.astype(np.int8), "offset_sums": _fold(op, in_rows(weights, op.axis), False)}


def _packed(op: MergeWeights, weights: Ints, words: Ints | None) -> dict[str, Array]:
    rows = in_rows(weights, op.axis)
    words_of = packing.exact_words if op.exact else packing.paired_words
    pairs = words_of(rows, packing.window_order(op.window.kernel, op.window.dilation[1], op.depth))
    if words is not None:
        whole = np.pad(words, ((0, packing.padded(len(rows)) - len(rows)), (0, 0)))
        pairs = np.concatenate([pairs.reshape(len(pairs), -1), whole.reshape(len(pairs), -1)], 1)
    return {"stream": packing.as_stream(pairs), "fold": _fold(op, rows, True)}


def _triple(op: MergeWeights, weights: Ints, words: Ints | None) -> dict[str, Array]:
    rows = in_rows(weights, op.axis)
    stream = triple.stored(np.pad(rows, ((0, 0), (0, -rows.shape[1] % triple.FOUR))), op.chunk)
    if words is not None:
        whole = np.pad(words, ((0, packing.padded(len(rows)) - len(rows)), (0, 0)))
        stream = np.concatenate([stream, whole.astype(np.int32).ravel()])
    return {"stream": stream, "fold": _fold(op, rows, True)}


def _triple_gradient(op: MergeWeights, weights: Ints, words: Ints | None) -> dict[str, Array]:
    return {"stream": _triple(op, weights, None)["stream"]}


def _banded_depthwise(op: MergeWeights, weights: Ints, words: Ints | None) -> dict[str, Array]:
    rows = in_rows(weights, op.axis)
    assert words is not None
    return {"stream": packed_depthwise.banded_stream(rows, words), "fold": _fold(op, rows, False)}


def _packed_depthwise(op: MergeWeights, weights: Ints, words: Ints | None) -> dict[str, Array]:
    rows = in_rows(weights, op.axis)
    assert words is not None
    order = packed_depthwise.quads(len(rows))
    return {"stream": packed_depthwise.stream_of(rows[order], words[order]), "fold": _fold(op, rows, False)}


def _triple_depthwise(op: MergeWeights, weights: Ints, words: Ints | None) -> dict[str, Array]:
    rows = in_rows(weights, op.axis)
    assert words is not None
    return {"stream": triple_depthwise.stored(rows, op.window.kernel, words), "fold": _fold(op, rows, False)}


def _packed_gradient(op: MergeWeights, weights: Ints, words: Ints | None) -> dict[str, Array]:
    whole = weights.reshape(weights.shape[0], *op.window.kernel, op.depth)
    return {"stream": packed_input_gradient.transposed_stream(whole, op.window)}


def _banded_gradient(op: MergeWeights, weights: Ints, words: Ints | None) -> dict[str, Array]:
    rows = in_rows(weights, op.axis)
    return {"stream": packed_depthwise.banded_stream(rows, np.zeros((len(rows), packing.EPILOGUE), np.int64))}


def _tiled_gradient(op: MergeWeights, weights: Ints, words: Ints | None) -> dict[str, Array]:
    rows = in_rows(weights, op.axis)
    order = packed_depthwise.quads(len(rows))
    return {"stream": packed_depthwise.stream_of(rows[order], np.zeros((len(order), packing.EPILOGUE), np.int64))}


def _transposed(op: MergeWeights, weights: Ints, words: Ints | None) -> dict[str, Array]:
    turned = weights.reshape(weights.shape[0], -1, op.depth).transpose(2, 1, 0)
    return {"weights": weights.astype(np.int8), "transposed": np.ascontiguousarray(turned.astype(np.int8))}


RUN = ("kernels/merging/merged_run.c",)
LAYOUTS: Mapping[str, Layout] = {
    "plain": Layout("kt_merge_weights", _plain, needs=RUN),
    "offsets": Layout("kt_merge_offsets", _with_offsets, needs=RUN),
    "packed": Layout("kt_merge_packed", _packed, needs=RUN),
    "triple": Layout("kt_merge_triple", _triple),
    "triple_gradient": Layout("kt_merge_triple", _triple_gradient, 1),
    "banded_depthwise": Layout("kt_merge_banded_depthwise", _banded_depthwise),
    "packed_depthwise": Layout("kt_merge_packed_depthwise", _packed_depthwise),
    "triple_depthwise": Layout("kt_merge_triple_depthwise", _triple_depthwise),
    "packed_gradient": Layout("kt_merge_packed_gradient", _packed_gradient, needs=RUN),
    "banded_gradient": Layout("kt_merge_banded_depthwise", _banded_gradient, 1),
    "tiled_gradient": Layout("kt_merge_packed_depthwise", _tiled_gradient, 1),
    "transposed": Layout("kt_merge_transposed", _transposed, needs=RUN),
}
