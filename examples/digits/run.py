"""The sensor changes, the accuracy falls, the model is trained on an emulated Cortex-M4, the accuracy is back.

    python examples/digits/run.py

The same training runs on the host, in the same order; the two states must be equal, bit for bit (exit code 1 if not).
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

import kilotune as kt

try:
    from data import Digits, Rows, digits
except ImportError as error:  # scikit-learn brings the images
    sys.exit(f"{error.name} is missing: pip install scikit-learn")

HERE = Path(__file__).resolve().parent
DIRECTORY = Path("build/digits")
BOARD, CORE = "qemu:mps2-an386", "Cortex-M4F"
EPOCHS, RATE, SEED = 6, 0.2, 0


def line(title: str, value: str) -> None:
    """One figure of the demonstration."""
    print(f"{title:<40}{value}", flush=True)


def build(rows: Digits) -> kt.Build:
    """Biases and LoRA on every layer: what fits in a few kilobytes."""
    return kt.build(
        kt.load(HERE / "digits.tflite"), DIRECTORY,
        method=[kt.BiasOnly(), kt.LoRA(rank=4, layers="all")], optimizer=kt.SGD(lr=RATE), loss="cross_entropy", target="cortex-m4",
        calibration=(rows.base.x, rows.base.y),
    )  # fmt: skip


def train(device: kt.Device, name: str, rows: Digits) -> bytes:
    """Train on the rows of the changed sensor; returns the state."""
    start = time.monotonic()
    device.fit(rows.adapt.x, rows.adapt.y, epochs=EPOCHS, seed=SEED, decay="linear", hold_out=0.0)
    done = f"trained {EPOCHS} epochs x {len(rows.adapt.x)} samples on {name}"
    print(f"{done:<66}{time.monotonic() - start:6.1f} s", flush=True)
    return device.state()


def on_board(built: kt.Build, rows: Digits) -> bytes | None:
    """Train on the emulated board; None where the emulator or the cross compiler is missing."""
    try:
        device = built.open(BOARD)
    except kt.DeviceError as error:
        print(f"\n{BOARD} is not available, so the host trains alone:\n{error}\n")
        return None
    with device:
        state = train(device, f"{BOARD} ({CORE})", rows)
        line("accuracy now, on the emulated board", f"{accuracy(device, rows.changed):.3f}")
        return state


def accuracy(device: kt.Device, rows: Rows) -> float:
    return device.evaluate(rows.x, rows.y)["accuracy"]


def main() -> int:
    rows = digits()
    built = build(rows)
    print(built.report_text(), end="\n\n")
    with built.open("host") as host:
        line("accuracy on the sensor it was made for", f"{accuracy(host, rows.test):.3f}")
        line("accuracy after the sensor changed", f"{accuracy(host, rows.changed):.3f}")
        board_state = on_board(built, rows)
        host_state = train(host, "the host", rows)
        line("accuracy now, on the host", f"{accuracy(host, rows.changed):.3f}")
    digest = hashlib.sha256(host_state).hexdigest()
    if board_state is None:
        line("state on the host", f"sha256 {digest}")
        return 0
    equal = board_state == host_state
    line("state on the emulated board", f"sha256 {hashlib.sha256(board_state).hexdigest()}")
    line("state on the host", f"sha256 {digest}   {'equal, bit for bit' if equal else 'DIFFERENT'}")
    return 0 if equal else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (kt.CompileError, kt.DeviceError) as error:
        sys.exit(f"error: {error}")
