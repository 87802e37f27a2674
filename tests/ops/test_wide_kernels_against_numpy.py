"""Kernels on layers as wide as real ones: what blocks of channels and positions, panels and vectors of 16 reach only there.

A case of each is run on every emulated core as well (`test_kernels_on_cores.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from drawn_layers import channel_scales, result_scale
from kernel_driver import Case, Library, Rng, bias, check, codes, generated, int8, library, one, pick, scale, seeds, zero_point

from kiloc.ir.graph import Node, Value
from kiloc.ir.operator import NodeTypes
from kiloc.ir.types import TensorType, activation, gradient, scalar
from kiloc.ops._offset_sums import OPERAND, with_offset_sums
from kiloc.ops._window import Window, same_padding
from kiloc.ops.backward.input_gradient import TRANSPOSED, LinearInputGradient, prescale_shift, with_transposed
from kiloc.ops.model.conv_2d import Conv2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D, DepthwiseInputGradient, depthwise_prescale_shift
from kiloc.ops.model.fully_connected import FullyConnected

__all__ = ["library"]


LARGEST_WEIGHTS = 100_000
"""Of a layer: an image of cases holds them several times."""


def weights_of(r: Rng, *shape: int) -> np.ndarray:
    """Mostly as a converter writes them, without -128; sometimes with it."""
    return codes(r, *shape) if r.random() < 0.8 else int8(r, *shape)


def summed(r: Rng, case: Case) -> Case:
    """Mostly with the table of the weights' sums that a target with Helium has."""
    return extended(r, case, OPERAND, with_offset_sums)


def extended(r: Rng, case: Case, operand: str, extend: Callable[..., tuple[Node, list[Value], str]]) -> Case:
    """Mostly with the constant that a target with Helium adds, where it adds one."""
    node = Node("layer", case.op, {o: o for o in case.types}, ("y",))
    values = {o: Value(o, t, "constant", case.arrays[o]) for o, t in case.types.items()}
    chosen, added, _ = extend(node, NodeTypes(case.types, case.results), values)
    if not added or r.random() < 0.3:
        return case
    assert chosen.inputs[operand] == added[0].name and added[0].data is not None
    return replace(case, types={**case.types, operand: added[0].type}, arrays={**case.arrays, operand: added[0].data})


def same_window(r: Rng, h: int, w: int, *kernels: tuple[int, int]) -> Window:
    kernel = kernels[int(r.integers(len(kernels)))]
    stride = pick(r, (1, 1), (1, 1), (2, 2), (1, 2))
    dilation = (1, 1) if r.random() < 0.8 else (2, 2)
    (top, bottom), (left, right) = (same_padding(n, kernel[a], stride[a], dilation[a]) for a, n in enumerate((h, w)))
    return Window(kernel, stride, (top, left, bottom, right) if r.random() < 0.8 or min(h, w) < 9 else (0, 0, 0, 0), dilation)


def conv2d(r: Rng) -> Case:
    """One to three chunks of channels; windows from one value to more than a panel holds."""
    ci, co = pick(r, 1, 3, 16, 24, 40, 64, 130), pick(r, 4, 15, 16, 63, 64, 65, 130)
    h, w = int(r.integers(1, 6)), int(r.integers(1, 6))
    window = Window((1, 1)) if r.random() < 0.4 else same_window(r, h, w, (3, 3), (10, 4), (1, 1), (2, 5))
    co = min(co, max(1, LARGEST_WEIGHTS // (ci * window.kernel[0] * window.kernel[1])))
    x = activation((1, h, w, ci), scale(r), zero_point(r))
    weights = TensorType((co, *window.kernel, ci), "int8", channel_scales(r, co))
    y = activation((1, *window.output(h, w), co), result_scale(r, x, weights, ci * window.kernel[0] * window.kernel[1]), zero_point(r))
    types = {"x": x, "weights": weights, "bias": TensorType((co,), "int32")}
    arrays = {"x": int8(r, *x.shape), "weights": weights_of(r, *weights.shape), "bias": bias(r, co)}
    return summed(r, Case(Conv2D(pick(r, "none", "relu", "relu6"), "twice", 1.0, window), types, arrays, (y,)))


def conv2d_lora(r: Rng) -> Case:
    """The same with LoRA of ranks up to 16."""
    case = conv2d(r)
    rank, positions, co = pick(r, 1, 4, 8, 16), case.results[0].shape[1] * case.results[0].shape[2], case.results[0].shape[3]
    types = {"lora_u": TensorType((1, positions, rank), "int8"), "lora_b": TensorType((co, rank), "int8")}
    types |= {"lora_range": scalar("int8"), "lora_b_exponent": scalar("int8")}
    arrays = {"lora_u": codes(r, 1, positions, rank), "lora_b": codes(r, co, rank)}
    arrays |= {"lora_range": one(int(r.integers(0, 12))), "lora_b_exponent": one(pick(r, *range(-20, 4), 90))}
    return replace(case, types={**case.types, **types}, arrays={**case.arrays, **arrays})


def conv2d_delta(r: Rng) -> Case:
    """With a delta of all channels or of some."""
    case = conv2d(r)
    shape = case.types["weights"].shape
    types, arrays = {"delta_exponent": scalar("int8")}, {"delta_exponent": one(pick(r, *range(-20, 4), 90))}
    if r.random() < 0.4:
        chosen = np.sort(r.permutation(shape[0])[: int(r.integers(1, shape[0] + 1))])
        rows = np.full(shape[0], -1, np.int16)
        rows[chosen] = np.arange(len(chosen))
        types["delta_rows"], arrays["delta_rows"] = TensorType(rows.shape, "int16"), rows
        shape = (len(chosen), *shape[1:])
    types["delta"], arrays["delta"] = TensorType(shape, "int8"), codes(r, *shape)
    return replace(case, types={**case.types, **types}, arrays={**case.arrays, **arrays})


def fully_connected(r: Rng) -> Case:
    rows, ci, co = pick(r, 1, 1, 2, 5), pick(r, 7, 16, 64, 577, 700, 1200), pick(r, 1, 12, 64, 100)
    x = activation((1, rows, ci), scale(r), zero_point(r))
    weights = TensorType((co, ci), "int8", channel_scales(r, co))
    y = activation((1, rows, co), result_scale(r, x, weights, ci), zero_point(r))
    types = {"x": x, "weights": weights, "bias": TensorType((co,), "int32")}
    arrays = {"x": int8(r, *x.shape), "weights": weights_of(r, co, ci), "bias": bias(r, co)}
    return summed(r, Case(FullyConnected(pick(r, "none", "relu"), "twice", 1.0), types, arrays, (y,)))


def depthwise(r: Rng) -> Case:
    ci, factor = pick(r, 8, 16, 24, 33, 64, 80, 100, 260), pick(r, 1, 1, 1, 1, 2)
    h, w = int(r.integers(1, 8)), int(r.integers(1, 8))
    window = same_window(r, h, w, (3, 3), (3, 3), (1, 1), (5, 5), (5, 1), (2, 3), (7, 7), (8, 8))
    x = activation((1, h, w, ci), scale(r), zero_point(r))
    co = ci * factor
    weights = TensorType((1, *window.kernel, co), "int8", channel_scales(r, co))
    y = activation((1, *window.output(h, w), co), result_scale(r, x, weights, window.kernel[0] * window.kernel[1]), zero_point(r))
    types = {"x": x, "weights": weights, "bias": TensorType((co,), "int32")}
    arrays = {"x": int8(r, *x.shape), "weights": weights_of(r, *weights.shape), "bias": bias(r, co)}
    if r.random() < 0.25:  # the largest products
        arrays["x"][:], arrays["weights"][:] = -128, -128
    return summed(r, Case(DepthwiseConv2D(window, pick(r, "none", "relu", "relu6")), types, arrays, (y,)))


def conv2d_input_gradient(r: Rng) -> Case:
    return extended(r, frozen_input_gradient(r), TRANSPOSED, with_transposed)


def conv2d_path_input_gradient(r: Rng) -> Case:
    """With the share of LoRA, of a delta or of one of some channels."""
    case = frozen_input_gradient(r)
    while case.types["weights"].size > 30000:
        case = frozen_input_gradient(r)
    (co, *kernel, ci), shape = case.types["weights"].shape, case.types["g"].shape
    kind, rank = pick(r, "lora", "delta", "rows"), pick(r, 1, 4, 9)
    rows = np.where(r.random(co) < 0.4, 1, 0)
    rows[int(r.integers(co))] = 1
    codes_of = {"lora": rank, "delta": co, "rows": int(rows.sum())}[kind]
    name = "lora_a" if kind == "lora" else "delta"
    types = {name: TensorType((codes_of, *kernel, ci), "int8"), f"{name}_exponent": scalar("int8")}
    arrays = {name: codes(r, codes_of, *kernel, ci), f"{name}_exponent": one(int(r.integers(-24, 8)))}
    if kind == "lora":
        types |= {"lora_du": TensorType((*shape[:3], rank), "int8"), "lora_du_exponent": scalar("int8")}
        arrays |= {"lora_du": codes(r, *shape[:3], rank), "lora_du_exponent": one(int(r.integers(-8, 8)))}
    if kind == "rows":
        types["delta_rows"] = TensorType((co,), "int16")
        arrays["delta_rows"] = np.where(rows == 1, np.cumsum(rows) - 1, -1).astype(np.int16)
    case = replace(case, types={**case.types, **types}, arrays={**case.arrays, **arrays})
    return extended(r, case, TRANSPOSED, with_transposed)


def frozen_input_gradient(r: Rng) -> Case:
    ci, co = pick(r, 1, 4, 13, 16, 64, 96, 100, 200), pick(r, 3, 16, 64, 65, 130)
    h, w = int(r.integers(1, 6)), int(r.integers(1, 6))
    window = Window((1, 1)) if r.random() < 0.4 else same_window(r, h, w, (3, 3), (1, 1), (2, 3))
    out = window.output(h, w)
    weights = TensorType((co, *window.kernel, ci), "int8", channel_scales(r, co))
    types = {"g": gradient((1, *out, co), scale(r)), "weights": weights}
    arrays = {"g": codes(r, 1, *out, co), "weights": weights_of(r, *weights.shape)}
    p = prescale_shift(arrays["weights"], weights.channel_scales)
    op = LinearInputGradient(window, (h, w, ci), (*out, co), p, 1.0, (1, h, w, ci), shift=int(r.integers(-2, 24)))
    return Case(op, types, arrays)


def depthwise_input_gradient(r: Rng) -> Case:
    ci, factor = pick(r, 7, 8, 16, 33, 64, 100), pick(r, 1, 1, 1, 2)
    h, w = int(r.integers(1, 8)), int(r.integers(1, 8))
    window = same_window(r, h, w, (3, 3), (3, 3), (5, 1), (7, 7), (8, 8))
    co, out = ci * factor, window.output(h, w)
    weights = TensorType((1, *window.kernel, co), "int8", channel_scales(r, co))
    values = weights_of(r, *weights.shape)
    p = depthwise_prescale_shift(values, weights.channel_scales, factor)
    op = DepthwiseInputGradient(window, (1, h, w, ci), (1, *out, co), p, shift=int(r.integers(-2, 20)))
    return Case(op, {"g": gradient((1, *out, co), 1.0), "weights": weights}, {"g": codes(r, 1, *out, co), "weights": values})


GENERATORS: dict[str, tuple[Callable[[Rng], Case], int]] = {
    "conv2d": (conv2d, 40),
    "conv2d_lora": (conv2d_lora, 30),
    "conv2d_delta": (conv2d_delta, 30),
    "fully_connected": (fully_connected, 24),
    "depthwise": (depthwise, 40),
    "conv2d_input_gradient": (conv2d_input_gradient, 40),
    "conv2d_path_input_gradient": (conv2d_path_input_gradient, 40),
    "depthwise_input_gradient": (depthwise_input_gradient, 30),
}


@pytest.mark.parametrize(("name", "seed"), list(seeds(GENERATORS)))
def test_wide_kernel_equals_numpy(library: Library, name: str, seed: int) -> None:
    check(library, generated(GENERATORS, name, seed))
