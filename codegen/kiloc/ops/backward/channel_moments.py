"""Running moments of the results of a layer, channel by channel: what re-normalisation without labels reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...ir.kernel_call import KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ..update._update import pointers

MEAN_UNIT, SQUARE_UNIT = 256, 16
"""Parts of a code in which means and shares are counted, and of a squared code for means of squares."""

MOST_SAMPLES = 1024
"""Then all moments are halved, and the count: what is older counts for less. 1024 * 255^2 * 16 fits in int32."""

MOST_POSITIONS = 2**15
"""The sum of squares of so many positions fits in 32 bits."""


@dataclass(frozen=True)
class Moments:
    """Integer moments of a channel, summed over `count` samples: rows of [3, channels], and what they mean in codes."""

    rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    count: int

    @classmethod
    def of(cls, state: Array) -> Moments:
        """From the state of `ChannelMoments`, int32 [3 * channels + 1]."""
        return cls(state[:-1].astype(np.int64).reshape(3, -1), int(state[-1]))

    @property
    def mean(self) -> Array:
        """Of the codes, counted from -128."""
        return np.asarray(self.rows[0] / (MEAN_UNIT * self.count))

    @property
    def deviation(self) -> Array:
        """Of the codes, at least the half of a code."""
        variance = self.rows[1] / (SQUARE_UNIT * self.count) - self.mean**2
        return np.asarray(np.sqrt(np.maximum(variance, 0.25)))

    @property
    def active(self) -> Array:
        """Share of the positions above the lower end of the clamp."""
        return np.asarray(self.rows[2] / (MEAN_UNIT * self.count))


@register
@dataclass(frozen=True)
class ChannelMoments(Op):
    """moments[k, c] += mean over the positions p, rounded half up, of u 256 (k = 0), u^2 16 (k = 1), [u > floor] 256 (k = 2); u = y[p, c] + 128.

    moments: int32 [3 * channels + 1], whose last value counts samples; at 1024 all of it is halved first, rounded down. floor: the lower end of the
    layer's clamp, counted in u.
    """

    mnemonic: ClassVar[str] = "channel_moments"
    role: ClassVar[str] = "backward"
    operands: ClassVar[tuple[str, ...]] = ("y", "moments")

    floor: int = 0

    def infer(self, t: NodeTypes) -> tuple[()]:
        return ()

    def check(self, t: NodeTypes) -> str | None:
        y, size = t.type("y"), t.type("moments").size
        if size < 4 or size % 3 != 1 or y.size % (size // 3) or y.size // (size // 3) > MOST_POSITIONS:
            return f"{size} moments of {y.shape}"
        return None

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return ()

    def evaluate_real(self, e: Environment) -> tuple[Array, ...]:
        return ()

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        return {"moments": self.added(e.array("moments"), e.array("y"))}

    def added(self, moments: Array, y: Array) -> Array:
        """The moments after samples y [N, ...], one after the other."""
        channels = (moments.size - 1) // 3
        found = moments.astype(np.int64)
        for sample in y.reshape(len(y), -1, channels).astype(np.int64) + 128:
            if found[-1] >= MOST_SAMPLES:
                found >>= 1
            count = len(sample)
            sums = (MEAN_UNIT * sample.sum(0), SQUARE_UNIT * (sample**2).sum(0), MEAN_UNIT * (sample > self.floor).sum(0))
            found += np.concatenate([*((s + count // 2) // count for s in sums), [1]])
        return found.astype(np.int32)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        channels = t.type("moments").size // 3
        fields = {"positions": t.type("y").size // channels, "channels": channels, "floor": self.floor}
        source = "kernels/parameter/channel_moments.c"
        return KernelCall("kt_channel_moments", "kt_channel_moments_params", fields, pointers(n, "y", "moments"), source=source)
