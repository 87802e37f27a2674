"""Constants of a layer in the order in which the fast kernels read them, and the proofs that those kernels need.

Layout: runtime/src/product/product.h and panel.h. Every function here is exact; what cannot be proved is refused with a reason, and the
layer takes a kernel that needs no such proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.graph import Node, Value
from ...ir.operator import NodeTypes
from ...ir.types import TensorType
from .._gain import GAIN_BITS, SMALLEST_GAIN, gained_multipliers
from .._merged import MERGED, sum_bounds
from ..paging.bounded_channels import BoundedChannels

QUAD = 4
"""Channels that a product computes at once."""

LARGEST_SUM = 2**23 - 1
"""A sum is used 256 times as large in int32."""

SHIFTS = range(1, 17)
"""Right shifts of a requantisation that its short form can do."""

HALF_UP_SHIFTS = range(-6, 17)
"""The same where it rounds half up, also to the left: multipliers of up to 64."""

EPILOGUE = 3
"""Words of a channel's requantisation: multiplier, addend, shift."""

Ints = NDArray[np.int64]


MEMORY = "faster kernels take more memory"
"""Why a form was not taken, where nothing else forbids it."""


class NotProved(Exception):
    """Why a layer cannot be packed in some form."""


@dataclass(frozen=True)
class Requantization:
    """What TensorFlow Lite's requantisation of a layer is made of; shift as there: negative to the right."""

    multiplier: Ints
    shift: Ints
    zero_point: int
    clamp: tuple[int, int]

    def result(self, sums: Ints) -> Ints:
        """Of sums [..., channels]."""
        scaled = nm.requantize(sums, self.multiplier, self.shift) + self.zero_point
        return np.asarray(np.clip(scaled, *self.clamp))

    def with_gain(self, gain: float) -> Requantization:
        """The same with one gain of every channel, of its range."""
        multiplier, shift = gained_multipliers(self.multiplier, self.shift, np.full_like(self.multiplier, int(gain * 2**GAIN_BITS)))
        return Requantization(multiplier, shift, self.zero_point, self.clamp)

    def of(self, channel: int) -> Requantization:
        """One channel alone."""
        return Requantization(self.multiplier[[channel]], self.shift[[channel]], self.zero_point, self.clamp)


def padded(channels: int) -> int:
    return -(-channels // QUAD) * QUAD


def run_order(length: int) -> list[tuple[int, int]]:
    """Pairs of a run of values; -1 meets a weight of zero."""
    pairs = [(at + first, at + first + 2) for at in range(0, length - 3, 4) for first in (0, 1)]
    rest = length - length % 4
    return pairs + {0: [], 1: [(rest, -1)], 2: [(rest, rest + 1)], 3: [(rest, rest + 2), (rest + 1, -1)]}[length % 4]


def window_order(kernel: tuple[int, int], dilation: int, channels: int) -> list[tuple[int, int]]:
    """Pairs of the values under a window [KH, KW, C]: runs are kernel rows, or taps where the window is dilated."""
    taps = kernel[0] * kernel[1]
    runs, length = (kernel[0], kernel[1] * channels) if dilation == 1 else (taps, channels)
    return [(run * length + a, run * length + b if b >= 0 else -1) for run in range(runs) for a, b in run_order(length)]


def _paired_values(weights: Ints, order: list[tuple[int, int]]) -> tuple[Ints, Ints]:
    """The first and second weight of each pair, [padded channels, pairs], of weights [channels, K]."""
    whole = np.zeros((padded(len(weights)), weights.shape[1] + 1), np.int64)
    whole[: len(weights), :-1] = weights
    first, second = np.array(order, np.int64).T
    return whole[:, first], whole[:, second]


def paired_words(weights: Ints, order: list[tuple[int, int]]) -> Ints:
    """[quads, pairs, 2] words of two channels: b * 256 + a in each half."""
    first, second = _paired_values(weights, order)
    low, high = first[1::2] * 256 + first[::2], second[1::2] * 256 + second[::2]
    words = (low & 0xFFFF) | (high & 0xFFFF) << 16
    return words.reshape(-1, 2, len(order)).transpose(0, 2, 1)


def exact_words(weights: Ints, order: list[tuple[int, int]]) -> Ints:
    """[quads, pairs, 2] words of two channels: b * 256 + a + 128 in each half."""
    first, second = _paired_values(weights, order)
    parts = ((first[::2] + 128, 0), (first[1::2], 8), (second[::2] + 128, 16), (second[1::2], 24))
    words = sum((part & 0xFF) << shift for part, shift in parts)
    return np.asarray(words).reshape(-1, 2, len(order)).transpose(0, 2, 1)


def unpaired(words: Ints, channels: int, size: int, order: list[tuple[int, int]]) -> Ints:
    """Weights [channels, size] of paired words: the inverse of `paired_words`."""
    lanes = words.reshape(-1, len(order), 2).transpose(0, 2, 1).reshape(-1, len(order))
    weights = np.zeros((2 * len(lanes), size + 1), np.int64)
    for word, side in ((lanes, 0), (lanes >> 16, 1)):
        half, a = _signed(word, 16), _signed(word, 8)
        b = (half - a) >> 8
        positions = [pair[side] for pair in order]
        weights[::2, positions], weights[1::2, positions] = a, b
    return weights[:channels, :-1]


def from_exact_words(words: Ints, channels: int, size: int, order: list[tuple[int, int]]) -> Ints:
    """Weights [channels, size] of exact words: the inverse of `exact_words`."""
    lanes = words.reshape(-1, len(order), 2).transpose(0, 2, 1).reshape(padded(channels) // 2, len(order))
    weights = np.zeros((padded(channels), size + 1), np.int64)
    for byte in range(4):
        positions = [pair[byte // 2] for pair in order]
        offset = 0 if byte % 2 else 128
        weights[byte % 2 :: 2, positions] = _signed((lanes >> (8 * byte)) + offset, 8)
    return weights[:channels, :-1]


def _signed(words: Ints, bits: int) -> Ints:
    """The lowest bits of each word as a signed value."""
    sign = 1 << (bits - 1)
    return ((words & (2 * sign - 1)) ^ sign) - sign


def as_stream(words: Ints) -> NDArray[np.int32]:
    return words.astype(np.uint32).view(np.int32).ravel()


def sum_range(weights: Ints, zero_point: int) -> tuple[Ints, Ints]:
    """Least and greatest of sum w (x - z) for each channel, x any int8 or outside the input."""
    low, high = weights * (-128 - zero_point), weights * (127 - zero_point)
    return np.minimum(low, high).sum(1), np.maximum(low, high).sum(1)


def bounds_of(t: NodeTypes, weights: Ints, zero_point: int) -> tuple[Ints, Ints]:
    """The same of a layer, for every weight that training may make where it has a merged delta."""
    return sum_bounds(weights, zero_point) if t.has(MERGED) else sum_range(weights, zero_point)


def check_total(bounds: tuple[Ints, Ints]) -> None:
    """Sums of 24 bits."""
    worst = worst_sum(*bounds)
    if worst > LARGEST_SUM:
        raise NotProved(f"sums reach {worst:,}, above 2^23")


@dataclass(frozen=True, eq=False)
class BoundedValue(Value):
    """A bias, or LoRA's B, that `by` makes."""

    by: BoundedChannels = field(default_factory=BoundedChannels)


def bias_of(bias: Value, gain: bool = False) -> Ints | BoundedChannels | None:
    """What is known of a layer's bias: the values of a frozen one in front of no gain, bounds, or nothing."""
    if isinstance(bias, BoundedValue):
        return bias.by
    if gain or bias.kind != "constant":
        return None
    assert bias.data is not None
    return bias.data.astype(np.int64)


def held_rows(node: Node, values: Mapping[str, Value]) -> BoundedChannels | None:
    """What holds rows of a layer's B at 0."""
    b = values[node.inputs["lora_b"]]
    return b.by if isinstance(b, BoundedValue) else None


@dataclass(frozen=True)
class Epilogues:
    """The short form of every channel's requantisation: words [channels, 3], and what the bias takes in addition."""

    words: Ints
    added: Ints


def rounds_half_up(q: Requantization) -> bool:
    """No negative product survives the clamp, so that both ways to round give the same."""
    return q.zero_point == q.clamp[0] == -128


def short_shifts(q: Requantization) -> range:
    """Right shifts that the short form of a layer can do. To the left there is one rounding, which is half up whatever the sign."""
    return HALF_UP_SHIFTS if rounds_half_up(q) else SHIFTS


def epilogues(q: Requantization, low: Ints, high: Ints) -> Epilogues:
    """Short forms for sums in [low, high] of each channel. Raises NotProved."""
    if q.clamp != (-128, 127):
        raise NotProved(f"results are clamped to {q.clamp}")
    large = np.maximum(np.abs(low), np.abs(high)) > LARGEST_SUM
    right = -q.shift
    short = np.isin(right, short_shifts(q)) & ~large
    shift = np.where(short, right, 0)
    halves = (np.int64(1) << (shift + 6)) + np.where(shift > 0, 1 << 6, 0)
    words, added = np.stack([q.multiplier, halves + (q.zero_point << (shift + 7)), shift + 7], 1), np.zeros(len(low), np.int64)
    for c in np.flatnonzero(~short):
        words[c], added[c] = _constant_or_step(q.of(int(c)), int(low[c]), int(high[c]), int(c))
    return Epilogues(words, added)


def _constant_or_step(q: Requantization, low: int, high: int, channel: int) -> tuple[tuple[int, int, int], int]:
    """The short form of a channel whose shift or sums are too large for any other: one result, or two."""
    first, last = (int(q.result(np.array([s]))[0]) for s in (low, high))
    worst = max(abs(low), abs(high))
    if first == last and high - low <= 2 * LARGEST_SUM:
        # Half a result more, which rounding away from zero cannot undo.
        return (0, (first << 16) + (1 << 15), 16), -(low + high) // 2 if worst > LARGEST_SUM else 0
    if last == first + 1 and high - low <= LARGEST_SUM:
        # With the step at a sum of 0, 256 * sum * 2^16 >> 32 is negative below the step and not above it, and within +-2^15.
        return (1 << 16, last << 16, 16), -_step(q, low, high, last)
    what = f"reaches sums of {worst:,}, above 2^23" if worst > LARGEST_SUM else f"is shifted by {-int(q.shift[0])}"
    raise NotProved(f"channel {channel} {what}")


def _step(q: Requantization, low: int, high: int, last: int) -> int:
    """The least sum that gives the last result: requantisation is monotonous."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if int(q.result(np.array([middle]))[0]) == last else (middle + 1, high)
    return low


@dataclass(frozen=True)
class Start:
    """How a packed layer's sums start, and how they end.

    operand, data: the constant to add, "bias" where the bias is frozen, "fold" beside a trained one. limit: of a trained bias.
    words: of the requantisation, [padded channels, 3].
    """

    operand: str
    data: NDArray[np.int32]
    limit: int
    words: Ints


def start(
    q: Requantization,
    weights: Ints,
    bounds: tuple[Ints, Ints],
    zero_point: int,
    bias: Ints | BoundedChannels | None,
    gain: bool = False,
    merged: bool = False,
) -> Start:
    """Of a layer with weights [channels, K]; bounds: of its sums; bias: None where it is trained or behind a gain, or what bounds it. gain: has
    one. merged: its weights are made in each call, with what their sums start from. Raises NotProved."""
    low, high = bounds
    fold, limit = -zero_point * weights.sum(1), 0
    if isinstance(bias, np.ndarray):
        short = epilogues(q, low + bias, high + bias)
        fold = fold + bias + short.added
    else:
        limit, short, beside = _of_trained(q, low, high, bias, gain)
        if merged and beside.any():
            raise NotProved("a bias is held beyond its limit, and the weights are trained")
        fold = fold + beside
    words = np.zeros((padded(len(weights)), EPILOGUE), np.int64)
    words[: len(weights)] = short.words
    return Start("bias" if isinstance(bias, np.ndarray) else "fold", whole_quads(fold), limit, words)


def _of_trained(q: Requantization, low: Ints, high: Ints, bounded: BoundedChannels | None, gain: bool) -> tuple[int, Epilogues, Ints]:
    """The limit of a trained bias, the short forms of its channels, and what their sums start from beside it. Channels with bounds have no gain."""
    limit = LARGEST_SUM - worst_sum(low, high)
    known, held = np.zeros(len(low), bool), np.zeros(len(low), bool)
    least, most = np.full(len(low), -limit), np.full(len(low), limit)
    if bounded is not None:
        chosen = list(bounded.chosen)
        least[chosen], most[chosen] = bounded.low, bounded.high
        known[chosen] = True
        held = known & (least == most)
    if gain:
        check_gain(q, known)
    free = np.where(known, ~held & ((least < -limit) | (most > limit)), unbounded(q, low, high, gain))
    if limit <= 0 or free.any():
        raise NotProved(f"a trained bias of channel {int(free.argmax())} has no bound")
    usual = low[~known] + limit, high[~known] - limit
    if gain and (usual[0].min(initial=1) <= 0 or usual[1].max(initial=-1) >= 0):
        raise NotProved("sums of a limited bias may have either sign")  # of one sign they stay at their clamp under a larger gain
    short = epilogues(q, low + least, high + most)
    if short.added[~held].any():
        raise NotProved("a trained bias of a channel with two results")
    return limit, short, np.where(held, short.added + least - np.clip(least, -limit, limit), 0)


def worst_sum(low: Ints, high: Ints) -> int:
    """The greatest magnitude of any channel's sums in [low, high]."""
    return int(np.maximum(np.abs(low), np.abs(high)).max())


def unbounded(q: Requantization, low: Ints, high: Ints, gain: bool) -> NDArray[np.bool_]:
    """Channels whose results are not all at a clamp where a trained bias is beyond what leaves sums within 24 bits."""
    return _free(q.with_gain(SMALLEST_GAIN) if gain else q, low, high, LARGEST_SUM - worst_sum(low, high))


CODE_BITS = 13
"""A product of two codes that is shifted to the right is within 2^13."""


@dataclass(frozen=True)
class LoRARoom:
    """What is left of 24 bits beside the sums of a layer. room: for bias and addend together; bias, addend: limits of each; free: channels that
    have neither a row of B that is held at 0 nor results at a clamp beyond these."""

    room: int
    bias: int
    addend: int
    free: NDArray[np.bool_]


def lora_room(q: Requantization, low: Ints, high: Ints, bias: Ints | None, rank: int, held: NDArray[np.bool_]) -> LoRARoom | None:
    """Of a layer with sums in [low, high] and a frozen bias, or None with a trained one; held: channels whose row of B is 0. None where there is
    no room.

    Beyond either limit a result is at its clamp: under an addend that is limited whatever the bias is within its limit, and under a bias that is
    limited whatever an addend is that was shifted to the right. Where both are beyond, the kernel limits their sum.
    """
    right, room = rank << CODE_BITS, LARGEST_SUM - worst_sum(low, high)
    most = 3 * room // 8 if bias is None else int(np.abs(bias[~held]).max(initial=0))
    limit = room - most
    beyond = min(limit - most, limit - right, *([most - right] if bias is None else []))
    return LoRARoom(room, most, limit, _free(q, low, high, beyond) & ~held) if beyond > 0 else None


def start_with_lora(
    q: Requantization, weights: Ints, zero_point: int, bias: Ints | BoundedChannels | None, rank: int, rows: BoundedChannels | None = None
) -> tuple[Start, int]:
    """The same of a layer with LoRA, whose addend is a part of what sums start from, and a limit of the addend. rows: of B, that are held at 0, with
    which a trained bias has bounds in these channels. Raises NotProved."""
    low, high = sum_range(weights, zero_point)
    held = np.zeros(len(low), bool)
    held[list(rows.chosen if rows else ())] = True
    frozen = bias if isinstance(bias, np.ndarray) else None
    found = lora_room(q, low, high, frozen, rank, held)
    if found is None or found.free.any():
        raise NotProved(f"what LoRA adds to channel {int(found.free.argmax()) if found else 0} has no bound")
    least, most = np.full(len(low), -found.room), np.full(len(low), found.room)
    if frozen is not None:
        least[held], most[held] = frozen[held], frozen[held]
    elif isinstance(bias, BoundedChannels):
        assert list(bias.chosen) == list(np.flatnonzero(held))
        least[held], most[held] = bias.low, bias.high
    fold = -zero_point * weights.sum(1) + (0 if frozen is None else frozen)
    short = epilogues(q, low + least, high + most)
    if short.added[~held | (least < most)].any():
        raise NotProved("LoRA on a channel with two results")
    fold = fold + short.added + (np.where(held & (least == most), least - np.clip(least, -found.bias, found.bias), 0) if frozen is None else 0)
    words = np.zeros((padded(len(weights)), EPILOGUE), np.int64)
    words[: len(weights)] = short.words
    return Start("fold" if frozen is None else "bias", whole_quads(fold), found.bias if frozen is None else 0, words), found.addend


def takes_gain(q: Requantization) -> NDArray[np.bool_]:
    """Channels that have a short form with any gain, of one shift less where the gain doubles their multiplier."""
    return np.isin(-q.shift, SHIFTS) & np.isin(-q.shift - 1, SHIFTS)


def check_gain(q: Requantization, without: NDArray[np.bool_]) -> None:
    """Every channel takes a gain, but those without one."""
    short = takes_gain(q) | without
    if not short.all():
        channel = int((~short).argmax())
        raise NotProved(f"channel {channel} is shifted by {-int(q.shift[channel])}, which leaves a gain no room")


def with_gain(epilogue: Ints, factor: Ints) -> Ints:
    """Words [channels, 3] with the gains of their channels, in units of 2^-23."""
    multiplier, moved = gained_multipliers(epilogue[:, 0], np.zeros_like(factor), factor)
    addend = np.where(moved > 0, (1 << 6) + ((epilogue[:, 1] - (1 << 6)) >> 1), epilogue[:, 1])
    return np.stack([multiplier, addend, epilogue[:, 2] - moved], 1)


def whole_quads(channels: Ints) -> NDArray[np.int32]:
    return np.pad(channels, (0, padded(len(channels)) - len(channels))).astype(np.int32)


def packed_values(
    node: Node, stream: NDArray[np.int32], operand: str, data: NDArray[np.int32], words: Ints | None = None
) -> tuple[dict[str, str], list[Value]]:
    """Inputs of a packed node, and the constants among them: the stream in place of the weights, and what the sums start from.

    words: of the requantisation [channels, 3], None where it is none of the stream's. With a merged delta they are the only constant.
    """
    weights = node.inputs["weights"]
    if MERGED in node.inputs:
        if words is None:
            return dict(node.inputs), []
        origin = f"{node.origin or node.name}, its requantisation"
        value = Value(f"{weights}.epilogue", TensorType(words.shape, "int32"), "constant", words.astype(np.int32), origin)
        return {**node.inputs, "epilogue": value.name}, [value]
    names = {"stream": f"{weights}.packed", operand: f"{node.inputs['bias']}.folded" if operand == "bias" else f"{weights}.{operand}"}
    origin = f"{node.origin or node.name}, packed"
    values = [Value(names[o], TensorType(a.shape, "int32"), "constant", a, origin) for o, a in (("stream", stream), (operand, data))]
    return {**{o: v for o, v in node.inputs.items() if o != "weights"}, **names}, values


def short_result(words: Ints, sums: Ints, half_up: bool) -> Ints:
    """What the kernels compute from sums [..., channels]."""
    multiplier, addend, shift = words.T
    negative = 0 if half_up else np.where(sums < 0, 128, 0)
    return np.asarray(np.clip((((sums * 256 * multiplier) >> 32) + addend - negative) >> shift, -128, 127))


def _free(q: Requantization, low: Ints, high: Ints, limit: int) -> NDArray[np.bool_]:
    """Channels whose sums of a product in [low, high] and what is beyond +-limit are not all at the clamp."""
    return np.asarray((q.result(limit + low) < q.clamp[1]) | (q.result(high - limit) > q.clamp[0]))
