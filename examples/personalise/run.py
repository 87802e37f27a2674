"""Two people use one device: it learns both, keeps both adapters, switches between them, and one moves to another device.

    python examples/personalise/run.py

An emulated Cortex-M4 is trained on five takes a digit of a first speaker, then of a second; both adapters stay in its memory. The first one is
pulled, signed, and pushed over the air to an emulated Cortex-M3 whose firmware takes adapters of this signer only. Exit code 1 unless the
second board gives the first board's results, bit for bit.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kilotune as kt
from kilotune.adapters import signing

DATA = Path(os.environ.get("KILOTUNE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SPEAKERS = ("nicolas", "lucas")
"""One whom the model never heard, and one that it was made for, but through a microphone that muffles."""
MUFFLED = {"lucas": {1: -7.5, 2: 2.2}}
"""What a microphone's frequency response adds to cepstral coefficients: about 2.5 and 1.2 standard deviations."""
TRAINER, OTHER = "qemu:mps2-an386", "qemu:mps2-an385"
METHODS = [kt.BiasOnly(), kt.LoRA(rank=4, layers="last:2")]
EPOCHS, RATE = 4, 0.1


@dataclass(frozen=True)
class Speech:
    """Spoken digits of one speaker: takes to learn from, and others to judge by."""

    x: NDArray[np.float32]
    y: NDArray[np.int32]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int32]


def recordings() -> tuple[NDArray[np.float32], dict[str, Speech]]:
    """Samples of the speakers that the model was made for, and those of the new ones."""
    d: Any = np.load(DATA / "sets" / "fsdd_mfcc.npz")
    x, y = d["x"].astype(np.float32)[..., None], d["y"].astype(np.int32)
    found = {}
    for name in SPEAKERS:
        mine = d["speaker"] == name
        learn, judge = mine & (d["take"] >= 25) & (d["take"] < 30), mine & (d["take"] < 4)
        response = np.zeros((x.shape[2], 1), np.float32)
        for coefficient, offset in MUFFLED.get(name, {}).items():
            response[coefficient] = offset
        found[name] = Speech(x[learn] + response, y[learn], x[judge] + response, y[judge])
    known = ~np.isin(d["speaker"], SPEAKERS)
    return x[known][:: max(1, int(known.sum()) // 128)], found


def scores(device: kt.Device, people: dict[str, Speech]) -> str:
    found = {name: float((device.predict(s.x_test) == s.y_test).mean()) for name, s in people.items()}
    return "   ".join(f"{name} {value:.3f}" for name, value in found.items())


def personalised(build: kt.Build, people: dict[str, Speech]) -> tuple[kt.Adapter, NDArray[np.int8]]:
    """Train one adapter a speaker on the first board and keep both. Returns the first speaker's, and its results."""
    first = SPEAKERS[0]
    with build.open(TRAINER) as device:
        print(f"{TRAINER}, base model{'':<18}{scores(device, people)}", flush=True)
        for name, speech in people.items():
            device.select_adapter(None)
            device.fit(speech.x, speech.y, epochs=EPOCHS, decay="linear")
            device.store_adapter(device.export_adapter().labelled(name))
            print(f"  trained for {name:<29}{scores(device, people)}", flush=True)
        for name in people:
            device.select_adapter(name)
            print(f"  switched to {name:<29}{scores(device, people)}", flush=True)
        device.select_adapter(first)
        names, active = device.stored_adapters()
        adapter = device.export_adapter().labelled(first, sequence=1)
        print(f"  in memory: {', '.join(names)}; active: {active}; pulled {first}: {len(adapter):,} bytes", flush=True)
        return adapter, np.asarray(device.infer(people[first].x_test))


def moved(build: kt.Build, adapter: kt.Adapter, secret: Path, people: dict[str, Speech]) -> NDArray[np.int8]:
    """The adapter on the second board; unsigned it is refused."""
    with build.open(OTHER) as device:
        print(f"{OTHER}, base model{'':<18}{scores(device, people)}", flush=True)
        try:
            device.update_adapter(adapter)
        except kt.DeviceError as error:
            print(f"  unsigned: {error.what}", flush=True)
        sent = device.update_adapter(signing.sign(adapter, secret)).sent
        device.reboot()
        print(f"  signed, {sent:,} bytes sent, after a reset   {scores(device, people)}", flush=True)
        return np.asarray(device.infer(people[SPEAKERS[0]].x_test))


def main() -> int:
    if not (DATA / "sets").is_dir():
        print(f"the recordings are not in {DATA}: KILOTUNE_DATA names their folder", file=sys.stderr)
        return 1
    base, people = recordings()
    model = kt.load(DATA / "models" / "fsdd_dscnn_int8.tflite")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        secret, public = signing.make_keys(folder / "owner")
        common: dict[str, Any] = {"method": METHODS, "calibration": base}
        resident = kt.AdapterOptions(resident=len(SPEAKERS))
        training = kt.build(model, folder / "trains", optimizer=kt.SGD(lr=RATE), target="cortex-m4", adapters=resident, **common)
        stored = (people[SPEAKERS[0]].x[:10], people[SPEAKERS[0]].y[:10])
        options = kt.AdapterOptions(public_key=public, rollback_protection=True, slots=True, self_test=stored)
        inference = kt.build(model, folder / "infers", train=False, target="cortex-m3", adapters=options, **common)
        for build in (training, inference):
            print(build.report_text(), end="\n\n")
        adapter, expected = personalised(training, people)
        same = np.array_equal(moved(inference, adapter, secret, people), expected)
    print("both boards give the same bits" if same else "the boards DIFFER")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
