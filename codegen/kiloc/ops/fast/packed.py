"""CONV_2D and FULLY_CONNECTED with their constants packed for the fast kernels: the same results, from another form of the weights.

`passes/kernels.py` puts them in place of the layers. Forms "relu" and "any" requantise in the product's epilogue, by what rounding a
layer needs (`_packing.rounds_half_up`), with a gain by what the kernel makes of it; "lora_relu" and "lora_any" do too, from sums that start from
what LoRA adds; "sums" and "delta" take int32 sums, add what a trained layer adds (LoRA, or a delta), and requantise as the layer itself does. Those
with "row" in their names read one row where it lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.graph import Node, Value
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, kernel_field, register
from ...ir.reach import Reach
from ...ir.types import TensorType
from .._activation import clamp_range
from .._gain import GAIN_OPERANDS, ROW_CHANNELS, gain_bytes, gain_factor, summed_bias
from .._merged import MERGED, delta_operand
from .._sums import addend, addend_multipliers, exact_matmul
from .._window import Window
from ..model._linear import Linear
from ..model.conv_2d import Conv2D
from ..model.depthwise_conv_2d import DepthwiseConv2D
from ..model.fully_connected import FullyConnected
from . import _packing as packing
from . import _winograd as winograd

LORA_OPERANDS = ("lora_u", "lora_b", "lora_range", "lora_b_exponent")
DELTA_OPERANDS = ("delta", "delta_exponent")
NEEDS = {
    "relu": ("product/results.c", "product/panel.c"), "any": ("product/results.c", "product/panel.c"),
    "sums": ("product/sums.c", "product/panel.c"), "delta": ("product/sums.c", "product/panel.c"),
    "delta_row": ("product/row_sums.c",), "sums_row": ("product/row_sums.c",),
    "winograd_relu": ("product/winograd.c",), "winograd_any": ("product/winograd.c",),
    "row_relu": ("product/row.c",), "row_any": ("product/row.c",),
    "parts_relu": ("product/sums.c", "product/panel.c"), "parts_any": ("product/sums.c", "product/panel.c"),
    "lora_relu": ("product/started.c", "product/panel.c"), "lora_any": ("product/started.c", "product/panel.c"),
    "lora_row_relu": ("product/row.c",), "lora_row_any": ("product/row.c",),
}  # fmt: skip
SYMBOLS = {
    "relu": "kt_packed_conv2d_relu_s8", "any": "kt_packed_conv2d_s8", "sums": "kt_packed_conv2d_lora_s8", "delta": "kt_packed_conv2d_delta_s8",
    "delta_row": "kt_packed_delta_row_s8", "sums_row": "kt_packed_sums_row_s8",
    "winograd_relu": "kt_winograd_conv2d_relu_s8", "winograd_any": "kt_winograd_conv2d_s8",
    "row_relu": "kt_packed_row_relu_s8", "row_any": "kt_packed_row_s8",
    "parts_relu": "kt_packed_conv2d_parts_relu_s8", "parts_any": "kt_packed_conv2d_parts_s8",
    "lora_relu": "kt_packed_lora_relu_s8", "lora_any": "kt_packed_lora_s8",
    "lora_row_relu": "kt_packed_lora_row_relu_s8", "lora_row_any": "kt_packed_lora_row_s8",
}  # fmt: skip
FILES = {
    "relu": "packed_conv2d_relu", "any": "packed_conv2d", "sums": "packed_conv2d_lora", "delta": "packed_conv2d_delta",
    "delta_row": "packed_delta_row", "sums_row": "packed_sums_row",
    "winograd_relu": "winograd_conv2d", "winograd_any": "winograd_conv2d", "row_relu": "packed_row", "row_any": "packed_row",
    "parts_relu": "packed_conv2d_parts", "parts_any": "packed_conv2d_parts", "lora_relu": "packed_lora", "lora_any": "packed_lora",
    "lora_row_relu": "packed_lora_row", "lora_row_any": "packed_lora_row",
}  # fmt: skip


FOR_BOTH = ("product/panel.c", "product/sums.c", "product/row_sums.c")
"""Sources of paired and of exact words."""

STACK_BYTES = 640
"""Scratch of so many may lie on the stack (KT_SMALL_SCRATCH in the runtime)."""

MOST_IN_PARTS = 256
"""Channels of a layer whose windows are multiplied in parts, on the stack (KT_PARTS_CHANNELS in the runtime)."""


@register
@dataclass(frozen=True)
class PackedLinear(Op):
    """weights: int32 [words]. bias: int32 [channels], or where it is frozen [padded channels] with the share of the input's zero point.

    layer: the operator that this stands for, weights its weights' type. form: a key of `SYMBOLS`. limit: of a trained bias. addend_limit: of what
    LoRA adds.
    on_stack: the scratch is, and not in the arena. packed_delta: it has room for the delta in the form of the stream. exact: the stream holds
    exact words, since a weight is -128 or sums may be beyond 24 bits.
    """

    mnemonic: ClassVar[str] = "packed_linear"
    role: ClassVar[str] = "kernel"
    operands: ClassVar[tuple[str, ...]] = ("x", "stream", "bias")
    optional: ClassVar[tuple[str, ...]] = ("fold", *LORA_OPERANDS, *DELTA_OPERANDS, "delta_rows", *GAIN_OPERANDS)

    layer: Linear = field(default_factory=FullyConnected)
    weights: TensorType = field(default_factory=lambda: TensorType((1, 1), "int8"))
    form: str = "sums"
    limit: int = 0
    addend_limit: int = kernel_field(0)
    on_stack: bool = False
    packed_delta: bool = kernel_field(False)
    exact: bool = kernel_field(False)

    @property
    def window(self) -> object:
        """Of a convolution."""
        return getattr(self.layer, "window", None)

    @property
    def winograd(self) -> bool:
        return self.form.startswith("winograd")

    @property
    def wide(self) -> bool:
        """Whether the product gives int32 sums."""
        return self.form in ("sums", "sums_row", "delta", "delta_row")

    @property
    def whole(self) -> bool:
        """Whether values are read where they lie, or in parts on the stack: there is no panel then."""
        return "row" in self.form or self.form.startswith("parts")

    def plain(self, t: NodeTypes) -> NodeTypes:
        """Types of the layer that this stands for."""
        channels = self.weights.shape[0]
        operands = {o: v for o, v in t.operands.items() if o not in ("stream", "fold")}
        return NodeTypes({**operands, "weights": self.weights, "bias": TensorType((channels,), "int32")}, t.results)

    def check(self, t: NodeTypes) -> str | None:
        return self.layer.check(self.plain(t))

    def order(self, t: NodeTypes) -> list[tuple[int, int]]:
        window = self.layer.window_of(self.plain(t))
        return packing.window_order(window.kernel, window.dilation[1], self.layer.images(self.plain(t))[0][2])

    def requantization(self, t: NodeTypes) -> packing.Requantization:
        return requantization(self.layer, self.plain(t))

    # -- meaning --------------------------------------------------------------------------------------
    def unpacked(self, e: Environment) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Weights [channels, K] and what the stream ends with: requantisation [channels, 3], where there is one."""
        channels, order = self.weights.shape[0], self.order(e)
        size = self.weights.size // channels
        words = e.array("stream").view(np.uint32).astype(np.int64).reshape(packing.padded(channels) // packing.QUAD, -1)
        if self.winograd:
            weights = winograd.unpacked(words[:, : -4 * packing.EPILOGUE], channels, self.weights.shape[3]).reshape(channels, size)
        else:
            read = packing.from_exact_words if self.exact else packing.unpaired
            weights = read(words[:, : 2 * len(order)].reshape(-1, len(order), 2), channels, size, order)
        if self.wide:
            return weights, np.zeros((0, packing.EPILOGUE), np.int64)
        epilogue = words[:, -4 * packing.EPILOGUE :].astype(np.uint32).view(np.int32).astype(np.int64)
        return weights, epilogue.reshape(-1, packing.EPILOGUE)[:channels]

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        channels = self.weights.shape[0]
        weights, epilogue = self.unpacked(e)
        plain = {**dict(e.arrays), "weights": weights.astype(np.int8).reshape(self.weights.shape)}
        if self.form.startswith("lora"):
            y = packing.short_result(epilogue, self._started_sums(e, weights), self.form.endswith("relu"))
            return (y.astype(np.int8).reshape(-1, *e.result().shape[1:]),)
        if self.wide:
            return self.layer.evaluate(Environment(self.plain(e).operands, e.results, plain))
        bias = summed_bias(e)[:channels]
        if e.has("fold"):
            bias = np.clip(bias, -self.limit, self.limit) + e.wide("fold")[:channels]
        plain["bias"] = bias + e.type("x").zero_point * weights.sum(1)
        operands = {o: v for o, v in self.plain(e).operands.items() if o not in GAIN_OPERANDS}
        sums = self.layer.accumulator(Environment(operands, e.results, plain))
        assert np.abs(sums).max(initial=0) <= packing.LARGEST_SUM, "packed without proof"
        if e.has("gain"):
            epilogue = packing.with_gain(epilogue, gain_factor(e.wide("gain"), e.wide("gain_exponent")))
        y = packing.short_result(epilogue, sums, self.form.endswith("relu"))
        return (y.astype(np.int8).reshape(-1, *e.result().shape[1:]),)

    def _started_sums(self, e: Environment, weights: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sums that start from the bias and from what LoRA adds at each position."""
        channels = len(weights)
        rows = self.layer.rows(Environment(self.plain(e).operands, e.results, e.arrays))
        u = e.array("lora_u").reshape(*rows.shape[:2], -1)
        multiplier, shift = addend_multipliers(self.weights, channels, self.layer.lora_scale)
        exponent = e.wide("lora_range") + e.wide("lora_b_exponent")
        added = addend(exact_matmul(u, e.array("lora_b").T), multiplier, shift + exponent)
        if e.has("fold"):
            start = e.wide("fold")[:channels] + np.clip(nm.saturate32(e.wide("bias") + added), -self.limit, self.limit)
        else:
            start = e.wide("bias")[:channels] + np.clip(added, -self.addend_limit, self.addend_limit)
        sums = exact_matmul(rows, weights.T) + e.type("x").zero_point * weights.sum(1) + start
        assert np.abs(sums).max(initial=0) <= packing.LARGEST_SUM, "packed without proof"
        return np.asarray(sums)

    def macs(self, t: NodeTypes) -> int:
        return self.layer.macs(self.plain(t))

    def reach(self, t: NodeTypes) -> tuple[str, Reach]:
        operand, reach = self.layer.reach(self.plain(t))
        return operand, reach.in_bands(2 * t.result().shape[2]) if self.winograd else reach

    # -- C --------------------------------------------------------------------------------------------
    def pairs(self, t: NodeTypes) -> int:
        return self.layer.images(self.plain(t))[0][2] // 2 if self.winograd else len(self.order(t))

    def scratch(self, t: NodeTypes) -> int:
        """Bytes: of the panel, and of what the sums start from where the bias is trained."""
        x, y = self.layer.images(self.plain(t))
        row = self.whole
        panel = 128 * self.pairs(t) + 256 + 24 * x[2] if self.winograd else 0 if row else 8 * self.pairs(t)
        gain = gain_bytes(y[2]) if t.has("gain") and self.wide else 0
        if self.packed_delta:
            return panel + (2 * self.pairs(t) + 12) * packing.padded(t.type("delta").shape[0]) + 32 + 32 * y[2] + gain
        if t.has("gain"):
            channels = min(packing.padded(y[2]), ROW_CHANNELS) if row else packing.padded(y[2])
            return panel + (gain or 4 * (1 + packing.EPILOGUE) * channels)
        return panel + (4 * packing.padded(y[2]) if t.has("fold") and not self.wide and not row else 0)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        x, y = self.layer.images(self.plain(t))
        pairs, row = self.pairs(t), self.whole
        gain = [Argument(n.inputs[o]) for o in GAIN_OPERANDS if t.has(o)]
        fields: dict[str, Field] = {
            "window": self.layer.window_of(self.plain(t)).fields(x, y),
            "outside": t.type("x").zero_point,
            "stream": Argument(n.inputs["stream"]),
            "pairs": pairs,
            "fold": Argument(n.inputs["fold"]) if t.has("fold") else "NULL",
        }
        symbol = SYMBOLS[self.form]
        arguments: list[Argument | Scratch | str] = [Argument(n.inputs["x"]), Argument(n.inputs["bias"])]
        struct = "kt_packed_conv2d_params"
        if self.wide:
            summed = self.form.startswith("sums")
            struct = "kt_packed_conv2d_lora_params" if summed else "kt_packed_conv2d_delta_params"
            fields |= self._requantization_fields(t)
            operands = LORA_OPERANDS if summed else DELTA_OPERANDS
            arguments += [Argument(n.inputs[o]) if t.has(o) else "NULL" for o in operands]
        else:
            fields["bias_limit"] = self.limit
        if self.form.startswith("lora"):
            struct = "kt_packed_lora_params"
            fields = {"layer": fields, **self._started_fields(t)}
            arguments += [Argument(n.inputs[o]) for o in LORA_OPERANDS]
        arguments += gain
        if self.form.startswith("delta"):
            packed_rows = t.type("delta").shape[0] if self.packed_delta else 0
            rows: Field = Argument(n.inputs["delta_rows"]) if t.has("delta_rows") else "NULL"
            fields = {"layer": fields, "rows": rows, "packed_rows": packed_rows}
        arguments += [Argument(n.outputs[0]), *([] if row and not gain else ["NULL" if self.on_stack else Scratch()])]
        scratch = 0 if self.on_stack else self.scratch(t)
        unreached = frozenset[str]() if self.on_stack else frozenset({"kt_walk_on_stack"})
        file, needs = FILES[self.form], NEEDS[self.form]
        if gain and self.wide:
            needs = (*needs, f"kernels/packed_convolution/{file}.c")
            symbol, file = symbol.replace("_s8", "_scaled_s8"), f"{file}_scaled"
        elif gain:
            symbol = symbol.replace("_relu", "").replace("_s8", "_scaled_relu_s8" if self.form.endswith("relu") else "_scaled_s8")
            file, needs = "packed_conv2d_scaled", ("product/scaled.c", "product/panel.c")
        if self.exact:
            symbol, file, needs = of_exact_words(symbol), of_exact_words(file), tuple(map(of_exact_words, needs))
        return KernelCall(symbol, struct, fields, tuple(arguments), scratch, f"kernels/packed_convolution/{file}.c", needs, unreached)

    def _requantization_fields(self, t: NodeTypes) -> dict[str, Field]:
        q = self.requantization(t)
        fields: dict[str, Field] = {
            "output_offset": q.zero_point,
            "clamp": q.clamp,
            "multiplier": Table("multiplier", "int32_t", q.multiplier.astype(np.int32)),
            "shift": Table("shift", "int8_t", q.shift.astype(np.int8)),
        }
        return fields | self._addend_fields(t)

    def _started_fields(self, t: NodeTypes) -> dict[str, Field]:
        """The same where the addend is a part of what sums start from."""
        scale, offset = addend_multipliers(self.weights, self.weights.shape[0], self.layer.lora_scale)
        least = int(offset.min())
        table = np.stack([scale, offset - least], 1).astype(np.int32).ravel()
        return {
            "addend": Table("lora_scales", "int32_t", table),
            "least_shift": least,
            "addend_limit": self.addend_limit,
            "rank": t.type("lora_b").shape[1],
        }

    def _addend_fields(self, t: NodeTypes) -> dict[str, Field]:
        """What LoRA or a delta adds: nothing where there is neither."""
        if not (t.has("lora_u") or t.has("delta")):
            return {}
        kind = "lora" if t.has("lora_u") else "delta"
        scale, offset = addend_multipliers(self.weights, self.weights.shape[0], self.layer.lora_scale if kind == "lora" else 1.0)
        fields: dict[str, Field] = {
            "addend_multiplier": Table(f"{kind}_multiplier", "int32_t", scale.astype(np.int32)),
            "addend_shift": Table(f"{kind}_shift", "int8_t", offset.astype(np.int8)),
        }
        return fields | ({"rank": t.type("lora_b").shape[1]} if kind == "lora" else {})


def of_exact_words(path: str) -> str:
    """The kernel or source that is to exact words what one is to paired ones."""
    folder, slash, name = path.rpartition("/")
    return path if path in FOR_BOTH else f"{folder}{slash}{name.replace('packed', 'exact') if 'packed' in name else f'exact_{name}'}"


def with_packed_delta(node: Node, t: NodeTypes, values: Mapping[str, Value]) -> tuple[Node, list[Value], str]:
    """The same with room for the delta, which is packed once a call. Raises NotProved."""
    found, added, slow = packed(node, t, values)
    assert isinstance(found.op, PackedLinear)
    return replace(found, op=replace(found.op, packed_delta=not found.op.whole)), added, slow


def packed_on_stack(node: Node, t: NodeTypes, values: Mapping[str, Value]) -> tuple[Node, list[Value], str]:
    """The same with the scratch on the stack; windows that are too large for it in parts; with LoRA sums, which take less of it. Raises NotProved."""
    found, added, slow = packed(node, t, values)
    op = found.op
    assert isinstance(op, PackedLinear)
    if t.has(MERGED):
        raise packing.NotProved(packing.MEMORY)
    if op.form.startswith("lora"):
        return (*_summed(node, t, replace(op, form="sums", limit=0, addend_limit=0), values), packing.MEMORY)
    constants = {v.name: v.type for v in added}
    bytes_of_stack = op.scratch(NodeTypes({o: constants.get(v, t.operands.get(o, t.result())) for o, v in found.inputs.items()}, t.results))
    if op.form not in ("relu", "any") or t.has("gain"):
        raise packing.NotProved(packing.MEMORY)
    if bytes_of_stack > STACK_BYTES:
        if op.weights.shape[0] > MOST_IN_PARTS or op.exact:
            raise packing.NotProved(packing.MEMORY)
        return replace(found, op=replace(op, form=f"parts_{op.form}")), added, slow or packing.MEMORY
    return replace(found, op=replace(op, on_stack=True)), added, slow


def requantization(layer: Linear | DepthwiseConv2D, t: NodeTypes) -> packing.Requantization:
    multiplier, shift = layer.multipliers(t)
    return packing.Requantization(multiplier, shift, t.result().zero_point, clamp_range(layer.activation, t.result()))


def packed(node: Node, t: NodeTypes, values: Mapping[str, Value], panels: bool = False) -> tuple[Node, list[Value], str]:
    """The node that stands for a layer, the constants that it adds, and why it is not the fastest of its kind ("" where it is).

    panels: with LoRA it takes one also for a single row. Raises NotProved where no packed form holds.
    """
    layer = node.op
    assert isinstance(layer, Linear)
    if layer.rounding != "twice":
        raise packing.NotProved("rounds once")
    constant = values[node.inputs["weights"]].data
    assert constant is not None
    weights, z = constant.astype(np.int64).reshape(constant.shape[0], -1), t.type("x").zero_point
    bounds = packing.bounds_of(t, weights, z)
    exact = bool(weights.min() < -127) or packing.worst_sum(*bounds) > packing.LARGEST_SUM
    row = _one_row(layer, t, weights) and not t.has("gain") and not (panels and t.has("lora_u"))
    op, slow = PackedLinear(layer, t.type("weights"), f"{'delta' if t.has('delta') else 'sums'}{'_row' if row else ''}", exact=exact), ""
    if not t.has("delta") and not (t.has("lora_u") and t.has("gain")):
        try:
            packing.check_total(bounds)
            return (*_requantized(node, t, op, values, weights, bounds, panels), slow)
        except packing.NotProved as reason:
            slow = str(reason)
    return (*_summed(node, t, op, values), slow)


def _summed(node: Node, t: NodeTypes, op: PackedLinear, values: Mapping[str, Value]) -> tuple[Node, list[Value]]:
    """With a product that gives int32 sums."""
    constant = values[node.inputs["weights"]].data
    assert constant is not None
    weights = constant.astype(np.int64).reshape(constant.shape[0], -1)
    stream = packing.as_stream((packing.exact_words if op.exact else packing.paired_words)(weights, op.order(t)))
    inputs, added = packing.packed_values(node, stream, "fold", packing.whole_quads(-t.type("x").zero_point * weights.sum(1)))
    return replace(node, op=op, inputs=inputs), added


def winograd_packed(node: Node, t: NodeTypes, values: Mapping[str, Value]) -> tuple[Node, list[Value], str]:
    """The same by Winograd's transform, which trades flash and scratch for products. Raises NotProved."""
    layer = node.op
    window = getattr(layer, "window", None)
    if not isinstance(layer, Conv2D) or window != Window((3, 3), pad=(1, 1, 1, 1)) or t.has("lora_u") or t.has("gain") or delta_operand(t):
        raise packing.NotProved("no 3x3 window of stride 1, or trained weights")
    (height, width, depth), (_, _, channels) = layer.images(t)
    if depth % 8 or channels % 4 or height % 2 or width % 4 or layer.rounding != "twice":
        raise packing.NotProved("channels or size do not make whole tiles")
    constant = values[node.inputs["weights"]].data
    assert constant is not None
    weights = constant.astype(np.int64)
    q = requantization(layer, t)
    rows, z = weights.reshape(channels, -1), t.type("x").zero_point
    start = packing.start(q, rows, packing.sum_range(rows, z), z, packing.bias_of(values[node.inputs["bias"]]))
    form = "winograd_relu" if packing.rounds_half_up(q) else "winograd_any"
    op = PackedLinear(layer, t.type("weights"), form, start.limit)
    stream = packing.as_stream(np.concatenate([winograd.words(weights), start.words.reshape(channels // packing.QUAD, -1)], 1))
    inputs, added = packing.packed_values(node, stream, start.operand, start.data)
    return replace(node, op=op, inputs=inputs), added, ""


def _one_row(layer: Linear, t: NodeTypes, weights: NDArray[np.int64]) -> bool:
    """Whether a layer takes one row that can be read where it lies."""
    fully = isinstance(layer, FullyConnected) and layer.images(t)[1][0] == 1
    return fully and not t.has(MERGED) and weights.shape[1] % packing.QUAD == 0


def _requantized(
    node: Node,
    t: NodeTypes,
    op: PackedLinear,
    values: Mapping[str, Value],
    weights: NDArray[np.int64],
    bounds: tuple[packing.Ints, packing.Ints],
    panels: bool,
) -> tuple[Node, list[Value]]:
    """Requantised in the product: the bias is frozen, or beyond a bound it makes no difference."""
    q = requantization(op.layer, t)
    form = "relu" if packing.rounds_half_up(q) else "any"
    if _one_row(op.layer, t, weights) and not (panels and t.has("lora_u")):
        form = f"row_{form}"
    bias, z = packing.bias_of(values[node.inputs["bias"]], t.has("gain")), t.type("x").zero_point
    if t.has("lora_u"):
        start, addend_limit = packing.start_with_lora(q, weights, z, bias, t.type("lora_b").shape[1], packing.held_rows(node, values))
        op = replace(op, form=f"lora_{form}", limit=start.limit, addend_limit=addend_limit)
    else:
        start = packing.start(q, weights, bounds, z, bias, t.has("gain"), t.has(MERGED))
        op = replace(op, form=form, limit=start.limit)
    words = (packing.exact_words if op.exact else packing.paired_words)(weights, op.order(t))
    stream = packing.as_stream(np.concatenate([words.reshape(len(words), -1), start.words.reshape(len(words), -1)], 1))
    inputs, added = packing.packed_values(node, stream, start.operand, start.data, start.words[: len(weights)])
    return replace(node, op=op, inputs=inputs), added
