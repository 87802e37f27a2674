"""Whether a training is better than another one, or the luckiest of many.

Many sets and rates are measured on the same few samples, and the best of them looks better than it is. How much better than the anchor they
truly are is taken to scatter about 0, each as much as the anchor itself, by an amount that the race tells: what it shows of all of them is
explained by that and by noise, whose covariance the samples held out give (sets that are alike are lucky together). Each difference is then
shrunken to what is to be expected of it, and the best of what is to be expected is no luckier than the others (empirical Bayes: Efron and
Morris, "Stein's Estimation Rule and Its Competitors", 1973; of many choices: Efron, "Tweedie's Formula and Selection Bias", 2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erf
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SCATTERS = (0.0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
"""Of the true penalties of sets, as they may be; as likely before the race."""
LEAST = 0.01
"""Deviation of a mean that is in any measurement, so that alike trainings do not say the same for certain."""


@dataclass(frozen=True)
class Belief:
    """What a race says of a training. expected: by how much its penalty is smaller than the anchor's; chance: that it is no smaller."""

    expected: float
    chance: float


def beliefs(gains: Sequence[Array]) -> list[Belief]:
    """Of each training of a race.

    gains: penalty of the anchor minus that of a training, by sample [N]; 0 where a sample says nothing.
    """
    every = np.array(gains, float)
    count, samples = every.shape
    seen = every.mean(1)
    noise = _noise(every - seen[:, None]) / samples + LEAST**2 * np.eye(count)
    alike = np.eye(count) + 1.0  # the anchor's own share is in every difference
    weights, means, chances = list[float](), list[Array](), list[Array]()
    for scatter in SCATTERS:
        true = scatter**2 * alike
        root = np.linalg.cholesky(true + noise)
        weights.append(float(-0.5 * (np.linalg.solve(root, seen) ** 2).sum() - np.log(np.diag(root)).sum()))
        gain = np.linalg.solve(true + noise, true).T
        means.append(gain @ seen)
        deviation = np.sqrt(np.maximum(np.diag(true - gain @ true), 0.0))
        chances.append(np.array([_below(m, d) for m, d in zip(means[-1], deviation, strict=True)]))
    share = np.exp(np.array(weights) - max(weights))
    share /= share.sum()
    return [Belief(float(e), float(c)) for e, c in zip(share @ np.array(means), share @ np.array(chances), strict=True)]


def _noise(apart: Array) -> Array:
    """The covariance of a sample's differences [trainings, N] from their means: their own variances, and one correlation for all pairs, as a few
    dozen samples do not tell those of each (Ledoit and Wolf, "Honey, I Shrunk the Sample Covariance Matrix", 2004)."""
    count, samples = apart.shape
    deviation = np.sqrt((apart**2).sum(1) / max(samples - 1, 1))
    scaled = apart[deviation > 0] / deviation[deviation > 0, None]
    pairs = len(scaled) * (len(scaled) - 1) * max(samples - 1, 1)
    together = float(np.clip(((scaled.sum(0) ** 2).sum() - (scaled**2).sum()) / pairs, 0.0, 1.0)) if pairs else 0.0
    return np.outer(deviation, deviation) * (together + (1 - together) * np.eye(count))


def _below(mean: float, deviation: float) -> float:
    """Of a normal distribution, what is at 0 or below."""
    return 0.5 * (1 - erf(mean / deviation / 2**0.5)) if deviation > 0 else 1.0
