"""Digits that come one after another: an emulated board learns 6, 7, 8 and 9, which its model was never shown, and keeps 0 to 5.

    python examples/continual_digits/run.py

A dense network learns the digits 0 to 5 on this computer and is built with a last layer that has room for four more classes, and with a replay
buffer of what its frozen layers make of a sample. On the board each new digit is opened by its first sample, then trained on twenty. Beside it the
same without the buffer. The same training runs on this computer; exit code 1 unless the two states are equal, bit for bit.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import kilotune as kt

for neighbour in ("digits", "personalise"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / neighbour))

try:
    from base import write_model
    from data import SCALE, ZERO_POINT, Rows, digits
except ImportError as error:  # scikit-learn brings the images
    sys.exit(f"{error.name} is missing: pip install scikit-learn")

BOARD = "qemu:mps2-an386"
KNOWN, LESSONS, EPOCHS, RATE, REPLAYED = 6, 20, 8, 0.1, 3
BUFFER = kt.Replay(samples=60, policy="class_balanced")

Samples = tuple[NDArray[np.float32], NDArray[np.int32]]


def pixels(rows: Rows) -> Samples:
    """Pixels [N, 64] of 0 to 16, and digits [N]."""
    return (rows.x.reshape(-1, 64).astype(np.float32) - ZERO_POINT) * np.float32(SCALE), rows.y


def lessons(base: Samples, digit: int) -> NDArray[np.float32]:
    """The first samples of a digit."""
    return base[0][base[1] == digit][:LESSONS]


def accuracy(device: kt.Device, test: Samples, digits_so_far: int) -> str:
    """On the digits so far: of those that the model was made for, and of those that were added."""
    x, y = test
    right = device.predict(x[y < digits_so_far]) == y[y < digits_so_far]
    old = y[y < digits_so_far] < KNOWN
    added = f"{right[~old].mean():.3f}" if digits_so_far > KNOWN else "  -  "
    return f"{right[old].mean():.3f}           {added}"


def learn(device: kt.Device, base: Samples, test: Samples, replayed: int, shown: bool) -> bytes:
    """All new digits, one after the other; returns the state."""
    device.reset()
    known = base[1] < KNOWN
    device.remember(base[0][known][: BUFFER.samples], base[1][known][: BUFFER.samples])
    for digit in range(KNOWN, 10):
        x = lessons(base, digit)
        number = device.add_class(x[0])
        device.fit(x, np.full(len(x), number), epochs=EPOCHS, replay=replayed, learning_rate=RATE, decay="constant", hold_out=0.0, progress=False)
        if shown:
            print(f"  {digit} is learned{'':<16}{accuracy(device, test, digit + 1)}", flush=True)
    return device.state()


def main() -> int:
    warnings.simplefilter("ignore", kt.DataWarning)  # lessons hold one digit, as they should
    rows = digits()
    base, test = pixels(rows.base), pixels(rows.test)
    known = base[1] < KNOWN
    with tempfile.TemporaryDirectory() as scratch:
        model = kt.load(write_model(base[0][known], base[1][known], Path(scratch) / "known_digits.tflite"))
        build = kt.build(
            model, Path(scratch) / "build", method=kt.Head(extra_classes=10 - KNOWN), replay=BUFFER, calibration=(base[0][known], base[1][known])
        )
        print(build.report_text(), end="\n\n")
        print(f"{'':<30}0 to 5          those added")
        with build.open("host") as host:
            print(f"the model{'':<21}{accuracy(host, test, KNOWN)}", flush=True)
            print("without replay, on this computer")
            learn(host, base, test, 0, shown=True)
            expected = learn(host, base, test, REPLAYED, shown=False)
        start = time.monotonic()
        try:
            board = build.open(BOARD)
        except kt.DeviceError as error:
            print(f"\n{BOARD} is not available, so this computer trains alone:\n{error}\n")
            with build.open("host") as host:
                return int(learn(host, base, test, REPLAYED, shown=True) != expected)
        with board:
            print(f"{REPLAYED} replayed samples for each new one, on {BOARD}")
            state = learn(board, base, test, REPLAYED, shown=True)
            held = board.replay_buffer()
    print(f"\ntrained on the board in {time.monotonic() - start:.0f} s; the buffer holds {np.bincount(held.labels).tolist()} of 0 to 9")
    same = state == expected
    print("this computer comes to the same state, bit for bit" if same else "this computer comes to ANOTHER state")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
