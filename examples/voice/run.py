"""From the samples of a microphone to a personalised word: features, training and inference on an emulated Cortex-M4.

    python examples/voice/run.py

A network learns ten spoken digits of six voices from their log-mel bands, is quantised, and built with its front end. The firmware of this
folder gets 16-bit samples of a stranger over its serial port, learns from five takes a digit, and recognises others. Exit code 1 unless
this computer, given the same recordings, comes to the same state, bit for bit.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "personalise"))

import firmware
from base import write_model
from voices import ESPEAK, RATE, SIMULATED, WORDS, Voice, espeak, simulate

import kilotune as kt

BOARD = "mps2-an386"
FRONT_END = kt.LogMel(sample_rate=RATE, samples=RATE, window=400, hop=400, bands=20, low=80.0, high=3800.0, floor=1e-3)
KNOWN_TAKES, LEARN, JUDGE, EPOCHS = 6, 5, 4, 12
METHODS = [kt.Full(), kt.BiasOnly()]
LOUDNESS, NOISE = 12000, 30


def recording(signal: NDArray[np.float64], seed: int) -> NDArray[np.int16]:
    """A second of 16-bit samples: the word a tenth of a second after its beginning, in a room with some noise."""
    loud = np.flatnonzero(np.abs(signal) > 0.02 * np.abs(signal).max())
    word = signal[loud[0] : loud[-1] + 1][: RATE - RATE // 10] / np.abs(signal).max() * LOUDNESS
    samples = np.random.Generator(np.random.PCG64(seed)).normal(0, NOISE, RATE)
    samples[RATE // 10 : RATE // 10 + len(word)] += word
    return samples.round().clip(-32768, 32767).astype(np.int16)


def recordings(voices: list[Voice], takes: range) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """All takes of all words of some voices."""
    speak = espeak if shutil.which("espeak-ng") else simulate
    jobs = [(v, w, t) for v in voices for t in takes for w in range(len(WORDS))]
    with ThreadPoolExecutor() as pool:
        x = np.stack(list(pool.map(lambda job: recording(speak(*job), 1000 * job[1] + job[2]), jobs)))
    return x, np.array([w for _, w, _ in jobs], np.int32)


def on_this_computer(build: kt.Build, x: NDArray[np.int16], y: NDArray[np.int32]) -> int:
    """CRC-32 of the state after the same steps."""
    inputs = build.features(x)
    with build.open("host") as device:
        for _ in range(EPOCHS):
            for sample, label in zip(inputs, y, strict=True):
                device.train_step(sample, label)
                device.apply()
        return zlib.crc32(device.state())


def main() -> int:
    known, new = ESPEAK if shutil.which("espeak-ng") else SIMULATED
    x, y = recordings(known, range(KNOWN_TAKES))
    learn_x, learn_y = recordings(new[:1], range(KNOWN_TAKES, KNOWN_TAKES + LEARN))
    test_x, test_y = recordings(new[:1], range(KNOWN_TAKES + LEARN, KNOWN_TAKES + LEARN + JUDGE))
    print(f"voices of {'espeak-ng' if shutil.which('espeak-ng') else 'a simulation'}: {len(x)} recordings of {len(known)} speakers", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        real = FRONT_END.reference(x).reshape(len(x), -1).astype(np.float32)
        model = kt.load(write_model(real, y, folder / "voice.tflite"))
        build = kt.build(
            model, folder / "build", method=METHODS, features=FRONT_END, calibration=x[::4], buffers="arena", name="voice", class_names=WORDS
        )
        print(build.report_text(), end="\n\n")
        program = firmware.made(build, BOARD, folder / "firmware")
        lessons = firmware.taught(learn_x, learn_y, EPOCHS)
        before = firmware.run(program, BOARD, firmware.asked(test_x))
        after = firmware.run(program, BOARD, lessons + firmware.asked(test_x))
        expected = on_this_computer(build, learn_x, learn_y)
    for title, heard in (("before", before), (f"after {len(learn_x)} recordings, {EPOCHS} times", after)):
        print(f"{BOARD}, {title:<34} {int((heard.words == test_y).sum())} of {len(test_y)} words of the stranger", flush=True)
    same = after.state == expected
    print("this computer comes to the same state" if same else "this computer comes to ANOTHER state")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
