"""Ten spoken digits of several speakers: recordings where there are some, else voices made on this computer. Deterministic.

`KILOTUNE_DATA` names a folder of real recordings (CONTRIBUTING.md). Without it espeak-ng speaks, where it is installed; else a simulation
does: a few formants a digit, which each speaker's vocal tract shifts.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from real_data import folder_with

WORDS = tuple("zero one two three four five six seven eight nine".split())
RATE = 8000
FRAMES, BANDS = 16, 16
"""A word is stretched to so many frames of so many mel bands."""
KNOWN_TAKES, LEARN, JUDGE = 8, 5, 8
"""Takes a word of each speaker that the model is made for; of a new one to learn from, and to judge by."""
MUFFLED = np.linspace(0, -5, BANDS, dtype=np.float32)
"""What a microphone that muffles adds to the logarithm of each band."""

Signal = NDArray[np.float64]


@dataclass(frozen=True)
class Speech:
    """Spoken digits of one speaker: takes to learn from, and others to judge by."""

    x: NDArray[np.float32]
    y: NDArray[np.int32]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int32]


@dataclass(frozen=True)
class Voices:
    """source: where the voices are from. x, y: samples that the model was made for. people: new speakers by name."""

    source: str
    x: NDArray[np.float32]
    y: NDArray[np.int32]
    people: dict[str, Speech]
    model: Path | None = None


def voices() -> Voices:
    """Recordings, or espeak-ng, or the simulation: the first that is there."""
    folder = folder_with("sets/fsdd_mfcc.npz")
    if folder is not None:
        return recordings(folder)
    if shutil.which("espeak-ng"):
        return spoken("espeak-ng", ESPEAK, espeak)
    return spoken("a simulation (espeak-ng is not installed)", SIMULATED, simulate)


# ---- Real recordings ----


def recordings(data: Path) -> Voices:
    """One whom the model never heard, and one that it was made for, through a microphone that changes two cepstral coefficients."""
    d: Any = np.load(data / "sets" / "fsdd_mfcc.npz")
    x, y = d["x"].astype(np.float32)[..., None], d["y"].astype(np.int32)
    found = {}
    for name, response in (("nicolas", {}), ("lucas", {1: -7.5, 2: 2.2})):
        mine = d["speaker"] == name
        learn, judge = mine & (d["take"] >= 25) & (d["take"] < 30), mine & (d["take"] < 4)
        offsets = np.zeros((x.shape[2], 1), np.float32)
        for coefficient, offset in response.items():
            offsets[coefficient] = offset
        found[name] = Speech(x[learn] + offsets, y[learn], x[judge] + offsets, y[judge])
    known = ~np.isin(d["speaker"], list(found))
    return Voices("recordings", x[known], y[known], found, data / "models" / "fsdd_dscnn_int8.tflite")


# ---- Voices that are made ----


@dataclass(frozen=True)
class Voice:
    """tract: length of the vocal tract, as a factor on its resonances. pitch: Hz (simulation), or 0 to 99 (espeak-ng)."""

    name: str
    pitch: float
    tract: float = 1.0


ESPEAK = (
    [Voice("en+m1", 40), Voice("en+m3", 50), Voice("en+m7", 45), Voice("en-us+m2", 55), Voice("en+f2", 50), Voice("en-us+f4", 60)],
    [Voice("en-gb-scotland+whisper", 30), Voice("en+m3", 50)],
)
SIMULATED = (
    [Voice("a", 95, 0.94), Voice("b", 110, 1.0), Voice("c", 125, 0.97), Voice("d", 180, 1.06), Voice("e", 200, 1.1), Voice("f", 140, 1.03)],
    [Voice("child", 290, 1.32), Voice("b", 110, 1.0)],
)
NEW = ("stranger", "muffled")
"""One whom the model never heard, and one that it was made for, through a microphone that muffles."""


def spoken(source: str, who: tuple[list[Voice], list[Voice]], speak: Any) -> Voices:
    """All takes of all voices as features."""
    known, new = who
    jobs = [(v, w, take) for v in known for w in range(len(WORDS)) for take in range(KNOWN_TAKES)]
    count = len(jobs)
    takes = range(KNOWN_TAKES, KNOWN_TAKES + LEARN + JUDGE)
    jobs += [(v, w, take) for v in new for w in range(len(WORDS)) for take in takes]
    with ThreadPoolExecutor() as pool:
        x = np.stack(list(pool.map(lambda job: features(speak(*job), job[1] * 1000 + job[2]), jobs)))
    y = np.array([w for _, w, _ in jobs], np.int32)
    people = {}
    for number, name in enumerate(NEW):
        rows = slice(count + number * len(WORDS) * len(takes), count + (number + 1) * len(WORDS) * len(takes))
        mine = (x[rows] + (MUFFLED if name == "muffled" else 0)).reshape(-1, FRAMES * BANDS)
        labels = y[rows]
        learn = np.arange(len(labels)) % len(takes) < LEARN
        people[name] = Speech(mine[learn], labels[learn], mine[~learn], labels[~learn])
    return Voices(source, x[:count].reshape(count, -1), y[:count], people)


def espeak(voice: Voice, word: int, take: int) -> Signal:
    """One word by espeak-ng: takes differ in speed and pitch."""
    draw = np.random.Generator(np.random.PCG64([word, take]))
    speed, pitch = int(draw.integers(130, 210)), int(np.clip(voice.pitch + draw.integers(-12, 13), 0, 99))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "word.wav"
        subprocess.run(["espeak-ng", "-v", voice.name, "-s", str(speed), "-p", str(pitch), "-w", str(path), WORDS[word]], check=True)
        with wave.open(str(path)) as file:
            rate = file.getframerate()
            signal = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    return np.interp(np.arange(0, len(signal), rate / RATE), np.arange(len(signal)), signal)


FORMANTS = np.random.Generator(np.random.PCG64(5)).uniform((250, 800, 2000), (850, 2400, 3200), (len(WORDS), 4, 3))
"""Resonances in Hz at four moments of each simulated word: [word, moment, formant]."""


def simulate(voice: Voice, word: int, take: int) -> Signal:
    """Harmonics of a pitch, as loud as the resonances of a mouth that moves make them. Takes differ in speed, pitch and articulation."""
    draw = np.random.Generator(np.random.PCG64([word, take, int(voice.pitch)]))
    length = int(RATE * draw.uniform(0.35, 0.6))
    moments = np.linspace(0, 3, length)
    moved = FORMANTS[word] * voice.tract * draw.normal(1, 0.04, (4, 3))
    resonances = np.stack([np.interp(moments, np.arange(4), moved[:, f]) for f in range(3)])
    pitch = voice.pitch * draw.uniform(0.9, 1.1) * np.linspace(1.05, 0.9, length)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    signal = np.zeros(length)
    for harmonic in range(1, int(RATE / 2 / pitch.max())):
        frequency = harmonic * pitch
        loudness = sum(1 / (1 + ((frequency - r) / width) ** 2) for r, width in zip(resonances, (80, 120, 180), strict=True))
        signal += loudness * np.sin(harmonic * phase) / harmonic**0.5
    return np.asarray(signal * np.hanning(length))


def features(signal: Signal, seed: int) -> NDArray[np.float32]:
    """Logarithms of mel bands, [FRAMES, BANDS], of the part of a signal that is loud, in a room with some noise."""
    loud = np.flatnonzero(np.abs(signal) > 0.02 * np.abs(signal).max())
    signal = signal[loud[0] : loud[-1] + 1] / np.abs(signal).max()
    signal = signal + np.random.Generator(np.random.PCG64(seed)).normal(0, 0.01, len(signal))
    starts = np.linspace(0, max(0, len(signal) - 256), FRAMES).astype(int)
    padded = np.pad(signal, (0, 256))
    power = np.abs(np.fft.rfft([padded[s : s + 256] * np.hanning(256) for s in starts], axis=1)) ** 2
    mel = 2595 * np.log10(1 + np.fft.rfftfreq(256, 1 / RATE) / 700)
    centres = np.linspace(mel[3], mel[-1], BANDS + 2)
    weights = np.clip(1 - np.abs(mel[:, None] - centres[1:-1]) / (centres[1] - centres[0]), 0, None)
    return np.log(power @ weights + 1e-3).astype(np.float32)
