"""Images as a small device keeps them, and which of them a new one is like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
"""Colours of 0 to 255, [N, H, W, 3]; H and W are multiples of 4."""


@dataclass(frozen=True)
class Stored:
    """Brightness at half the resolution, and colour at a quarter of it.

    brightness: uint8 [N, H/2, W/2], the mean of red, green and blue; colour: int8 [N, H/4, W/4, 2], red and blue less the brightness.
    """

    brightness: NDArray[np.uint8]
    colour: NDArray[np.int8]

    @property
    def bytes(self) -> int:
        return self.brightness.nbytes + self.colour.nbytes

    def images(self) -> Images:
        """What a device makes of them before it trains: interpolated linearly."""
        brightness, colour = _enlarged(self.brightness, 2), _enlarged(self.colour, 4)
        red, blue = (brightness + colour[..., i] for i in (0, 1))
        whole = np.stack([red, 3 * brightness - red - blue, blue], -1)
        return np.asarray(np.clip(np.round(whole), 0, 255), np.float32)


def stored(x: Images) -> Stored:
    """The small form of images."""
    brightness = x.mean(-1)
    colour = _reduced(np.stack([x[..., 0] - brightness, x[..., 2] - brightness], -1), 4)
    return Stored(np.round(_reduced(brightness, 2)).astype(np.uint8), np.clip(np.round(colour), -128, 127).astype(np.int8))


def thumbnails(x: Images) -> NDArray[np.uint8]:
    """Colours at a quarter of the resolution, [N, H/4 * W/4 * 3]: by these an image is told from another meter's."""
    return np.round(_reduced(x, 4)).astype(np.uint8).reshape(len(x), -1)


def is_own(seen: NDArray[np.uint8], own: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether the nearest of all thumbnails, [N, values] each, is one of the user's meter; seen: of the images that are asked about."""
    candidates, found = np.concatenate([own, others]).astype(np.float64), seen.astype(np.float64)
    distances = (found**2).sum(1)[:, None] - 2 * found @ candidates.T + (candidates**2).sum(1)
    return np.asarray(distances.argmin(1) < len(own))


def _reduced(x: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Means of squares of pixels; further axes stay."""
    n, h, w = x.shape[:3]
    return np.asarray(x.reshape(n, h // factor, factor, w // factor, factor, *x.shape[3:]).mean((2, 4)), np.float32)


def _enlarged(x: NDArray[np.uint8] | NDArray[np.int8], factor: int) -> NDArray[np.float64]:
    """Linear interpolation between the middles of pixels, whose border is continued."""
    found = x.astype(np.float64)
    for axis in (1, 2):
        size = found.shape[axis]
        at = (np.arange(size * factor) + 0.5) / factor - 0.5
        low = np.floor(at).astype(int)
        part = (at - low).reshape([-1 if i == axis else 1 for i in range(found.ndim)])
        near = [np.take(found, np.clip(low + i, 0, size - 1), axis) for i in (0, 1)]
        found = near[0] * (1 - part) + near[1] * part
    return found
