"""What is said of outputs: losses and measures of each kind of target; and labels on a circle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import image, samples, tiny
from gradients.graphs import several_labels

import kilotune as kt
from kiloc.export import tflite as tflite_writer
from kilotune.devices import judgement
from kilotune.devices.judgement import Nearness
from kilotune.devices.manifest import Tensor

LOGITS = Tensor((1, 4), 0.5, 0)
SOFTMAX = Tensor((1, 4), 1 / 256, -128, softmax=True)
LOGISTIC = Tensor((1, 4), 1 / 256, -128, logistic=True)
CODES = np.array([[10, 20, -5, 0], [3, 2, 1, 0]], np.int8)


@pytest.mark.parametrize("tensor", [LOGITS, SOFTMAX])
def test_distributions_of_one_class_are_judged_as_labels(tensor: Tensor) -> None:
    labels = np.array([1, 3], np.int32)
    soft = judgement.of_distributions(CODES, np.eye(4, dtype=np.float32)[labels], tensor)
    hard = judgement.of_labels(CODES, labels, tensor)
    assert soft.losses == pytest.approx(hard.losses, rel=1e-12) and soft.means()["accuracy"] == hard.means()["accuracy"] == 0.5


def test_distributions_are_judged_by_the_formula() -> None:
    t = np.array([[0.5, 0.25, 0.25, 0], [0.1, 0.2, 0.3, 0.4]], np.float32)
    y = CODES * 0.5
    expected = -(t * (y - np.log(np.exp(y).sum(1, keepdims=True)))).sum(1)
    assert judgement.of_distributions(CODES, t, LOGITS).losses == pytest.approx(expected, rel=1e-6)


def test_bits() -> None:
    outputs = np.array([[2.0, -1.0, 3.0, -4.0], [1.0, 1.0, -1.0, -1.0]], np.float32)
    targets = np.array([[1, 0, 1, 0], [1, 0, 1, 0]], np.float32)
    found = judgement.of_bits(outputs, targets, LOGITS).means()
    logistic = 1 / (1 + np.exp(-outputs.astype(np.float64)))
    assert found["loss"] == pytest.approx(np.mean(-targets * np.log(logistic) - (1 - targets) * np.log(1 - logistic)))
    assert found["accuracy"] == 0.75 and found["exact_match"] == 0.5
    assert found["f1"] == pytest.approx(2 * 3 / (4 + 4)), "three of four are found, and one is there that is not"
    nothing = judgement.of_bits(-np.ones((1, 4), np.float32), np.zeros((1, 4), np.float32), LOGITS).means()
    assert nothing["f1"] == 1.0 and nothing["exact_match"] == 1.0


def test_bits_of_probabilities() -> None:
    """What int8 holds as 0 is half a step."""
    outputs, targets = np.array([[0.0, 0.75, 0.5, 1.0]], np.float32), np.array([[1, 1, 0, 1]], np.float32)
    found = judgement.of_bits(outputs, targets, LOGISTIC).means()
    p = np.array([1 / 512, 0.75, 0.5, 511 / 512])
    assert found["loss"] == pytest.approx(np.mean(-np.log([p[0], p[1], 1 - p[2], p[3]]))) and found["accuracy"] == 0.75


def test_values() -> None:
    outputs, targets = np.array([[1.0, 2.0], [0.0, 5.0]], np.float32), np.array([[1.0, 1.0], [3.0, 5.0]], np.float32)
    found = judgement.of_values(outputs, targets).means()
    assert found == {"loss": 2.5, "mae": 1.0, "rmse": pytest.approx(np.sqrt(2.5))}
    huber = judgement.of_values(outputs, targets, delta=1.0).means()
    assert huber["loss"] == pytest.approx(np.mean([0, 0.5, 2.5, 0])) and huber["mae"] == 1.0


def test_near_enough() -> None:
    line, circle = Nearness(1), Nearness(1, 10)
    answers, targets = np.array([0, 3, 9]), np.array([9, 4, 9])
    assert line.share(answers, targets) == pytest.approx(2 / 3) and circle.share(answers, targets) == 1.0
    pairs = np.array([[0.5, 359.0], [10.0, 20.0]])
    assert Nearness(2, 360).share(pairs, np.array([[359.0, 0.9], [10.0, 23.0]])) == 0.5, "all of a sample's values are near"
    for wrong in ({"within": -1}, {"within": float("nan")}, {"within": 1, "period": 0}, {"within": "1"}):
        with pytest.raises(ValueError, match="it must be a number"):
            Nearness(**wrong)  # type: ignore[arg-type]


# -- labels on a circle -----------------------------------------------------------------------------------


def test_positions_between_classes_are_shared_between_them() -> None:
    found = kt.circular_labels([0, 2.25, 9.5], 10, width=0)
    expected = np.zeros((3, 10))
    expected[0, 0], expected[1, 2], expected[1, 3], expected[2, 9], expected[2, 0] = 1, 0.75, 0.25, 0.5, 0.5
    assert found.dtype == np.float32 and found == pytest.approx(expected)


@pytest.mark.parametrize("width", [0.001, 0.5, 1.0, 30.0, 1e6])
def test_the_last_class_is_beside_the_first(width: float) -> None:
    found = kt.circular_labels([0, 99.0, 49.5], 100, width)
    assert found.sum(1) == pytest.approx(np.ones(3), abs=1e-5) and np.isfinite(found).all()
    assert found[0, 1] == found[0, 99] and np.roll(found[1], 1) == pytest.approx(found[0])
    assert found[2, 49] == found[2, 50] == found[2].max()


@pytest.mark.parametrize(
    ("positions", "classes", "width", "words"),
    [([10], 10, 1, "from 0 to below 10"), ([-0.1], 10, 1, r"holds -0.1 at \[0\]"), ([np.nan], 10, 1, "from 0"), ([[1]], 10, 1, "pass N numbers"),
     (["1"], 10, 1, "pass N numbers"), ([1], 1, 1, "at least 2"), ([1], 2.5, 1, "whole number"), ([1], 10, -1, "at least 0"),
     ([1], 10, np.inf, "at least 0")],
)  # fmt: skip
def test_positions_that_are_refused(positions: Any, classes: Any, width: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        kt.circular_labels(positions, classes, width)


# -- on a device ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for graph in (tiny(), image(), several_labels()):
        (folder / f"{graph.name}.tflite").write_bytes(tflite_writer.write(graph))
    return folder


def trained(model: kt.Model, folder: Path, loss: Any, x: Any, y: Any) -> kt.Build:
    return kt.build(model, folder, method=kt.Full(), loss=loss, calibration=(x, y), accumulate=4, measure=False)


def test_a_device_learns_distributions_on_a_circle(models: Path) -> None:
    """The three classes of the model as thirds of a circle."""
    model = kt.load(models / "tiny.tflite")
    x, position = samples(model.graph, 24), np.random.default_rng(0).integers(0, 3, 24) + 0.25
    y = kt.circular_labels(position, 3, width=0.5)
    build = trained(model, models / "soft", "soft_cross_entropy", x, y)
    assert build.manifest["targets"] == "values" and build.manifest["classes"] is None
    with build.open() as device:
        before = device.evaluate(x, y, within=1, period=3)
        assert before["within"] == 1.0, "no class of three is further away"
        device.fit(x, y, epochs=20, learning_rate=0.1)
        after = device.evaluate(x, y, within=0)
        assert after["loss"] < 0.8 * before["loss"] and after["within"] == after["accuracy"] > before["accuracy"]


@pytest.mark.parametrize("name", ["image", "several_labels"])
@pytest.mark.parametrize("loss", ["bce", kt.BinaryCrossEntropy(0.1, positive_weights=3)], ids=str)
def test_a_device_learns_several_labels(loss: Any, name: str, models: Path) -> None:
    """From logits, and from a logistic function behind which they are found."""
    model = kt.load(models / f"{name}.tflite")
    x, y = samples(model.graph, 24), np.random.default_rng(1).integers(0, 2, (24, 4)).astype(np.float32)
    with trained(model, models / "bits", loss, x, y).open() as device:
        assert device.manifest.outputs[0].logistic == (name == "several_labels")
        before = device.evaluate(x, y)
        device.fit(x, y, epochs=20, learning_rate=0.1)
        after = device.evaluate(x, y)
        assert all(after[name] > before[name] for name in ("accuracy", "exact_match", "f1")) and after["loss"] < before["loss"]
        with pytest.raises(ValueError, match="leave it out"):
            device.evaluate(x, y, within=1)


def test_a_device_learns_values_by_huber(models: Path) -> None:
    model = kt.load(models / "image.tflite")
    x = samples(model.graph, 24)
    y = np.random.default_rng(1).normal(0, 1, (24, 4)).astype(np.float32)
    y[3, 2] = 1e6  # an outlier, which the squared error would see alone
    build = trained(model, models / "huber", kt.Huber(0.5), x, y)
    assert build.manifest["huber_delta"] == 0.5 and build.report["model"]["loss"] == "huber delta=0.5"
    with build.open() as device:
        before = device.evaluate(np.delete(x, 3, 0), np.delete(y, 3, 0), within=0.5)
        device.fit(x, y, epochs=30, learning_rate=0.05)
        after = device.evaluate(np.delete(x, 3, 0), np.delete(y, 3, 0), within=0.5)
        assert after["mae"] < 0.8 * before["mae"] and after["rmse"] < before["rmse"] and after["within"] >= before["within"]


WRONG: dict[str, tuple[Any, str]] = {
    "no class": (np.array([0, 3]), r"holds label 3 at \[1\]"),
    "a sum of two": (np.full((2, 3), 2 / 3), r"sums to 2 at \[0\]"),
    "below zero": (np.array([[1.0, 0, 0], [1.5, -0.5, 0]]), r"holds 1.5 at \[1, 0\], outside \[0, 1\]"),
    "too few": (np.ones((2, 2)) / 2, "expected"),
    "nan": (np.full((2, 3), np.nan), "finite"),
}


@pytest.mark.parametrize("name", WRONG)
def test_targets_that_are_no_distributions_are_refused(name: str, models: Path) -> None:
    y, words = WRONG[name]
    model, folder = kt.load(models / "tiny.tflite"), models / "refusing"
    build = kt.open_build(folder) if folder.exists() else kt.build(model, folder, method=kt.Head(), loss="soft_cross_entropy", measure=False)
    with build.open() as device:
        state, x = device.state(), samples(model.graph, 2)
        for call in (device.fit, device.evaluate):
            with pytest.raises(ValueError, match=words):
                call(x, y)
        with pytest.raises(ValueError):
            device.train_step(x[0], y[-1])
        assert device.state() == state
        with pytest.raises(ValueError, match="period is given without within"):
            device.evaluate(x, y, period=3)


def test_the_agent_gives_the_same_bits(models: Path) -> None:
    """Distributions go over the line as values do."""
    model = kt.load(models / "tiny.tflite")
    x, y = samples(model.graph, 4), kt.circular_labels([0, 1.5, 2, 2.5], 3)
    build = trained(model, models / "agent", kt.SoftCrossEntropy(0.1, [1, 2, 3]), x, y)
    states = []
    for name in ("host", "agent:host"):
        with build.open(name) as device:
            losses = [device.train_step(a, b) for a, b in zip(x, y, strict=True)]
            device.apply()
            states.append((device.state(), losses))
    assert states[0] == states[1] and states[0][1][0] > 0
