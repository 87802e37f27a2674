"""Learning without labels: what is judged, what a gate keeps and takes back, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import image, samples, tiny

import kilotune as kt
from kiloc.export import tflite as tflite_writer
from kiloc.ir import interp
from kiloc.ops import Moments
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


# -- re-normalisation -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evened(tmp_path_factory: pytest.TempPathFactory) -> kt.Build:
    folder = tmp_path_factory.mktemp("evened")
    (folder / "image.tflite").write_bytes(tflite_writer.write(image()))
    model = kt.load(folder / "image.tflite")
    return kt.build(model, folder / "build", method=kt.ScaleShift(), loss="mse", moments=True, calibration=SOURCE, measure=False)


SOURCE = samples(image(), 64)
DARKER = (SOURCE // 3 - 40).astype(np.int8)
"""The same through a sensor with less contrast and less light."""


def counted(build: kt.Build, device: kt.Device, x: Any) -> list[Moments]:
    device.load_adapter(device.export_adapter())
    device.set_learning_rate(0)
    for sample in x:
        device.train_step(sample, np.zeros(4))
    state = device.state()
    return [Moments.of(np.frombuffer(state, np.int32, 3 * len(m["units"]) + 1, m["at"])) for m in build.manifest["moments"]]


def test_moments_are_those_of_the_results(evened: kt.Build) -> None:
    """On the device as in NumPy, where the original domain's are counted; they mean what their names say."""
    with evened.open() as device:
        found = counted(evened, device, SOURCE)
    assert [m["layer"] for m in evened.manifest["moments"]] == ["stem", "spread"], "the last layer is left alone"
    for layer, moments in zip(evened.manifest["moments"], found, strict=True):
        assert layer["source"] == [*moments.rows.ravel().tolist(), moments.count] and moments.count == 64
    y = interp.run(image(), {"input": SOURCE})["stem"].astype(np.float64).reshape(-1, 4) + 128
    assert found[0].mean == pytest.approx(y.mean(0), abs=0.01) and found[0].deviation == pytest.approx(y.std(0), abs=0.05)
    assert found[0].active == pytest.approx((y > evened.manifest["moments"][0]["floor"]).mean(0), abs=0.01)


def test_renormalisation_sets_the_moments_back(evened: kt.Build) -> None:
    with evened.open() as device:
        device.reset()
        apart = {}
        for when in ("before", "after"):
            for layer, now in zip(evened.manifest["moments"], counted(evened, device, DARKER), strict=True):
                source = Moments.of(np.array(layer["source"]))
                apart[when] = apart.get(when, 0) + float(np.abs((now.mean - source.mean) / source.deviation).mean())
            if when == "before":
                device.renormalise(DARKER, passes=3, prior=0)
        assert apart["after"] < 0.4 * apart["before"]
        device.reset()
        start = device.export_adapter()
        device.renormalise(SOURCE, passes=1)
        same = [np.abs(a - b).max() for a, b in zip(device.export_adapter().values().values(), start.values().values(), strict=True)]
        assert max(same[1:]) <= 24, "the original domain itself leaves all but the exponent of a gain nearly as it was"


def test_what_renormalisation_refuses(build: kt.Build, evened: kt.Build, tmp_path: Path) -> None:
    with build.open() as device, pytest.raises(kt.DeviceError, match="keeps no moments"):
        device.renormalise(X)
    with evened.open() as device:
        for options, words in (({"passes": 0}, "at least 1"), ({"prior": -1}, "at least 0"), ({"passes": 1.5}, "at least 1")):
            with pytest.raises(ValueError, match=words):
                device.renormalise(SOURCE, **options)
        with pytest.raises(ValueError, match="no samples"):
            device.renormalise(SOURCE[:0])
    model = kt.load(evened.directory.parent / "image.tflite")
    given: tuple[tuple[Any, Any, str], ...] = (
        (kt.ScaleShift(), None, "calibration samples"), (kt.BiasOnly(), SOURCE, "several layers"), (kt.ScaleShift("last:1"), SOURCE, "several layers")
    )  # fmt: skip
    for method, calibration, words in given:
        with pytest.raises(kt.CompileError, match=words):
            kt.build(model, tmp_path / "refused", method=method, loss="mse", moments=True, calibration=calibration, measure=False)


@pytest.mark.qemu
def test_a_board_adapts_without_labels_with_the_bits_of_the_host(tmp_path: Path, qemu: str, arm_gcc: str) -> None:
    """Both ways, one after the other."""
    (tmp_path / "tiny.tflite").write_bytes(tflite_writer.write(tiny()))
    model = kt.load(tmp_path / "tiny.tflite")
    loss, source = kt.InformationMaximisation(memory=16), samples(model.graph, 32)
    build = kt.build(model, tmp_path / "build", method=kt.ScaleShift(), loss=loss, moments=True, accumulate=4, calibration=source)
    states = []
    for where in ("host", "qemu:mps2-an386"):
        with build.open(where) as device:
            device.renormalise(X // 2, passes=1)
            device.fit(X // 2, epochs=1)
            states.append(device.state())
    assert states[0] == states[1]


# -- what is refused --------------------------------------------------------------------------------------


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
