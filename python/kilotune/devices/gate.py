"""The gate of changes that no label has vouched for: a handful of labelled samples accept what was learned, or it is taken back.

A rise of confidence says nothing: a model that gives one answer to everything is as sure as can be (docs/field/labels.md).
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from . import data
from .data import Samples

if TYPE_CHECKING:
    from .base import Device

DEFAULT_MORE = 1


class Gate:
    """A context in which a device may change; at its end the change is kept where at least `more` labelled samples more are answered right.

    before, after: samples answered right. kept: whether the change was; None until the context has ended. An exception takes the change back, too.
    """

    def __init__(self, device: Device, x: Samples, y: ArrayLike, more: int = DEFAULT_MORE) -> None:
        if isinstance(more, bool) or not isinstance(more, int | np.integer):
            raise ValueError(f"more is {more!r}: it must be a number of samples, and may be negative")
        count = len(data.prepare_inputs(x, device.manifest))
        if count == 0:
            raise ValueError("x holds no samples: the gate judges by some, 20 or more are usual")
        self.device, self.more, self.count = device, int(more), count
        self.x, self.y = x, data.prepare_labels(y, count, device.manifest.classes or device.manifest.outputs[0].size)
        self.before = self.after = 0
        self.kept: bool | None = None
        self._state = b""

    def __enter__(self) -> Gate:
        self._state = self.device.state()
        self.before = self._right()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.after = self._right()
        self.kept = kind is None and self.after >= self.before + self.more
        if not self.kept:
            self.device.set_state(self._state)

    def _right(self) -> int:
        return int((self.device.predict(self.x, progress=False) == self.y).sum())

    def __str__(self) -> str:
        if self.kept is None:
            return f"{self.count} labelled samples judge"
        what = "the change is kept" if self.kept else "the change is taken back"
        return f"of {self.count} labelled samples {self.before} were right before, {self.after} after: {what}"
