"""The constant shifts of activation gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from golden.reference import image, samples

from kiloc import pipeline
from kiloc.ir import interp
from kiloc.options import Options
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


def test_gradients_before_a_new_head_keep_their_resolution_while_it_grows() -> None:
    """The head's weights become 2^8 times as large: what it hands on stays within seven bits, and the exponent tells of the rest."""
    graph = image()
    x, methods = samples(graph, 32), (Head(classes=3), ScaleShift(layers="stem"))
    whole = pipeline.compile_graph(graph, Options(methods=methods, calibration=x, accumulate=2), "0").graph
    state = interp.initial_state(whole)
    target = np.arange(32, dtype=np.int32) % 3

    def handed_on(power: int) -> tuple[Any, Any]:
        (delta,) = [p for p in whole.parameters if p.name.endswith(".delta")]
        state[delta.values["value"]] = np.random.default_rng(0).integers(-127, 128, whole.type(delta.values["value"]).shape).astype(np.int8)
        state[delta.values["exponent"]][:] = power
        found = interp.run(whole, {whole.inputs[0]: x, whole.inputs[-1]: target, **state}, None, ("forward", "backward"))
        return found["head.dx"], found["head.dx.exponent"] - found["loss.exponent"]

    (small, little), (large, much) = handed_on(-12), handed_on(-4)
    for dx in (small, large):
        largest = np.abs(dx.astype(int)).reshape(32, -1).max(1)
        assert (largest >= 63).all() and (dx > -128).all(), "seven bits are used"
    assert (much > little).all()


def test_samples_are_evaluated_in_blocks_and_known_results_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = image()
    given = {graph.inputs[0]: samples(graph, 7)}
    whole = interp.run(graph, given)
    monkeypatch.setattr(interp, "BLOCK", 2 * graph.type(graph.inputs[0]).size)
    blocks = interp.run(graph, given)
    assert all(np.array_equal(whole[name], blocks[name]) for name in whole)

    third = graph.nodes[2]
    weights = graph.values[third.inputs["weights"]]
    assert weights.data is not None
    changed = graph.with_values([replace(weights, data=weights.data[..., ::-1].copy())])
    found = interp.run(changed, given, known=interp.Known(graph, whole))
    assert all(found[name] is whole[name] for node in graph.nodes[:2] for name in node.outputs)
    fresh = interp.run(changed, given)
    assert all(np.array_equal(found[name], fresh[name]) for name in fresh)
    assert not np.array_equal(found[third.outputs[0]], whole[third.outputs[0]])


def test_shift_of_large_sums_and_of_none() -> None:
    """100 * 2^20 needs 20 bits less; samples of zeros or NaN do not count; nothing at all asks for no shift, and none is negative."""
    sums = np.zeros((3, 4))
    assert best_shift(sums) == 0
    sums[1] = 100 * 2.0**20
    assert best_shift(sums) == 20
    sums[2] = np.nan  # of a gradient that vanished, in units of its exponent
    assert best_shift(sums) == 20
    assert best_shift(sums[2:]) == 0
    assert best_shift(np.full((2, 3), 0.01)) == 0
