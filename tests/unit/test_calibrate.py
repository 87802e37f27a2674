"""The constant shifts of activation gradients."""

from __future__ import annotations

import numpy as np

from kiloc.passes.calibrate import best_shift


def test_a_few_elements_are_not_saturated() -> None:
    """Behind a global pool there is one element a channel: a largest code of 154 in one sample of ten costs more than a bit of all."""
    sums = np.full((10, 10), 42.0)
    sums[0, 3] = 154.0
    assert best_shift(sums) == 1


def test_one_large_element_of_many_is_saturated() -> None:
    rng = np.random.default_rng(0)
    sums = rng.normal(0, 20, (10, 10000))
    sums[:, 0] = 160.0
    assert best_shift(sums) == 0


def test_samples_count_by_their_relative_error() -> None:
    """One sample that is a thousand times larger does not round all others to zero."""
    sums = np.random.default_rng(0).normal(0, 40, (32, 64))
    sums[0] *= 1000
    assert best_shift(sums) <= 2


def test_shift_of_large_sums_and_of_none() -> None:
    """100 * 2^20 needs 20 bits less; zero samples do not count; nothing at all asks for no shift, and none is negative."""
    sums = np.zeros((3, 4))
    assert best_shift(sums) == 0
    sums[1] = 100 * 2.0**20
    assert best_shift(sums) == 20
    assert best_shift(np.full((2, 3), 0.01)) == 0
