"""What a person sees of work that takes long: on standard error, and only after a while."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_files import uint8_classifier

import kilotune as kt
from kiloc import numerics as nm
from kilotune.devices import progress


def test_stages_are_told_once_it_takes_long(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.stages("building a model", True) as enter:
        enter("soon")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with progress.stages("building a model", True) as enter:
        enter("the second part")
    assert capsys.readouterr() == ("", "building a model: the second part\n")
    for show in (False, None):  # None: where standard error is no terminal, nothing
        with progress.stages("building a model", show) as enter:
            enter("anything")
        assert capsys.readouterr() == ("", "")


def test_a_build_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ends.tflite"
    path.write_bytes(uint8_classifier())
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    kt.build(kt.load(path), tmp_path / "build", measure=False, progress=True)
    told = capsys.readouterr().err
    assert "building ends: simplify is done\n" in told and told.endswith(("compile and link\n", "is done\n"))


def test_many_multipliers_are_those_of_each() -> None:
    rng = np.random.default_rng(4)
    reals = np.concatenate([2.0 ** rng.uniform(-40, 10, 2000), [0.0, 1.0, 0.5, 2.0**-32, 2.0**-33, 1 - 2.0**-40, 2 - 2.0**-40, 1e-300]])
    multipliers, shifts = nm.quantize_multipliers(reals)
    assert list(zip(multipliers.tolist(), shifts.tolist(), strict=True)) == [nm.quantize_multiplier(float(r)) for r in reals]
