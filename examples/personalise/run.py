"""Two people use one device: it learns both, keeps both adapters, switches between them, and one moves to another device.

    python examples/personalise/run.py

An emulated Cortex-M4 is trained on five takes a digit of a first speaker, then of a second; both adapters stay in its memory. The first one is
pulled, signed, and pushed over the air to an emulated Cortex-M3 whose firmware takes adapters of this signer only. Exit code 1 unless the
second board gives the first board's results, bit for bit.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from base import write_model
from numpy.typing import NDArray
from voices import Speech, voices

import kilotune as kt
from kilotune.adapters import signing

TRAINER, OTHER = "qemu:mps2-an386", "qemu:mps2-an385"
METHODS = [kt.BiasOnly(), kt.LoRA(rank=4, layers="last:2")]
EPOCHS, RATE = 4, 0.1
CALIBRATION = 128


def scores(device: kt.Device, people: dict[str, Speech]) -> str:
    found = {name: float((device.predict(s.x_test) == s.y_test).mean()) for name, s in people.items()}
    return "   ".join(f"{name} {value:.3f}" for name, value in found.items())


def personalised(build: kt.Build, people: dict[str, Speech]) -> tuple[kt.Adapter, NDArray[np.int8]]:
    """Train one adapter a speaker on the first board and keep both. Returns the first speaker's, and its results."""
    first = next(iter(people))
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
        return np.asarray(device.infer(next(iter(people.values())).x_test))


def main() -> int:
    found = voices()
    people, first = found.people, next(iter(found.people))
    print(f"voices of {found.source}: {len(found.x)} samples of speakers that the model was made for", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = kt.load(found.model or write_model(found.x, found.y, folder / "words.tflite"))
        secret, public = signing.make_keys(folder / "owner")
        common: dict[str, Any] = {"method": METHODS, "calibration": found.x[:: max(1, len(found.x) // CALIBRATION)]}
        resident = kt.AdapterOptions(resident=len(people))
        training = kt.build(model, folder / "trains", optimizer=kt.SGD(lr=RATE), target="cortex-m4", adapters=resident, **common)
        stored = (people[first].x[:10], people[first].y[:10])
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
