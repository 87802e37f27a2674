"""Vibration of a motor's bearing, healthy and with faults, simulated from the fault frequencies that are published for it.

A rolling element that passes a damage gives an impact, which rings in the housing: bursts of a resonance at the rate of the fault. The rates,
in revolutions of the shaft, follow from the geometry; for a deep groove ball bearing SKF 6205-2RS (9 balls of 7.94 mm on a circle of 39.04 mm) they
are 3.585 (outer race), 5.415 (inner race) and 4.714 (ball), the figures that the Bearing Data Center of Case Western Reserve University lists.

Sources: McFadden and Smith, "Model for the vibration produced by a single point defect in a rolling element bearing" (1984), with the slip of
Antoni and Randall, "Differential diagnosis of gear and bearing faults" (2002).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BALLS, BALL, PITCH = 9, 7.94, 39.04
RATE, WINDOW = 12_000, 4096
"""Samples a second, and of a window, which is a third of one."""

FAULTS = ("outer race", "inner race", "ball")
SLIP = 0.01
"""Deviation of the time between two impacts."""
BANDS = 32
ENVELOPE_LOWEST, ENVELOPE_HIGHEST = 10.0, 500.0
"""Hz, of the envelope's spectrum."""

Signal = NDArray[np.float64]
Features = NDArray[np.float32]


def fault_orders() -> dict[str, float]:
    """Impacts a revolution of the shaft, by fault; a ball meets both races in each turn of its own."""
    ratio = BALL / PITCH
    return {"outer race": BALLS / 2 * (1 - ratio), "inner race": BALLS / 2 * (1 + ratio), "ball": PITCH / BALL * (1 - ratio**2)}


@dataclass(frozen=True)
class Machine:
    """Where the bearing sits. speed: revolutions a minute; resonance in Hz, damping of it; harmonics: amplitudes of the shaft's; noise: amplitude,
    and how much of it is low, in [0, 1); gain of the sensor."""

    speed: float = 1797.0
    resonance: float = 3200.0
    damping: float = 0.06
    harmonics: tuple[float, ...] = (0.30, 0.12, 0.05)
    noise: float = 0.20
    low: float = 0.3
    gain: float = 1.0


ORIGINAL = Machine()
OTHERS = {
    "slower, 1600 rpm": Machine(speed=1600.0),
    "another machine": Machine(1750.0, 2500.0, 0.09, (0.18, 0.20, 0.10, 0.05), 0.28, 0.6, 1.3),
    "another machine, 1500 rpm": Machine(1500.0, 2600.0, 0.08, (0.22, 0.16, 0.10), 0.25, 0.5, 0.8),
}
"""Machines and speeds that the model was not made for."""


def vibration(machine: Machine, windows: int, seed: int, fault: str = "", severity: float = 1.0) -> Signal:
    """Windows [N, 4096] of one recording. fault: one of FAULTS, or none; severity: amplitude of an impact."""
    rng = np.random.default_rng([seed, len(fault)])
    count = windows * WINDOW
    time = np.arange(count) / RATE
    turns = machine.speed / 60 * (time + 0.002 * np.cumsum(rng.normal(0, 0.01, count)) / RATE)  # the speed wanders a little
    load = 1 + 0.1 * np.sin(2 * np.pi * 0.13 * time + rng.uniform(0, 6))
    signal = sum(a * np.sin(2 * np.pi * (k + 1) * turns + rng.uniform(0, 6)) for k, a in enumerate(machine.harmonics)) * load
    white, smooth = rng.normal(0, 1, count), rng.normal(0, 1, count)
    low = np.convolve(smooth, np.hanning(15) / np.sqrt((np.hanning(15) ** 2).sum()), "same")
    rubbing = _ringing(machine, rng.normal(0, 0.05, count))  # a healthy bearing excites its housing, too
    signal = signal + machine.noise * (np.sqrt(1 - machine.low) * white + np.sqrt(machine.low) * low) + rubbing
    if fault:
        signal = signal + severity * _ringing(machine, _impacts(machine, fault, count, rng))
    return np.asarray(machine.gain * signal).reshape(windows, WINDOW)


def _impacts(machine: Machine, fault: str, count: int, rng: np.random.Generator) -> Signal:
    """One value an impact at its time: an inner race's damage passes the load once a revolution, a ball's once a turn of the cage."""
    turn = 60 / machine.speed
    between = turn / fault_orders()[fault]
    times = np.cumsum(between * (1 + rng.normal(0, SLIP, int(count / RATE / between) + 8)))
    times = times[times < (count - 1) / RATE]
    through = {"outer race": 0.0, "inner race": 1.0, "ball": (1 - BALL / PITCH) / 2}[fault]
    heights = 1 + (0.6 if through else 0.0) * np.cos(2 * np.pi * through * times / turn)
    found = np.zeros(count)
    np.add.at(found, (times * RATE).astype(int), heights)
    return found


def _ringing(machine: Machine, force: Signal) -> Signal:
    """What the resonance of the housing makes of a force."""
    t = np.arange(256) / RATE
    omega = 2 * np.pi * machine.resonance
    answer = np.exp(-machine.damping * omega * t) * np.sin(omega * np.sqrt(1 - machine.damping**2) * t)
    return np.asarray(np.convolve(force, answer)[: len(force)])


def features(windows: Signal, rate: int = RATE) -> Features:
    """64 logarithms of energies [N, 64] of windows [N, 4096]: 32 bands of the spectrum, and 32 of the spectrum of the envelope above 1 kHz.
    rate: samples a second."""
    spectrum = np.fft.rfft(windows * np.hanning(WINDOW), axis=1)
    energy = np.abs(spectrum) ** 2
    bands = np.array_split(energy[:, 1:], BANDS, axis=1)
    frequency = np.fft.rfftfreq(WINDOW, 1 / rate)
    analytic = np.zeros((len(windows), WINDOW), complex)
    analytic[:, : spectrum.shape[1]] = 2 * spectrum * (frequency > 1000)
    envelope = np.abs(np.fft.ifft(analytic, axis=1))
    slow = np.abs(np.fft.rfft(envelope - envelope.mean(1, keepdims=True), axis=1)) ** 2
    edges = np.linspace(ENVELOPE_LOWEST, ENVELOPE_HIGHEST, BANDS + 1)
    slow_bands = [slow[:, (frequency >= low) & (frequency < high)] for low, high in pairwise(edges)]
    return np.stack([np.log10(band.mean(1) + 1e-9) for band in (*bands, *slow_bands)], axis=1).astype(np.float32)
