"""Plans of the real models beside what the solver proves possible."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from placement import ALLOWED, TRAININGS, measure

MODELS = (
    "ad01_int8 ecg_cnn_int8 esc10_miniresnet1_int8 gas_mlp_int8 ic_resnet8_int8 kws_dscnn_int8 mltk_audio_example1 "
    "mltk_keyword_spotting_on_off person_detect_int8 sww_int8"
).split()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_plans_are_near_what_is_proved_possible(name: str, model_path: Callable[[str], Path], ortools: None) -> None:
    rows = list(measure(model_path(name)))
    assert [r.what for r in rows] == ["inference", *(what for what, _, _ in TRAININGS)]
    for r in rows:
        assert 0 < r.bound <= r.plan <= (1 + ALLOWED) * r.bound, r
        assert r.proved, f"the solver did not finish: {r}"
