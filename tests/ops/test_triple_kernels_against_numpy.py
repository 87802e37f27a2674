"""Layers with three sums in two words: what the packed constants mean is what the layer means, and the C kernels compute it, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from drawn_layers import depthwise, linear
from drawn_windows import Draw, line_window, tiled_window
from kernel_driver import Case, Library, Rng, check, codes, generated, int8, library, one, pick, seeds
from test_kernels_against_numpy import lora_down
from test_method_kernels_against_numpy import rows_table, with_gain
from test_packed_gradients_against_numpy import layer_gradient, with_lora
from test_packed_kernels_against_numpy import (
    drawn_layer,
    in_form,
    lora_ties,
    meaning,
    repacked,
    row_with_lora,
    small_window,
    wide,
    with_dead_channels,
    with_delta,
)

from kiloc.ir.graph import Node, Value
from kiloc.ir.operator import NodeTypes
from kiloc.ir.types import TensorType, scalar
from kiloc.ops._window import Window
from kiloc.ops.fast import triple as packing
from kiloc.ops.fast._packing import NotProved
from kiloc.ops.fast.triple import FEWER_VALUES, TripleLinear, triple, triple_on_stack
from kiloc.ops.fast.triple_depthwise import FEWER_ROWS, triple_depthwise
from kiloc.ops.fast.triple_input_gradient import triple_input_gradient

__all__ = ["library"]


def extreme(case: Case, r: Rng) -> Case:
    """The case with values and weights at their ends."""
    arrays = {**case.arrays, "x": r.choice([-128, 127], case.arrays["x"].shape).astype(np.int8)}
    arrays["weights"] = r.choice([-128, 127], arrays["weights"].shape).astype(np.int8)
    return replace(case, arrays=arrays)


def any_layer(r: Rng, kind: str, gain: bool) -> Case:
    """A layer that may be packed in a form, in any chunks."""
    row = kind.startswith("row")
    lora = kind.startswith("lora_")
    case = (
        row_with_lora(r)
        if kind.startswith("lora_row")
        else wide(r, 1 if row else int(r.integers(1, 14)), pick(r, 1, 4))
        if row or (not lora and r.random() < 0.3)
        else linear(r, "lora" if kind.startswith("lora") else "")
    )
    case = extreme(case, r) if r.random() < 0.3 else case
    if gain:
        case = with_gain(case, r, case.types["bias"].size)
    if kind not in ("lora", "sums"):
        case = in_form(case, r, kind.endswith("relu"))
        case = case if gain or lora else with_dead_channels(case, r)
    return case


def triple_layer(r: Rng, kind: str, gain: bool = False) -> Case:
    """A layer in one of the forms, with a gain or without; what cannot be proved is drawn again."""
    wanted = {"lora": "sums"}.get(kind, kind)
    for _ in range(1000):
        case = any_layer(r, kind, gain)
        try:
            packer = triple_on_stack if r.random() < 0.3 else partial(triple, pick(r, 0, 0, 4, *FEWER_VALUES))
            found, _ = repacked(case, packer, bool(r.random() < 0.4))
        except NotProved:
            continue
        assert isinstance(found.op, TripleLinear)
        if found.op.form == wanted:
            return found
    raise AssertionError(f"no case of {kind}")


TALL = ((5, 5), (7, 7), (5, 3), (3, 5), (7, 2), (3, 1), (2, 3), (4, 4), (8, 7))


def depthwise_layer(r: Rng, relu: bool, gain: bool = False, tall: bool = False, draw: Draw | None = None) -> Case:
    """A depthwise layer of one result a channel, in bands of any rows; what cannot be proved is drawn again. tall: of windows other than 3x3; draw:
    of such windows."""
    for _ in range(1000):
        case = in_form(drawn_layer(r, draw=draw) if draw else depthwise(r, 1), r, relu)
        case = with_gain(case, r, case.types["bias"].size) if gain else with_dead_channels(case, r)
        case = small_window(case, r, pick(r, *TALL)) if tall else small_window(case, r) if not draw and r.random() < 0.7 else case
        case = extreme(case, r) if r.random() < 0.2 else case
        try:
            return repacked(case, partial(triple_depthwise, pick(r, 0, 0, 1, 2, *FEWER_ROWS)), bool(r.random() < 0.4))[0]
        except NotProved:
            continue
    raise AssertionError("no case")


def back(node: Node, t: NodeTypes, values: Any, most: int = 0) -> tuple[Node, list[Value], str]:
    """A packer: the gradient reads a stream as its layer has it, in chunks of at most so many values."""
    weights = values[node.inputs["weights"]].data.astype(np.int64).reshape(t.type("weights").shape[0], -1)
    weights = np.pad(weights, ((0, 0), (0, -weights.shape[1] % 4)))
    chunk = packing.chunk_of(weights, most or weights.shape[1])
    data = packing.stored(weights, chunk)
    stream = Value("stream", TensorType(data.shape, "int32"), "constant", data)
    return triple_input_gradient(node, t, (replace(node, op=TripleLinear(chunk=chunk)), stream))


def gradient_of_layer(r: Rng, lora: bool = False, gain: bool = False) -> Case:
    case = layer_gradient(r, bool(r.random() < 0.1))
    case = replace(case, op=replace(case.op, shift=int(r.integers(-1, 34)) if r.random() < 0.2 else case.op.shift))  # type: ignore[attr-defined,call-arg]
    case = with_gain(case, r, case.types["weights"].shape[0]) if gain else case
    return repacked(with_lora(case, r) if lora else case, partial(back, most=pick(r, 0, 4, *FEWER_VALUES)))[0]


def delta_row(r: Rng) -> Case:
    """One row of a fully connected layer with a delta of all channels or of some, of up to a few channels or many; sums may be at their ends."""
    for _ in range(1000):
        case = wide(r, 1, pick(r, 1, 4))
        case = extreme(case, r) if r.random() < 0.3 else case
        case = replace(case, op=replace(case.op, activation=pick(r, "none", "relu", "relu6")))  # type: ignore[call-arg]
        try:
            return repacked(with_delta(case, r), partial(triple, 0), bool(r.random() < 0.4))[0]
        except NotProved:
            continue
    raise AssertionError("no case")


def delta_gradient(r: Rng) -> Case:
    """The gradient of a layer of one position with a delta of all channels or of some to its input."""
    case = layer_gradient(r, True)
    shape, rows = case.types["weights"].shape, rows_table(r, case.types["weights"].shape[0])
    types = {**case.types, "delta": TensorType(shape, "int8"), "delta_exponent": scalar("int8")}
    arrays = {**case.arrays, "delta": codes(r, *shape), "delta_exponent": one(int(r.integers(-24, 8)))}
    if r.random() < 0.5:
        types |= {"delta": TensorType((int(rows.max()) + 1, *shape[1:]), "int8"), "delta_rows": TensorType(rows.shape, "int16")}
        arrays |= {"delta": arrays["delta"][: int(rows.max()) + 1], "delta_rows": rows}
    return repacked(replace(case, types=types, arrays=arrays), partial(back, most=pick(r, 0, 4, *FEWER_VALUES)))[0]


def down_projection(r: Rng) -> Case:
    case = lora_down(r)
    return replace(case, op=replace(case.op, triple=True))  # type: ignore[call-arg]


def projected_pixels(r: Rng) -> Case:
    """Pixels of up to two chunks, where whole rows of A and of the image may hold the value of the largest sums, which do not saturate."""
    height, width, rank, depth = int(r.integers(1, 4)), int(r.integers(2, 5)), pick(r, 1, 2, 3, 4, 4, 5, 8), int(r.integers(1, 120))
    depth = -(-depth // 4) * 4 if r.random() < 0.7 else depth
    case = lora_down(r)
    arrays = {**case.arrays, "x": int8(r, 1, height, width, depth), "lora_a": codes(r, rank, 1, 1, depth)}
    arrays["lora_a"][r.random(rank) < 0.4] = -128
    arrays["x"][:, r.random(height) < 0.4] = -128
    arrays |= {"lora_a_exponent": np.full_like(arrays["lora_a_exponent"], -14), "lora_range": np.full_like(arrays["lora_range"], r.integers(-1, 3))}
    types = {**case.types, "x": replace(case.types["x"], shape=(1, height, width, depth)), "lora_a": TensorType((rank, 1, 1, depth), "int8")}
    op = replace(case.op, window=Window((1, 1)), x_image=(height, width, depth), u_image=(height, width, rank), triple=True)  # type: ignore[call-arg]
    return replace(case, op=op, types=types, arrays=arrays)


GENERATORS = {
    "triple_projected_pixels": (projected_pixels, 30),
    "triple_down_projection": (down_projection, 40),
    "triple_input_gradient": (gradient_of_layer, 40),
    "triple_path_input_gradient": (partial(gradient_of_layer, lora=True), 24),
    "triple_delta_input_gradient": (delta_gradient, 40),
    "triple_delta_row": (delta_row, 60),
    "triple_depthwise_relu": (partial(depthwise_layer, relu=True), 40),
    "triple_depthwise": (partial(depthwise_layer, relu=False), 40),
    "triple_depthwise_lines": (partial(depthwise_layer, relu=False, draw=line_window), 80),
    "triple_depthwise_windows": (partial(depthwise_layer, relu=False, draw=tiled_window), 80),
    "triple_depthwise_gain_windows": (partial(depthwise_layer, relu=True, gain=True, draw=tiled_window), 20),
    "triple_depthwise_gain_lines": (partial(depthwise_layer, relu=True, gain=True, draw=line_window), 20),
    "triple_depthwise_tall": (partial(depthwise_layer, relu=False, tall=True), 36),
    "triple_relu": (partial(triple_layer, kind="relu"), 40),
    "triple_any": (partial(triple_layer, kind="any"), 40),
    "triple_sums": (partial(triple_layer, kind="sums"), 24),
    "triple_lora": (partial(triple_layer, kind="lora"), 24),
    "triple_lora_relu": (partial(triple_layer, kind="lora_relu"), 40),
    "triple_lora_any": (partial(triple_layer, kind="lora_any"), 40),
    "triple_lora_ties": (partial(lora_ties, packer=partial(triple, 0)), 16),
    "triple_short_ties": (partial(lora_ties, packer=partial(triple, 0), short=True), 60),
    "triple_sums_gain": (partial(triple_layer, kind="sums", gain=True), 8),
    **{f"triple_{k}_gain": (partial(triple_layer, kind=k, gain=True), 8) for k in ("relu", "any", "row_relu", "row_any")},
    "triple_depthwise_relu_gain": (partial(depthwise_layer, relu=True, gain=True), 12),
    "triple_depthwise_gain": (partial(depthwise_layer, relu=False, gain=True), 12),
    "triple_gain_input_gradient": (partial(gradient_of_layer, gain=True), 12),
    "triple_row_relu": (partial(triple_layer, kind="row_relu"), 16),
    "triple_row_any": (partial(triple_layer, kind="row_any"), 16),
    "triple_lora_row_relu": (partial(triple_layer, kind="lora_row_relu"), 20),
    "triple_lora_row_any": (partial(triple_layer, kind="lora_row_any"), 20),
}


@pytest.mark.parametrize(("name", "seed"), list(seeds(GENERATORS)))
def test_kernel_equals_numpy(library: Library, name: str, seed: int) -> None:
    check(library, generated(GENERATORS, name, seed))


@pytest.mark.parametrize("seed", range(10))
def test_packed_layer_means_what_the_layer_means(seed: int) -> None:
    r, found = np.random.default_rng([seed, 9]), 0
    for _ in range(40):
        deep = r.random() < 0.5
        small = drawn_layer(r, draw=pick(r, line_window, tiled_window)) if r.random() < 0.4 else small_window(depthwise(r, 1), r)
        case = in_form(small, r, bool(r.random() < 0.5)) if deep else any_layer(r, pick(r, "relu", "any", "sums"), False)
        case = with_gain(case, r, case.types["bias"].size) if r.random() < 0.3 else case
        packer = partial(triple_depthwise, 3) if deep else partial(triple, pick(r, 0, 4, *FEWER_VALUES))
        try:
            packed, _ = repacked(case, packer, bool(r.random() < 0.4))
        except NotProved:
            continue
        np.testing.assert_array_equal(meaning(packed), meaning(case))
        found += 1
    assert found > 10


@pytest.mark.parametrize("seed", range(10))
def test_packed_gradient_means_what_the_gradient_means(seed: int) -> None:
    r = np.random.default_rng([seed, 10])
    for case in (layer_gradient(r), layer_gradient(r, True), with_lora(layer_gradient(r), r)):
        np.testing.assert_array_equal(meaning(repacked(case, partial(back, most=pick(r, 0, 16)))[0]), meaning(case))


def test_chunks_are_as_long_as_is_proved() -> None:
    """64 values of weights from -127 on are always within the bound, 64 of -128 are not: -128 * -128 * 64 = 2^20."""
    weights = np.full((3, 200), -127)
    assert [packing.chunk_of(weights, most) for most in (200, 64, 16, 4)] == [52, 52, 16, 4]
    assert packing.chunk_of(weights[:, :64], 64) == 64 and packing.chunk_of(weights[:, :64] - 1, 64) == 32
    assert packing.chunk_of(np.ones((2, 8000), np.int64), 8000) == 8000
    assert packing.chunks_hold(np.full((1, 8192), -1), 8192) is False and packing.chunks_hold(np.full((1, 8192), 1), 8192)
    for chunk in (4, 52, 200):
        stream = packing.stored(weights, chunk).view(np.uint8)
        np.testing.assert_array_equal(packing.restored(stream, 3, 200, chunk), weights)
