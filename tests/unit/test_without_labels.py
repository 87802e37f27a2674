"""Learning without labels: what is judged, what a gate keeps and takes back, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import samples, tiny

import kilotune as kt
from kiloc.export import tflite as tflite_writer
from kilotune.devices import judgement
from kilotune.devices.manifest import Tensor


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> kt.Build:
    folder = tmp_path_factory.mktemp("without_labels")
    (folder / "tiny.tflite").write_bytes(tflite_writer.write(tiny()))
    model = kt.load(folder / "tiny.tflite")
    loss = kt.InformationMaximisation(diversity=2, memory=16, prior=[1, 2, 1])
    return kt.build(model, folder / "build", method=kt.ScaleShift(), loss=loss, calibration=samples(model.graph, 32), measure=False)


X = samples(tiny(), 24)


def test_predictions_are_judged_by_the_formula() -> None:
    codes = np.array([[10, 20, -5, 0], [3, 2, 1, 0]], np.int8)
    y, prior = codes * 0.5, np.array([0.1, 0.2, 0.3, 0.4])
    p = np.exp(y) / np.exp(y).sum(1, keepdims=True)
    expected = (p * (0.5 * (np.log(p.mean(0)) - np.log(prior)) - np.log(p))).sum(1)
    found = judgement.of_predictions(codes, Tensor((1, 4), 0.5, 0), 0.5, tuple(prior))
    assert found.losses == pytest.approx(expected) and found.right is None


def test_a_device_learns_without_labels_and_is_judged_with_and_without(build: kt.Build) -> None:
    assert build.manifest["targets"] == "input" and build.manifest["prior"] == [0.25, 0.5, 0.25]
    assert build.report["model"]["loss"] == "information_maximisation diversity=2 memory=16 prior"
    with build.open() as device:
        before = device.evaluate(X)
        assert set(before) == {"loss"}
        device.fit(X, epochs=5)
        assert device.evaluate(X)["loss"] < before["loss"]
        assert set(device.evaluate(X, np.zeros(24, np.int32))) == {"loss", "accuracy"}
        with pytest.raises(ValueError, match="takes no targets"):
            device.train_step(X[0], 1)


def test_the_mean_prediction_starts_anew_with_an_adapter(build: kt.Build) -> None:
    with build.open() as device:
        fresh = device.export_adapter()
        for x in X:
            device.train_step(x)
        learned = device.export_adapter()
        device.load_adapter(fresh)
        again = [device.train_step(x) for x in X[:2]]
        device.reset()
        assert [device.train_step(x) for x in X[:2]] == again and learned != fresh


def test_a_gate_keeps_what_answers_more_right(build: kt.Build) -> None:
    with build.open() as device:
        device.reset()
        for x in X:  # the adapter that is judged
            device.train_step(x)
        state, answers = device.state(), device.predict(X)
        device.reset()
        before = int((device.predict(X) == answers).sum())
        assert before < 24, "nothing to judge"
        with device.gate(X, answers, more=24 - before) as gate:
            assert gate.kept is None and "judge" in str(gate)
            device.set_state(state)
        assert gate.kept and (gate.before, gate.after) == (before, 24) and device.state() == state and "kept" in str(gate)
        device.reset()
        start = device.state()
        with device.gate(X, answers, more=25 - before) as gate:
            device.set_state(state)
        assert not gate.kept and device.state() == start and "taken back" in str(gate)
        with pytest.raises(KeyError), device.gate(X, answers, more=-24) as gate:
            device.set_state(state)
            raise KeyError
        assert gate.kept is False and device.state() == start


WRONG: dict[str, tuple[Any, Any, Any, str]] = {
    "no samples": (X[:0], np.zeros(0, np.int32), 1, "no samples"),
    "labels for others": (X, np.zeros(3, np.int32), 1, "one label for each sample"),
    "a class too many": (X, np.full(24, 3), 1, "the model has 3 classes"),
    "half a sample": (X, np.zeros(24, np.int32), 0.5, "number of samples"),
}


@pytest.mark.parametrize(("x", "y", "more", "words"), WRONG.values(), ids=WRONG)
def test_what_a_gate_refuses(x: Any, y: Any, more: Any, words: str, build: kt.Build) -> None:
    with build.open() as device, pytest.raises(ValueError, match=words):
        device.gate(x, y, more)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "diversity": ({"diversity": -1}, "from 0 to 100"),
    "diversity that is no number": ({"diversity": "much"}, "from 0 to 100"),
    "memory": ({"memory": 0}, "number of samples from 1"),
    "prior": ({"prior": [1, 0, 1]}, "positive numbers"),
}


@pytest.mark.parametrize(("options", "words"), REFUSED.values(), ids=REFUSED)
def test_losses_that_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(kt.CompileError, match=words):
        kt.InformationMaximisation(**options)


def test_a_prior_of_other_classes_is_refused() -> None:
    with pytest.raises(kt.CompileError, match="has 2 shares, tiny has 3 classes"):
        kt.InformationMaximisation(prior=[1, 1]).attach(tiny())
