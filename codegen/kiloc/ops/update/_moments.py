"""What optimizers remember, in 8 bits: the NumPy twin of runtime/src/optim/blocks.h.

Blocks of BLOCK elements share one float32 scale. linear: x = code * scale. root (x >= 0): x = (code * scale)^2, rounded
stochastically, and x > 0 is never 0. Why stochastically: Adam's second moment decays by less than one code an update, so
that rounding up froze it (1 to 8 points of accuracy lost on four models), and linear codes rounded small ones to 0, which
diverged; stochastic rounding is as accurate as float32.
Source: Dettmers et al., "8-bit Optimizers via Block-wise Quantization" (2022); the codes are our own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm

BLOCK = 32
"""An eighth of a byte more an element. Blocks of 32 and 64 lose the same (within noise) against float32 with momentum and
Lion; most tensors that are trained have fewer than 64 elements."""

SMALLEST_SCALE = np.float32(2.0**-126)


def blocks(size: int) -> int:
    """Scales of a tensor."""
    return -(-size // BLOCK)


def _rows(x: nm.Floats) -> nm.Floats:
    """[blocks, BLOCK], filled up with zeros."""
    flat = np.asarray(x, np.float32).ravel()
    return np.pad(flat, (0, -flat.size % BLOCK)).reshape(-1, BLOCK)


def _inverse(scale: nm.Floats) -> nm.Floats:
    with np.errstate(divide="ignore"):
        return np.where(scale > 0, np.float32(1) / scale, np.float32(0))[:, None].astype(np.float32)


def load_linear(codes: NDArray[np.int8], scale: nm.Floats) -> nm.Floats:
    """float32 [size]"""
    return np.asarray(codes.ravel().astype(np.float32) * np.repeat(scale, BLOCK)[: codes.size])


def store_linear(x: nm.Floats) -> tuple[NDArray[np.int8], nm.Floats]:
    """(codes [size], scales [blocks])"""
    rows = _rows(x)
    scale = np.abs(rows).max(1) / np.float32(127)
    scale = np.where(scale < SMALLEST_SCALE, np.float32(0), scale)
    codes = nm.saturate8(nm.round_half_up(rows * _inverse(scale)))
    return codes.astype(np.int8).ravel()[: x.size], scale


def load_root(codes: NDArray[np.uint8], scale: nm.Floats) -> nm.Floats:
    """float32 [size]"""
    root = codes.ravel().astype(np.float32) * np.repeat(scale, BLOCK)[: codes.size]
    return np.asarray(root * root)


def store_root(x: nm.Floats, key: NDArray[np.uint32], first: int = 0) -> tuple[NDArray[np.uint8], nm.Floats]:
    """(codes [size], scales [blocks]). first: number of the first element in its tensor, a multiple of BLOCK, by which its random number goes."""
    rows = _rows(x)
    scale = nm.sqrt(rows.max(1)) / np.float32(255)
    unit = nm.random_unit(key, first + rows.size)[first:].reshape(rows.shape)
    codes = nm.round_stochastic(nm.sqrt(rows) * _inverse(scale), unit)
    codes = np.clip(codes, np.where(rows > 0, 1, 0), 255)
    return codes.astype(np.uint8).ravel()[: x.size], scale
