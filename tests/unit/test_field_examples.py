"""What the examples of the field are simulated from: published fault frequencies, and what a damage does to a spectrum."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
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


def test_features_are_numbers_of_every_window(bearing: ModuleType) -> None:
    x = bearing.vibration(bearing.ORIGINAL, 3, 1)
    assert x.shape == (3, bearing.WINDOW) and np.array_equal(x, bearing.vibration(bearing.ORIGINAL, 3, 1)), "a seed is a recording"
    assert bearing.features(x).shape == (3, 64) and np.isfinite(bearing.features(x)).all()
