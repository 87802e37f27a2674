"""Gradients to inputs from packed weights: what the words mean is what the gradient means, and the C kernels compute it, bit for bit.

From transposed weights, from the stream that inference reads, and of depthwise layers in bands.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from drawn_layers import channel_scales
from drawn_windows import line_window, tiled_window
from kernel_driver import Case, Library, Rng, check, codes, generated, int8, library, one, pick, scale, seeds
from test_kernels_against_numpy import input_gradient
from test_method_kernels_against_numpy import delta_input_gradient, with_gain
from test_packed_kernels_against_numpy import meaning, repacked

from kiloc.ir.graph import Node, Value
from kiloc.ir.operator import Environment, NodeTypes
from kiloc.ir.types import Quantization, TensorType, gradient, scalar
from kiloc.ops._window import Window
from kiloc.ops.backward.input_gradient import LinearInputGradient, prescale_shift
from kiloc.ops.fast import _packing as packing
from kiloc.ops.fast._packing import NotProved
from kiloc.ops.fast.blocked_input_gradient import blocked_input_gradient, blocks_of
from kiloc.ops.fast.packed import PackedLinear
from kiloc.ops.fast.packed_depthwise import TILE_ROWS
from kiloc.ops.fast.packed_depthwise_gradient import is_banded, packed_depthwise_gradient
from kiloc.ops.fast.packed_input_gradient import packed_input_gradient
from kiloc.ops.fast.repacked import RepackedInputGradient, first_channels, repacked_input_gradient
from kiloc.ops.fast.shared_input_gradient import shared_input_gradient
from kiloc.ops.model.depthwise_conv_2d import DepthwiseInputGradient, depthwise_prescale_shift

__all__ = ["library"]


def wide_gradient(r: Rng) -> Case:
    """As wide as real layers."""
    window, ci, co = pick(r, Window((1, 1)), Window((3, 3), pad=(1, 1, 1, 1)), Window((3, 3), (2, 2), (0, 0, 1, 1))), 4 * int(r.integers(1, 12)), 32
    h, w = int(r.integers(3, 7)), int(r.integers(3, 7))
    out = window.output(h, w)
    weights = TensorType((co, *window.kernel, ci), "int8", channel_scales(r, co))
    arrays = {"g": codes(r, 1, *out, co), "weights": int8(r, *weights.shape)}
    p = prescale_shift(arrays["weights"], weights.channel_scales)
    op = LinearInputGradient(window, (h, w, ci), (*out, co), p, 1.0, (1, h, w, ci), shift=int(r.integers(8, 24)))
    return Case(op, {"g": gradient((1, *out, co), scale(r)), "weights": weights}, arrays)


def packed_gradient(r: Rng, path: str) -> Case:
    """The gradient of a layer to its input, with the share of "lora", of a "delta", of none (""), or with a "gain"; what cannot be packed is
    drawn again."""
    while True:
        case = delta_input_gradient(r) if path == "delta" else input_gradient(r, path == "lora")
        if path != "delta" and r.random() < 0.3:
            case = wide_gradient(r)
        case = with_gain(case, r, case.types["weights"].shape[0]) if path == "gain" else case
        try:
            return repacked(case, partial(packed_input_gradient, on_stack=bool(r.random() < 0.4)))[0]
        except NotProved:
            continue


def wide_delta_gradient(r: Rng) -> Case:
    """The share of a delta, of so many channels that a position takes several blocks: dx lies over what its own blocks still read."""
    ci, co = int(r.choice([32, 40, 64, 96])), int(r.choice([4, 16, 32, 64, 96]))
    window = pick(r, Window((1, 1)), Window((1, 1)), Window((3, 3), pad=(1, 1, 1, 1)), Window((3, 3), (2, 2), pick(r, (0, 0, 1, 1), (1, 1, 1, 1))))
    h, w = (int(n) for n in r.integers(1 if window.pointwise else 3, 7, 2))
    out = window.output(h, w)
    weights = TensorType((co, *window.kernel, ci), "int8", channel_scales(r, co))
    arrays = {"g": codes(r, 1, *out, co), "weights": int8(r, *weights.shape), "delta": codes(r, *weights.shape)}
    arrays["delta_exponent"] = one(int(r.integers(-16, 0)))
    p = prescale_shift(arrays["weights"], weights.channel_scales)
    op = LinearInputGradient(window, (h, w, ci), (*out, co), p, 1.0, (1, h, w, ci), shift=int(r.integers(8, 24)))
    types = {"g": gradient((1, *out, co), 1.0), "weights": weights, "delta": TensorType(weights.shape, "int8"), "delta_exponent": scalar("int8")}
    return repacked(Case(op, types, arrays), packed_input_gradient)[0]


def wide_rows_gradient(r: Rng) -> Case:
    """The gradient of windows that slide along rows of several panels: with strides in whole groups, mostly."""
    stride = pick(r, (1, 1), (1, 1), (2, 2), (1, 2), (2, 3))
    kernel = (int(r.integers(1, 4)), int(r.integers(3, 6)) if stride == (1, 1) else int(r.integers(1, 5)))
    h, w = int(r.integers(3, 7)), int(r.integers(5, 14))
    w = -(-w // (2 * stride[1])) * 2 * stride[1] if stride[1] > 1 and r.random() < 0.8 else w
    window = Window(kernel, stride, tuple(int(p) for p in r.integers(0, 3, 4)))  # type: ignore[arg-type]
    ci, co = int(r.integers(1, 13)) if r.random() < 0.5 else 4 * int(r.integers(1, 4)), int(r.integers(1, 20))
    out = window.output(h, w)
    weights = TensorType((co, *kernel, ci), "int8", channel_scales(r, co))
    arrays = {"g": codes(r, 1, *out, co), "weights": int8(r, *weights.shape)}
    p = prescale_shift(arrays["weights"], weights.channel_scales)
    op = LinearInputGradient(window, (h, w, ci), (*out, co), p, 1.0, (1, h, w, ci), shift=int(r.integers(4, 20)))
    return repacked(Case(op, {"g": gradient((1, *out, co), scale(r)), "weights": weights}, arrays), packed_input_gradient)[0]


def path_ties(r: Rng) -> Case:
    """A gradient with LoRA whose scales are powers of two: the path's share meets ties, and left shifts with and without room for them."""
    window = pick(r, Window((1, 1)), Window((1, 1)), Window((3, 3), pad=(1, 1, 1, 1)))
    h, w, ci, co, rank = (
        int(r.integers(1, 5)),
        int(r.integers(1, 6)),
        pick(r, int(r.integers(1, 40)), 4 * int(r.integers(1, 20))),
        int(r.integers(1, 5)),
        pick(r, int(r.integers(1, 7)), int(r.integers(5, 18))),
    )
    out, full = window.output(h, w), r.random() < 0.4
    limit = 127 if full else 4
    weights, a_shape = TensorType((co, *window.kernel, ci), "int8", Quantization((1.0,), 0)), (rank, *window.kernel, ci)
    types = {"g": gradient((1, *out, co), 1.0), "weights": weights}
    types |= {"lora_du": gradient((1, out[0] * out[1], rank), 1.0), "lora_du_exponent": scalar("int8")}
    types |= {"lora_a": TensorType(a_shape, "int8"), "lora_a_exponent": scalar("int8")}
    arrays = {
        "g": r.choice([0, 0, 0, 1, -1], (1, *out, co)).astype(np.int8) * pick(r, 0, 1), "weights": r.integers(-1, 2, weights.shape).astype(np.int8),
        "lora_du": r.integers(-limit, limit + 1, (1, out[0] * out[1], rank)).astype(np.int8),
        "lora_a": r.integers(-limit, limit + 1, a_shape).astype(np.int8),
        "lora_du_exponent": one(int(r.integers(-14, 12)) if full else int(r.integers(-12, -6))), "lora_a_exponent": one(0),
    }  # fmt: skip
    if full and r.random() < 0.6:  # the largest products
        arrays |= {"lora_du": np.full_like(arrays["lora_du"], 127), "lora_a": np.full_like(arrays["lora_a"], pick(r, 127, -127))}
        arrays |= {"lora_du_exponent": one(int(r.integers(3, 8)))}
    p = prescale_shift(arrays["weights"], weights.channel_scales)
    shift = int(r.integers(1, 24)) if full else pick(r, 1, 1, int(r.integers(1, 6)))
    op = LinearInputGradient(window, (h, w, ci), (*out, co), p, 1.0, (1, h, w, ci), shift=shift)
    return repacked(Case(op, types, arrays), packed_input_gradient)[0]


def sharing(node: Node, t: NodeTypes, values: Any, on_stack: bool = False, layer_words: int = 0) -> tuple[Node, list[Value], str]:
    """A packer: the gradient reads a stream as its layer has it. layer_words: of each four channels, behind their weights."""
    return shared_input_gradient(node, t, values, layer_stream(node, values, layer_words), on_stack)


def layer_stream(node: Node, values: Any, layer_words: int) -> tuple[Node, Value]:
    """The layer of a gradient, and its stream with so many words behind the weights of each four channels."""
    op, weights = node.op, values[node.inputs["weights"]].data
    assert isinstance(op, LinearInputGradient)
    order = packing.window_order(op.window.kernel, op.window.dilation[1], op.x_image[2])
    words = packing.paired_words(weights.astype(np.int64).reshape(len(weights), -1), order)
    behind = np.full((len(words), layer_words), 0x5A5A5A5A, np.int64)
    data = packing.as_stream(np.concatenate([words.reshape(len(words), -1), behind], 1))
    return replace(node, op=PackedLinear()), Value("stream", TensorType(data.shape, "int32"), "constant", data)


def with_lora(case: Case, r: Rng) -> Case:
    """The gradient with LoRA's share, which may saturate."""
    op, rank = case.op, int(r.integers(1, 7))
    assert isinstance(op, LinearInputGradient)
    out, shape = op.y_image[0] * op.y_image[1], (rank, *op.window.kernel, op.x_image[2])
    types = {**case.types, "lora_du": gradient((1, out, rank), 1.0), "lora_du_exponent": scalar("int8")}
    types |= {"lora_a": TensorType(shape, "int8"), "lora_a_exponent": scalar("int8")}
    arrays = {**case.arrays, "lora_du": codes(r, 1, out, rank), "lora_du_exponent": one(int(r.integers(-12, 20)))}
    arrays |= {"lora_a": codes(r, *shape), "lora_a_exponent": one(int(r.integers(-24, 8)))}
    return replace(case, types=types, arrays=arrays)


def layer_gradient(r: Rng, rows: bool = False) -> Case:
    """The gradient of a layer to its input, in whole fours of input channels: windows of any stride, dilation and border, or one position."""
    while True:
        stride = pick(r, (1, 1), (1, 1), (2, 2), (1, 2), (2, 1), (3, 2))
        kernel = (1, 1) if r.random() < 0.4 else (int(r.integers(1, 4)), int(r.integers(1, 5)))
        dilation = pick(r, (1, 1), (1, 1), (1, 1), (1, 2), (2, 1), (2, 2))
        pads = (0, 0, 0, 0) if r.random() < 0.4 else tuple(int(p) for p in r.integers(0, 3, 4))
        h, w = (1, 1) if rows else (int(r.integers(1, 8)), int(r.integers(1, 14)))
        window = Window((1, 1)) if rows else Window(kernel, stride, pads, dilation)  # type: ignore[arg-type]
        ci, co = 4 * int(r.integers(1, 41 if rows else 13)), int(r.integers(1, 700 if rows else 40))
        out = window.output(h, w)
        if min(out) < 1:
            continue
        weights = TensorType((co, *window.kernel, ci), "int8", channel_scales(r, co))
        arrays = {"g": codes(r, 1, *out, co), "weights": codes(r, *weights.shape)}
        p = prescale_shift(arrays["weights"], weights.channel_scales)
        op = LinearInputGradient(window, (h, w, ci), (*out, co), p, 1.0, (1, h, w, ci), shift=int(r.integers(2, 24)))
        return Case(op, {"g": gradient((1, *out, co), scale(r)), "weights": weights}, arrays)


def shared_gradient(r: Rng, rows: bool = False, lora: bool = False) -> Case:
    """The same from the layer's stream; what cannot be is drawn again."""
    while True:
        case = layer_gradient(r, rows or (lora and bool(r.random() < 0.2)))
        case = with_lora(case, r) if lora else case
        try:
            return repacked(case, partial(sharing, on_stack=bool(r.random() < 0.4), layer_words=pick(r, 0, 12)))[0]
        except NotProved:
            continue


def repacking(node: Node, t: NodeTypes, values: Any, layer_words: int = 0, first: int = 0) -> tuple[Node, list[Value], str]:
    """A packer: the gradient makes its transposed weights, or those of the first input channels, from a stream as its layer has it."""
    forward = layer_stream(node, values, layer_words)
    return repacked_input_gradient(first, node, t, values, forward)


def some_first(r: Rng, case: Case) -> int:
    """Input channels whose weights are made, while others have a copy; 0 where all are."""
    assert isinstance(case.op, LinearInputGradient)
    quads = case.op.x_image[2] // 4
    return 4 * int(r.integers(1, quads)) if quads > 1 and first_channels(case.op) else 0


def repacked_stream(r: Rng) -> Case:
    """Transposed weights as they are made, of all input channels or of the first, of windows without dilation and of any channels out."""
    while True:
        case = layer_gradient(r)
        try:
            found = repacked(case, partial(repacking, layer_words=pick(r, 0, 12), first=some_first(r, case)))[0]
        except NotProved:
            continue
        assert isinstance(found.op, RepackedInputGradient)
        return Case(found.op.making, {"stream": found.types["stream"]}, {"stream": found.arrays["stream"]})


def gradient_of_two_streams(r: Rng) -> Case:
    """Gradients whose weights are two streams, one of the first input channels and one of the others."""
    while True:
        case = layer_gradient(r)
        first = some_first(r, case)
        try:
            found = repacked(case, partial(repacking, first=first))[0]
        except NotProved:
            continue
        if not first:
            continue
        assert isinstance(found.op, RepackedInputGradient)
        held = {"stream": found.op.made(NodeTypes(found.types, ())), "rest": found.types["rest"], "g": found.types["g"]}
        (made,) = found.op.making.evaluate(Environment({"stream": found.types["stream"]}, (), {"stream": found.arrays["stream"]}))
        return Case(found.op.operator, held, {"stream": made, "rest": found.arrays["rest"], "g": found.arrays["g"]})


def in_blocks(r: Rng, node: Node, t: NodeTypes, values: Any, layer_words: int = 0) -> tuple[Node, list[Value], str]:
    """A packer: the gradient makes its transposed weights in one of the forms that a layer of its size has, or in any other."""
    op = node.op
    assert isinstance(op, LinearInputGradient)
    found = [(pick(r, 2, 4, 6, 10, 20), 4 * int(r.integers(1, 1 + op.x_image[2] // 4))), *blocks_of(op, bool(r.random() < 0.5))]
    if not blocks_of(op, True) or "lora_du" in node.inputs:
        raise NotProved("no window of one tap")
    return blocked_input_gradient(*found[int(r.integers(0, len(found)))], node, t, values, layer_stream(node, values, layer_words))


def blocked_gradient(r: Rng) -> Case:
    """Gradients of windows of one tap in blocks of positions, the last of which may be smaller, as may the last part of the weights."""
    while True:
        try:
            return repacked(layer_gradient(r, bool(r.random() < 0.2)), partial(in_blocks, r, layer_words=pick(r, 0, 12)))[0]
        except NotProved:
            continue


def packed_depthwise_gradient_case(r: Rng, gain: bool = False) -> Case:
    """The gradient of a depthwise layer over an image of any size, in bands of 4 or 2 rows."""
    h, w, c = int(r.integers(1, 14)), int(r.integers(1, 12)), 4 * int(r.integers(1, 5))
    weights = TensorType((1, 3, 3, c), "int8", channel_scales(r, c))
    arrays = {"g": codes(r, 1, h, w, c), "weights": int8(r, 1, 3, 3, c)}
    p = depthwise_prescale_shift(arrays["weights"], weights.channel_scales, 1)
    window = Window((3, 3), pad=(1, 1, 1, 1))
    op = DepthwiseInputGradient(window, (1, h, w, c), (1, h, w, c), p, shift=int(r.integers(2, 32 if r.random() < 0.3 else 20)))
    case = Case(op, {"g": gradient((1, h, w, c), 1.0), "weights": weights}, arrays)
    case = with_gain(case, r, c) if gain else case
    return repacked(case, partial(packed_depthwise_gradient, pick(r, 4, 2)))[0]


def tiled_gradient_case(r: Rng, gain: bool = False, lines: bool = False) -> Case:
    """The gradient of a depthwise layer that goes by tiles, of four channels or more. lines: any window of one row or one column."""
    while True:
        window, (h, w) = line_window(r) if lines else tiled_window(r)
        kernel, c = window.kernel, int(r.integers(4, 15))
        weights = TensorType((1, *kernel, c), "int8", channel_scales(r, c))
        y_shape = (1, *window.output(h, w), c)
        arrays = {"g": codes(r, *y_shape), "weights": int8(r, *weights.shape)}
        p = depthwise_prescale_shift(arrays["weights"], weights.channel_scales, 1)
        op = DepthwiseInputGradient(window, (1, h, w, c), y_shape, p, shift=int(r.integers(2, 32 if r.random() < 0.3 else 20)))
        case = Case(op, {"g": gradient(y_shape, 1.0), "weights": weights}, arrays)
        case = with_gain(case, r, c) if gain else case
        try:
            found = repacked(case, partial(packed_depthwise_gradient, pick(r, *TILE_ROWS)))[0]
        except NotProved:
            continue
        if not is_banded(op):
            return found


def widest_tiled_gradient(kernel: tuple[int, int]) -> Case:
    """The gradient of a window whose values are all as large as they may be, with the largest shift. Raises NotProved."""
    h, w, c = kernel[0] + 3, kernel[1] + 3, 5
    window = Window(kernel, pad=(kernel[0] // 2, kernel[1] // 2, (kernel[0] - 1) // 2, (kernel[1] - 1) // 2))
    weights = TensorType((1, *kernel, c), "int8", Quantization((0.5,) * c, 0, 3))
    sign = np.array([1, -1, 1, -1, 1])
    arrays = {"g": np.broadcast_to(-127 * sign, (1, h, w, c)).astype(np.int8), "weights": np.full(weights.shape, -128, np.int8)}
    op = DepthwiseInputGradient(window, (1, h, w, c), (1, h, w, c), 7, shift=31)
    return repacked(Case(op, {"g": gradient((1, h, w, c), 1.0), "weights": weights}, arrays), partial(packed_depthwise_gradient, 2))[0]


GENERATORS = {
    "tiled_depthwise_input_gradient": (tiled_gradient_case, 120),
    "lined_depthwise_input_gradient": (partial(tiled_gradient_case, lines=True), 120),
    "lined_depthwise_gain_input_gradient": (partial(tiled_gradient_case, gain=True, lines=True), 30),
    "tiled_depthwise_gain_input_gradient": (partial(tiled_gradient_case, gain=True), 40),
    "packed_path_ties": (path_ties, 60),
    "packed_depthwise_input_gradient": (packed_depthwise_gradient_case, 60),
    "packed_depthwise_gain_input_gradient": (partial(packed_depthwise_gradient_case, gain=True), 40),
    "packed_input_gradient": (partial(packed_gradient, path=""), 60),
    "packed_gain_input_gradient": (partial(packed_gradient, path="gain"), 40),
    "repack_stream": (repacked_stream, 60),
    "packed_two_streams_input_gradient": (gradient_of_two_streams, 60),
    "blocked_input_gradient": (blocked_gradient, 100),
    "shared_input_gradient": (shared_gradient, 100),
    "shared_path_input_gradient": (partial(shared_gradient, lora=True), 60),
    "shared_rows_input_gradient": (partial(shared_gradient, rows=True), 40),
    "packed_rows_input_gradient": (wide_rows_gradient, 60),
    "packed_wide_delta_input_gradient": (wide_delta_gradient, 60),
    "packed_delta_input_gradient": (partial(packed_gradient, path="delta"), 60),
    "packed_path_input_gradient": (partial(packed_gradient, path="lora"), 40),
}


@pytest.mark.parametrize(("name", "seed"), list(seeds(GENERATORS)))
def test_kernel_equals_numpy(library: Library, name: str, seed: int) -> None:
    check(library, generated(GENERATORS, name, seed))


def test_sums_of_the_largest_tiled_windows_have_room(library: Library) -> None:
    check(library, widest_tiled_gradient((15, 17)))
    with pytest.raises(NotProved, match="more than 255 taps"):
        widest_tiled_gradient((16, 16))


@pytest.mark.parametrize("seed", range(60))
def test_packed_gradient_means_what_the_gradient_means(seed: int) -> None:
    r = np.random.default_rng([seed, 9])
    wide = wide_gradient(r)
    for case in (input_gradient(r, False), input_gradient(r, True), delta_input_gradient(r), wide, with_gain(wide, r, 32)):
        try:
            found, _ = repacked(case, packed_input_gradient)
        except NotProved:
            continue
        np.testing.assert_array_equal(meaning(found), meaning(case))


@pytest.mark.parametrize("seed", range(60))
def test_repacked_gradient_means_what_the_gradient_means(seed: int) -> None:
    r = np.random.default_rng([seed, 11])
    for case in (layer_gradient(r), layer_gradient(r), layer_gradient(r, True), with_lora(layer_gradient(r), r)):
        first = 0 if "lora_du" in case.types else some_first(r, case)
        try:
            found, _ = repacked(case, partial(repacking, layer_words=pick(r, 0, 12), first=first))
        except NotProved:
            continue
        np.testing.assert_array_equal(meaning(found), meaning(case))


@pytest.mark.parametrize("seed", range(60))
def test_gradient_in_blocks_means_what_the_gradient_means(seed: int) -> None:
    r = np.random.default_rng([seed, 12])
    for case in (layer_gradient(r), layer_gradient(r), layer_gradient(r), layer_gradient(r, True)):
        try:
            found, _ = repacked(case, partial(in_blocks, r, layer_words=pick(r, 0, 12)))
        except NotProved:
            continue
        np.testing.assert_array_equal(meaning(found), meaning(case))


@pytest.mark.parametrize("seed", range(60))
def test_shared_gradient_means_what_the_gradient_means(seed: int) -> None:
    r = np.random.default_rng([seed, 10])
    for case in (layer_gradient(r), layer_gradient(r, True), with_lora(layer_gradient(r), r)):
        try:
            found, _ = repacked(case, partial(sharing, layer_words=pick(r, 0, 12)))
        except NotProved:
            continue
        np.testing.assert_array_equal(meaning(found), meaning(case))


def test_gradients_that_cannot_share_say_why() -> None:
    weights = TensorType((600, 1, 1, 4), "int8", Quantization((1.0,), 0))
    arrays = {"g": np.full((1, 1, 1, 600), 127, np.int8), "weights": np.full(weights.shape, 127, np.int8)}
    op = LinearInputGradient(Window((1, 1)), (1, 1, 4), (1, 1, 600), prescale_shift(arrays["weights"], (1.0,)), 1.0, (1, 1, 1, 4), shift=20)
    case = Case(op, {"g": gradient((1, 1, 1, 600), 1.0), "weights": weights}, arrays)

    def reason(packer: Any = sharing, case: Case = case, **changed: Any) -> str:
        with pytest.raises(NotProved) as caught:
            repacked(replace(case, op=replace(op, **changed)), packer)
        return str(caught.value)

    def without_stream(node: Node, t: NodeTypes, values: Any) -> Any:
        return shared_input_gradient(node, t, values, None)

    repacked(case, sharing)
    delta = replace(case, types={**case.types, "delta": TensorType(weights.shape, "int8"), "delta_exponent": scalar("int8")})
    assert reason(without_stream) == "inference reads no stream of pairs"
    delta = replace(delta, arrays={**arrays, "delta": arrays["weights"], "delta_exponent": one(0)})
    assert reason(case=delta) == "weights or gains of its layer are trained"
    assert reason(window=Window((1, 1), pad=(-1, 0, 0, 0))) == "its window is cut"
    assert reason(shift=40) == "its sums are shifted by 40"
    assert reason(shift=31) == "its sums and half a unit of the result may leave int32"
    assert reason(partial(sharing, on_stack=True), x_image=(1, 2, 4), y_image=(1, 2, 600)) == "sharing them takes more memory"
    narrow = {"weights": replace(weights, shape=(600, 1, 1, 3))}
    odd = replace(case, types={**case.types, **narrow}, arrays={**arrays, "weights": arrays["weights"][..., :3]})
    assert reason(case=odd, x_image=(1, 1, 3)) == "its input channels are no multiple of 4"
