"""Whether a training is better than another one, or the luckiest of many.

Many sets and rates are measured on the same few samples, and the best of them looks better than it is. So it is asked how often the best of as
many would look as good if none were better than the anchor: then each sample's difference would as often have the other sign. Signs are drawn
anew for all samples, the same for all trainings, and the largest statistic of each draw is kept (the "max T" test of Westfall and Young): how
alike the trainings are is in it, as they are measured on the same samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
DRAWS = 4000
"""Of signs."""


def chances(gains: Sequence[Array]) -> Array:
    """Of each training, how likely the best of them all would look as good as it does where none is better.

    gains: penalty of the anchor minus that of a training, by sample [N]; 0 where a sample says nothing. The statistic is the sum over the root of
    the sum of squares, which no sign changes.
    """
    every = np.array(gains, float)
    root = np.sqrt((every**2).sum(1, keepdims=True))
    scaled = every / np.where(root > 0, root, 1.0)
    signs = np.random.Generator(np.random.PCG64(7)).integers(0, 2, (DRAWS, every.shape[1])) * 2.0 - 1.0
    largest = (signs @ scaled.T).max(1)
    as_good = largest[:, None] >= scaled.sum(1)[None] - 1e-9
    return np.asarray((1 + as_good.sum(0)) / (1 + DRAWS))
