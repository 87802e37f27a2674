"""Four devices learn together and keep their samples to themselves: each trains, only adapters travel, a server takes their mean.

    python examples/federated/run.py            # four devices on this computer
    python examples/federated/run.py --board    # the first of them an emulated Cortex-M4

The devices see the digits of examples/digits through the same changed sensor, but each sees few of them often and the others hardly ever. Exit
code 1 unless the mean serves all digits better than each device's own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "digits"))

from data import digits

import kilotune as kt
from kilotune.federated import Contribution, exact_mean

DIGITS = Path(__file__).resolve().parents[1] / "digits/digits.tflite"
DEVICES, ROUNDS, EPOCHS = 4, 6, 2
BOARD = "qemu:mps2-an386"
SKEW, SEED = 0.25, 3
"""SKEW: of the Dirichlet distribution by which the samples of a digit go to the devices; the lower, the less alike the devices are."""


def shares(labels: NDArray[np.int32], devices: int = DEVICES, seed: int = SEED) -> list[NDArray[np.int64]]:
    """The rows that each device has."""
    draw = np.random.Generator(np.random.PCG64(seed))
    rows: list[list[int]] = [[] for _ in range(devices)]
    for digit in range(10):
        of_digit = draw.permutation(np.flatnonzero(labels == digit))
        cuts = (np.cumsum(draw.dirichlet([SKEW] * devices))[:-1] * len(of_digit)).astype(int)
        for device, part in zip(rows, np.split(of_digit, cuts), strict=True):
            device.extend(int(row) for row in part)
    return [np.array(sorted(r)) for r in rows]


def trained(device: kt.Device, start: kt.Adapter, x: NDArray[np.int8], y: NDArray[np.int32], epochs: int) -> kt.Adapter:
    """What a device makes of an adapter with its own samples."""
    device.reset()
    device.load_adapter(start)
    device.fit(x, y, epochs=epochs, hold_out=0)
    return device.export_adapter()


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--board", action="store_true", help=f"the first device is {BOARD}")
    first = BOARD if options.parse_args().board else "host"
    found = digits()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as opened:
        methods = [kt.BiasOnly(), kt.LoRA(rank=4, layers="all")]
        model = kt.load(DIGITS)
        build = kt.build(model, Path(scratch) / "build", method=methods, calibration=found.base.x[:32], measure=first != "host")
        devices = [opened.enter_context(build.open(where)) for where in (first, *["host"] * (DEVICES - 1))]
        judge = devices[-1]

        def score(adapter: kt.Adapter) -> float:
            judge.load_adapter(adapter)
            return judge.evaluate(found.changed.x, found.changed.y)["accuracy"]

        base, parts = devices[0].export_adapter(), shares(found.adapt.y)
        alone = []
        for number, (device, rows) in enumerate(zip(devices, parts, strict=True), 1):
            alone.append(score(trained(device, base, found.adapt.x[rows], found.adapt.y[rows], ROUNDS * EPOCHS)))
            counts: Any = np.bincount(found.adapt.y[rows], minlength=10)
            print(f"device {number}: {len(rows)} digits, of 0 to 9 {' '.join(map(str, counts))}; alone it reaches {alone[-1]:.3f}", flush=True)
        shared = base
        print(f"base model {score(shared):.3f}", flush=True)
        for number in range(1, ROUNDS + 1):
            sent = [trained(d, shared, found.adapt.x[rows], found.adapt.y[rows], EPOCHS) for d, rows in zip(devices, parts, strict=True)]
            shared = exact_mean([Contribution(adapter, len(rows)) for adapter, rows in zip(sent, parts, strict=True)])
            print(f"round {number}: {DEVICES} adapters of {len(shared)} bytes, their mean reaches {score(shared):.3f}", flush=True)
        return 0 if score(shared) > max(alone) else 1


if __name__ == "__main__":
    sys.exit(main())
