"""Gains, found once a call by every kind of core: the bits of the NumPy meaning, which results of 8 bits would hide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from emulated_core import HERE, Batch, runs
from kernel_driver import Array, Rng, assert_equal

from kiloc.ops._gain import bias_before_gain, gain_factor, gained_multipliers
from kiloc.ops.fast._packing import with_gain

BOARDS = ("mps2-an385", "mps2-an386", "mps2-an505-m23", "mps3-an547", "riscv32-virt")
LAYERS = 150
QUAD, BEHIND = 4, 5
"""Channels whose words stand together, and words between those of one and those of the next (gains.c)."""


class Gains:
    """A layer's gains, and what they change. Biases of every size: beyond 2^28 some leave int32 in front of a gain."""

    def __init__(self, r: Rng) -> None:
        n = self.channels = int(r.integers(1, 70))
        self.codes = r.integers(-128, 128, n).astype(np.int8)
        self.exponent = np.array([r.integers(-12, 1) if r.random() < 0.8 else r.integers(-128, 128)], np.int8)
        self.multiplier = r.choice([r.integers(2**30, 2**31, n), r.integers(0, 2**31, n)]).astype(np.int32)
        self.shift = r.integers(-20, 2, n).astype(np.int8)
        limit = 2 ** int(r.integers(8, 32))
        self.bias = np.where(r.random(n) < 0.1, r.choice([-limit, limit - 1], n), r.integers(-limit, limit, n)).astype(np.int32)
        self.fold = r.integers(-(2**20), 2**20, n).astype(np.int32)
        self.limit = int(r.integers(1, 2**31 - 2**21))
        self.addend = r.integers(-(2**30), 2**30, n).astype(np.int32)
        self.factor = gain_factor(self.codes.astype(np.int64), int(self.exponent[0]))
        if r.random() < 0.2:  # products that round to 2^31, one more than an int32, or come near it
            nearest = (2**55 - 2**23) // (2**47 // self.factor) + r.integers(-1, 3, n)
            self.bias = np.clip(nearest, -(2**31), 2**31 - 1).astype(np.int32)
        self.before = bias_before_gain(self.bias.astype(np.int64), self.factor)

    def layer(self) -> tuple[Array, Array, Array]:
        """Multipliers, biases, shifts."""
        multiplier, shift = gained_multipliers(self.multiplier.astype(np.int64), self.shift.astype(np.int64), self.factor)
        return multiplier.astype(np.int32), self.before.astype(np.int32), shift.astype(np.int8)

    def epilogues(self) -> Array:
        return np.stack([self.multiplier, self.addend, -self.shift.astype(np.int32)], 1).astype(np.int32)

    def starts(self) -> Array:
        """Of each channel its start and its epilogue."""
        start = self.fold + np.clip(self.before, -self.limit, self.limit)
        return np.concatenate([start[:, None], with_gain(self.epilogues().astype(np.int64), self.factor)], 1).astype(np.int32)

    def stream(self, quads: int) -> Array:
        """Epilogues as a packed layer has them, with something behind those of four channels."""
        found = np.zeros((quads * QUAD, 3), np.int32)
        found[: self.channels] = self.epilogues()
        return np.pad(found.reshape(quads, QUAD * 3), ((0, 0), (0, BEHIND)), constant_values=99)


@pytest.mark.parametrize("board", BOARDS)
def test_gains_have_the_bits_of_their_meaning(board: str, tmp_path: Path) -> None:
    if not runs(board):
        pytest.skip(f"no compiler or no emulator for {board}")
    r = np.random.default_rng(31)
    batch = Batch()
    batch.kernels = {"find_gained_layer": 0, "find_gained_starts": 1}
    image = batch.image
    layers = []
    for _ in range(LAYERS):
        g = Gains(r)
        quads = -(-g.channels // QUAD)
        bias, codes, exponent = image.add(g.bias.tobytes()), image.add(g.codes.tobytes()), image.add(g.exponent.tobytes())
        multiplier, shift = image.add(g.multiplier.tobytes()), image.add(g.shift.tobytes())
        stream, fold = image.add(g.stream(quads).tobytes()), image.add(g.fold.tobytes())
        scratch, starts = image.room(8 * g.channels + 4 * quads), image.room(64 * quads)
        call = [-1 - multiplier, -1 - shift, -1 - bias, -1 - codes, -1 - exponent, g.channels, -1 - scratch]
        image.calls.append([0, len(call), *call])
        call = [-1 - stream, -1 - bias, -1 - fold, g.limit, -1 - codes, -1 - exponent, g.channels, -1 - starts]
        image.calls.append([1, len(call), *call])
        layers.append((g, scratch, starts, quads))
    data = batch.run(board, tmp_path, own=[HERE / "gains.c"])
    for g, scratch, starts, quads in layers:
        n, at = g.channels, scratch
        for expected in g.layer():
            assert_equal(np.frombuffer(data, expected.dtype, n, at), expected, f"{n} channels")
            at += expected.nbytes
        found = np.frombuffer(data, np.int32, 16 * quads, starts).reshape(quads, 16)
        words = np.concatenate([found[:, :QUAD, None], found[:, QUAD:].reshape(quads, QUAD, 3)], 2).reshape(-1, 4)
        assert_equal(words[:n].ravel(), g.starts(), f"starts of {n} channels")
