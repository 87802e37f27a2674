"""Recordings in place of the input that a front end makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc.features import LogMel, plan

from .manifest import Tensor


def is_recordings(x: NDArray[Any], features: LogMel | None) -> bool:
    """Whether these are recordings [N, samples] of int16 for the front end."""
    return features is not None and x.dtype == np.int16 and x.shape[1:] == (features.samples,)


def input_of(x: NDArray[Any], features: LogMel, tensor: Tensor) -> NDArray[np.int8]:
    """The model's input [N, ...] of recordings, with the bits of the build's C function."""
    return plan(features, tensor.scale, tensor.zero_point)(x).reshape(-1, *tensor.sample_shape)
