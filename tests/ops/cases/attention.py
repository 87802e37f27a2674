"""Attention by rows and its gradient in one pass and in two, and the operators that become them, trained through."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from kernel_driver import Case, coarser, codes, int8, pick, scale, zero_point

from cases._parts import Rng
from kiloc.ir.types import Quantization, TensorType, activation, gradient
from kiloc.ops.fast.attention import ALL, Attention, Rows
from kiloc.ops.fast.attention_gradient import AttentionGradient
from kiloc.ops.fast.attention_next import AttentionNext
from kiloc.ops.model.add import Add
from kiloc.ops.model.batch_matmul import BatchMatMul
from kiloc.ops.model.mul import Mul
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.softmax import Softmax

ORDERS = ((0, 1, 2, 3), (0, 2, 1, 3), (0, 1, 3, 2))
"""Heads first, positions first, and each matrix the other way round."""
TABLE = TensorType((256,), "int8")


def stored(r: Rng, heads: int, rows: int, depth: int) -> tuple[Rows, tuple[int, ...]]:
    order = pick(r, *ORDERS, ORDERS[0])
    shape = [0, 0, 0, 0]
    for axis, size in zip(order, (1, heads, rows, depth), strict=True):
        shape[axis] = size
    return Rows(order), tuple(shape)


def kernel_case(r: Rng, widest: int = 40) -> Case:
    heads, queries, depth, channels = int(r.integers(1, 4)), int(r.integers(1, 12)), int(r.integers(1, 21)), int(r.integers(1, 21))
    keys = int(r.integers(1, widest))
    before, after = ALL, ALL
    if r.random() < 0.5:
        queries = keys = int(r.integers(1, 14))
        before, after = pick(r, (ALL, 0), (3, 0), (0, ALL), (2, 1), (0, 0))
    shapes = {"q": (queries, depth), "k": (keys, depth), "v": (keys, channels), "y": (queries, channels)}
    rows = {o: stored(r, heads, *shape) for o, shape in shapes.items()}
    types = {o: activation(rows[o][1], scale(r), zero_point(r)) for o in ("q", "k", "v")}
    score = types["q"].scale * types["k"].scale * depth**0.5 * pick(r, 30.0, 60.0, 200.0), int(r.integers(-30, 31))
    op = Attention(score, (scale(r, -7, 1), 0), (1 / 256, -128), 1.0, before, after, **{o: rows[o][0] for o in shapes})
    y = activation(rows["y"][1], types["v"].scale * pick(r, 0.3, 0.7, 1.0), zero_point(r))
    arrays = {o: coarser(int8(r, *t.shape), pick(r, 1, 1, 16)) for o, t in types.items()}
    table = np.clip(np.arange(-128, 128) * pick(r, 1, 1, 0.7, -1, 0) + int(r.integers(-20, 21)), -128, 127)
    return Case(op, {**types, "table": TABLE}, {**arrays, "table": table.astype(np.int8)}, (y,))


def long_case(r: Rng) -> Case:
    """Sums of more products than the DSP extension's requantisation takes: the largest exceeds 2^30 in size."""
    rows, depth = Rows((0, 1, 2, 3)), 16_550
    types = {o: activation((1, 1, 1 if o == "q" else 2, n), scale(r), 127) for o, n in (("q", depth), ("k", depth), ("v", 3))}
    score = types["q"].scale * types["k"].scale * 255.0**2 * depth / 1000, 0
    op = Attention(score, (scale(r, -7, 1), 0), (1 / 256, -128), 1.0, ALL, ALL, rows, rows, rows, rows)
    arrays = {o: np.full(t.shape, -128, np.int8) for o, t in types.items()}
    arrays["k"][:, :, 1, ::2], arrays["v"] = int8(r, depth // 2), int8(r, *types["v"].shape)
    table = np.arange(-128, 128).astype(np.int8)
    return Case(op, {**types, "table": TABLE}, {**arrays, "table": table}, (activation((1, 1, 1, 3), types["v"].scale, zero_point(r)),))


def next_case(r: Rng) -> Case:
    """The first position, the last one of the ring, and the first that takes the place of another among them."""
    heads, depth, channels, length = int(r.integers(1, 4)), int(r.integers(1, 21)), int(r.integers(1, 21)), int(r.integers(1, 20))
    rows = Rows((0, 2, 1, 3))
    types = {o: activation((1, 1, heads, n), scale(r), zero_point(r)) for o, n in (("q", depth), ("k", depth), ("v", channels))}
    types |= {o: replace(types[one], shape=(1, length, *types[one].shape[2:])) for o, one in (("keys", "k"), ("values", "v"))}
    score = types["q"].scale * types["k"].scale * depth**0.5 * pick(r, 30.0, 60.0, 200.0), int(r.integers(-30, 31))
    op = AttentionNext(Attention(score, (scale(r, -7, 1), 0), (1 / 256, -128), 1.0, ALL, ALL, rows, rows, rows, rows))
    arrays = {o: int8(r, *t.shape) for o, t in types.items()}
    table = np.clip(np.arange(-128, 128) * pick(r, 1, 0.7, -1), -128, 127).astype(np.int8)
    count = pick(r, 0, length - 1, length, 2 * length - 1, int(r.integers(0, 2 * length)))
    more = {"table": TABLE, "count": TensorType((1,), "int16", Quantization((1.0,)))}
    y = activation((1, 1, heads, channels), types["v"].scale * pick(r, 0.3, 1.0), zero_point(r))
    return Case(op, {**types, **more}, {**arrays, "table": table, "count": np.array([count], np.int16)}, (y,))


def gradient_case(r: Rng) -> Case:
    forward = kernel_case(r, 25)
    assert isinstance(forward.op, Attention)
    of = pick(r, ("q", "k", "v"), ("q", "k", "v"), ("v",), ("q", "v"), ("k",), ("q",))
    y = forward.results[0]
    shifts, inner = tuple(int(n) for n in r.integers(4, 13, len(of))), (int(r.integers(3, 12)), int(r.integers(8, 16)))
    op = AttentionGradient(forward.op, forward.op.y, of, shifts, inner, pick(r, 1, 2))
    passed = r.random(256) < 0.9
    through = np.concatenate([codes(r, 256) if r.random() < 0.5 else np.clip(np.arange(-128, 128), -127, 127), np.where(passed, -1, 0)])
    through[128] = 0
    types = {"g": gradient(y.shape, 1.0), **forward.types, "through": TensorType((512,), "int8")}
    arrays = {"g": codes(r, *y.shape), **forward.arrays, "through": through.astype(np.int8)}
    results = tuple(replace(forward.types[o], quantization=Quantization((1.0,), 0)) for o in of)
    return Case(op, types, arrays, results)


GENERATORS = {
    "attention": (kernel_case, 40),
    "attention_long": (long_case, 2),
    "attention_next": (next_case, 40),
    "attention_gradient": (gradient_case, 60),
}


def trained(m: Any, x: str, other: str) -> str:
    """Two heads of ten positions, scaled and with a causal mask; queries, keys and values are two activations and their sum."""
    both = m.op(x, "both", Add(), m.type(x).shape, m.type(x).scale * 1.4, 2, other=other)
    q, k, v = (m.op(a, f"heads_{n}", Reshape((1, 2, 10, 6)), (1, 2, 10, 6)) for n, a in enumerate((x, other, both)))
    scores = m.op(q, "scores", BatchMatMul(False, True), (1, 2, 10, 10), 0.09, 3, other=k)
    quarter = m.b.constant("quarter", np.full((1, 1, 1, 1), 127, np.int8), Quantization((0.4 / 127,), 0), "quarter")
    scaled = m.op(scores, "scaled", Mul(), (1, 2, 10, 10), 0.04, 0, other=quarter)
    hidden = np.where(np.tri(10, dtype=bool), 0, -127).astype(np.int8).reshape(1, 1, 10, 10)
    mask = m.b.constant("mask", hidden, Quantization((0.6,), 0), "mask")
    masked = m.op(scaled, "masked", Add(), (1, 2, 10, 10), 0.33, 100, other=mask)
    shares = m.op(masked, "shares", Softmax(), (1, 2, 10, 10), 1 / 256, -128)
    return str(m.op(shares, "mixed", BatchMatMul(), (1, 2, 10, 6), m.type(v).scale * 0.8, -5, other=v))
