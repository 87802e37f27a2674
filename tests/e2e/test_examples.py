"""The examples run from a clone alone, with data that committed scripts make; `make demo` installs no more than they need."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kilotune as kt

ROOT = Path(__file__).resolve().parents[2]
PERSONALISE = ROOT / "examples/personalise"


@pytest.fixture
def personalise(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """personalise("voices"): a module of the example."""
    pytest.importorskip("sklearn", reason="scikit-learn not found: pip install 'kilotune[demo]'")
    monkeypatch.syspath_prepend(str(PERSONALISE))
    before = set(sys.modules)

    def load(name: str) -> Any:
        return importlib.import_module(name)

    yield load
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(ROOT / "examples") in str(sys.modules[name].__file__):
            del sys.modules[name]


def test_simulated_voices_are_the_same_again_and_a_stranger_is_learned(personalise: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KILOTUNE_DATA", raising=False)
    run, voices = personalise("run"), personalise("voices")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "which", lambda name: None)
        found = voices.voices()
    assert "simulation" in found.source and found.x.shape == (480, 256) and found.model is None
    assert np.array_equal(voices.features(voices.simulate(voices.SIMULATED[0][1], 3, 2), 3002).ravel(), found.x[80 + 3 * 8 + 2])
    model = kt.load(personalise("base").write_model(found.x, found.y, tmp_path / "words.tflite"))
    speech = found.people["stranger"]
    build = kt.build(model, tmp_path / "b", method=run.METHODS, optimizer=kt.SGD(lr=run.RATE), calibration=found.x[:64], measure=False)
    with build.open() as device:
        assert device.evaluate(found.x, found.y)["accuracy"] > 0.95
        before = device.evaluate(speech.x_test, speech.y_test)["accuracy"]
        device.fit(speech.x, speech.y, epochs=run.EPOCHS)
        assert device.evaluate(speech.x_test, speech.y_test)["accuracy"] > max(0.8, before + 0.2)


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.timeout(900)
def test_personalise_without_recordings_and_without_espeak(tmp_path: Path, qemu: str, monocypher: Path) -> None:
    """The tools are there by links, so that espeak-ng is not found where it is installed."""
    pytest.importorskip("sklearn", reason="scikit-learn not found: pip install 'kilotune[demo]'")
    for folder in os.environ["PATH"].split(os.pathsep):
        for tool in Path(folder).glob("*") if Path(folder).is_dir() else ():
            if not tool.name.startswith("espeak") and not (tmp_path / tool.name).is_symlink():
                (tmp_path / tool.name).symlink_to(tool)
    environment = {k: v for k, v in os.environ.items() if k != "KILOTUNE_DATA"} | {"PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, str(PERSONALISE / "run.py")], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "voices of a simulation" in done.stdout and "both boards give the same bits" in done.stdout
    trained = re.findall(r"trained for stranger +stranger (\d\.\d+)", done.stdout)
    assert float(trained[0]) > 0.8


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """example("voice"): its program as a module, on data that it makes itself."""
    pytest.importorskip("sklearn", reason="scikit-learn not found: pip install 'kilotune[demo]'")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("KILOTUNE_DATA", raising=False)
    before = set(sys.modules)

    def load(name: str) -> Any:
        folder = ROOT / "examples" / name
        sys.path.insert(0, str(folder))
        spec = importlib.util.spec_from_file_location(name, folder / "run.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(ROOT / "examples")):
            del sys.modules[name]


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.timeout(900)
def test_a_stranger_speaks_into_a_microphone(
    example: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], qemu: str, arm_gcc: str
) -> None:
    """In a short form: fewer words are judged, and each is learned fewer times."""
    if shutil.which("cmake") is None:
        pytest.skip("cmake not found: on Debian, apt install cmake")
    voice = example("voice")
    monkeypatch.setattr(voice, "JUDGE", 2)
    monkeypatch.setattr(voice, "EPOCHS", 6)
    assert voice.main() == 0
    before, after = (int(n) for n in re.findall(r"(\d+) of 20 words of the stranger", capsys.readouterr().out))
    assert after >= before + 3


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("continual_digits", r"9 is learned +0\.[0-4]\d+ [^q]*host[^q]*9 is learned +0\.[89]\d+ +0\.[6-9]"),
        ("personal_voice", r"taught \"nine\" +0\.[0-6][^q]*host[^q]*taught \"nine\" +(1|0\.[7-9])\.?\d+ +(1|0\.9)"),
        ("sensor_drift", r"the change is kept[^q]*the bits of the host"),
        ("patient_ecg", r"the change is kept[^q]*the bits of the host"),
        ("predictive_maintenance", r"a simulated bearing[^q]*the bits of the host"),
    ],
)
def test_examples_with_this_computer_in_place_of_the_board(
    name: str, says: str, example: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = example(name)
    monkeypatch.setattr(module, "BOARD", "host")
    monkeypatch.setattr(shutil, "which", lambda program, which=shutil.which: None if program == "espeak-ng" else which(program))
    assert module.main() == 0
    assert re.search(says, capsys.readouterr().out)


def test_images_of_meters_are_kept_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples/meter_digits"))
    images = importlib.import_module("images")
    plain = np.full((2, 32, 20, 3), 90, np.float32) + np.array([60, 0, -60], np.float32)
    kept = images.stored(plain)
    assert kept.bytes == 2 * 240 and np.array_equal(kept.images(), plain)
    rng = np.random.default_rng(0)
    slopes = np.add.outer(np.arange(32), np.arange(20))[None, ..., None] * np.array([1.0, 2, 3])
    assert np.abs(images.stored(slopes.astype(np.float32)).images() - slopes)[:, 4:-4, 4:-4].max() <= 2
    meters = [np.clip(level + rng.normal(0, 20, (30, 32, 20, 3)), 0, 255).astype(np.float32) for level in (60, 140)]
    own, others = (images.thumbnails(x) for x in meters)
    assert images.is_own(own + 1, own, others).all() and not images.is_own(others, own, others).any()


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.timeout(900)
def test_a_reader_of_meters_forgets_less_from_a_clone_alone(qemu: str, arm_gcc: str) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn not found: pip install 'kilotune[demo]'")
    environment = {k: v for k, v in os.environ.items() if k != "KILOTUNE_DATA"}
    program = str(ROOT / "examples/meter_digits/run.py")
    done = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    own, known = (np.array(column, float) for column in zip(*re.findall(r" (\d\.\d{3}) +(\d\.\d{3})\n", done.stdout), strict=True))
    assert len(own) == 5 and own[1:].min() > own[0] + 0.2, "the new camera is learned"
    assert known[1] < known[2] < known[3] < known[4] + 0.01, "and less and less forgotten"
    assert "without $KILOTUNE_DATA" in done.stdout and "the bits of this computer" in done.stdout


def test_a_demo_installs_what_it_needs_and_waits_for_apt() -> None:
    dry = subprocess.run(["make", "-n", "-W", "pyproject.toml", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "'.[demo]'" in dry and "[test" not in dry
    whole = subprocess.run(["make", "-n", "-W", "pyproject.toml", "setup"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "'.[test,demo]'" in whole
    for text in (dry, whole, (ROOT / ".ci/run").read_text()):
        calls = re.findall(r"apt-get ([^;&]*)(?:update|install)", text)
        assert calls and all("DPkg::Lock::Timeout" in call for call in calls)
