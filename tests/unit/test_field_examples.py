"""What the examples of the field are simulated from: published fault frequencies, and what a damage does to a spectrum."""

from __future__ import annotations

import importlib
import shutil
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def bearing() -> Iterator[ModuleType]:
    sys.path.insert(0, str(EXAMPLES / "predictive_maintenance"))
    try:
        import bearing

        yield bearing
    finally:
        sys.path.remove(str(EXAMPLES / "predictive_maintenance"))


def test_fault_frequencies_are_the_published_ones(bearing: ModuleType) -> None:
    """Of SKF 6205-2RS, in revolutions of the shaft."""
    published = {"outer race": 3.5848, "inner race": 5.4152, "ball": 4.7135}
    assert bearing.fault_orders() == pytest.approx(published, abs=2e-4)


@pytest.mark.parametrize("fault", ["outer race", "inner race", "ball"])
def test_a_damage_shows_in_the_envelope_at_its_frequency(bearing: ModuleType, fault: str) -> None:
    """The strongest line of the envelope between 60 Hz and 200 Hz is the fault's; without one it is not that of the outer race."""
    hertz = bearing.fault_orders()[fault] * bearing.ORIGINAL.speed / 60
    window = np.hanning(bearing.WINDOW)
    frequency = np.fft.rfftfreq(bearing.WINDOW, 1 / bearing.RATE)

    def strongest(name: str) -> float:
        x = bearing.vibration(bearing.ORIGINAL, 40, 5, name, 1.0)
        spectrum = np.fft.rfft(x * window, axis=1)
        analytic = np.zeros(x.shape, complex)
        analytic[:, : spectrum.shape[1]] = 2 * spectrum * (frequency > 1000)
        envelope = np.abs(np.fft.ifft(analytic, axis=1)) / np.maximum(window, 0.1)
        power = (np.abs(np.fft.rfft((envelope - envelope.mean(1, keepdims=True)) * window, axis=1)) ** 2).mean(0)
        inside = (frequency > 60) & (frequency < 200)
        return float(frequency[inside][power[inside].argmax()])

    assert strongest(fault) == pytest.approx(hertz, abs=4)
    assert abs(strongest("") - hertz) > 4 or fault != "outer race"


def wav(path: Path, signal: np.ndarray, rate: int = 12_000, width: int = 2, channels: int = 1) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes((np.repeat(np.clip(signal.ravel(), -1, 1), channels) * 32767).astype("<i2").tobytes())


@pytest.fixture(scope="module")
def two_machines(bearing: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of two machines, as DCASE names them."""
    folder = tmp_path_factory.mktemp("machine_sounds")
    for number, machine in ((1, bearing.ORIGINAL), (3, bearing.OTHERS["another machine"])):
        for part in range(2):
            wav(folder / f"normal_id_{number:02d}_{part:08d}.wav", 0.2 * bearing.vibration(machine, 205, 10 * number + part), channels=1 + part)
        wav(folder / f"anomaly_id_{number:02d}_00000000.wav", 0.2 * bearing.vibration(machine, 20, number, "inner race", 1.0))
    return folder


@pytest.fixture
def sounds(two_machines: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(two_machines, tmp_path / "sets" / "machine_sounds"))


def test_recordings_take_the_place_of_the_simulation(sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of the first machine make the model, those of the last are where it adapts; a whole recording may be stereo."""
    pytest.importorskip("sklearn", reason="scikit-learn not found: pip install 'kilotune[demo]'")
    recordings = importlib.import_module("recordings")
    monkeypatch.delenv("KILOTUNE_DATA", raising=False)
    assert recordings.recorded() is None
    monkeypatch.setenv("KILOTUNE_DATA", str(tmp_path))
    assert recordings.recorded() == sounds
    monkeypatch.setattr("autoencoder.EPOCHS", 2)
    found = recordings.setting(sounds, tmp_path / "model.tflite")
    assert found.title == "machine 03" and (tmp_path / "model.tflite").is_file()
    assert found.known.shape == (210, 64) and len(found.factory) == 200 and np.abs(found.known.mean(0)).max() < 0.1
    assert (len(found.site.adapt), len(found.site.healthy), len(found.site.faulty["anomalies"])) == (100, 150, 20)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("readme_id_04_0.wav", {}, "says neither"),
        ("normal_id_04_0.wav", {}, "called anomaly"),
        ("normal_id_01_00000000.wav", {"width": 1}, "8 bits"),
        ("normal_id_01_00000000.wav", {"rate": 16_000}, "16000 Hz|12000 Hz"),
        ("anomaly_id_03_00000000.wav", {"short": True}, "a window has 4096"),
        ("normal_id_01_00000000.wav", {"short": 4096}, "do not train a model"),
    ],
)
def test_recordings_that_cannot_be_used(sounds: Path, tmp_path: Path, name: str, options: dict[str, int], message: str) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn not found: pip install 'kilotune[demo]'")
    recordings = importlib.import_module("recordings")
    short = options.pop("short", 0)
    wav(sounds / name, np.zeros(short if short > 1 else 100 if short else 8192), **options)
    if short > 1:
        (sounds / "normal_id_01_00000001.wav").unlink()
    with pytest.raises(recordings.RecordingError, match=message) as caught:
        recordings.setting(sounds, tmp_path / "model.tflite")
    assert str(sounds) in str(caught.value) and "hint" in str(caught.value)


def test_features_are_numbers_of_every_window(bearing: ModuleType) -> None:
    x = bearing.vibration(bearing.ORIGINAL, 3, 1)
    assert x.shape == (3, bearing.WINDOW) and np.array_equal(x, bearing.vibration(bearing.ORIGINAL, 3, 1)), "a seed is a recording"
    assert bearing.features(x).shape == (3, 64) and np.isfinite(bearing.features(x)).all()
