"""Every C kernel against the NumPy meaning of its operator, bit for bit.

Cases of operators of models are in the folder `cases`, a file each; here are those of layers with weights (drawn in `drawn_layers.py`), of
what methods add to them, and of what the compiler itself puts in. Losses, optimizers and storage formats have their cases in
`test_losses_against_numpy.py` and `test_optimizers_against_numpy.py`, the arithmetic that kernels are made of in `test_primitives_against_numpy.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cases
import numpy as np
import pytest
from drawn_layers import channel_scales, depthwise, few_taps, large_conv2d, large_depthwise, linear, many_channels
from kernel_driver import (
    Case,
    Library,
    Rng,
    accumulator,
    check,
    coarser,
    codes,
    generated,
    int8,
    library,
    one,
    pick,
    scale,
    seeds,
    window_and_size,
    zero_point,
)  # fmt: skip

from kiloc.ir.types import Quantization, TensorType, activation, gradient, scalar
from kiloc.ops._window import Window
from kiloc.ops.backward.channel_moments import MOST_POSITIONS, ChannelMoments
from kiloc.ops.backward.clear_gradient import ClearGradient
from kiloc.ops.backward.gradient_mask import ApplyMask, MaskGradient, SaveMask
from kiloc.ops.backward.gradient_of_sums import GradientOfSums, TotalOfSums
from kiloc.ops.backward.gradient_sum import WITHOUT_TIES, GradientSum
from kiloc.ops.backward.input_gradient import LinearInputGradient, prescale_shift
from kiloc.ops.backward.lora_inner_rows import LoRAInnerExponent, LoRAInnerPeak, LoRAInnerRows
from kiloc.ops.backward.parameter_gradient import BiasGradient, WeightGradient
from kiloc.ops.model.depthwise_conv_2d import DepthwiseInputGradient, depthwise_prescale_shift
from kiloc.ops.model.lora import LoRADown, LoRAInnerGradient
from kiloc.ops.paging.bounded_channels import BoundedChannels, ClearChannels
from kiloc.ops.paging.pooled_sums import AverageOfSums, ChannelSums
from kiloc.ops.paging.some_channels import AddChannels, TakeChannels
from kiloc.ops.paging.write_rows import WriteRows

__all__ = ["library"]

# -- generated cases --------------------------------------------------------------------------------------


def input_gradient(r: Rng, lora: bool) -> Case:
    window, h, w = window_and_size(r)
    ci, co, rank = int(r.integers(1, 9)), int(r.integers(1, 9)), pick(r, 1, 4)
    extreme = lora and r.random() < 0.25
    if extreme:
        window, h, w, co = Window((1, 1)), 1, 2, pick(r, 3, 500)
    out = window.output(h, w)
    weights = TensorType((co, *window.kernel, ci), "int8", channel_scales(r, co))
    types = {"g": gradient((1, *out, co), scale(r)), "weights": weights}
    arrays = {"g": codes(r, 1, *out, co), "weights": int8(r, *weights.shape)}
    if lora:
        a_shape = (rank, *window.kernel, ci)
        types |= {"lora_du": gradient((1, out[0] * out[1], rank), 1.0), "lora_du_exponent": scalar("int8")}
        types |= {"lora_a": TensorType(a_shape, "int8"), "lora_a_exponent": scalar("int8")}
        arrays |= {"lora_du": codes(r, 1, out[0] * out[1], rank), "lora_a": codes(r, *a_shape)}
        arrays |= {"lora_du_exponent": one(int(r.integers(-12, 20))), "lora_a_exponent": one(int(r.integers(-24, 8)))}
    if extreme:  # near the ends of int32, so that addend and total saturate
        weights = TensorType(weights.shape, "int8", Quantization((0.5,), 0))
        types["weights"] = weights
        arrays |= {"g": np.full_like(arrays["g"], 127), "weights": np.full_like(arrays["weights"], pick(r, 127, -127))}
        arrays |= {"lora_du_exponent": one(100), "lora_a_exponent": one(20)}
    p = prescale_shift(arrays["weights"], weights.channel_scales)
    shift = 24 if extreme else int(r.integers(-2, 24))
    op = LinearInputGradient(window, (h, w, ci), (*out, co), p, float(r.uniform(0.1, 4)), (1, h, w, ci), shift=shift)
    return Case(op, types, arrays)


def rows_of_three(r: Rng) -> tuple[Window, int, int]:
    """A 3x3 window of stride 1 or 2 over rows of up to 60 columns."""
    h, w, stride = int(r.integers(3, 8)), pick(r, int(r.integers(3, 13)), int(r.integers(3, 61))), pick(r, 1, 2)
    return Window((3, 3), (stride, stride), pick(r, (1, 1, 1, 1), (0, 0, 1, 1), (0, 2, 1, 0), (2, 0, 0, 2), (1, 2, 1, 2))), h, w


def one_column(r: Rng) -> tuple[Window, int, int]:
    """A window of up to 20 taps over one column."""
    taps, stride = int(r.integers(1, pick(r, 6, 21))), pick(r, 1, 1, 2)
    pad = pick(r, (0, 0, 0, 0), (taps // 2, 0, taps // 2, 0), (1, 0, 2, 0))
    return Window((taps, 1), (stride, stride), pad), taps + int(r.integers(0, 20)), 1


def depthwise_gradient(r: Rng, plain: bool = False, column: bool = False) -> Case:
    window, h, w = rows_of_three(r) if plain else one_column(r) if column else window_and_size(r)
    plain |= column
    ci, factor = pick(r, 4, 8, int(r.integers(1, 9)), int(r.integers(9, 80 if plain else 10))), 1 if plain else pick(r, 1, 1, 2, 3)
    co, out = ci * factor, window.output(h, w)
    weights = TensorType((1, *window.kernel, co), "int8", channel_scales(r, co))
    values = int8(r, *weights.shape)
    p = depthwise_prescale_shift(values, weights.channel_scales, factor)
    op = DepthwiseInputGradient(window, (1, h, w, ci), (1, *out, co), p, shift=int(r.integers(1, 20)) if plain else int(r.integers(-2, 20)))
    return Case(op, {"g": gradient((1, *out, co), 1.0), "weights": weights}, {"g": codes(r, 1, *out, co), "weights": values})


def lora_down(r: Rng) -> Case:
    window, h, w = window_and_size(r)
    ci, rank, out = int(r.integers(1, 9)), pick(r, 1, 4, 6), window.output(h, w)
    a_shape = (rank, *window.kernel, ci)
    types = {"x": activation((1, h, w, ci), scale(r), zero_point(r)), "lora_a": TensorType(a_shape, "int8")}
    types |= {"lora_a_exponent": scalar("int8"), "lora_range": scalar("int8")}
    arrays = {"x": int8(r, 1, h, w, ci), "lora_a": codes(r, *a_shape)}
    exponent = int(r.integers(-14, -4)) if r.random() < 0.8 else int(r.integers(-32, 110))
    arrays |= {"lora_a_exponent": one(exponent), "lora_range": one(int(r.integers(-3, 5)))}
    if r.random() < 0.1:  # exactly 127 is not saturated, anything more is
        difference = pick(r, 1, 2)
        types["x"] = activation((1, h, w, ci), 1.0, 0)
        arrays |= {"x": np.zeros_like(arrays["x"]), "lora_a": np.full(a_shape, pick(r, 127, -127), np.int8)}
        arrays["x"][0, h // 2, w // 2, 0] = difference
        arrays |= {"lora_a_exponent": one(0), "lora_range": one(0)}
    if r.random() < 0.8:
        types["saturated"], arrays["saturated"] = scalar("int8"), one(pick(r, 0, 0, 1))
    return Case(LoRADown(window, (h, w, ci), (*out, rank)), types, arrays)


def lora_down_of_images(r: Rng) -> Case:
    """Images in which most windows lie inside, whose rows are whole fours of values or not, of sizes around what is packed on the stack."""
    while True:
        kernel, pads = (int(r.integers(1, 5)), int(r.integers(1, 5))), tuple(int(p) for p in r.integers(0, 3, 4))
        window = Window(kernel, pick(r, (1, 1), (1, 1), (2, 2), (1, 2)), pads, pick(r, (1, 1), (1, 1), (1, 1), (2, 1), (1, 2)))  # type: ignore[arg-type]
        h, w, ci, rank = int(r.integers(3, 10)), int(r.integers(3, 12)), pick(r, 1, 2, 3, 4, 5, 8, 12, 16, 17), pick(r, 4, 4, 4, 3, 8)
        out = window.output(h, w)
        if min(out) < 1 or kernel == (1, 1):
            continue
        types = {"x": activation((1, h, w, ci), scale(r), zero_point(r)), "lora_a": TensorType((rank, *kernel, ci), "int8")}
        types |= {"lora_a_exponent": scalar("int8"), "lora_range": scalar("int8"), "saturated": scalar("int8")}
        arrays = {"x": int8(r, 1, h, w, ci), "lora_a": codes(r, rank, *kernel, ci)}
        arrays |= {"lora_a_exponent": one(int(r.integers(-14, -8))), "lora_range": one(int(r.integers(-2, 3))), "saturated": one(0)}
        return Case(LoRADown(window, (h, w, ci), (*out, rank)), types, arrays)


def lora_inner(r: Rng) -> Case:
    positions, channels, rank = int(r.integers(1, 20)), pick(r, int(r.integers(1, 40)), int(r.integers(120, 270))), pick(r, 1, 3, 4, 7, 8)
    types = {"g": gradient((1, positions, channels), 1.0), "lora_b": TensorType((channels, rank), "int8"), "lora_b_exponent": scalar("int8")}
    g = coarser(codes(r, 1, positions, channels), pick(r, 1, 1, 20, 128))
    arrays = {"g": g, "lora_b": codes(r, channels, rank), "lora_b_exponent": one(pick(r, -24, -9, 0, 120))}
    return Case(LoRAInnerGradient(1.0), types, arrays)


def lora_inner_rows(r: Rng) -> Case:
    """The two passes of the gradient above, each by itself, and its exponent."""
    case, channels = lora_inner(r), int(r.integers(1, 9))
    types, arrays = dict(case.types), dict(case.arrays)
    exponent_type, exponent = types.pop("lora_b_exponent"), arrays.pop("lora_b_exponent")
    peak = one(pick(r, 0, 1, 127, 128, 40_000, 127 * 127 * channels), "int32")
    kind = pick(r, 0, 1, 2)
    if kind == 0:
        return Case(LoRAInnerExponent(), {"peak": scalar("int32"), "lora_b_exponent": exponent_type}, {"peak": peak, "lora_b_exponent": exponent})
    if kind == 1 or r.random() < 0.7:
        types["peak"], arrays["peak"] = scalar("int32"), peak
    return Case(LoRAInnerRows(1.0) if kind == 1 else LoRAInnerPeak(), types, arrays)


def channel_sums(r: Rng) -> Case:
    """Sums of some rows, and what the sums of a whole image make: halves too."""
    h, w, c = (int(n) for n in r.integers(1, 9, 3))
    if r.random() < 0.5:
        sums = r.integers(-128 * h * w, 127 * h * w, (1, c), endpoint=True).astype(np.int32)
        clamp = pick(r, (-128, 127), (-20, 60))
        return Case(AverageOfSums(h * w, clamp), {"sums": TensorType((1, c), "int32")}, {"sums": sums}, (activation((1, 1, 1, c), 0.5, 3),))
    types, arrays = {"x": activation((1, h, w, c), scale(r), zero_point(r))}, {"x": int8(r, 1, h, w, c)}
    if r.random() < 0.7:
        types["sums"], arrays["sums"] = TensorType((1, c), "int32"), r.integers(-30_000, 30_000, (1, c)).astype(np.int32)
    return Case(ChannelSums(), types, arrays)


def write_rows(r: Rng) -> Case:
    """A stripe into an image; where no image is given, one that covers all of it."""
    h, w, c = (int(n) for n in r.integers(1, 7, 3))
    whole = activation((1, h, w, c), scale(r), zero_point(r))
    given = r.random() < 0.7
    rows = int(r.integers(1, h + 1)) if given else h
    first = int(r.integers(0, h - rows + 1))
    part = activation((1, rows, w, c), whole.scale, whole.zero_point)
    types, arrays = {"part": part}, {"part": int8(r, 1, rows, w, c)}
    if given:
        types["x"], arrays["x"] = whole, int8(r, 1, h, w, c)
    return Case(WriteRows(first), types, arrays, (whole,))


def clear_gradient(r: Rng) -> Case:
    return Case(ClearGradient((int(r.integers(1, 40)),)), {}, {})


def some_channels(r: Rng) -> Case:
    """Of biases, codes and gradients, along each axis; all of them, one, any."""
    shape = tuple(int(n) for n in r.integers(1, 9, int(r.integers(1, 4))))
    axis = int(r.integers(0, len(shape)))
    chosen = np.flatnonzero(r.random(shape[axis]) < pick(r, 0.2, 0.6, 1.0))
    fields = {"axis": axis, "channels": shape[axis], "chosen": tuple(int(i) for i in chosen) or (shape[axis] - 1,)}
    part = (*shape[:axis], len(fields["chosen"]), *shape[axis + 1 :])
    if r.random() < 0.5:
        whole, gradient = (r.standard_normal(s).astype(np.float32) for s in (shape, part))
        types = {"part": TensorType(part, "float32"), "accumulator": TensorType(shape, "float32")}
        return Case(AddChannels(**fields), types, {"part": gradient, "accumulator": whole})
    dtype = pick(r, "int8", "int16", "int32")
    return Case(TakeChannels(**fields), {"x": TensorType(shape, dtype)}, {"x": r.integers(-128, 128, shape).astype(dtype)})


def bounded_channels(r: Rng) -> Case:
    """Of a bias and of the codes of a gain or of B: some channels, one of them or all, between bounds or held; and of the gradient of these."""
    count, dtype = int(r.integers(1, 40)), pick(r, "int8", "int32", "float32")
    shape = (count, *(pick(r, (), (1,), (4,), (5,)) if dtype != "int32" else ()))
    chosen = np.flatnonzero(r.random(count) < pick(r, 0.1, 0.5, 1.0)) if r.random() < 0.9 else np.array([count - 1])
    if dtype == "float32":
        gradient = {"accumulator": r.standard_normal(shape).astype(np.float32)}
        return Case(ClearChannels(tuple(map(int, chosen))), {"accumulator": TensorType(shape, dtype)}, gradient)
    ends = np.sort(r.integers(-100, 100, (2, chosen.size)) if dtype == "int8" else r.integers(-(2**31), 2**31, (2, chosen.size)), 0)
    ends[1] = np.where(r.random(chosen.size) < 0.3, ends[0], ends[1])
    op = BoundedChannels(*(tuple(int(i) for i in part) for part in (chosen, *ends)))
    x = r.integers(-128, 128, shape) if dtype == "int8" else r.integers(-(2**31), 2**31, shape)
    return Case(op, {"x": TensorType(shape, dtype)}, {"x": x.astype(dtype)})


def gradient_of_sums(r: Rng) -> Case:
    """Whole numbers up to 2^24, or of a total of int32, in place, or added to an accumulator."""
    size, bits, dtype = int(r.integers(1, 40)), *pick(r, (24, "float32"), (31, "int32"))
    types = {"sums": TensorType((size,), dtype), "exponent": scalar("int32")}
    arrays = {
        "sums": r.integers(1 - (1 << bits), (1 << bits) - 1, size, endpoint=True).astype(dtype),
        "exponent": one(pick(r, -140, -9, 0, 3), "int32"),
    }
    if r.random() < 0.5:
        types["exponent_offset"], arrays["exponent_offset"] = scalar("int8"), one(pick(r, -3, 0, 5))
    if r.random() < 0.5:
        types["accumulator"], arrays["accumulator"] = TensorType((size,), "float32"), r.normal(size=size).astype(np.float32)
    return Case(GradientOfSums(scale(r)), types, arrays)


def total_of_sums(r: Rng) -> Case:
    size = int(r.integers(1, 40))
    types = {"sums": TensorType((size,), "float32")}
    arrays = {"sums": r.integers(-(1 << 24), 1 << 24, size, endpoint=True).astype(np.float32)}
    if r.random() < 0.5:
        types["total"], arrays["total"] = TensorType((size,), "int32"), r.integers(-(1 << 30), 1 << 30, size).astype(np.int32)
    return Case(TotalOfSums(), types, arrays)


def bias_gradient(r: Rng) -> Case:
    positions, channels = int(r.integers(1, 60)), int(r.integers(1, 20))
    g = codes(r, 1, positions, channels)
    if r.random() < 0.25:  # the largest sums
        positions = pick(r, 256, 257, 600)
        g = np.full((1, positions, channels), pick(r, 127, -127), np.int8)
        g[:, r.random(positions) < pick(r, 0.0, 0.3)] = 0  # so that it is told which rows were summed
    types = {"g": gradient(g.shape, scale(r)), "exponent": scalar("int32"), "accumulator": TensorType((channels,), "float32")}
    exponent = one(pick(r, -26, -7, 0, -140, 130), "int32")
    return Case(BiasGradient(), types, {"g": g, "exponent": exponent, "accumulator": accumulator(r, channels)})


def channel_moments(r: Rng) -> Case:
    """Also where the moments are halved first, and with the largest sums that 32 bits hold."""
    positions, channels = int(pick(r, 1, 2, 7, int(r.integers(1, 200)))), int(r.integers(1, 9))
    y = int8(r, 1, positions, channels)
    if r.random() < 0.2:
        positions, channels = MOST_POSITIONS, 1
        y = np.full((1, positions, channels), 127, np.int8)
    count = pick(r, 0, 1, 1023, 1024)
    moments = np.append(r.integers(0, 1 + count * 16 * 255**2, 3 * channels), count).astype(np.int32)
    types = {"y": activation(y.shape, 0.1, 0), "moments": TensorType(moments.shape, "int32")}
    return Case(ChannelMoments(pick(r, 0, 128, 255)), types, {"y": y, "moments": moments})


def weight_gradient(r: Rng) -> Case:
    window, h, w = window_and_size(r)
    ci, co = int(r.integers(1, 12)) if r.random() < 0.7 else pick(r, 45, 64, 70), int(r.integers(1, 6))
    if r.random() < 0.4:  # fully connected layers, LoRA's A and B
        window, h, w = Window((1, 1)), pick(r, 1, 1, 9), pick(r, 1, 5, 8)
        ci, co = pick(r, (70, 12), (64, 4), (4, 64), (3, 33), (2, 12))
    out, shape = window.output(h, w), (co, *window.kernel, ci)
    x = activation((1, h, w, ci), scale(r), zero_point(r)) if r.random() < 0.8 else TensorType((1, h, w, ci), "int8")
    types = {"g": gradient((1, *out, co), scale(r)), "x": x, "exponent": scalar("int32"), "accumulator": TensorType(shape, "float32")}
    arrays = {"g": codes(r, 1, *out, co), "x": int8(r, 1, h, w, ci), "exponent": one(pick(r, -26, -7, 0), "int32")}
    arrays["accumulator"] = accumulator(r, *shape)
    if r.random() < 0.5:
        types["exponent_offset"], arrays["exponent_offset"] = scalar("int8"), one(pick(r, -24, 3, 127, -128))
    op = WeightGradient(window, (h, w, ci), (*out, co), scale(r))
    neighbours = window.dilation[1] == 1 and window.kernel[1] * ci > 1
    op = replace(op, bordered=neighbours and not window.pointwise and bool(r.random() < 0.7))
    return Case(replace(op, transposed=pick(r, 0, 3, 6, 66, -(-ci // 3) * 3) if window.pointwise else 0), types, arrays)


def clamps(r: Rng) -> tuple[int, int]:
    """The usual ones, narrow ones, and such as nothing lies between."""
    return pick(r, (-128, 127), (-128, 50), (0, 127), (0, 50), (-128, -126), (125, 127), (3, 4), (3, 3), (-128, -128))  # type: ignore[no-any-return]


def mask_gradient(r: Rng) -> Case:
    shape = (1, int(r.integers(1, 70)))
    types = {"g": gradient(shape, 1.0), "y": activation(shape, 0.1, 0)}
    return Case(MaskGradient(*clamps(r)), types, {"g": codes(r, *shape), "y": int8(r, *shape)})


def mask_of_int16(r: Rng) -> Case:
    """Both forms, with values at both ends."""
    shape = (1, int(r.integers(1, 70)))
    limits, y = pick(r, (-32768, 32767), (0, 32767), (3, 3)), TensorType(shape, "int16", Quantization((0.1,)))
    values = np.where(r.random(shape) < 0.3, r.choice(limits, shape), r.integers(-(2**15), 2**15, shape)).astype(np.int16)
    if r.random() < 0.5:
        return Case(SaveMask(*limits), {"y": y}, {"y": values})
    return Case(MaskGradient(*limits), {"g": gradient(shape, 1.0), "y": y}, {"g": codes(r, *shape), "y": values})


def save_mask(r: Rng) -> Case:
    shape = (1, int(r.integers(1, 70)))
    return Case(SaveMask(*clamps(r)), {"y": activation(shape, 0.1, 0)}, {"y": int8(r, *shape)})


def apply_mask(r: Rng) -> Case:
    size = int(r.integers(1, 70))
    types = {"g": gradient((1, size), 1.0), "mask": TensorType((1, (size + 7) // 8), "uint8")}
    return Case(ApplyMask(), types, {"g": codes(r, 1, size), "mask": r.integers(0, 256, types["mask"].shape).astype(np.uint8)})


def gradient_sum(r: Rng) -> Case:
    shape = (1, int(r.integers(1, 70)))
    types = {o: gradient(shape, scale(r)) for o in ("g", "other")}
    return Case(GradientSum(pick(r, 1 << 14, WITHOUT_TIES), shift=int(r.integers(10, 17))), types, {o: codes(r, *shape) for o in types})


GENERATORS: dict[str, tuple[Callable[[Rng], Case], int]] = {
    **cases.GENERATORS,
    "conv2d": (lambda r: linear(r, "plain"), 60),
    "conv2d_once": (lambda r: linear(r, "once"), 30),
    "conv2d_lora": (lambda r: linear(r, "lora"), 60),
    "conv2d_delta": (lambda r: linear(r, "delta"), 60),
    "conv2d_input_gradient": (lambda r: input_gradient(r, False), 40),
    "conv2d_lora_input_gradient": (lambda r: input_gradient(r, True), 40),
    "depthwise": (depthwise, 40),
    "depthwise_large": (large_depthwise, 24),
    "depthwise_few_taps": (few_taps, 60),
    "depthwise_many_channels": (many_channels, 60),
    "conv2d_large": (large_conv2d, 16),
    "depthwise_gradient": (depthwise_gradient, 40),
    "depthwise_rows_gradient": (lambda r: depthwise_gradient(r, True), 60),
    "depthwise_column_gradient": (lambda r: depthwise_gradient(r, column=True), 30),
    "lora_down": (lora_down, 40),
    "lora_down_of_images": (lora_down_of_images, 60),
    "weight_gradient": (weight_gradient, 70),
    **{
        f.__name__: (f, 16)
        for f in (
            lora_inner, lora_inner_rows, channel_sums,
            write_rows, clear_gradient, some_channels, bounded_channels, gradient_of_sums, total_of_sums, bias_gradient, channel_moments,
            mask_gradient, mask_of_int16, save_mask, apply_mask, gradient_sum,
        )
    },
}  # fmt: skip


@pytest.mark.parametrize(("name", "seed"), list(seeds(GENERATORS)))
def test_kernel_equals_numpy(library: Library, name: str, seed: int) -> None:
    check(library, generated(GENERATORS, name, seed))
