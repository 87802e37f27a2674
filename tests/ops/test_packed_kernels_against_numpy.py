"""Packed layers: what the packed constants mean is what the layer means, and the C kernels compute it, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from drawn_layers import depthwise, linear, sized
from drawn_windows import Draw, line_window, tiled_window
from kernel_driver import Case, Library, Rng, Run, assert_equal, check, codes, generated, int8, library, one, pick, scale, seeds
from test_method_kernels_against_numpy import with_gain, with_some_rows

from kiloc.ir.graph import Node, Value
from kiloc.ir.operator import Environment, NodeTypes
from kiloc.ir.types import Quantization, TensorType, activation, scalar
from kiloc.ops._window import Window
from kiloc.ops.fast import _packing as packing
from kiloc.ops.fast import _winograd as winograd
from kiloc.ops.fast._packing import NotProved
from kiloc.ops.fast.packed import PackedLinear, packed, packed_on_stack, winograd_packed, with_packed_delta
from kiloc.ops.fast.packed_depthwise import TILE_ROWS, PackedDepthwise, band_rows, packed_depthwise
from kiloc.ops.model.conv_2d import Conv2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.ops.model.fully_connected import FullyConnected
from kiloc.passes.kernels import choose

__all__ = ["library"]

CONSTANT = ("weights", "bias")


Packer = Callable[..., tuple[Node, list[Value], str]]


def repacked(case: Case, packer: Packer, trained: bool = False) -> tuple[Case, str]:
    """The case with its layer packed, and why it is not in the fastest form. Raises NotProved."""
    kinds = {"weights": "constant", "bias": "trainable" if trained else "constant"}
    values = {o: Value(o, t, kinds.get(o, "activation"), case.arrays[o] if o in CONSTANT else None) for o, t in case.types.items()}
    node = Node("layer", case.op, {o: o for o in case.types}, ("y",))
    chosen, added, slow = packer(node, NodeTypes(case.types, case.result_types()), values)
    every = {**values, **{v.name: v for v in added}}
    types = {o: every[name].type for o, name in chosen.inputs.items()}
    arrays: dict[str, Any] = {}
    for o, name in chosen.inputs.items():
        data = every[name].data
        arrays[o] = case.arrays[o] if name in case.arrays else data
    return Case(chosen.op, types, arrays, case.results), slow


def in_form(case: Case, r: Rng, relu: bool) -> Case:
    """The case with a result whose clamp is all of int8: a ReLU from -128 on, some of whose multipliers may be above a half, or no activation."""
    (y,) = case.results
    assert y.quantization is not None
    zero_point = -128 if relu else y.zero_point
    name = "relu" if relu else "none"
    case = replace(case, op=replace(case.op, activation=name), results=(replace(y, quantization=replace(y.quantization, zero_point=zero_point)),))  # type: ignore[call-arg]
    return with_large_multipliers(case, r.spawn(1)[0]) if relu else case


def with_large_multipliers(case: Case, r: Rng) -> Case:
    """In one case of three some channels, or all, have scales that are up to 2^14 times as large, as those whose few weights are small, and biases
    that are as much smaller."""
    weights, bias = case.types["weights"], case.arrays["bias"]
    if r.random() > 0.3:
        return case
    assert weights.quantization is not None
    larger = np.where(r.random(bias.size) < pick(r, 0.2, 1), r.integers(0, pick(r, 4, 14), bias.size), 0)
    scales = tuple(float(s) for s in np.broadcast_to(np.array(weights.quantization.scale), bias.size) * 2.0**larger)
    axis = len(weights.shape) - 1 if isinstance(case.op, DepthwiseConv2D) else 0
    weights = replace(weights, quantization=replace(weights.quantization, scale=scales, axis=axis))
    return replace(case, types={**case.types, "weights": weights}, arrays={**case.arrays, "bias": bias >> larger.astype(np.int32)})


def with_dead_channels(case: Case, r: Rng) -> Case:
    """The case with biases in some channels that no sum can move from their clamp, as of channels that pruning left behind."""
    bias = case.arrays["bias"].copy()
    dead = r.random(bias.size) < pick(r, 0, 0, 0.1, 0.7)
    bias[dead] = r.integers(2**22, 2**30, bias.size)[dead] * pick(r, -1, 1)
    return replace(case, arrays={**case.arrays, "bias": bias.astype(np.int32)})


def wide(r: Rng, rows: int = 1, multiple: int = 4) -> Case:
    """A fully connected layer as wide as real ones, of one row with more channels than a block has. multiple: what its input channels are one of."""
    ci, co = multiple * int(r.integers(1, 240 // multiple)), int(r.integers(1, pick(r, 30, 110) if rows == 1 else 30))
    x = activation((1, rows, ci), scale(r), int(r.choice([-128, 0, 127, 5])))
    weights = TensorType((co, ci), "int8", Quantization(tuple(float(np.float32(s)) for s in 2.0 ** r.uniform(-9, -6, co)), 0, 0))
    y = activation((1, rows, co), float(np.float32(x.scale * 2.0**-7.5 * ci**0.5 * pick(r, 60, 100, 300))), int(r.integers(-128, 128)))
    low = pick(r, -127, -127, -3)
    arrays = {
        "x": r.integers(-128, 128, x.shape).astype(np.int8),
        "weights": r.integers(low, -low + 1, weights.shape).astype(np.int8),
        "bias": r.integers(-(2**13), 2**13, co).astype(np.int32),
    }
    return Case(FullyConnected(), {"x": x, "weights": weights, "bias": TensorType((co,), "int32")}, arrays, (y,))


def scaled_row(r: Rng) -> Case:
    """A fully connected layer of one row with a gain, with the model's own weights."""
    case = wide(r)
    return with_gain(case, r, case.types["bias"].size)


def with_delta(case: Case, r: Rng) -> Case:
    """The case with a trained delta of all weights, or of those of some channels."""
    shape, exponent = case.types["weights"].shape, int(r.integers(-12, -4)) if r.random() < 0.8 else int(r.integers(-90, 90))
    types = {**case.types, "delta": TensorType(shape, "int8"), "delta_exponent": scalar("int8")}
    case = replace(case, types=types, arrays={**case.arrays, "delta": codes(r, *shape), "delta_exponent": one(exponent)})
    return with_some_rows(case, r) if r.random() < 0.6 else case


def row_with_lora(r: Rng) -> Case:
    """A fully connected layer of one row with LoRA of any rank."""
    case, rank = wide(r), pick(r, 1, 2, 3, 4, 4, 5, 8, 33)
    channels = case.types["bias"].size
    types = {"lora_u": TensorType((1, 1, rank), "int8"), "lora_b": TensorType((channels, rank), "int8")}
    types |= {"lora_range": scalar("int8"), "lora_b_exponent": scalar("int8")}
    exponent = int(r.integers(-20, 4)) if r.random() < 0.8 else int(r.integers(-90, 90))
    arrays = {
        "lora_u": codes(r, 1, 1, rank),
        "lora_b": codes(r, channels, rank),
        "lora_range": one(int(r.integers(0, 12))),
        "lora_b_exponent": one(exponent),
    }
    op = FullyConnected(lora_scale=float(r.uniform(0.1, 8)))
    return replace(case, op=op, types={**case.types, **types}, arrays={**case.arrays, **arrays})


def packed_layer(r: Rng, kind: str, gain: bool = False) -> Case:
    """A layer in one of the packed forms, with a gain or without; layers that cannot be proved are drawn again. kind: behind "exact_" where weights
    are -128, or sums beyond 24 bits."""
    exact, kind = kind.startswith("exact_"), kind.removeprefix("exact_")
    for _ in range(1000):
        if kind in ("delta_row", "sums_row"):
            case = wide(r)
        elif kind == "lora_sums_row" or kind.startswith("lora_row"):
            case = row_with_lora(r)
        elif kind.startswith("row") or r.random() < (0.6 if kind == "delta" else 0.3):
            case = wide(r, 1 if kind.startswith("row") else 3, 1 if kind == "delta" else 4)
        else:
            case = linear(r, "lora" if kind.startswith("lora") else "")
        weights = case.arrays["weights"]
        np.maximum(weights, -127, out=weights)
        if exact and r.random() < 0.2 and kind.partition("_")[0] in ("sums", "delta", "lora"):
            weights[...] = r.choice([-127, 127], weights.shape) if r.random() < 0.5 else 127
        elif exact:
            weights[r.random(weights.shape) < pick(r, 0, 0.02, 0.5)] = -128
            weights.flat[int(r.integers(weights.size))] = -128
        if kind.startswith("delta"):
            case = with_delta(case, r)
        if gain or (kind == "delta" and r.random() < 0.3):
            case = with_gain(case, r, case.types["bias"].size)
        if kind.endswith("sums_row"):  # clamps that the product's own saturation is not
            case = replace(case, op=replace(case.op, activation=pick(r, "none", "relu", "relu6", "relu_n1_to_1")))  # type: ignore[call-arg]
        trained = bool(r.random() < 0.4)
        if kind not in ("lora", "delta", "delta_row", "sums", "sums_row", "lora_sums_row"):
            case = in_form(case, r, kind.endswith("relu"))
            case = case if gain or kind.startswith("lora") else with_dead_channels(case, r)
        try:
            packer = packed_on_stack if kind in ("relu", "any") and r.random() < 0.4 else packed
            packer = with_packed_delta if kind == "delta" and r.random() < 0.6 else packer
            found, _ = repacked(case, packer, trained)
        except NotProved:
            continue
        assert isinstance(found.op, PackedLinear)
        wanted = {"lora": "sums", "lora_sums_row": "sums_row"}.get(kind, kind)
        if found.op.form == wanted and found.op.exact == exact:
            return found
    raise AssertionError(f"no case of {kind}")


def lora_ties(r: Rng, packer: Packer = packed, short: bool = False) -> Case:
    """A layer with LoRA whose scales are powers of two, so that both of its roundings meet ties, over every shift.

    short: layers whose requantisation has a short form, so that biases at the ends are left out.
    """
    rows, ci, co, rank = int(r.integers(1, 6)), int(r.integers(1, 9)), int(r.integers(1, 71)), int(r.integers(1, 10))
    rank = pick(r, 1, 2, 3, 4, 4, 6) if short else rank
    low, high = (-6, 0) if short or r.random() < 0.8 else (-34, 6)
    scales = tuple(2.0 ** float(e) for e in r.integers(low, high, co))
    x = activation((1, rows, ci), 1.0, int(r.integers(-128, 128)))
    y = activation((1, rows, co), 2.0 ** int(r.integers(1 if short else -2, 4)), -128 if short and r.random() < 0.5 else int(r.integers(-128, 128)))
    types = {"x": x, "weights": TensorType((co, ci), "int8", Quantization(scales, 0, 0)), "bias": TensorType((co,), "int32")}
    types |= {"lora_u": TensorType((1, rows, rank), "int8"), "lora_b": TensorType((co, rank), "int8")}
    types |= {"lora_range": scalar("int8"), "lora_b_exponent": scalar("int8")}
    ends = r.choice([-(2**31), 2**31 - 1, 2**30, -(2**30), 0], co)
    arrays = {
        "x": int8(r, *x.shape), "weights": r.integers(-1, 2, (co, ci)).astype(np.int8),
        "bias": np.where(r.random(co) < (0 if short else 0.1), ends, r.integers(-64, 65, co)).astype(np.int32),
        "lora_u": codes(r, 1, rows, rank), "lora_b": codes(r, co, rank),
        "lora_range": one(int(r.integers(0, 8))), "lora_b_exponent": one(int(r.integers(*pick(r, (-18, -6), (-18, -6), (-60, -36), (-50, 30))))),
    }  # fmt: skip
    clamps = ("none", "relu", "relu6") if not short else ("none", "relu") if y.zero_point == -128 else ("none",)
    if short:  # few shifts to the left, none too far to the right
        arrays["lora_b_exponent"] = one(int(r.integers(-14, -6)) - arrays["lora_range"].item())
    op = FullyConnected(pick(r, *clamps), "twice", 2.0 ** int(r.integers(-3, 4)))
    return repacked(Case(op, types, arrays, (y,)), packer, bool(r.random() < 0.7))[0]


def small_window(case: Case, r: Rng, kernel: tuple[int, int] = (3, 3)) -> Case:
    """The depthwise case with a window of stride 1 or 2 over an image of another size, padded by up to 2."""
    stride, pads = pick(r, (1, 1), (2, 2)), pick(r, (1, 1, 1, 1), tuple(int(p) for p in r.integers(0, 3, 4)))
    window = Window(kernel, stride, pads)  # type: ignore[arg-type]
    h, w, c = kernel[0] + int(r.integers(0, 13)), kernel[1] + int(r.integers(0, 10)), case.types["x"].shape[3]
    types = {**case.types, "x": replace(case.types["x"], shape=(1, h, w, c)), "weights": replace(case.types["weights"], shape=(1, *kernel, c))}
    arrays = {
        **case.arrays,
        "x": r.integers(-128, 128, (1, h, w, c)).astype(np.int8),
        "weights": r.integers(-128, 128, (1, *kernel, c)).astype(np.int8),
    }
    result = replace(case.results[0], shape=(1, *window.output(h, w), c))
    return Case(replace(case.op, window=window), types, arrays, (result,))  # type: ignore[call-arg]


def in_bands(case: Case, r: Rng) -> Any:
    """A packer: in bands of any rows that the window allows, mostly, or position by position."""
    node = Node("layer", case.op, {}, ("y",))
    return partial(packed_depthwise, pick(r, *band_rows(node), *band_rows(node), 0))


def packed_depthwise_layer(r: Rng, relu: bool, gain: bool = False) -> Case:
    """A depthwise layer of one result a channel; what cannot be proved is drawn again."""
    for _ in range(1000):
        case = with_dead_channels(in_form(depthwise(r, 4), r, relu), r)
        case = small_window(case, r) if r.random() < 0.7 else case
        case = with_gain(case, r, case.types["bias"].size) if gain else case
        try:
            return repacked(case, in_bands(case, r), bool(r.random() < 0.4))[0]
        except NotProved:
            continue
    raise AssertionError("no case")


def drawn_layer(r: Rng, multiple: int = 1, draw: Draw = line_window) -> Case:
    """A depthwise layer with a window along one axis, or as it is drawn, of a multiple of so many channels."""
    window, size = draw(r)
    channels = multiple * int(r.integers(1, 14 // multiple + 1))
    case = sized(r, "depthwise", channels, channels, window, size)
    arrays = {o: case.arrays[o] for o in ("x", "weights", "bias")}
    np.maximum(arrays["weights"], -127, out=arrays["weights"])
    return replace(case, types={o: case.types[o] for o in arrays}, arrays=arrays)


def few_in_lines(r: Rng) -> Case:
    """A layer along one axis of one to three channels, in whatever form it gets."""
    for _ in range(1000):
        case = in_form(drawn_layer(r), r, bool(r.random() < 0.5))
        if case.types["bias"].size < 4:
            try:
                return repacked(case, partial(packed_depthwise, 1))[0]
            except NotProved:
                continue
    raise AssertionError("no case")


def tiled_layer(r: Rng, relu: bool, gain: bool = False, lines: bool = False) -> Case:
    """A depthwise layer that goes by tiles, of any number of channels. lines: of any window of one row or one column. What cannot be proved is drawn
    again."""
    for _ in range(1000):
        case = in_form(drawn_layer(r, 4 if gain else 1, line_window if lines else tiled_window), r, relu)
        channels = case.types["bias"].size
        case = with_gain(with_dead_channels(case, r), r, channels) if gain else case
        try:
            found, _ = repacked(case, partial(packed_depthwise, pick(r, *TILE_ROWS)), bool(r.random() < 0.4))
        except NotProved:
            continue
        if isinstance(found.op, PackedDepthwise) and found.op.tiled:
            return found
    raise AssertionError("no case")


def layer_of_any_size(r: Rng, kind: str, relu: bool) -> Case:
    """kind "parts": a convolution whose windows are multiplied in parts; "rest": a depthwise layer whose channels are no multiple of four;
    "zeros": one that is computed as a convolution; "pairs": a depthwise layer whose neighbours share taps, along a column or a row. What cannot be
    proved is drawn again."""
    for _ in range(1000):
        kernel, dilation = pick(r, (3, 3), (5, 5), (1, 1), (2, 7)), pick(r, (1, 1), (1, 1), (2, 2))
        if kind == "pairs":
            kernel = pick(r, (int(r.integers(2, 16)), 1), (1, int(r.integers(2, 8))), (5, 5), (2, 7))
        size = tuple((k - 1) * d + int(r.integers(1, 6)) for k, d in zip(kernel, dilation, strict=True))
        window = Window(kernel, pick(r, (1, 1), (2, 2)), pick(r, (0, 0, 0, 0), tuple(k // 2 for k in (*kernel, *kernel))), dilation)
        if kind == "pairs":
            size = (size[0], 1) if kernel[1] == 1 else size
            window = replace(window, stride=pick(r, (1, 1), dilation))
        if kind == "parts":
            case = sized(r, "conv", int(r.integers(161, 700)) // (kernel[0] * kernel[1]) + 1, int(r.integers(1, 40)), window, size)  # type: ignore[arg-type]
        else:
            few = kind == "zeros"
            rest = 0 if kind == "pairs" else int(r.integers(1, 4))
            channels, factor = (int(r.integers(1, 7)), pick(r, 1, 2, 3)) if few else (4 * int(r.integers(1, 8)) + rest, 1)
            case = sized(r, "depthwise", channels, factor * channels, window, size)  # type: ignore[arg-type]
        np.maximum(case.arrays["weights"], -127, out=case.arrays["weights"])
        case = in_form(replace(case, types={o: case.types[o] for o in ("x", "weights", "bias")}), r, relu)
        case = replace(case, arrays={o: case.arrays[o] for o in case.types})
        try:
            found, _ = repacked(case, packed_on_stack if kind == "parts" else partial(packed_depthwise, 0), bool(r.random() < 0.4))
        except NotProved:
            continue
        form = getattr(found.op, "form", "")
        if form.startswith("parts") if kind == "parts" else (form != "") == (kind == "zeros"):
            return found
    raise AssertionError("no case")


def winograd_layer(r: Rng, relu: bool) -> Case:
    """A 3x3 convolution of whole tiles; what cannot be proved is drawn again."""
    for _ in range(100):
        h, w, ci, co = 2 * int(r.integers(1, 6)), 4 * int(r.integers(1, 4)), 8 * int(r.integers(1, 4)), 4 * int(r.integers(1, 5))
        x = activation((1, h, w, ci), scale(r), int(r.choice([-128, 0, 127, 5])))
        weights = TensorType((co, 3, 3, ci), "int8", Quantization(tuple(float(np.float32(s)) for s in 2.0 ** r.uniform(-9, -6, co)), 0, 0))
        y = activation((1, h, w, co), float(np.float32(x.scale * 2.0**-7.5 * (9 * ci) ** 0.5 * pick(r, 60, 100, 300))), int(r.integers(-128, 128)))
        extreme = r.random() < 0.2
        arrays = {
            "x": r.choice([-128, 127], x.shape).astype(np.int8) if extreme else int8(r, *x.shape),
            "weights": (r.choice([-127, 127], weights.shape) if extreme else r.integers(-127, 128, weights.shape)).astype(np.int8),
            "bias": r.integers(-(2**13), 2**13, co).astype(np.int32),
        }
        op = Conv2D(window=Window((3, 3), pad=(1, 1, 1, 1)))
        case = in_form(Case(op, {"x": x, "weights": weights, "bias": TensorType((co,), "int32")}, arrays, (y,)), r, relu)
        try:
            return repacked(case, winograd_packed, bool(r.random() < 0.4))[0]
        except NotProved:
            continue
    raise AssertionError("no case")


GENERATORS = {
    "winograd_relu": (partial(winograd_layer, relu=True), 30),
    "winograd": (partial(winograd_layer, relu=False), 30),
    "packed_depthwise_relu": (partial(packed_depthwise_layer, relu=True), 60),
    "packed_depthwise": (partial(packed_depthwise_layer, relu=False), 60),
    **{f"tiled_depthwise{'_relu' if relu else ''}": (partial(tiled_layer, relu=relu), 60) for relu in (False, True)},
    **{f"lined_depthwise{'_relu' if relu else ''}": (partial(tiled_layer, relu=relu, lines=True), 80) for relu in (False, True)},
    "lined_depthwise_few": (few_in_lines, 60),
    "lined_depthwise_gain": (partial(tiled_layer, relu=False, gain=True, lines=True), 24),
    **{f"tiled_depthwise{'_relu' if relu else ''}_gain": (partial(tiled_layer, relu=relu, gain=True), 24) for relu in (False, True)},
    **{
        f"packed_{kind}{'_relu' if relu else ''}": (partial(layer_of_any_size, kind=kind, relu=relu), 12)
        for kind in ("parts", "rest", "zeros", "pairs")
        for relu in (False, True)
    },
    "packed_relu": (partial(packed_layer, kind="relu"), 40),
    "packed_any": (partial(packed_layer, kind="any"), 40),
    "packed_sums": (partial(packed_layer, kind="sums"), 30),
    "packed_lora": (partial(packed_layer, kind="lora"), 40),
    "packed_lora_relu": (partial(packed_layer, kind="lora_relu"), 40),
    "packed_lora_any": (partial(packed_layer, kind="lora_any"), 40),
    **{f"packed_{k}": (partial(packed_layer, kind=k), 30) for k in ("lora_row_relu", "lora_row_any")},
    "packed_lora_ties": (lora_ties, 90),
    "packed_delta": (partial(packed_layer, kind="delta"), 80),
    "packed_sums_gain": (partial(packed_layer, kind="sums", gain=True), 16),
    **{
        f"packed_{kind}": (partial(packed_layer, kind=kind), 40)
        for kind in (f"exact_{lora}{row}{end}" for lora in ("", "lora_") for row in ("", "row_") for end in ("relu", "any"))
    },
    "packed_exact_sums": (partial(packed_layer, kind="exact_lora"), 40),
    **{
        f"packed_exact_{kind}_gain": (partial(packed_layer, kind=f"exact_{kind}", gain=True), 30)
        for kind in ("relu", "any", "row_relu", "row_any", "sums", "lora")
    },
    **{f"packed_{e}{k}": (partial(packed_layer, kind=f"{e}{k}"), 40) for e in ("", "exact_") for k in ("delta_row", "sums_row", "lora_sums_row")},
    "packed_exact_delta": (partial(packed_layer, kind="exact_delta"), 60),
    "packed_lora_gain": (partial(packed_layer, kind="lora", gain=True), 16),
    **{f"packed_{k}_gain": (partial(packed_layer, kind=k, gain=True), 20) for k in ("relu", "any", "row_relu", "row_any")},
    "scaled_row": (scaled_row, 16),
    "packed_depthwise_relu_gain": (partial(packed_depthwise_layer, relu=True, gain=True), 40),
    "packed_depthwise_gain": (partial(packed_depthwise_layer, relu=False, gain=True), 40),
    "packed_row_relu": (partial(packed_layer, kind="row_relu"), 24),
    "packed_row_any": (partial(packed_layer, kind="row_any"), 24),
}


@pytest.mark.parametrize(("name", "seed"), list(seeds(GENERATORS)))
def test_kernel_equals_numpy(library: Library, name: str, seed: int) -> None:
    check(library, generated(GENERATORS, name, seed))


def test_pairs_lie_farther_over_what_they_read(library: Library) -> None:
    """Than as near as they may, where a result of one channel meets what others read: the second of two is written early."""
    for name, seed in product(("packed_pairs", "packed_pairs_relu"), range(20)):
        case = generated(GENERATORS, name, seed)
        reached = case.op.reach(case.node_types())
        assert reached is not None
        operand, reach = reached
        most = case.result_types()[0].bytes, case.types[operand].bytes
        for sign, least, limit in zip((-1, 1), reach.distances(*most), most, strict=True):
            for distance in (least + more for more in (4, 8) if least + more <= limit):
                found = Run(library, case, False, sign * distance).call()
                for result, array in case.expected().items():
                    assert_equal(found[result], array, f"{name} {seed}, {sign * distance} bytes from {operand}")


def meaning(case: Case) -> np.ndarray[Any, Any]:
    with np.errstate(divide="ignore", over="ignore"):
        return case.op.evaluate(Environment(case.types, case.result_types(), case.arrays))[0]


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("seed", range(150))
def test_packed_layer_means_what_the_layer_means(seed: int, trained: bool) -> None:
    """Layers of any shape, scale, clamp and bias, dead channels and channels with two results among them."""
    r = np.random.default_rng([seed, 7])
    for _ in range(20):
        case = linear(r, "") if r.random() < 0.7 else wide(r, 2)
        case = in_form(case, r, bool(r.random() < 0.5)) if r.random() < 0.7 else case
        if r.random() < 0.8:
            np.maximum(case.arrays["weights"], -127, out=case.arrays["weights"])
        if r.random() < 0.3:  # scales far below the result's: shifts beyond those of the short form
            q = case.types["weights"].quantization
            assert q is not None
            far = tuple(float(np.float32(s * 2.0 ** -r.integers(8, 30))) for s in q.scale)
            case = replace(case, types={**case.types, "weights": replace(case.types["weights"], quantization=replace(q, scale=far))})
        if trained and r.random() < 0.5:
            case.arrays["bias"][:] = r.choice([-(2**31), 2**31 - 1, 2**23, -(2**23), 0], case.arrays["bias"].shape)  # type: ignore[index]
        case = with_gain(case, r, case.types["bias"].size) if r.random() < 0.3 else case
        try:
            found, _ = repacked(case, packed, trained)
        except NotProved:
            continue
        np.testing.assert_array_equal(meaning(found), meaning(case))


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_packed_depthwise_layer_means_what_the_layer_means(seed: int, trained: bool) -> None:
    r = np.random.default_rng([seed, 8])
    for _ in range(20):
        case = (
            drawn_layer(r, draw=pick(r, line_window, tiled_window))
            if r.random() < 0.4
            else small_window(depthwise(r, 4), r)
            if r.random() < 0.5
            else depthwise(r, 4)
        )
        case = in_form(case, r, bool(r.random() < 0.5)) if r.random() < 0.8 else case
        if trained and r.random() < 0.5:
            case.arrays["bias"][:] = r.choice([-(2**31), 2**31 - 1, 2**23, 0], case.arrays["bias"].shape)  # type: ignore[index]
        case = with_gain(case, r, case.types["bias"].size) if r.random() < 0.3 else case
        try:
            found, _ = repacked(case, in_bands(case, r), trained)
        except NotProved:
            continue
        np.testing.assert_array_equal(meaning(found), meaning(case))


def test_transformed_weights_give_the_weights_back() -> None:
    weights = np.random.default_rng(3).integers(-128, 128, (8, 3, 3, 16))
    np.testing.assert_array_equal(winograd.unpacked(winograd.words(weights), 8, 16), weights)


def test_short_requantisation_at_every_sum() -> None:
    """Ties and ends among all sums within the bound, for shifts of both ends and both ways to round."""
    sums = np.arange(-packing.LARGEST_SUM, packing.LARGEST_SUM + 1, 7)
    r = np.random.default_rng(3)
    for shift, zero_point in (*product((1, 2, 9, 16), (-128, 0, 127)), *((left, -128) for left in (0, -1, -3, -6))):
        multiplier = np.array([pick(r, 2**30, 2**31 - 1, int(r.integers(2**30, 2**31)))])
        q = packing.Requantization(multiplier, np.array([-shift]), zero_point, (-128, 127))
        low = np.array([-packing.LARGEST_SUM])
        words = packing.epilogues(q, low, -low).words
        found = packing.short_result(words, sums[:, None], packing.rounds_half_up(q))
        np.testing.assert_array_equal(found, q.result(sums[:, None]))


def test_what_has_no_short_form_is_summed() -> None:
    """Sums beyond 24 bits, and a weight of -128 beside a delta, whose words are exact."""
    case = wide(np.random.default_rng(0))
    x = case.types["x"]
    many = replace(case, types={**case.types, "weights": TensorType((4, 600), "int8", Quantization((0.01,), 0)), "x": replace(x, shape=(1, 1, 600))})
    arrays = {"weights": np.full((4, 600), 127, np.int8), "bias": np.zeros(4, np.int32), "x": np.zeros((1, 1, 600), np.int8)}
    many = replace(many, types={**many.types, "bias": TensorType((4,), "int32")}, arrays=arrays, results=(replace(case.results[0], shape=(1, 1, 4)),))
    found, slow = repacked(many, packed)
    assert isinstance(found.op, PackedLinear) and found.op.exact and found.op.form == "sums_row" and "2^23" in slow
    case = with_delta(case, np.random.default_rng(0))
    case.arrays["weights"][0, 0] = -128  # type: ignore[index]
    found, slow = repacked(case, packed)
    assert isinstance(found.op, PackedLinear) and found.op.exact and found.op.form == "delta_row" and not slow
    with pytest.raises(NotProved, match="rounds once"):
        repacked(replace(case, op=replace(case.op, rounding="once")), packed)  # type: ignore[call-arg]


def test_without_a_target_layers_are_kept() -> None:
    case = wide(np.random.default_rng(1))
    node = Node("layer", case.op, {o: o for o in case.types}, ("y",))
    assert choose(None, node, "").node is node  # type: ignore[arg-type]
