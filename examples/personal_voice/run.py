"""A device of one's own: it learns its owner's voice, then words of the owner's choice, and still understands everybody else.

    python examples/personal_voice/run.py

A dense network knows eight spoken words of six voices. Its last layer has room for two more words, and a replay buffer holds what its frozen layer
makes of old samples. On an emulated board the owner, a stranger to the model, says the eight words five times each, then teaches two words of their
own, one after the other. Nothing is rebuilt or sent anywhere. Exit code 1 unless this computer comes to the same state, bit for bit.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import kilotune as kt

for neighbour in ("digits", "personalise"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / neighbour))

try:
    from base import write_model
    from voices import BANDS, ESPEAK, FRAMES, SIMULATED, WORDS, Voice, espeak, features, simulate
except ImportError as error:  # scikit-learn trains the first model
    sys.exit(f"{error.name} is missing: pip install scikit-learn")

BOARD = "qemu:mps2-an386"
KNOWN_WORDS, KNOWN_TAKES, LESSONS, JUDGED = 8, 8, 5, 4
EPOCHS, RATE, REPLAYED = 6, 0.1, 5
BUFFER = kt.Replay(samples=80, policy="class_balanced")
KEPT = BUFFER.samples // 2
"""Old samples that the buffer begins with; all of it would leave less to what the owner teaches."""

Samples = tuple[NDArray[np.float32], NDArray[np.int32]]


def spoken(voices: list[Voice], words: range, takes: range) -> Samples:
    """All takes of some words of some voices, as the model's input."""
    speak = espeak if shutil.which("espeak-ng") else simulate
    jobs = [(voice, word, take) for voice in voices for word in words for take in takes]
    with ThreadPoolExecutor() as pool:
        x = list(pool.map(lambda job: features(speak(*job), job[1] * 1000 + job[2]), jobs))
    return np.stack(x).reshape(len(jobs), FRAMES * BANDS), np.array([word for _, word, _ in jobs], np.int32)


def stages(owner: Voice) -> list[tuple[str, Samples]]:
    """What the owner teaches, in this order."""
    taught = [("the owner's voice", range(KNOWN_WORDS)), *((f'"{WORDS[w]}"', range(w, w + 1)) for w in range(KNOWN_WORDS, len(WORDS)))]
    return [(name, spoken([owner], words, range(KNOWN_TAKES, KNOWN_TAKES + LESSONS))) for name, words in taught]


def learn(device: kt.Device, old: Samples, taught: list[tuple[str, Samples]], judges: list[Samples], replayed: int, shown: bool) -> bytes:
    """Everything that the owner teaches; returns the state."""
    device.reset()
    device.remember(old[0][:KEPT], old[1][:KEPT])
    for name, (x, y) in taught:
        if int(y[0]) not in device.open_classes():
            device.add_class(x[0])
        device.fit(x, y, epochs=EPOCHS, replay=replayed, learning_rate=RATE, decay="constant", hold_out=0.0, progress=False)
        if shown:
            print(f"  taught {name:<23}{scores(device, judges)}", flush=True)
    return device.state()


def scores(device: kt.Device, judges: list[Samples]) -> str:
    """Of the owner's words that are known so far, and of everybody else's."""
    found = []
    for x, y in judges:
        known = np.isin(y, device.open_classes())
        found.append(f"{(device.predict(x[known]) == y[known]).mean():.3f}")
    return "   ".join(f"{score:<12}" for score in found)


def main() -> int:
    warnings.simplefilter("ignore", kt.DataWarning)  # a lesson holds one word, as it should
    known, (owner, *_) = ESPEAK if shutil.which("espeak-ng") else SIMULATED
    print(f"voices of {'espeak-ng' if shutil.which('espeak-ng') else 'a simulation'}", flush=True)
    everybody = spoken(known, range(KNOWN_WORDS), range(KNOWN_TAKES))
    later = range(KNOWN_TAKES + LESSONS, KNOWN_TAKES + LESSONS + JUDGED)
    judges = [spoken([owner], range(len(WORDS)), later), spoken(known[::2], range(KNOWN_WORDS), later)]
    taught = stages(owner)
    order = np.random.default_rng(0).permutation(len(everybody[1]))
    old = everybody[0][order], everybody[1][order]
    with tempfile.TemporaryDirectory() as scratch:
        model = kt.load(write_model(*everybody, Path(scratch) / "words.tflite"))
        methods = [kt.Head(extra_classes=len(WORDS) - KNOWN_WORDS), kt.LoRA(rank=4, layers="dense_2")]
        build = kt.build(model, Path(scratch) / "build", method=methods, replay=BUFFER, calibration=old, class_names=WORDS)
        print(build.report_text(), end="\n\n")
        print(f"{'':<32}the owner      everybody else")
        with build.open("host") as host:
            print(f"  the model{'':<21}{scores(host, judges)}", flush=True)
            print("without replay, on this computer")
            learn(host, old, taught, judges, 0, shown=True)
            expected = learn(host, old, taught, judges, REPLAYED, shown=False)
        start = time.monotonic()
        try:
            board = build.open(BOARD)
        except kt.DeviceError as error:
            print(f"\n{BOARD} is not available, so this computer learns alone:\n{error}\n")
            with build.open("host") as host:
                return int(learn(host, old, taught, judges, REPLAYED, shown=True) != expected)
        with board:
            print(f"{REPLAYED} replayed samples for each new one, on {BOARD}")
            same = learn(board, old, taught, judges, REPLAYED, shown=True) == expected
    print(f"\nlearned on the board in {time.monotonic() - start:.0f} s")
    print("this computer comes to the same state, bit for bit" if same else "this computer comes to ANOTHER state")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
