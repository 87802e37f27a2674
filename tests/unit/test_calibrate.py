"""The constant shifts of activation gradients."""

from __future__ import annotations

import numpy as np
import pytest
from golden.reference import image, samples

from kiloc import pipeline
from kiloc.ops._gradient import RequantizedGradient
from kiloc.passes.calibrate import best_shift
from kiloc.peft import Head, ScaleShift


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


def test_a_new_head_leaves_room_for_its_gradient_to_grow() -> None:
    """Two bits at its own input; below that shifts follow the one before, and stay."""
    graph = image()
    x, methods = samples(graph, 32), (Head(classes=3), ScaleShift())

    def shifts() -> dict[str, int]:
        options = pipeline.Options(methods=methods, calibration=x)
        whole = pipeline.compile_graph(graph, options, "0").graph
        return {n.name: n.op.shift for n in whole.phase("backward") if isinstance(n.op, RequantizedGradient)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kiloc.passes.calibrate.GROWTH", 1.0)
        before = shifts()
    after = shifts()
    assert {name: after[name] - before[name] for name in after} == {name: 2 * (name == "head.dx") for name in after}


def test_shift_of_large_sums_and_of_none() -> None:
    """100 * 2^20 needs 20 bits less; zero samples do not count; nothing at all asks for no shift, and none is negative."""
    sums = np.zeros((3, 4))
    assert best_shift(sums) == 0
    sums[1] = 100 * 2.0**20
    assert best_shift(sums) == 20
    assert best_shift(np.full((2, 3), 0.01)) == 0
