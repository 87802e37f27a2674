"""Recordings of real machines, where KILOTUNE_DATA brings them: .wav files named as in task 2 of DCASE 2020, which ToyADMOS and MLPerf Tiny have too.

    sets/machine_sounds/normal_id_01_00000000.wav, ..., anomaly_id_01_00000000.wav, ...

16-bit, one rate. The model is made for the machine of the lowest number; the one of the highest number is where it adapts.
"""

from __future__ import annotations

import re
import sys
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from autoencoder import write_model
from bearing import WINDOW, Signal
from watching import ADAPTED, CALIBRATED, FAULTY, JUDGED, Setting, Site

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "personalise"))

from real_data import data_folder

FOLDER = "sets/machine_sounds"
NAME = re.compile(r"(normal|anomaly)_id_(\d+)_\w+\.wav")
TRAINED = 600
"""Windows of the first machine that the model is trained on, at most."""


class RecordingError(ValueError):
    """Recordings that cannot be used: where, why, and what would do."""

    def __init__(self, where: Path, what: str, hint: str) -> None:
        super().__init__(f"{where}: {what}\n  hint: {hint}")


def recorded() -> Path | None:
    """The folder of recordings, where KILOTUNE_DATA brings one."""
    data = data_folder()
    return data / FOLDER if data is not None and (data / FOLDER).is_dir() else None


def setting(folder: Path, model: Path) -> Setting:
    """Train a model on the healthy sounds of the first machine, and write it; what it is to see there and at the last machine."""
    machines = _machines(folder)
    first, last = min(machines), max(machines)
    healthy, rate = _windows(machines[first]["normal"], TRAINED + CALIBRATED)
    if len(healthy) < 2 * CALIBRATED:
        what = f"{len(healthy)} windows of healthy machine {first:02d} do not train a model: {2 * CALIBRATED} are needed"
        raise RecordingError(folder, what, f"bring more normal_id_{first:02d}_*.wav")
    scaling, known = write_model(model, healthy[:-CALIBRATED], rate)
    factory = scaling.of(healthy[-CALIBRATED:])
    new, new_rate = _windows(machines[last]["normal"], ADAPTED + JUDGED)
    if new_rate != rate:
        raise RecordingError(folder, f"machine {last:02d} is recorded at {new_rate} Hz, machine {first:02d} at {rate} Hz", "resample one of them")
    if len(new) < 2 * ADAPTED:
        what = f"{len(new)} windows of healthy machine {last:02d} are too few to adapt to and to judge by: {2 * ADAPTED} are needed"
        raise RecordingError(folder, what, f"bring more normal_id_{last:02d}_*.wav")
    original, faulty = (scaling.of(_windows(machines[number]["anomaly"], FAULTY)[0]) for number in (first, last))
    site = Site(scaling.of(new[:ADAPTED]), scaling.of(new[ADAPTED:]), {"anomalies": faulty})
    return Setting(scaling, known, factory, Site(factory, factory, {"anomalies": original}), f"machine {last:02d}", site)


def _machines(folder: Path) -> dict[int, dict[str, list[Path]]]:
    """Recordings by number of the machine and by what they are."""
    found: dict[int, dict[str, list[Path]]] = {}
    for path in sorted(folder.glob("*.wav")):
        named = NAME.fullmatch(path.name)
        if named is None:
            what, hint = f"{path.name} says neither what it is nor of which machine", "names are normal_id_01_....wav and anomaly_id_01_....wav"
            raise RecordingError(folder, what, hint)
        found.setdefault(int(named[2]), {"normal": [], "anomaly": []})[named[1]].append(path)
    if len(found) < 2:
        what = f"recordings of {len(found)} machines are there; the model is made for one and adapts to another"
        raise RecordingError(folder, what, "bring normal_id_01_*.wav and normal_id_02_*.wav, for example, with anomalies of each")
    for number in (min(found), max(found)):
        for kind, paths in found[number].items():
            if not paths:
                raise RecordingError(folder, f"of machine {number:02d} no recording is called {kind}", f"bring {kind}_id_{number:02d}_*.wav")
    return found


def _windows(paths: Sequence[Path], most: int) -> tuple[Signal, int]:
    """The first windows [N, WINDOW] of recordings in their order, and their rate."""
    found, first = list[Signal](), 0
    for path in paths:
        signal, rate = _read(path)
        first = first or rate
        if rate != first:
            raise RecordingError(path, f"is recorded at {rate} Hz, others of its machine at {first} Hz", "resample it")
        found += list(signal[: len(signal) // WINDOW * WINDOW].reshape(-1, WINDOW))
        if len(found) >= most:
            break
    return np.stack(found[:most]), first


def _read(path: Path) -> tuple[Signal, int]:
    """The first channel of a recording, in [-1, 1), and its rate."""
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            content = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise RecordingError(path, f"is no .wav file of PCM: {error}", "convert it: ffmpeg -i FILE -c:a pcm_s16le OUT.wav") from None
    if width != 2:
        raise RecordingError(path, f"has {8 * width} bits a sample", "16 are needed: ffmpeg -i FILE -c:a pcm_s16le OUT.wav")
    signal = np.frombuffer(content, "<i2").reshape(-1, channels)[:, 0] / 32768
    if len(signal) < WINDOW:
        raise RecordingError(path, f"has {len(signal)} samples, a window has {WINDOW}", "leave it out")
    return signal, rate
