"""The default recipe: the rate that suits the methods, and what `fit` does when it is told nothing but the samples."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import image, samples, tiny

import kilotune as kt
from kiloc import pipeline
from kiloc.export import tflite
from kiloc.ir.graph import NEW_HEAD
from kiloc.optim.rates import BEFORE_NEW_HEAD, default_rate, head_factor
from kiloc.options import Options
from kiloc.peft import REGISTRY, Calibration, method_of
from kilotune.devices import Device
from kilotune.devices.recipe import PATIENCE, Best, Schedule, default_epochs, default_share, doubts, held_out

X = samples(tiny(), 120)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> kt.Build:
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "tiny.tflite").write_bytes(tflite.write(tiny()))
    return kt.build(kt.load(folder / "tiny.tflite"), folder / "tiny", method=kt.BiasOnly(), calibration=X, measure=False)


@pytest.fixture
def device(build: kt.Build) -> Iterator[Device]:
    with build.open() as opened:
        yield opened


@pytest.fixture
def labels(device: Device) -> Any:
    """What the model says, every third wrong: it has something to learn and to overfit."""
    y = device.predict(X)
    y[::3] = (y[::3] + 1) % 3
    return y


def test_rate_falls_with_the_number_of_tensors() -> None:
    assert default_rate("sgd", ["bias"] * 10) == 0.3
    assert default_rate("sgd", ["bias"] * 3) == 0.5, "no more than the highest"
    assert default_rate("sgd", ["full"] * 20) == 0.015


def test_most_careful_method_decides() -> None:
    assert default_rate("sgd", ["bias"] * 10 + ["lora"] * 10) == 0.1
    assert default_rate("adam", ["bias", "lora"]) == 0.01
    assert default_rate("lion", ["head"]) == 0.002


def test_a_new_head_goes_by_its_own_rate() -> None:
    """Whatever their number; what is trained before it goes by a part of the usual."""
    trained = ["lora"] * 20 + [NEW_HEAD] * 2
    assert default_rate("sgd", trained) == pytest.approx(BEFORE_NEW_HEAD * default_rate("sgd", trained[:20]), rel=0.05)
    for momentum in (0.0, 0.9):
        rate = default_rate("sgd", trained, momentum) * head_factor("sgd", trained, momentum)
        assert rate == pytest.approx(0.5 * (1 - momentum)) == default_rate("sgd", trained[20:], momentum)
    assert head_factor("sgd", trained[20:]) == head_factor("sgd", ["head", "lora"]) == 1
    assert head_factor("adam", trained) * default_rate("adam", trained) == pytest.approx(0.03)


def test_the_rate_of_a_new_head_is_in_the_build() -> None:
    """A control that each update makes from the device's rate; none where the user names a rate, which is every tensor's."""
    graph, x = image(), samples(image(), 4)
    methods = (kt.Head(classes=3), kt.ScaleShift())

    def compiled(optimizer: kt.Optimizer) -> Any:
        return pipeline.compile_graph(graph, Options(methods=methods, optimizer=optimizer, calibration=x), "0").graph

    for optimizer in (kt.SGD(), kt.SGD(schedule=kt.CosineDecay(updates=10)), kt.Adam()):
        whole = compiled(optimizer)
        readers = {n.name.removesuffix(".step").removesuffix(".optimizer") for n in whole.nodes if n.inputs.get("learning_rate") == "head_rate"}
        assert readers == {p.name for p in whole.parameters if p.method == NEW_HEAD} != set(), optimizer
    assert "head_rate" not in compiled(kt.SGD(lr=0.1)).values


def test_momentum_adds_up() -> None:
    assert default_rate("sgd", ["lora"] * 20, momentum=0.9) == 0.01


def test_every_parameter_names_a_method_with_rates() -> None:
    graph = image()
    from kiloc.ir import interp

    activations = interp.run(graph, {graph.inputs[0]: samples(graph, 4)})
    for made in (*(method() for method in REGISTRY.values()), kt.Head(classes=3)):
        found = made.attach(graph, Calibration(activations)).parameters
        assert found and {method_of(p.method) for p in found} == {type(made)}
    with pytest.raises(kt.CompileError, match="not among the methods that are registered"):
        default_rate("sgd", ["bias", "prompt"])


def test_build_starts_with_the_rate(build: kt.Build, tmp_path: Path, device: Device) -> None:
    rate = default_rate("sgd", ["bias"] * 3)
    assert build.manifest["learning_rate"] == rate and f"lr={rate:g}" in build.manifest["options"]["optimizer"]
    assert np.float32(rate).tobytes() in device.state()
    model = tmp_path / "tiny.tflite"
    model.write_bytes(tflite.write(tiny()))
    named = kt.build(kt.load(model), tmp_path / "named", method=kt.BiasOnly(), optimizer=kt.SGD(lr=0.07))
    assert named.manifest["learning_rate"] == 0.07, "a rate that the user names is taken as it is"
    assert kt.build(kt.load(model), tmp_path / "inference", measure=False).manifest["learning_rate"] is None


def test_epochs_make_a_thousand_steps() -> None:
    assert [default_epochs(n) for n in (1, 25, 50, 331, 120, 5000)] == [1000, 40, 20, 4, 9, 3]


def test_few_or_unequal_samples_are_all_trained_on() -> None:
    assert default_share(np.arange(120, dtype=np.int32) % 12, 120) == 0.2
    assert default_share(np.arange(90, dtype=np.int32) % 12, 90) == 0
    assert default_share(np.repeat(np.array([0, 1], np.int32), [313, 2]), 315) == 0, "the held-out loss would know nothing of class 1"
    assert default_share(np.repeat(np.array([0, 2], np.int32), [271, 60]), 331) == 0.2, "a class that never occurs does not count"
    assert default_share(None, 1000) == 0


def test_held_out_samples_are_of_every_class() -> None:
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(4, dtype=np.int32), [40, 30, 20, 10]))
    mask = held_out(y, 100, 0.2, seed=3)
    assert mask.sum() == 20
    assert np.abs(np.bincount(y[mask], minlength=4) - [8, 6, 4, 2]).max() <= 1
    assert np.array_equal(mask, held_out(y, 100, 0.2, seed=3)) and not np.array_equal(mask, held_out(y, 100, 0.2, seed=4))


def test_fit_told_nothing_follows_the_recipe(device: Device, labels: Any) -> None:
    history = device.fit(X, labels)
    rate, rates = device.manifest.learning_rate, np.array(history.learning_rates)
    assert history.updates == 9 * 96 and len(history.validation) == 9 and rates[0] == rate
    assert (np.diff(rates) < 0).all() and rates[-1] < 0.01 * rates[0]
    assert history.best_epoch is not None


def test_a_new_head_learns_from_all_samples(tmp_path: Path) -> None:
    (tmp_path / "tiny.tflite").write_bytes(tflite.write(tiny()))
    made = kt.build(kt.load(tmp_path / "tiny.tflite"), tmp_path / "build", method=kt.Head(classes=2), calibration=X, measure=False)
    with made.open() as device:
        history = device.fit(X, np.arange(len(X)) % 2)
        assert history.held_out == 0 and history.samples == 120 and len(history.learning_rates) == history.updates
        assert device.fit(X, np.arange(len(X)) % 2, epochs=1, hold_out=0.2).updates == 96, "unless the user asks for it"


def test_fit_of_few_samples_trains_on_all_and_is_judged_by_them(device: Device, labels: Any) -> None:
    """Nothing is held out; the state with the lowest loss on the samples themselves is kept, and the result says so."""
    history = device.fit(X[:40], labels[:40])
    assert history.samples == 40 and history.held_out == 0 and history.judged_by_its_own
    assert history.updates == 40 * len(history.losses) and len(history.validation) == len(history.losses)
    assert history.best_epoch is not None and "as none were held out" in history.text()
    assert history.after == device.evaluate(X[:40], labels[:40])
    plain = device.fit(X[:40], labels[:40], hold_out=0.0)
    assert plain.updates == 25 * 40 and plain.validation == [] and plain.best_epoch is None, "who names hold_out is taken at the word"


def test_a_rate_that_wrecks_is_noticed_without_samples_held_out(device: Device, labels: Any) -> None:
    """At a rate far too high the plain training ends worse than it began; by default it does not, and says what it kept."""
    rate, start = 30.0, device.evaluate(X[:8], labels[:8])["loss"]
    device.fit(X[:8], labels[:8], learning_rate=rate, hold_out=0.0)
    assert device.evaluate(X[:8], labels[:8])["loss"] > start
    device.reset()
    history = device.fit(X[:8], labels[:8], learning_rate=rate)
    assert device.evaluate(X[:8], labels[:8])["loss"] <= start and history.after is not None and history.after["loss"] <= start
    undone = [b / a for a, b in itertools.pairwise(history.to_dict()["learning_rates"]) if b < 0.9 * a]
    assert undone and all(b > 0.5 for b in undone), "an epoch of eight samples lowers the rate by less than one of 25"


def test_named_epochs_change_nothing_but_their_number(device: Device, labels: Any) -> None:
    """The rate falls and samples are held out, as without; who wants neither says so."""
    history = device.fit(X, labels, epochs=3)
    rates = np.array(history.learning_rates)
    assert history.samples == 96 and history.held_out == 24 and history.updates == 96 * len(history.losses)
    assert (np.diff(rates) < 0).all() and rates[-1] < 0.02 * rates[0] and history.best_epoch is not None
    few = device.fit(X[:40], labels[:40], epochs=2)
    assert few.updates == 80 and few.learning_rates[-1] < 1.01 * few.learning_rates[0] / 80
    plain = device.fit(X, labels, epochs=2, decay="constant", hold_out=0.0)
    assert plain.updates == 240 and plain.learning_rates == [] and plain.best_epoch is None
    assert device.fit(X, labels, epochs=0).updates == 0


def test_training_that_only_hurts_ends_early_and_is_undone(device: Device) -> None:
    predicted = device.predict(X)
    start = device.evaluate(X, predicted)
    history = device.fit(X, (predicted + 1) % 3, epochs=50, learning_rate=0.9, validation=(X, predicted), keep_best=True)
    assert len(history.losses) == PATIENCE and history.epochs == 50 and history.best_epoch == 0
    assert history.ended == "the held-out loss fell no more" and history.before == history.after == start
    assert "the model is as it was before" in history.text() and device.evaluate(X, predicted) == start


def test_history_says_how_it_went(device: Device, labels: Any) -> None:
    history = device.fit(X, labels, epochs=4, seed=1)
    mask = held_out(labels.astype(np.int32), len(X), 0.2, 1)
    assert history.ended == "all epochs were trained" or len(history.losses) < 4
    assert history.after == device.evaluate(X[mask], labels[mask]) != history.before
    written = json.loads(json.dumps(history.to_dict()))
    assert written["best_epoch"] == history.best_epoch and len(written["learning_rates"]) == len(written["losses"]) == len(history.losses)


def test_few_held_out_samples_end_nothing_that_they_cannot_judge() -> None:
    """One of five samples that gets much worse, while the others get better: no reason to undo an epoch. All five: one."""
    start, lucky = np.full(5, 1.0), np.array([0.5, 0.6, 0.5, 0.7, 4.0])
    for doubts_, kept in ((doubts(5), 1), (doubts(24), 0)):
        states, schedule = iter((b"start", b"after")), Schedule(0.1, 10, True)
        best = Best(start, lambda states=states: next(states), lambda state: None, doubts_)  # type: ignore[misc]
        assert not best.consider(lucky, schedule) and best.kept_epoch == kept
        assert schedule.share == (1.0 if kept else pytest.approx(1 / 3))
    best = Best(start, lambda: b"", lambda state: None, doubts(5))
    assert not best.consider(start + np.array([0.5, 0.6, 0.5, 0.7, 0.6]), Schedule(0.1, 10, True)) and best.kept_epoch == 0


def test_holding_out_of_few_samples_does_not_lose(tmp_path: Path, data_dir: Path) -> None:
    """25 samples of drifted gas sensors: a fifth held out used to stop the training long before it was done."""
    d = np.load(data_dir / "sets/gas_drift.npz")
    x, y = d["x"].astype(np.float32), d["y"].astype(np.int32)
    batch = np.flatnonzero(d["batch"] == 4)
    build = kt.build(kt.load(data_dir / "models/gas_mlp_int8.tflite"), tmp_path / "b", method=kt.BiasOnly(), calibration=x[d["base_train_idx"]][:256])
    means = {}
    with build.open() as opened:
        for share in (0.0, 0.2):
            reached = []
            for seed in (3, 4, 5):
                rng = np.random.default_rng(seed)
                rows = np.concatenate([rng.choice(c, 5, replace=False) for k in range(6) if len(c := batch[y[batch] == k])])
                rest = np.setdiff1d(batch, rows)
                opened.reset()
                opened.fit(x[rows], y[rows], seed=seed, hold_out=share)
                reached.append(opened.evaluate(x[rest], y[rest])["accuracy"])
            means[share] = np.mean(reached)
    assert means[0.2] > means[0.0] - 0.03, means


def test_worse_epochs_are_undone_at_a_lower_rate(device: Device, labels: Any) -> None:
    predicted = device.predict(X)
    start = device.evaluate(X, predicted)["loss"]
    history = device.fit(X, (predicted + 1) % 3, epochs=4, learning_rate=0.9, decay="constant", validation=(X, predicted), keep_best=True)
    firsts = history.learning_rates[:: len(X)]
    assert firsts == pytest.approx([0.9, 0.3, 0.1, 0.1 / 3]), "every epoch hurts"
    assert history.best_epoch == 0 and device.evaluate(X, predicted)["loss"] == start


def test_held_out_state_is_the_best(device: Device, labels: Any) -> None:
    history = device.fit(X, labels, epochs=5, seed=2, hold_out=0.25)
    mask = held_out(labels.astype(np.int32), len(X), 0.25, 2)
    assert history.updates == 5 * 90 and mask.sum() == 30
    assert device.evaluate(X[mask], labels[mask])["loss"] <= min(v["loss"] for v in history.validation)


def test_bad_shares_are_refused(device: Device, labels: Any) -> None:
    for share in (-0.1, 1.0, 0.999):
        with pytest.raises(ValueError, match="hold_out"):
            device.fit(X, labels, epochs=1, hold_out=share)
    with pytest.raises(ValueError, match="leave validation out"):
        device.fit(X, labels, epochs=1, hold_out=0.2, validation=(X, labels))
