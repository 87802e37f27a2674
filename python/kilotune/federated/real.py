"""Aggregation in real values, rounded to an adapter once at the end.

Sources: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data" (2017) for the mean; Yin et al.,
"Byzantine-Robust Distributed Learning" (2018) for median and trimmed mean; Blanchard et al., "Machine Learning with Adversaries: Byzantine
Tolerant Gradient Descent" (2017) for Krum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..adapters import Adapter
from ..adapters.compare import real_values
from ..adapters.scaling import adapter_of
from ..errors import DeviceError
from .contributions import Contribution, check

Reals = NDArray[np.float64]
__all__ = ["adapter_of", "drawn_back", "krum", "mean", "median", "real_values", "trimmed_mean"]


def largest_ranges(contributions: Sequence[Contribution]) -> dict[str, int]:
    """Exponents of A x that are large enough for all clients."""
    arrays, first = [c.adapter.values() for c in contributions], contributions[0].adapter
    return {e.name: max(int(a[e.name][0, 0]) for a in arrays) for e in first.entries if e.part == "range"}


def drawn_back(adapter: Adapter, towards: Adapter, strength: float) -> Adapter:
    """The proximal step of FedProx: each value w becomes (w + strength w0) / (1 + strength), w0 that of another adapter of the same table.

    It minimises mu/2 |v - w0|^2 + |v - w|^2 / (2 t) over v, with strength = mu t; t is the learning rate times the updates since the last step.
    Source: Li et al., "Federated Optimization in Heterogeneous Networks" (2020), as a step of its own behind those along the gradient. The result
    is rounded to an adapter, so that a strength that moves a value by less than half a step leaves it where it is.
    """
    if not np.isfinite(strength) or strength < 0:
        raise DeviceError(f"strength={strength}", "would not draw anything back", "pass a number of at least 0")
    mine, theirs = real_values(adapter), real_values(towards)
    values = {name: (value + strength * theirs[name]) / (1 + strength) for name, value in mine.items()}
    raw = adapter.values()
    return adapter_of(values, adapter, {e.name: int(raw[e.name][0, 0]) for e in adapter.entries if e.part == "range"})


def _stacked(contributions: Sequence[Contribution]) -> dict[str, Reals]:
    """Every tensor of all clients, [clients, rows, columns]."""
    check(contributions)
    found = [real_values(c.adapter) for c in contributions]
    return {name: np.stack([values[name] for values in found]) for name in found[0]}


def _made(values: Mapping[str, Reals], contributions: Sequence[Contribution]) -> Adapter:
    return adapter_of(values, contributions[0].adapter, largest_ranges(contributions))


def mean(contributions: Sequence[Contribution]) -> Adapter:
    """Weighted by the numbers of samples (FedAvg)."""
    stacked = _stacked(contributions)
    weights = np.array([c.samples for c in contributions], np.float64)
    return _made({name: np.tensordot(weights / weights.sum(), v, axes=1) for name, v in stacked.items()}, contributions)


def median(contributions: Sequence[Contribution]) -> Adapter:
    """Of each value by itself: less than half of the clients cannot move it beyond what the others sent."""
    return _made({name: np.median(v, axis=0) for name, v in _stacked(contributions).items()}, contributions)


def trimmed_mean(contributions: Sequence[Contribution], share: float = 0.2) -> Adapter:
    """The plain mean of each value without the largest and the smallest. share: of the clients that is left out on either side, below 0.5."""
    if not 0 <= share < 0.5:
        raise DeviceError(f"share={share}", "would leave no client", "pass a number from 0 to below 0.5")
    cut = int(share * len(contributions))
    kept = slice(cut, len(contributions) - cut)
    return _made({name: np.sort(v, axis=0)[kept].mean(axis=0) for name, v in _stacked(contributions).items()}, contributions)


def krum(contributions: Sequence[Contribution], hostile: int = 1) -> Adapter:
    """The adapter of the client whose nearest neighbours are nearest. hostile: clients that may send anything; at least 2 more than twice as
    many others are needed."""
    count = len(contributions)
    if hostile < 0 or count < 2 * hostile + 3:
        what = f"{count} clients cannot outvote {hostile} hostile ones"
        raise DeviceError(f"hostile={hostile}", what, f"wait for {2 * max(hostile, 0) + 3} clients, or expect fewer hostile ones")
    rows = np.concatenate([_comparable(v) for v in _stacked(contributions).values()], axis=1)
    apart = ((rows[:, None] - rows[None]) ** 2).sum(2)
    np.fill_diagonal(apart, np.inf)
    nearest = np.sort(apart, axis=1)[:, : count - hostile - 2].sum(1)
    return contributions[int(nearest.argmin())].adapter.labelled()


def _comparable(values: Reals) -> Reals:
    """A tensor of all clients as rows of about unit length, so that biases in units of the accumulator do not outweigh the others."""
    rows = values.reshape(len(values), -1)
    typical = np.median(np.linalg.norm(rows, axis=1))
    return rows / (typical if typical > 0 else 1.0)
