"""Rehearsal: samples of what a model was made for, answered by the model as built, among those that it learns from.

What the new samples pull away, these pull back. The targets are distributions and not labels: they hold the model where it was, also where it is
unsure or wrong. Source: Li and Hoiem, "Learning without Forgetting" (2016), whose old answers are those to the new samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import data
from .data import Samples
from .manifest import Manifest

if TYPE_CHECKING:
    from .base import Device


@dataclass(frozen=True)
class Rehearsal:
    """Samples of what a model was made for, for `Device.fit(x, y, rehearsal=...)`, which trains on them, too, so that it forgets less.

    samples: inputs [N, ...], as `fit` takes them, without targets: those are what the model as built answers, asked once before training.
    ratio: how many of them are trained on for each new sample; all have been when the first comes again.

    The build's loss must take values: "soft_cross_entropy" for classes, where labels of the new samples are distributions of one class.
    """

    samples: Samples
    ratio: float = 2.0

    def __post_init__(self) -> None:
        number = isinstance(self.ratio, int | float | np.integer | np.floating) and not isinstance(self.ratio, bool)
        if not (number and np.isfinite(self.ratio) and self.ratio > 0):
            raise ValueError(f"ratio is {self.ratio!r}: it must be a number above 0; 2 rehearses two samples for each new one")

    def prepared(self, device: Device, progress: bool | None = None) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """The inputs [N, input_bytes] and the targets [N, values] that the device's model as built answers; its state is as before."""
        check(device.manifest)
        inputs = data.prepare_inputs(self.samples, device.manifest, "rehearsal")
        if len(inputs) == 0:
            raise ValueError("rehearsal holds no samples")
        device._check_takes_state()
        state = device.state()
        device.reset()
        try:
            codes = device._infer_all(inputs, progress)[:, : device.manifest.outputs[0].size]
        finally:
            device.set_state(state)
        return inputs, targets_of(codes, device.manifest)


class Turn:
    """Who is next: each epoch takes the samples up where the last one has left them, in another order every time around."""

    def __init__(self, first: int, count: int, ratio: float, seed: int) -> None:
        """The rows `first` to `first + count` of all samples are to be rehearsed."""
        self._rows, self._ratio = np.arange(first, first + count), ratio
        self._generator = np.random.Generator(np.random.PCG64([seed, 2]))
        self._waiting = np.zeros(0, np.int64)

    def size(self, samples: int) -> int:
        """How many go with so many new samples."""
        return round(self._ratio * samples)

    def among(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """New samples in their order, with those of this epoch evenly between them; the first is a new one."""
        size = self.size(len(order))
        while len(self._waiting) < size:
            self._waiting = np.concatenate([self._waiting, self._generator.permutation(self._rows)])
        chosen, self._waiting = self._waiting[:size], self._waiting[size:]
        places = np.concatenate([np.arange(len(order)), (np.arange(size) + 0.5) * len(order) / max(size, 1)])
        return np.concatenate([order, chosen])[np.argsort(places, kind="stable")]


def check(manifest: Manifest) -> None:
    """Raises ValueError where a build cannot rehearse."""
    if manifest.targets == "labels":
        text = "the answers of the model as built are distributions, this build's loss takes labels"
        raise ValueError(f'{text}: build with loss="soft_cross_entropy", with which fit takes labels, too')
    if manifest.targets != "values":
        raise ValueError("this build's loss reads its input: samples of before need no answers, add them to x")
    if manifest.new_head:
        raise ValueError("the head of this build is new: what it answers before training says nothing of what the model knew")
    if manifest.kept:
        raise ValueError("this model goes on from sample to sample: others between them would be taken for their continuation")


def targets_of(codes: NDArray[np.int8], manifest: Manifest) -> NDArray[np.float32]:
    """What the loss compares with to have these codes [N, values] of the first output answered again, float32 [N, values]."""
    tensor = manifest.outputs[0]
    real = data.dequantize(codes, tensor).astype(np.float64)
    if manifest.loss == "soft_cross_entropy":
        weights = np.maximum(real, 0) if tensor.softmax else np.exp(real - real.max(axis=1, keepdims=True))
        real = weights / weights.sum(axis=1, keepdims=True)
    elif manifest.loss == "bce":
        real = np.clip(real if tensor.logistic else 1 / (1 + np.exp(-real)), 0, 1)
    return np.asarray(real, np.float32)
