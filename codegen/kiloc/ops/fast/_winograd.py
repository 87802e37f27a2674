"""Winograd's F(2x2, 3x3) in exact integers: the weights of 3x3 convolutions as `runtime/src/product/winograd.h` reads them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import _packing as packing

DOUBLED_G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])
"""2 G of Lavin and Gray."""

INVERSE = np.array([[1, 0, 0, 0], [0, 1, -1, 0], [0, 0, 0, 1]])
"""INVERSE @ DOUBLED_G = 2 I."""

POINTS = 16

ORDER = [4 * row + column for column in range(4) for row in (1, 2, 0, 3)]
"""Points as the product takes them."""

Ints = NDArray[np.int64]


def transformed(weights: Ints) -> Ints:
    """(2G) w (2G)^T of weights [OC, 3, 3, IC], as [OC, 16, IC]."""
    return np.asarray(np.einsum("ia,jb,oabc->oijc", DOUBLED_G, DOUBLED_G, weights).reshape(len(weights), POINTS, -1))


def restored(points: Ints) -> Ints:
    """The weights that `transformed` gives these points for."""
    u = points.reshape(len(points), 4, 4, -1)
    weights = np.einsum("ai,bj,oijc->oabc", INVERSE, INVERSE, u) // 4
    assert np.array_equal(transformed(weights), points), "no transformed weights"
    return np.asarray(weights)


def words(weights: Ints) -> Ints:
    """[quads, 16 * pairs * 4] words of weights [OC, 3, 3, IC]: pairs of input channels (0, 2), (1, 3), of four output channels each."""
    first, second = np.array(packing.run_order(weights.shape[3])).T
    u = transformed(weights)[:, ORDER]
    pairs = (u[..., first] & 0xFFFF) | (u[..., second] & 0xFFFF) << 16
    return pairs.reshape(-1, packing.QUAD, POINTS, len(first)).transpose(0, 2, 3, 1).reshape(len(weights) // packing.QUAD, -1)


def unpacked(stream: Ints, channels: int, depth: int) -> Ints:
    """Weights [channels, 3, 3, depth]: the inverse of `words`."""
    first, second = np.array(packing.run_order(depth)).T
    pairs = stream.reshape(-1, POINTS, len(first), packing.QUAD).transpose(0, 3, 1, 2).reshape(channels, POINTS, -1)
    u = np.zeros((channels, POINTS, depth), np.int64)
    u[..., first], u[..., second] = ((((pairs >> s) & 0xFFFF) ^ 0x8000) - 0x8000 for s in (0, 16))
    return restored(u[:, np.argsort(ORDER)])
