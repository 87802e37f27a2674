"""A reader of digits meets a meter that it never saw: it learns from 100 images of it, and goes on reading the meters that it was made for.

    python examples/meter_digits/run.py

With the public model and images of water meters where KILOTUNE_DATA names a folder that holds them (README.md), else with the digits of
examples/digits, whose camera was knocked. Trains on this computer; an emulated Cortex-M4 trains the first steps, which must give the same bits, and
switches the adapter on and off. Exit code 1 where the board differs.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from images import is_own, stored, thumbnails
from numpy.typing import NDArray

import kilotune as kt
from kilotune.adapters import scaled

sys.path.append(str(Path(__file__).resolve().parents[1] / "personalise"))

from real_data import folder_with

HERE = Path(__file__).resolve().parent
BOARD = "qemu:mps2-an386"
MODEL, SET = "models/meter_digits_int8.tflite", "sets/meter_digits.npz"
METER, REHEARSED, SHARE = "lcd_pb", 150, 0.7
STEPS = 8
"""Samples of each kind that the board trains on."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Task:
    """known: what the model was made for, to rehearse; a device would keep it in `kept_bytes` of flash. own: the user's, to train on.

    small: by what an image is told from another meter's. circle: number of classes around it, None where they are not on one.
    """

    title: str
    model: Path
    known: Array
    kept_bytes: int
    known_judge: tuple[Array, Array]
    own: tuple[Array, Array]
    own_judge: tuple[Array, Array]
    small: Callable[[Array], NDArray[np.uint8]]
    circle: float | None


def of_meters(folder: Path) -> Task:
    """One of the meters that the model never saw; half of the images of its own training data are rehearsed, the others judge."""
    with np.load(folder / SET) as file:
        d = {name: file[name] for name in file.files}
    x, y, number = d["x"].astype(np.float32), d["label"].astype(np.int64), d["names"].tolist().index(METER)
    order = np.random.default_rng(123).permutation(len(d["calib_x"]))
    known, known_y = d["calib_x"].astype(np.float32)[order], d["calib_label"].astype(np.int64)[order]
    kept = stored(known[-REHEARSED:])
    chosen, judge = d["draws100"][number, 0], (d["meter"] == number) & (d["split"] == 1)
    chosen = chosen[chosen >= 0]
    return Task(
        f"water meters, {METER}", folder / MODEL, kept.images(), kept.bytes, (known[:-REHEARSED], known_y[:-REHEARSED]), (x[chosen], y[chosen]),
        (x[judge], y[judge]), thumbnails, 100.0,
    )  # fmt: skip


def of_digits() -> Task:
    """examples/digits: 100 pictures of a camera that was knocked."""
    folder = HERE.parent / "digits"
    sys.path.append(str(folder))
    try:
        from data import digits
    except ImportError as error:  # scikit-learn brings the images
        sys.exit(f"{error.name} is missing: pip install scikit-learn")
    d = digits()
    known, own = d.base.x[:REHEARSED], (d.adapt.x[:100], d.adapt.y[:100])

    def pixels(x: Array) -> NDArray[np.uint8]:
        return (x.astype(np.int16) + 128).astype(np.uint8).reshape(len(x), -1)

    judges = ((d.test.x, d.test.y), (d.changed.x, d.changed.y))
    return Task("digits, a knocked camera", folder / "digits.tflite", known, known.nbytes, judges[0], own, judges[1], pixels, None)


def task() -> Task:
    """Of the real set, where it is at hand."""
    folder = folder_with(MODEL, SET)
    if folder is not None:
        return of_meters(folder)
    print(f"without $KILOTUNE_DATA/{MODEL} and {SET}: digits in place of meters\n")
    return of_digits()


def line(title: str, device: kt.Device, t: Task, switched: bool = False) -> None:
    """How many of the user's images and of those from before are read right; switched: with the adapter for the user's alone."""
    cells = []
    with_adapter, own, known = device.export_adapter(), t.small(t.own[0]), t.small(t.known)
    for x, y in (t.own_judge, t.known_judge):
        predicted = device.predict(x)
        if switched:
            mine = is_own(t.small(x), own, known)
            device.reset()
            predicted = np.where(mine, predicted, device.predict(x))
            device.load_adapter(with_adapter)
        off = np.abs(predicted - y)
        near = "" if t.circle is None else f" ({(np.minimum(off, t.circle - off) <= 1).mean():.3f} within 0.1)"
        cells.append(f"{(off == 0).mean():.3f}{near}")
    print(f"{title:<46}{cells[0]:<24} {cells[1]}", flush=True)


def learned(build: kt.Build, t: Task) -> kt.Adapter:
    """Train on this computer, alone and with what the model was made for, and show what becomes of both."""
    with build.open("host") as device:
        base = device.export_adapter()
        print(f"{t.title + ', read right':<46}{'the new one':<24} those from before")
        line("before", device, t)
        device.fit(*t.own)
        line("100 images learned", device, t)
        device.reset()
        device.fit(*t.own, rehearsal=kt.Rehearsal(t.known))
        line("  and what was known rehearsed", device, t)
        whole = device.export_adapter()
        device.load_adapter(scaled(whole, SHARE, base))
        line(f"  and {SHARE} of the change taken", device, t)
        device.load_adapter(whole)
        line("  or the adapter for its own images alone", device, t, switched=True)
        return whole.labelled("own")


def first_steps(device: kt.Device, t: Task) -> bytes:
    """The state after a short training."""
    device.reset()
    device.fit(t.own[0][:STEPS], t.own[1][:STEPS], epochs=1, hold_out=0, decay="constant", rehearsal=kt.Rehearsal(t.known[:STEPS], 1))
    return device.state()


def same_on_board(build: kt.Build, t: Task, adapter: kt.Adapter) -> bool:
    """The first steps, and both answers of an adapter that is switched on and off. True where there is no board."""
    x = t.own_judge[0][:STEPS]
    with build.open("host") as host:
        expected, plain = first_steps(host, t), (host.reset(), host.predict(x))[1]
        host.load_adapter(adapter)
        adapted = host.predict(x)
    try:
        device = build.open(BOARD)
    except kt.DeviceError as error:
        print(f"\n{BOARD} is not available:\n{error}")
        return True
    with device:
        same = first_steps(device, t) == expected
        device.store_adapter(adapter)
        for name, answers in (("own", adapted), (None, plain), ("own", adapted)):
            device.select_adapter(name)
            same &= np.array_equal(device.predict(x), answers)
    print(f"{BOARD}, {2 * STEPS} steps and an adapter switched on and off: {'the bits of this computer' if same else 'DIFFERENT bits'}")
    return same


def main() -> int:
    t = task()
    with tempfile.TemporaryDirectory() as scratch:
        build = kt.build(
            kt.load(t.model), Path(scratch) / "build", method=kt.ScaleShift(), loss="soft_cross_entropy", calibration=t.known[:64],
            adapters=kt.AdapterOptions(resident=1),
        )  # fmt: skip
        memory = build.report["memory"]
        print(f"training in {memory['train_total']:,} bytes, an update of {build.report['adapters']['file']:,}, {t.kept_bytes:,} bytes rehearsed\n")
        return 0 if same_on_board(build, t, learned(build, t)) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (kt.CompileError, kt.DeviceError) as error:
        sys.exit(f"error: {error}")
