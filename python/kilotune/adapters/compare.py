"""Two adapters side by side: what differs, in real values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .file import Adapter


@dataclass(frozen=True)
class Difference:
    """A trained tensor of two adapters: Euclidean norms of both and of what lies between; None where one does not have it."""

    name: str
    shape: tuple[int, int]
    first: float | None
    second: float | None
    between: float | None

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "shape": list(self.shape)}


def real_values(adapter: Adapter) -> dict[str, NDArray[np.float64]]:
    """Trained tensors with their powers of two applied; biases stay in units of the accumulator."""
    raw = adapter.values()
    found = {}
    for e in adapter.entries:
        if e.part == "value":
            exponent = raw.get(f"{e.name}.exponent")
            found[e.name] = raw[e.name] * (1.0 if exponent is None else 2.0 ** float(exponent[0, 0]))
    return found


def compare(first: Adapter, second: Adapter) -> list[Difference]:
    """A row for each tensor of either, in order; of different ranks, the lower one is filled up with zeros."""
    a, b = real_values(first), real_values(second)
    rows = []
    for name in dict.fromkeys([*a, *b]):
        x, y = a.get(name), b.get(name)
        norms = [None if v is None else float(np.linalg.norm(v)) for v in (x, y)]
        shape = max(v.shape for v in (x, y) if v is not None)
        rows.append(Difference(name, (shape[0], shape[1]), norms[0], norms[1], None if x is None or y is None else _distance(x, y)))
    return rows


def _distance(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    shape = np.maximum(x.shape, y.shape)
    padded = [np.pad(v, [(0, shape[i] - v.shape[i]) for i in range(2)]) for v in (x, y)]
    return float(np.linalg.norm(padded[0] - padded[1]))
