"""The C kernels of the training methods against the NumPy meaning of their operators, bit for bit.

Frozen layers and LoRA have their cases in `test_kernels_against_numpy.py`; here are deltas (whole and compact), gains and bottleneck adapters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawn_layers import channel_scales, depthwise, linear
from drawn_windows import line_window
from kernel_driver import Case, Library, Rng, accumulator, check, coarser, codes, generated, int8, library, one, pick, scale, seeds, zero_point
from test_kernels_against_numpy import weight_gradient, window_and_size

from kiloc.ir.types import Quantization, TensorType, activation, gradient, scalar
from kiloc.ops._window import Window
from kiloc.ops.backward.gain_gradient import ApplyGain, GainGradient
from kiloc.ops.backward.input_gradient import LinearInputGradient, prescale_shift
from kiloc.ops.backward.new_head_gradient import NewHeadInputGradient
from kiloc.ops.model.bottleneck import BottleneckDown, BottleneckInputGradient, BottleneckUp
from kiloc.ops.model.depthwise_conv_2d import DepthwiseInputGradient, DepthwiseWeightGradient, depthwise_prescale_shift

__all__ = ["library"]


def with_operands(case: Case, types: dict[str, TensorType], arrays: dict[str, Any]) -> Case:
    return replace(case, types={**case.types, **types}, arrays={**case.arrays, **arrays})


def exponent(r: Rng, low: int, high: int) -> Any:
    """Mostly in a range, sometimes far out, where shifts saturate."""
    return one(int(r.integers(low, high)) if r.random() < 0.85 else int(r.integers(-90, 90)))


def with_gain(case: Case, r: Rng, channels: int) -> Case:
    """A gain of every size, often at an end of its range."""
    types = {"gain": TensorType((channels,), "int8"), "gain_exponent": scalar("int8")}
    return with_operands(case, types, {"gain": codes(r, channels), "gain_exponent": exponent(r, -14, 0)})


def rows_table(r: Rng, channels: int) -> Any:
    """Row of each channel, -1 for none; at least one has one."""
    chosen = r.random(channels) < r.choice([0.2, 0.5, 0.9])
    chosen[int(r.integers(channels))] = True
    return np.where(chosen, np.cumsum(chosen) - 1, -1).astype(np.int16)


def scaled(r: Rng, kind: str) -> Case:
    """A convolution or fully connected layer with a gain, beside nothing, LoRA or a delta."""
    case = linear(r, kind)
    return with_gain(case, r, case.types["bias"].size)


def sparse(r: Rng) -> Case:
    """A delta with rows for some channels, sometimes with a gain."""
    case = with_some_rows(linear(r, "delta"), r)
    return with_gain(case, r, case.types["bias"].size) if r.random() < 0.3 else case


def with_some_rows(case: Case, r: Rng) -> Case:
    """The case with a delta of some channels only."""
    channels, rows = case.types["bias"].size, rows_table(r, case.types["bias"].size)
    shape = (int(rows.max()) + 1, *case.types["delta"].shape[1:])
    types = {"delta": TensorType(shape, "int8"), "delta_rows": TensorType((channels,), "int16")}
    return with_operands(case, types, {"delta": codes(r, *shape), "delta_rows": rows})


def depthwise_scaled(r: Rng) -> Case:
    """A depthwise layer with a gain."""
    case = depthwise(r)
    return with_gain(case, r, case.types["bias"].size)


def delta_input_gradient(r: Rng) -> Case:
    """dX through W + V; some near the ends of int32, so that addend and total saturate."""
    window, h, w = window_and_size(r)
    ci, channels, out = int(r.integers(1, 9)), int(r.integers(1, 9)), window.output(h, w)
    weights = TensorType((channels, *window.kernel, ci), "int8", channel_scales(r, channels))
    values = int8(r, *weights.shape)
    p, shift = prescale_shift(values, weights.channel_scales), int(r.integers(-2, 24))
    op = LinearInputGradient(window, (h, w, ci), (*out, channels), p, 1.0, (1, h, w, ci), shift=shift)
    case = Case(op, {"g": gradient((1, *out, channels), scale(r)), "weights": weights}, {"g": codes(r, 1, *out, channels), "weights": values})
    rows = rows_table(r, channels)
    whole = bool(r.random() < 0.5)
    shape = (channels if whole else int(rows.max()) + 1, *weights.shape[1:])
    types = {"delta": TensorType(shape, "int8"), "delta_exponent": scalar("int8")}
    case = with_operands(case, types, {"delta": codes(r, *shape), "delta_exponent": exponent(r, -24, 8)})
    case = case if whole else with_operands(case, {"delta_rows": TensorType((channels,), "int16")}, {"delta_rows": rows})
    return gained_input_gradient(case, r, channels, prescale_shift(values, weights.channel_scales, 2)) if r.random() < 0.4 else case


def new_head_gradient(r: Rng) -> Case:
    """dX of a head with a delta of every size, from nothing to more than int32 holds, and of a gradient that is all zeros."""
    case = delta_input_gradient(r)
    while "delta_rows" in case.types:
        case = delta_input_gradient(r)
    layer: Any = case.op
    case = replace(case, op=NewHeadInputGradient(replace(layer, shift=0)))
    g = coarser(case.arrays["g"], pick(r, 1, 1, 30, 128))
    largest = pick(r, -24, -8, 0, 8, 40)
    arrays = {"exponent": np.array([int(r.integers(-60, 20))], np.int32), "delta_exponent": one(largest), "g": g}
    return with_operands(case, {"exponent": scalar("int32"), **{o: case.types[o] for o in ("delta_exponent", "g")}}, arrays)


def gained_input_gradient(case: Case, r: Rng, channels: int, p: int) -> Case:
    """The input gradient under a gain; a delta's share then starts from another gradient."""
    op: Any = case.op
    case = with_gain(replace(case, op=replace(op, prescale_shift=p)), r, channels)
    if "delta" not in case.types:
        return case
    return with_operands(case, {"delta_g": gradient(case.types["g"].shape, 1.0)}, {"delta_g": codes(r, *case.types["g"].shape)})


def without_delta(case: Case) -> Case:
    """Only the frozen weights, and a gain where there is one."""
    kept = {o for o in case.types if not o.startswith("delta")}
    return replace(case, types={o: case.types[o] for o in kept}, arrays={o: case.arrays[o] for o in kept})


def gained_gradient(r: Rng) -> Case:
    case = without_delta(delta_input_gradient(r))
    p = prescale_shift(case.arrays["weights"], case.types["weights"].channel_scales, 2)
    return gained_input_gradient(case, r, case.types["weights"].shape[0], p)


def gained_depthwise_gradient(r: Rng) -> Case:
    window, h, w = window_and_size(r)
    ci, factor = pick(r, 4, 8, int(r.integers(1, 9))), pick(r, 1, 1, 2, 3)
    co, out = ci * factor, window.output(h, w)
    weights = TensorType((1, *window.kernel, co), "int8", channel_scales(r, co))
    values = int8(r, *weights.shape)
    op = DepthwiseInputGradient(window, (1, h, w, ci), (1, *out, co), shift=int(r.integers(-2, 20)))
    case = Case(op, {"g": gradient((1, *out, co), 1.0), "weights": weights}, {"g": codes(r, 1, *out, co), "weights": values})
    return gained_input_gradient(case, r, co, depthwise_prescale_shift(values, weights.channel_scales, factor, 2))


def sparse_weight_gradient(r: Rng) -> Case:
    case = weight_gradient(r)
    full = case.types["accumulator"].shape
    rows = rows_table(r, full[0])
    shape = (int(rows.max()) + 1, *full[1:])
    types = {"rows": TensorType((full[0],), "int16"), "accumulator": TensorType(shape, "float32")}
    return with_operands(case, types, {"rows": rows, "accumulator": accumulator(r, *shape)})


def depthwise_line_gradient(r: Rng) -> Case:
    """Of windows along one axis, and of those that are wide."""
    if r.random() < 0.6:
        window, (h, w) = line_window(r)
        return depthwise_weight_gradient(r, (window, h, w), 1)
    kernel = (int(r.integers(2, 5)), int(r.integers(8, 16)))
    edge = tuple(int(e) for e in r.integers(0, 6, 4))
    window = Window(kernel, pick(r, (1, 1), (2, 2), (1, 2), (2, 1)), edge, pick(r, (1, 1), (2, 1), (1, 2), (1, int(r.integers(9, 37)))))  # type: ignore[arg-type]
    h, w = ((k - 1) * d + 1 + int(r.integers(0, 40 // k)) for k, d in zip(kernel, window.dilation, strict=True))
    return depthwise_weight_gradient(r, (window, h, w), 1)


def depthwise_weight_gradient(r: Rng, place: tuple[Window, int, int] | None = None, factor: int = 0) -> Case:
    window, h, w = place or window_and_size(r)
    ci, factor = int(r.integers(1, 9)), factor or pick(r, 1, 2, 3)
    co, out = ci * factor, window.output(h, w)
    rows, whole = rows_table(r, co), bool(r.random() < 0.5)
    shape = (1, *window.kernel, co if whole else int(rows.max()) + 1)
    types = {"g": gradient((1, *out, co), scale(r)), "x": activation((1, h, w, ci), scale(r), zero_point(r))}
    types |= {"exponent": scalar("int32"), "accumulator": TensorType(shape, "float32")}
    arrays = {"g": codes(r, 1, *out, co), "x": int8(r, 1, h, w, ci), "exponent": one(pick(r, -26, -7, 0), "int32")}
    arrays["accumulator"] = accumulator(r, *shape)
    if not whole:
        types["rows"], arrays["rows"] = TensorType((co,), "int16"), rows
    return Case(DepthwiseWeightGradient(window, (1, h, w, ci), (1, *out, co)), types, arrays)


def gain_gradient(r: Rng) -> Case:
    positions, channels = int(r.integers(1, 40)), int(r.integers(1, 20))
    shape = (1, positions, channels)
    types = {"g": gradient(shape, scale(r)), "y": activation(shape, scale(r), zero_point(r)), "bias": TensorType((channels,), "int32")}
    types |= {"gain": TensorType((channels,), "int8"), "gain_exponent": scalar("int8"), "exponent": scalar("int32")}
    types["accumulator"] = TensorType((channels,), "float32")
    arrays = {"g": codes(r, *shape), "y": int8(r, *shape), "gain": codes(r, channels)}
    arrays["bias"] = r.integers(-(2 ** int(r.integers(1, 31))), 2 ** int(r.integers(1, 31)), channels).astype(np.int32)
    arrays |= {"gain_exponent": exponent(r, -14, 0), "exponent": one(pick(r, -26, -7, 0, -140, 130), "int32")}
    arrays["accumulator"] = accumulator(r, channels)
    return Case(GainGradient(tuple(float(np.float32(scale(r))) for _ in range(channels))), types, arrays)


def apply_gain(r: Rng) -> Case:
    channels = int(r.integers(1, 20))
    shape = (1, int(r.integers(1, 40)), channels)
    types = {"g": gradient(shape, 1.0), "gain": TensorType((channels,), "int8"), "gain_exponent": scalar("int8")}
    arrays = {"g": codes(r, *shape), "gain": codes(r, channels), "gain_exponent": exponent(r, -14, 2)}
    return Case(ApplyGain(), types, arrays)


def bottleneck_down(r: Rng) -> Case:
    positions, channels, width = int(r.integers(1, 20)), int(r.integers(1, 20)), pick(r, 1, 4, 6)
    types = {"x": activation((1, positions, channels), scale(r), zero_point(r)), "down": TensorType((width, channels), "int8")}
    types |= {"down_exponent": scalar("int8"), "range": scalar("int8")}
    arrays = {"x": int8(r, 1, positions, channels), "down": codes(r, width, channels)}
    arrays |= {"down_exponent": exponent(r, -14, -4), "range": one(int(r.integers(-3, 5)))}
    if r.random() < 0.8:
        types["saturated"], arrays["saturated"] = scalar("int8"), one(pick(r, 0, 0, 1))
    return Case(BottleneckDown(Window((1, 1)), (positions, 1, channels), (positions, 1, width)), types, arrays)


def bottleneck_up(r: Rng) -> Case:
    positions, channels, width = int(r.integers(1, 20)), int(r.integers(1, 20)), pick(r, 1, 4, 6)
    types = {"x": activation((1, positions, channels), 0.1, zero_point(r)), "h": TensorType((1, positions, width), "int8")}
    types |= {"up": TensorType((channels, width), "int8"), "up_exponent": scalar("int8"), "range": scalar("int8")}
    low, high = pick(r, (-128, 127), (0, 127), (-128, 50))
    arrays = {"x": np.clip(int8(r, 1, positions, channels), low, high), "h": np.abs(codes(r, 1, positions, width))}
    arrays |= {"up": codes(r, channels, width), "up_exponent": exponent(r, -16, -4), "range": one(int(r.integers(-3, 5)))}
    return Case(BottleneckUp(low, high), types, arrays)


def bottleneck_input_gradient(r: Rng) -> Case:
    positions, channels, width = int(r.integers(1, 20)), int(r.integers(1, 20)), pick(r, 1, 4, 6)
    types = {"g": gradient((1, positions, channels), 1.0), "dh": gradient((1, positions, width), 1.0), "dh_exponent": scalar("int8")}
    types |= {"down": TensorType((width, channels), "int8"), "down_exponent": scalar("int8")}
    arrays = {"g": codes(r, 1, positions, channels), "dh": codes(r, 1, positions, width), "dh_exponent": exponent(r, -12, 8)}
    arrays |= {"down": codes(r, width, channels), "down_exponent": one(int(r.integers(-20, 4)))}
    return Case(BottleneckInputGradient(shift=int(r.integers(8, 20))), types, arrays)


def many_channels(r: Rng) -> Case:
    """A delta's sums of 500 channels at their largest."""
    made: Any = delta_input_gradient(r).op
    op: Any = replace(made, window=Window((1, 1)), x_image=(1, 2, 3), y_image=(1, 2, 500), x_shape=(1, 1, 2, 3), shift=24)
    weights = TensorType((500, 1, 1, 3), "int8", Quantization((0.5,), 0))
    types = {"g": gradient((1, 1, 2, 500), 1.0), "weights": weights, "delta": TensorType(weights.shape, "int8"), "delta_exponent": scalar("int8")}
    arrays = {"g": np.full((1, 1, 2, 500), 127, np.int8), "weights": np.full(weights.shape, pick(r, 127, -127), np.int8)}
    arrays |= {"delta": np.full(weights.shape, pick(r, 127, -127), np.int8), "delta_exponent": one(pick(r, -10, 10, 60))}
    return Case(replace(op, prescale_shift=prescale_shift(arrays["weights"], (0.5,))), types, arrays)


GENERATORS: dict[str, tuple[Callable[[Rng], Case], int]] = {
    "scaled": (lambda r: scaled(r, "plain"), 60),
    "scaled_lora": (lambda r: scaled(r, "lora"), 30),
    "scaled_delta": (lambda r: scaled(r, "delta"), 30),
    **{
        f.__name__: (f, count)
        for f, count in (
            (sparse, 50), (depthwise_scaled, 30), (delta_input_gradient, 60), (new_head_gradient, 60), (many_channels, 8), (gained_gradient, 40),
            (gained_depthwise_gradient, 40), (sparse_weight_gradient, 40), (depthwise_weight_gradient, 50), (depthwise_line_gradient, 60),
            (gain_gradient, 40), (apply_gain, 40), (bottleneck_down, 40), (bottleneck_up, 40),
            (bottleneck_input_gradient, 40),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize(("name", "seed"), list(seeds(GENERATORS)))
def test_kernel_equals_numpy(library: Library, name: str, seed: int) -> None:
    check(library, generated(GENERATORS, name, seed))
