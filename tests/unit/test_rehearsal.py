"""Rehearsal: what a model was made for, among what it learns; and adapters whose change is a part of another's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import samples, tiny

import kilotune as kt
from kiloc.export import tflite
from kilotune.adapters import scaled
from kilotune.adapters.compare import real_values
from kilotune.devices.manifest import Manifest, Tensor
from kilotune.devices.rehearsal import Turn, targets_of

X, KNOWN = samples(tiny(), 24), samples(tiny(), 60)[30:]
Y = (X[:, 0] > 0).astype(np.int64)
METHODS: dict[str, list[Any]] = {"gains": [kt.ScaleShift()], "lora": [kt.BiasOnly(), kt.LoRA(rank=2)]}
"""Builds whose loss takes distributions."""


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, kt.Build]:
    folder = tmp_path_factory.mktemp("rehearsal")
    (folder / "tiny.tflite").write_bytes(tflite.write(tiny()))
    model, sgd = kt.load(folder / "tiny.tflite"), kt.SGD(lr=0.3)
    found = {
        name: kt.build(model, folder / name, method=methods, loss="soft_cross_entropy", optimizer=sgd, calibration=(X, Y), measure=False)
        for name, methods in METHODS.items()
    }
    return found | {"labels": kt.build(model, folder / "labels", method=kt.Head(), calibration=X, measure=False)}


def test_every_sample_has_its_turn_before_the_first_comes_again() -> None:
    turn, order = Turn(10, 7, 1.5, 3), np.arange(10)
    epochs = [turn.among(order) for _ in range(3)]
    for epoch in epochs:
        assert len(epoch) == 25 and epoch[0] == 0 and np.array_equal(epoch[epoch < 10], order)
        runs = np.diff(np.flatnonzero(epoch < 10))
        assert runs.min() >= 2 and runs.max() <= 3, "evenly between the new ones"
    known = np.concatenate([epoch[epoch >= 10] for epoch in epochs])
    for around in known[:42].reshape(-1, 7):
        assert set(around) == set(range(10, 17))
    assert np.array_equal(Turn(10, 7, 1.5, 3).among(order), epochs[0]) and len(set(map(tuple, known[:42].reshape(-1, 7)))) > 1


CODES = np.array([[10, -20, 5], [-128, 127, 0]], np.int8)


@pytest.mark.parametrize(
    ("loss", "tensor", "expected"),
    [
        ("soft_cross_entropy", Tensor((1, 3), 0.1, 3), lambda r: np.exp(r) / np.exp(r).sum(1, keepdims=True)),
        ("soft_cross_entropy", Tensor((1, 3), 1 / 256, -128, softmax=True), lambda r: r / r.sum(1, keepdims=True)),
        ("bce", Tensor((1, 3), 0.1, 3), lambda r: 1 / (1 + np.exp(-r))),
        ("bce", Tensor((1, 3), 1 / 256, -128, logistic=True), lambda r: r),
        ("mse", Tensor((1, 3), 0.1, 3), lambda r: r),
    ],
)
def test_targets_are_what_was_answered(loss: str, tensor: Tensor, expected: Callable[[Any], Any], builds: dict[str, kt.Build]) -> None:
    manifest = Manifest.load(builds["gains"].directory)
    object.__setattr__(manifest, "loss", loss)
    object.__setattr__(manifest, "outputs", (tensor,))
    real = (CODES.astype(np.float64) - tensor.zero_point) * tensor.scale
    assert targets_of(CODES, manifest) == pytest.approx(expected(real), rel=1e-5)


def test_fit_is_the_steps_that_it_says(builds: dict[str, kt.Build]) -> None:
    """New samples with their labels, known ones with what the model as built answers, also where it has learned since."""
    with builds["gains"].open() as device:
        answers = np.asarray(device.infer(KNOWN))
        tensor = device.manifest.outputs[0]
        start = device.export_adapter()
        device.fit(X[:8], Y[:8], epochs=2, hold_out=0)
        learned = device.state()
        done = device.fit(X, Y, epochs=2, seed=5, decay="constant", hold_out=0, learning_rate=0.1, rehearsal=kt.Rehearsal(KNOWN, 0.5))
        assert (done.samples, done.rehearsed, done.updates) == (24, 12, 72)
        fitted = device.state()
        device.set_state(learned)
        device.set_learning_rate(0.1)
        turn, generator = Turn(24, len(KNOWN), 0.5, 5), np.random.Generator(np.random.PCG64(5))
        inputs = np.concatenate([X, KNOWN])
        real = (answers.astype(np.float64) - tensor.zero_point) * tensor.scale
        known = real / real.sum(1, keepdims=True) if tensor.softmax else np.exp(real) / np.exp(real).sum(1, keepdims=True)
        targets = np.concatenate([np.eye(tensor.size)[Y], known.reshape(len(KNOWN), -1)]).astype(np.float32)
        for _ in range(2):
            for row in turn.among(generator.permutation(24)):
                device.train_step(inputs[row], targets[row])
                device.apply()
        assert device.state() == fitted
        device.load_adapter(start)
        assert np.array_equal(device.infer(KNOWN), answers)


def test_what_is_rehearsed_is_forgotten_less(builds: dict[str, kt.Build], tmp_path: Path) -> None:
    """And a training that was cut off goes on with the same bits."""
    with builds["lora"].open() as device:
        before = np.asarray(device.infer(KNOWN)).astype(int)
        moved, states = {}, {}
        for name, options in {"alone": {}, "rehearsed": {"rehearsal": kt.Rehearsal(KNOWN)}}.items():
            device.reset()
            device.fit(X, 1 - Y, epochs=6, hold_out=0, **options)
            states[name] = device.state()
            moved[name] = np.abs(np.asarray(device.infer(KNOWN)).astype(int) - before).mean()
        assert moved["rehearsed"] < 0.8 * moved["alone"]
        device.reset()
        kept = {"hold_out": 0, "rehearsal": kt.Rehearsal(KNOWN), "checkpoint": tmp_path / "kept"}
        device.fit(X, 1 - Y, epochs=6, **kept)
        device.reset()
        assert device.fit(X, 1 - Y, epochs=6, resume=True, **kept).rehearsed == 48 and device.state() == states["rehearsed"]
        kept["rehearsal"] = kt.Rehearsal(KNOWN, 1)
        with pytest.raises(kt.DeviceError, match="options differ"):
            device.fit(X, 1 - Y, epochs=6, resume=True, **kept)


@pytest.mark.parametrize(
    ("build", "rehearsal", "words"),
    [
        ("labels", lambda: kt.Rehearsal(KNOWN), "soft_cross_entropy"),
        ("gains", lambda: kt.Rehearsal(KNOWN[:0]), "holds no samples"),
        ("gains", lambda: kt.Rehearsal(KNOWN[:, :3]), "rehearsal has shape"),
        ("gains", lambda: kt.Rehearsal(np.full(KNOWN.shape, np.nan)), "rehearsal holds nan"),
        ("gains", lambda: kt.Rehearsal(KNOWN, 0), "ratio is 0"),
        ("gains", lambda: kt.Rehearsal(KNOWN, True), "ratio is True"),
        ("gains", lambda: kt.Rehearsal(KNOWN, float("nan")), "ratio is nan"),
    ],
)
def test_what_cannot_be_rehearsed_is_refused(build: str, rehearsal: Callable[[], Any], words: str, builds: dict[str, kt.Build]) -> None:
    with builds[build].open() as device:
        state = device.state()
        with pytest.raises(ValueError, match=words):
            device.fit(X, np.arange(len(X)) % 3, epochs=1, rehearsal=rehearsal())
        assert device.state() == state


def test_class_numbers_are_distributions_of_one_class(builds: dict[str, kt.Build]) -> None:
    with builds["gains"].open() as device:
        classes = device.manifest.outputs[0].size
        assert device.evaluate(X, Y) == pytest.approx(device.evaluate(X, np.eye(classes, dtype=np.float32)[Y]))
        assert device.train_step(X[0], int(Y[0])) == pytest.approx(device.evaluate(X[:1], Y[:1])["loss"], abs=1.0)


@pytest.mark.parametrize("name", METHODS)
def test_a_part_of_a_change(name: str, builds: dict[str, kt.Build]) -> None:
    with builds[name].open() as device:
        base, answers = device.export_adapter(), np.asarray(device.infer(X))
        device.fit(X, 1 - Y, epochs=6, hold_out=0)
        whole = device.export_adapter()
        start, end = real_values(base), real_values(whole)
        assert scaled(whole, 1, base).payload == whole.payload
        half = real_values(scaled(whole, 0.5, base))
        for key, value in half.items():
            expected = end[key] if key.endswith("lora_a") else start[key] + (end[key] - start[key]) / 2
            step = 1.0 if key.endswith("bias") else 2 * np.abs(expected).max() / 127 + 1e-9
            assert np.abs(value - expected).max() <= step, key
        assert any(np.abs(end[key] - start[key]).max() > 0 for key in end)
        device.load_adapter(scaled(whole, 0, base))
        assert np.array_equal(device.infer(X), answers)


def test_shares_and_bases_that_make_no_sense(builds: dict[str, kt.Build]) -> None:
    with builds["gains"].open() as device, builds["lora"].open() as other:
        base, foreign = device.export_adapter(), other.export_adapter()
    for share in (-0.1, 1.5, float("nan"), True, "half"):
        with pytest.raises(ValueError, match="share is"):
            scaled(base, share, base)  # type: ignore[arg-type]
    with pytest.raises(kt.DeviceError, match="the same build"):
        scaled(base, 0.5, foreign)
