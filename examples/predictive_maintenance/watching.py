"""What is seen of a machine: alarms that are false, faults that are found, and how well scores part the two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from autoencoder import Scaling
from bearing import FAULTS, Features, Machine, vibration
from numpy.typing import NDArray

import kilotune as kt

METHOD = kt.ScaleShift()
WIDTH = 3.0
"""Standard deviations of the alarm."""
SEVERITY = 0.5
"""Of a beginning damage: its impacts against the amplitude of the shaft's first harmonic, 0.3."""
CALIBRATED, ADAPTED, JUDGED, FAULTY = 200, 100, 150, 50
"""Windows of the original machine that the threshold is from; of the new one to adapt to, healthy to judge by, and of each fault."""

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Site:
    """A machine: healthy windows to adapt to and to judge by, and windows of each fault."""

    adapt: Features
    healthy: Features
    faulty: dict[str, Features]

    @classmethod
    def of(cls, machine: Machine, scaling: Scaling, seed: int = 1, severity: float = SEVERITY) -> Site:
        def windows(count: int, number: int, fault: str = "") -> Features:
            return scaling.of(vibration(machine, count, 1000 * seed + number, fault, severity))

        return cls(windows(ADAPTED, 1), windows(JUDGED, 2), {fault: windows(FAULTY, 3, fault) for fault in FAULTS})


@dataclass(frozen=True)
class Setting:
    """scaling and known: of the model, and what it was trained on. factory: healthy windows of its machine that the first threshold is from.
    original: that machine. title and site: another one."""

    scaling: Scaling
    known: Features
    factory: Features
    original: Site
    title: str
    site: Site


@dataclass(frozen=True)
class Seen:
    """Share of alarms that are false, of faults that are found, and how well scores part healthy from faulty (area under the ROC curve)."""

    false: float
    found: dict[str, float]
    areas: dict[str, float]

    @classmethod
    def of(cls, device: kt.Device, site: Site, threshold: kt.Threshold) -> Seen:
        healthy = device.losses(site.healthy, progress=False)
        faulty = {fault: device.losses(x, progress=False) for fault, x in site.faulty.items()}
        found = {fault: float(threshold.alarms(scores).mean()) for fault, scores in faulty.items()}
        return cls(float(threshold.alarms(healthy).mean()), found, {fault: area(healthy, scores) for fault, scores in faulty.items()})

    @property
    def detected(self) -> float:
        return float(np.mean(list(self.found.values())))

    @property
    def area(self) -> float:
        return float(np.mean(list(self.areas.values())))

    def __str__(self) -> str:
        faults = "  ".join(f"{fault} {share:.2f}" for fault, share in self.found.items())
        return f"false alarms {self.false:.2f}   found: {faults}   AUC {self.area:.3f}"


def area(healthy: Scores, faulty: Scores) -> float:
    """The probability that a faulty score is above a healthy one."""
    above = (faulty[:, None] > healthy).mean() + 0.5 * (faulty[:, None] == healthy).mean()
    return float(above)


def calibrated(device: kt.Device, x: Features) -> kt.Threshold:
    """A threshold on what the device says of healthy windows."""
    threshold = kt.Threshold(WIDTH)
    threshold.learn(device.losses(x, progress=False))
    return threshold
