"""CONV_2D and FULLY_CONNECTED for cores that multiply one pair of numbers at a time: three sums in two words.

`runtime/src/product/triple.h` has the arithmetic. A sum of a chunk of the window must stay in 21 bits, which is proved here from the weights;
a window is cut into as many chunks as that takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ...ir.graph import Node, Value
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch
from ...ir.operator import Environment, Names, NodeTypes, register
from ...ir.reach import Reach
from .._gain import GAIN_OPERANDS, gain_bytes
from .._merged import MERGED, widest
from ..model._linear import Linear
from ..model.fully_connected import FullyConnected
from . import _packing as packing
from .packed import DELTA_OPERANDS, LORA_OPERANDS, PackedLinear, requantization

LEAST, MOST = -(2**20), 2**20 - 1
"""Of a sum that is one of three in two words."""

OFFSET = 128
"""Weights are stored as bytes of their value and this."""

POSITIONS, PANEL_WORDS = 6, 4
"""Of a panel: positions, and words that hold a value of each."""

GAINED_BYTES = 16
"""Of what the sums of a channel with a gain start from and end with."""

FOUR = 4
"""Values of a window that the product takes at once."""

FEWER_VALUES = (64, 16)
"""Chunks that leave speed for scratch: so many values at most."""

STACK_BYTES = 672
"""Scratch of so many may lie on the stack (KT_STACK_PANEL in the runtime)."""

STACK_START = 64
"""Channels whose sums start from words on the stack where their bias is trained (KT_STACK_START)."""

SYMBOLS = {
    "relu": "kt_triple_conv2d_relu_s8", "any": "kt_triple_conv2d_s8", "sums": "kt_triple_conv2d_lora_s8",
    "lora_row_relu": "kt_triple_lora_row_relu_s8", "lora_row_any": "kt_triple_lora_row_s8",
    "row_relu": "kt_triple_row_relu_s8", "row_any": "kt_triple_row_s8",
    "lora_relu": "kt_triple_lora_relu_s8", "lora_any": "kt_triple_lora_s8", "delta_row": "kt_triple_delta_row_s8",
}  # fmt: skip
Ints = NDArray[np.int64]


@register
@dataclass(frozen=True)
class TripleLinear(PackedLinear):
    """stream: int32 [words], bytes of weights and then the requantisation. bias, fold, limit, layer, weights: as `PackedLinear`.

    form: a key of `SYMBOLS`. chunk: values of the window that are summed at once; of a row all.
    """

    mnemonic: ClassVar[str] = "triple_linear"

    chunk: int = 0

    @property
    def length(self) -> int:
        """Values under the window, in whole fours."""
        return -(-self.weights.size // self.weights.shape[0] // FOUR) * FOUR

    # -- meaning --------------------------------------------------------------------------------------
    def unpacked(self, e: Environment) -> tuple[Ints, Ints]:
        channels = self.weights.shape[0]
        words = e.array("stream").view(np.int32)
        count = -(-channels // 2) * 2 * self.length // 4
        weights = restored(words[:count].view(np.uint8), channels, self.length, self.chunk)
        size = self.weights.size // channels
        assert self.whole or chunks_hold(weights, self.chunk), "packed without proof"
        return weights[:, :size], words[count:].astype(np.int64).reshape(-1, packing.EPILOGUE)[:channels]

    def reach(self, t: NodeTypes) -> tuple[str, Reach]:
        return self.layer.reach(self.plain(t))

    # -- C --------------------------------------------------------------------------------------------
    def scratch(self, t: NodeTypes) -> int:
        """Bytes: of the panel, of sums of chunks, of a pixel outside, and of what the sums start from where the bias is trained."""
        x, y = self.layer.images(self.plain(t))
        if self.whole:
            return 0
        window = self.layer.window_of(self.plain(t))
        gain = (gain_bytes(y[2]) if self.wide else GAINED_BYTES * y[2]) if t.has("gain") else 0
        pixel = window.kernel == window.stride == (1, 1) and window.pad == (0, 0, 0, 0) and x[:2] == y[:2]
        outside = 0 if pixel else -(-x[2] // 4) * 4
        parts = 4 * PANEL_WORDS * (self.chunk + 1) + outside + gain
        parts += 4 * POSITIONS * (-(-y[2] // 2) * 2) if self.chunk < self.length else 0
        return parts + (0 if self.starts_on_stack(t) else self.start_bytes(t))

    def start_bytes(self, t: NodeTypes) -> int:
        """Bytes of what the sums start from, where the bias is trained."""
        kept = t.has("fold") and not (self.wide or t.has("gain") or self.form.startswith("lora"))
        return 4 * packing.padded(self.layer.images(self.plain(t))[1][2]) if kept else 0

    def starts_on_stack(self, t: NodeTypes) -> bool:
        """Whether those lie on the stack, and the panel does not."""
        return 0 < self.start_bytes(t) <= 4 * STACK_START and not self.on_stack

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        x, y = self.layer.images(self.plain(t))
        row, lora, delta, symbol = self.whole, self.form.startswith("lora"), self.form == "delta_row", SYMBOLS[self.form]
        fields: dict[str, Field] = {
            "window": self.layer.window_of(self.plain(t)).fields(x, y),
            "outside": t.type("x").zero_point,
            "stream": Argument(n.inputs["stream"]),
            "pairs" if self.wide or lora else "length": self.length,
            "fold": Argument(n.inputs["fold"]) if t.has("fold") else "NULL",
        }
        arguments: list[Argument | Scratch | str] = [Argument(n.inputs["x"]), Argument(n.inputs["bias"])]
        if delta:
            rows: Field = Argument(n.inputs["delta_rows"]) if t.has("delta_rows") else "NULL"
            fields = {"layer": {**fields, **self._requantization_fields(t)}, "rows": rows, "packed_rows": 0}
            arguments += [Argument(n.inputs[o]) for o in DELTA_OPERANDS]
        elif self.wide:
            fields = {"layer": {**fields, **self._requantization_fields(t)}, "chunk": self.chunk}
            arguments += [Argument(n.inputs[o]) if t.has(o) else "NULL" for o in LORA_OPERANDS]
        elif lora:
            fields = {"layer": {"layer": {**fields, "bias_limit": self.limit}, **self._started_fields(t)}, "chunk": self.chunk}
            arguments += [Argument(n.inputs[o]) for o in LORA_OPERANDS]
        else:
            fields |= {"chunk": self.chunk, "bias_limit": self.limit}
        arguments += [Argument(n.inputs[o]) for o in GAIN_OPERANDS if t.has(o)]
        arguments += [Argument(n.outputs[0]), *([] if row else ["NULL" if self.on_stack else Scratch()])]
        scratch = 0 if self.on_stack else self.scratch(t)
        used = (
            {"kt_trained_on_stack", "kt_started_on_stack", "kt_triple_on_stack"}
            if self.on_stack
            else {"kt_triple_start_on_stack"}
            if self.starts_on_stack(t)
            else set()
        )
        stacks = ("kt_started_on_stack",) if lora else ("kt_trained_on_stack",) if self.wide else ("kt_triple_on_stack", "kt_triple_start_on_stack")
        unreached = frozenset[str]() if row else frozenset(stacks) - used
        struct = "kt_packed_conv2d_delta_params" if delta else f"{symbol[:-3]}_params" if self.wide else "kt_triple_conv2d_params"
        struct = "kt_triple_lora_params" if lora else struct
        source = symbol[3:-3].removesuffix("_relu") if lora or row else symbol[3:-3]
        product = ("triple", "triple_fill", "triple_panel", "triple_results")
        needs: tuple[str, ...] = ("product/triple_dense.c",) if row else tuple(f"product/{name}.c" for name in product)
        needs = (*needs, "product/triple_started.c") if lora and not row else needs
        needs = (*needs, "product/four_rows.c") if delta else needs
        if t.has("gain") and self.wide:
            needs = (*needs, f"kernels/triple_convolution/{source}.c")
            symbol, source = symbol.replace("_s8", "_scaled_s8"), f"{source}_scaled"
        elif t.has("gain"):
            source = "triple_row_scaled" if row else "triple_conv2d_scaled"
            symbol = f"kt_{source}{'_relu' if self.form.endswith('relu') else ''}_s8"
        return KernelCall(symbol, struct, fields, tuple(arguments), scratch, f"kernels/triple_convolution/{source}.c", needs, unreached)


def stored(weights: Ints, chunk: int) -> NDArray[np.int32]:
    """Words of bytes w + 128 of weights [channels, length]: for each chunk, and in it each two channels, [values of the chunk][2]."""
    channels, length = weights.shape
    even = np.zeros((-(-channels // 2) * 2, length), np.int64)
    even[:channels] = weights
    pairs = (even + OFFSET).astype(np.uint8).reshape(-1, 2, length).transpose(0, 2, 1)
    return np.concatenate([pairs[:, at : at + chunk].ravel() for at in range(0, length, chunk)]).view(np.int32)


def restored(stream: NDArray[np.uint8], channels: int, length: int, chunk: int) -> Ints:
    """Weights [channels, length]: the inverse of `stored`."""
    even, at, parts = -(-channels // 2) * 2, 0, []
    for first in range(0, length, chunk):
        count = min(chunk, length - first)
        parts.append(stream[at : at + even * count].reshape(-1, count, 2).transpose(0, 2, 1).reshape(even, count))
        at += even * count
    return np.concatenate(parts, 1)[:channels].astype(np.int64) - OFFSET


def chunks_hold(weights: Ints, chunk: int) -> bool:
    """Whether the sum of each chunk, of any int8 values, is one of three in two words."""
    starts = np.arange(0, weights.shape[1], chunk)
    low, high = weights * -128, weights * 127
    least, most = (np.add.reduceat(bound(low, high), starts, axis=1) for bound in (np.minimum, np.maximum))
    return bool(least.min() >= LEAST and most.max() <= MOST)


def chunk_of(weights: Ints, most: int) -> int:
    """The largest chunk of weights [channels, length] that is proved and has `most` values at most; chunks are as equal as whole fours allow.

    64 values hold whatever the weights, if none is -128.
    """
    length = int(weights.shape[1])
    for count in range(-(-length // most), length):
        chunk = -(-length // (count * FOUR)) * FOUR
        if chunks_hold(weights, chunk):
            return chunk
    return FOUR


def triple_on_stack(node: Node, t: NodeTypes, values: Mapping[str, Value]) -> tuple[Node, list[Value], str]:
    """The same with all scratch on the stack, where that has room for it, in chunks that it has room for. Raises NotProved."""
    if t.has(MERGED):
        raise packing.NotProved(packing.MEMORY)
    for most in (0, *FEWER_VALUES):
        found, added, slow = triple(most, node, t, values)
        op = found.op
        assert isinstance(op, TripleLinear)
        constants = {v.name: v.type for v in added}
        types = NodeTypes({o: constants.get(v, t.operands.get(o, t.result())) for o, v in found.inputs.items()}, t.results)
        op = replace(op, on_stack=True)
        if op.scratch(types) <= STACK_BYTES and not t.has("gain"):
            return replace(found, op=op), added, slow or ("" if most == 0 else packing.MEMORY)
    return triple(FEWER_VALUES[0], node, t, values)


def triple(most: int, node: Node, t: NodeTypes, values: Mapping[str, Value]) -> tuple[Node, list[Value], str]:
    """The node that stands for a layer, with chunks of at most so many values (0: as many as are proved), the constants that it adds, and why
    it is not the fastest of its kind. Raises NotProved."""
    layer = node.op
    assert isinstance(layer, Linear)
    if layer.rounding != "twice":
        raise packing.NotProved("rounds once")
    row = isinstance(layer, FullyConnected) and layer.images(t)[1][0] == 1 and not t.has(MERGED)
    if t.has("delta") and (t.has("gain") or not row):
        raise packing.NotProved("a delta that is not merged into its weights")
    constant = values[node.inputs["weights"]].data
    assert constant is not None
    weights, z = constant.astype(np.int64).reshape(constant.shape[0], -1), t.type("x").zero_point
    bounds = packing.bounds_of(t, weights, z)
    packing.check_total(bounds)
    whole = np.pad(weights, ((0, 0), (0, -weights.shape[1] % FOUR)))
    chunk = chunk_of(widest(whole) if t.has(MERGED) else whole, most or whole.shape[1])
    op, slow = TripleLinear(layer, t.type("weights"), "sums", chunk=chunk), ""
    if t.has("delta"):
        op, chunk = replace(op, form="delta_row", chunk=whole.shape[1]), whole.shape[1]
    elif not (t.has("lora_u") and t.has("gain")):
        q, addend_limit = requantization(layer, t), 0
        bias = packing.bias_of(values[node.inputs["bias"]], t.has("gain"))
        try:
            if t.has("lora_u"):
                start, addend_limit = packing.start_with_lora(q, weights, z, bias, t.type("lora_b").shape[1], packing.held_rows(node, values))
            else:
                start = packing.start(q, weights, bounds, z, bias, t.has("gain"), t.has(MERGED))
        except packing.NotProved as reason:
            slow = str(reason)
        else:
            form = "relu" if packing.rounds_half_up(q) else "any"
            if row:
                form, chunk = f"row_{form}", whole.shape[1]
            form = f"lora_{form}" if t.has("lora_u") else form
            op = replace(op, form=form, limit=start.limit, addend_limit=addend_limit, chunk=chunk)
            stream = np.concatenate([stored(whole, chunk), start.words.astype(np.int32).ravel()])
            inputs, added = packing.packed_values(node, stream, start.operand, start.data, start.words[: len(weights)])
            return replace(node, op=op, inputs=inputs), added, slow
    inputs, added = packing.packed_values(node, stored(whole, chunk), "fold", packing.whole_quads(-z * weights.sum(1)))
    return replace(node, op=op, inputs=inputs), added, slow
