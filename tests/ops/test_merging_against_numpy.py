"""Weights of layers with a merged delta, as C makes them in front of a call, against NumPy's packing of the same weights.

Shapes, strides, dilations, channels that make no whole fours, some trained rows or all, codes and exponents up to where every weight is at its
limit, dead channels, weights of -128, and channels whose sums are bounded.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from kernel_driver import Case, Generators, Library, Rng, check, codes, generated, int8, library, one, pick, scale, seeds

from kiloc.ir.types import Quantization, TensorType
from kiloc.ops._merged import EXPONENT, MERGED, ROWS
from kiloc.ops._window import Window
from kiloc.ops.fast.merge_weights import EPILOGUE, merge_weights

__all__ = ["library"]


TIES = (2**15 - 1, 2**15, 2**15 + 1, 2**14, 2**13 - 1)
"""Factors with which a code of 1, 2 or 4 lies at a tie or next to one, on both sides of the limit of 16 bits."""


def case(r: Rng, layout: str) -> Case:
    depthwise = "depthwise" in layout or layout in ("banded_gradient", "tiled_gradient") or (layout in ("plain", "offsets") and r.random() < 0.4)
    three = layout.startswith("banded")
    kernel = (3, 3) if three else pick(r, (1, 1), (1, 1), (3, 3), (2, 5), (4, 1))
    stride = pick(r, (1, 1), (1, 1), (2, 2), (3, 2)) if layout == "packed_gradient" else (1, 1)
    dilation = pick(r, (1, 1), (2, 2)) if layout == "packed" else (1, 1)
    channels, depth = int(r.integers(4 if layout in ("packed_depthwise", "tiled_gradient") else 1, 14)), 1 if depthwise else int(r.integers(1, 20))
    axis, shape = (3, (1, *kernel, channels)) if depthwise else (0, (channels, *kernel, depth))
    bounded = layout in ("plain", "offsets", "packed", "triple", "triple_gradient") and not depthwise and r.random() < 0.3
    weights = int8(r, *shape) if r.random() < 0.2 else codes(r, *shape)
    weights = (weights.astype(np.int32) // 8).astype(np.int8) if bounded else weights
    exponent, short = pick(r, -24, -14, -12, *range(-12, 0), 8), r.random() < 0.25
    scales = [2.0 ** (16 + exponent) / pick(r, *TIES) if short else scale(r, -12, -4) if r.random() < 0.95 else 1e-30 for _ in range(channels)]
    types = {"weights": TensorType(shape, "int8", Quantization(tuple(scales) if channels > 1 else (scales[0],), 0, axis))}
    arrays: dict[str, Any] = {"weights": weights, EXPONENT: one(exponent)}
    types[EXPONENT], trained = TensorType((1,), "int8"), channels
    if r.random() < 0.5:
        has = r.random(channels) < 0.4
        has[int(r.integers(channels))] = True
        trained = int(has.sum())
        types[ROWS] = TensorType((channels,), "int16")
        arrays[ROWS] = np.where(has, np.cumsum(has) - 1, -1).astype(np.int16)
    of_delta = tuple(trained if i == axis else n for i, n in enumerate(shape))
    types[MERGED] = TensorType(of_delta, "int8")
    arrays[MERGED] = r.integers(-4, 5, of_delta).astype(np.int8) if short else codes(r, *of_delta)
    if "depthwise" in layout or (layout in ("packed", "triple") and r.random() < 0.7):
        types[EPILOGUE] = TensorType((channels, 3), "int32")
        arrays[EPILOGUE] = r.integers(-(2**31), 2**31, (channels, 3)).astype(np.int32)
    size = weights.size // channels
    chunk = int(pick(r, 4, 16, 64, -(-size // 4) * 4))
    exact = layout == "packed" and (bool(weights.min() < -127) or bool(r.random() < 0.3))
    op = merge_weights(layout, weights, axis, Window(kernel, stride, dilation=dilation), depth, int(r.integers(-128, 128)), chunk, exact)
    return Case(op, types, arrays)


LAYOUTS: dict[str, int] = {
    "plain": 24, "offsets": 30, "packed": 34, "triple": 24, "triple_gradient": 6, "banded_depthwise": 24, "packed_depthwise": 24,
    "triple_depthwise": 24, "packed_gradient": 24, "banded_gradient": 6, "tiled_gradient": 12, "transposed": 8,
}  # fmt: skip
GENERATORS: Generators = {f"merge_{layout}": (partial(case, layout=layout), count) for layout, count in LAYOUTS.items()}


@pytest.mark.parametrize(("name", "seed"), list(seeds(GENERATORS)))
def test_weights_are_made_as_the_compiler_packs_them(library: Library, name: str, seed: int) -> None:
    check(library, generated(GENERATORS, name, seed))


def test_cases_reach_every_limit() -> None:
    """Weights at both ends of their range, halved factors, and untouched channels."""
    seen: set[str] = set()
    for name in ("merge_plain", "merge_offsets", "merge_packed"):
        for seed in range(GENERATORS[name][1]):
            found = generated(GENERATORS, name, seed)
            weights, made = found.arrays["weights"].ravel(), found.expected()["result 0"]
            if found.op.largest:  # type: ignore[attr-defined]
                seen.add("bounded")
            if made.dtype == np.int8:
                moved = made.ravel() != weights
                seen |= {f"at {end}" for end in (-127, 127) if (made.ravel()[moved] == end).any()} | ({"none moved"} if not moved.any() else set())
    assert seen >= {"bounded", "at -127", "at 127", "none moved"}, seen
