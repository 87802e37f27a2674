"""The threshold that is kept calibrated: C against Python bit for bit, what it does with drift, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import pytest
from golden.reference import samples
from gradients.graphs import Maker

import kilotune as kt
from kiloc.export import tflite as tflite_writer
from kilotune import resources, toolchain


def autoencoder() -> Any:
    """8 values to 3 and back."""
    m = Maker("autoencoder", (1, 8), 3)
    return m.finish(m.dense(m.dense("input", "narrow", 3, "relu"), "wide", 8))


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> kt.Build:
    folder = tmp_path_factory.mktemp("threshold")
    (folder / "autoencoder.tflite").write_bytes(tflite_writer.write(autoencoder()))
    loss, x = kt.MeanSquaredError(target="input"), samples(autoencoder(), 32)
    return kt.build(kt.load(folder / "autoencoder.tflite"), folder / "build", method=kt.ScaleShift(), loss=loss, calibration=x, measure=False)


@pytest.fixture(scope="module")
def library(build: kt.Build) -> Any:
    """The C of a build, which brings the unit for models that score: an autoencoder's do."""
    ffi = cffi.FFI()
    text = (resources.runtime() / "include/kt/threshold.h").read_text()
    text = re.sub(r"/\*.*?\*/|^#ifdef __cplusplus.*?#endif", "", text, flags=re.S | re.M)
    ffi.cdef(re.sub(r"^#.*$", "", text, flags=re.M))
    return ffi, ffi.dlopen(str(toolchain.host_library(build.directory, "portable")))


SCORES: dict[str, Any] = {
    "usual": lambda r: r.lognormal(0, 0.3, 400),
    "a jump": lambda r: np.concatenate([r.lognormal(0, 0.1, 50), r.lognormal(9, 0.1, 300)]),
    "tiny": lambda r: r.lognormal(-80, 5, 50),
    "one": lambda r: np.array([3.0]),
    "of every size": lambda r: 10.0 ** r.uniform(-44, 38, 300),
    "odd": lambda r: np.array([0.0, -0.0, -1.0, 1.0, np.inf, np.nan, -np.inf, 1e-45, 3e38, -np.nan, 1.0]),
}


@pytest.mark.parametrize("memory", [1, 5, 64, 2**32 - 1])
@pytest.mark.parametrize("name", SCORES)
def test_c_has_the_bits_of_python(name: str, memory: int, library: Any) -> None:
    ffi, lib = library
    scores = SCORES[name](np.random.default_rng(3)).astype(np.float32)
    ours, c = kt.Threshold(2.5, memory), ffi.new("kt_threshold *")
    for score in scores:
        assert bool(lib.kt_threshold_alarm(c, score, 640)) == ours.alarms(score)[0]
        lib.kt_threshold_learn(c, score, memory)
        ours.learn(score)
        assert bytes(ffi.buffer(c)) == ours.to_bytes()
        assert lib.kt_threshold_limit(c, 640) == ours._limit()
    again = kt.Threshold(2.5, memory)
    again.set_bytes(ours.to_bytes())
    assert again.limit == ours.limit or np.isnan(ours.limit)


def test_the_limit_is_standard_deviations_above_the_mean_of_the_logarithms() -> None:
    scores = np.random.default_rng(0).lognormal(1, 0.2, 2000)
    threshold = kt.Threshold(3.0, memory=2000)
    threshold.learn(scores)
    logs = np.log2(scores)
    assert np.log2(threshold.limit) == pytest.approx(logs.mean() + 3 * logs.std(), abs=0.1)
    assert threshold.alarms(scores).mean() < 0.01 and threshold.alarms(10 * scores).all()


def test_it_follows_another_machine_and_says_nothing_before_it_knows() -> None:
    r = np.random.default_rng(0)
    threshold = kt.Threshold(3.0, memory=50)
    assert not threshold.alarms([1e30, 1.0]).any()
    threshold.learn(r.lognormal(0, 0.2, 200))
    other = r.lognormal(3, 0.2, 400)
    assert threshold.alarms(other).mean() > 0.99
    threshold.learn(other[:200])
    assert threshold.alarms(other[200:]).mean() < 0.05 and threshold.alarms(8 * other[200:]).mean() > 0.95


def test_scores_are_the_losses_of_a_device(build: kt.Build) -> None:
    x = samples(autoencoder(), 12, seed=1)
    with build.open() as device:
        scores = device.losses(x)
        assert scores.dtype == np.float32 and scores.shape == (12,)
        assert float(scores.mean()) == pytest.approx(device.evaluate(x)["loss"], rel=1e-5)
        device.set_learning_rate(0)
        assert [device.train_step(s) for s in x] == pytest.approx(scores.tolist(), rel=1e-4)
        with pytest.raises(ValueError, match="no samples"):
            device.losses(x[:0])


def test_builds_bring_the_unit_where_the_loss_is_a_score(build: kt.Build, tmp_path: Path) -> None:
    assert "runtime/src/core/threshold.c" in build.manifest["sources"] and (build.directory / "runtime/include/kt/threshold.h").is_file()
    model = kt.load(build.directory.parent / "autoencoder.tflite")
    assert (
        "runtime/src/core/threshold.c" not in kt.build(model, tmp_path / "b", method=kt.ScaleShift(), loss="mse", measure=False).manifest["sources"]
    )


@pytest.mark.parametrize("options", [{"width": -1}, {"width": 128}, {"width": "wide"}, {"memory": 0}, {"memory": 2.5}, {"memory": True}])
def test_thresholds_that_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be a number of"):
        kt.Threshold(**options)


@pytest.mark.parametrize(("state", "words"), [(b"123", "a threshold has 12"), (b"\xff" * 12, "none of a threshold")])
def test_states_that_are_refused(state: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        kt.Threshold().set_bytes(state)
