"""Targets that are distributions over classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def circular_labels(positions: ArrayLike, classes: int, width: float = 1.0) -> NDArray[np.float32]:
    """Distributions [N, classes] for classes on a circle, where the last one is beside the first: the digits of a meter, hours, directions.

    positions: N class numbers, fractions included, from 0 to below `classes`: 9.5 lies between classes 9 and 0 of 10. width: standard deviation
    of the normal distribution around the circle, in classes; 0 shares a position between the two nearest classes alone. For
    `loss="soft_cross_entropy"`.

    Source: Yang and Yan, "Arbitrary-Oriented Object Detection with Circular Smooth Label" (2020).
    """
    at = np.asarray(positions)
    if isinstance(classes, bool) or not isinstance(classes, int | np.integer) or classes < 2:
        raise ValueError(f"classes is {classes!r}: it must be a whole number of at least 2")
    if isinstance(width, bool) or not isinstance(width, int | float | np.integer | np.floating) or not (np.isfinite(width) and width >= 0):
        raise ValueError(f"width is {width!r}: it must be a number of at least 0, in classes")
    if at.ndim != 1 or at.dtype.kind not in "fiu":
        raise ValueError(f"positions has dtype {at.dtype} and shape {list(at.shape)}: pass N numbers")
    at = at.astype(np.float64)
    wrong = np.flatnonzero(~((at >= 0) & (at < classes)))
    if wrong.size:
        raise ValueError(f"positions holds {at[wrong[0]]:g} at [{wrong[0]}]: positions are from 0 to below {classes}")
    distance = np.abs(np.arange(classes) - at[:, None])
    distance = np.minimum(distance, classes - distance)
    if width == 0:
        near = np.maximum(1 - distance, 0)
    else:
        nearest = distance.min(axis=1, keepdims=True)  # its weight is 1: a narrow distribution has no sum of 0
        near = np.exp((nearest**2 - distance**2) / (2 * float(width) ** 2))
    return np.asarray(near / near.sum(axis=1, keepdims=True), np.float32)
