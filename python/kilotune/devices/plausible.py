"""Warnings for samples and labels that a model can take, but that can hardly be meant."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import Samples
from .manifest import Manifest, Tensor
from .recipe import ENOUGH_SAMPLES
from .recordings import is_recordings

NARROW, WIDE = 1 / 16, 10
"""Spans of all samples, in ranges of the input, that hint at another unit: real ones spanned 0.26 to 3.2 (benchmarks/scenarios.py)."""

MOST_NAMED = 5
"""Classes without a sample that a warning names."""

STACK_LEVEL = 6
"""From `warnings.warn` to the caller of a device's method, through the lock of `calls.py`."""


class DataWarning(UserWarning):
    """Samples or labels are most likely not what was meant: of another unit, or all of one class."""

    def __init__(self, text: str) -> None:
        super().__init__(text)


def warn_of_inputs(x: Samples, manifest: Manifest) -> None:
    """Warn where the samples, which were checked before, use next to nothing of an input's range, or go far beyond it."""
    several = len(manifest.inputs) > 1
    for i, tensor in enumerate(manifest.inputs):
        array = np.asarray(x[i] if several else x)  # type: ignore[index]
        if not tensor.tokens and not is_recordings(array, manifest.features) and len(array) > 1 and array[0].size > 1:
            text = _range_text(array, tensor)
            if text:
                _warn(f"x[{i}]: {text}" if several else f"x: {text}")


def _range_text(array: NDArray[Any], tensor: Tensor) -> str:
    """What is wrong with the range of samples [N, ...], or nothing."""
    scale = 1.0 if array.dtype == tensor.dtype else tensor.scale
    zero = 0 if array.dtype == tensor.dtype else tensor.zero_point
    low, high = float(array.min()), float(array.max())
    least, most = ((end - zero) * scale for end in tensor.range)
    span = (high - low) / scale / (tensor.range[1] - tensor.range[0] + 1)
    seen = f"all values lie in {low:.4g} to {high:.4g}, the model's input is made for {least:.4g} to {most:.4g}"
    remedy = "prepare them as those that the model was trained on: the same unit, scaling and offset"
    if span < NARROW:
        return f"{seen}: they use {span:.1%} of the range, and the model can hardly tell them apart; {remedy}"
    if span > WIDE:
        return f"{seen}: most of what goes beyond is cut off; {remedy}"
    return ""


def warn_of_labels(labels: NDArray[np.int32], classes: int) -> None:
    """Warn where a training has samples of one class alone, or is of few samples and has none of some classes."""
    missing = np.setdiff1d(np.arange(classes), labels)
    if classes < 2 or len(labels) < 2 or not missing.size:
        return
    remedy = "add samples of the other classes, a few from before are enough"
    if missing.size == classes - 1:
        _warn(f"y: all {len(labels)} labels are {labels[0]}, of {classes} classes: the model learns to say nothing else; {remedy}")
    elif len(labels) < ENOUGH_SAMPLES:
        which = ", ".join(map(str, missing[:MOST_NAMED])) + (", ..." if missing.size > MOST_NAMED else "")
        _warn(f"y: there is no sample of {missing.size} of {classes} classes ({which}): what the model knows of them may be forgotten; {remedy}")


def _warn(text: str) -> None:
    warnings.warn(DataWarning(text), stacklevel=STACK_LEVEL)
