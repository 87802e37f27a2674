"""Gas sensors have drifted, and hardly any labels are there: an emulated microcontroller adapts without them, and a few judge the result.

    python examples/sensor_drift/run.py

100 samples of now have no label, 20 have one. Re-normalisation and information maximisation learn from those without; a gate keeps each where it
answers
at least one of the 20 more right. Training on the 20 alone is shown beside it. Exit code 1 unless the board has the host's bits and is no worse.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from sensors import Drift, drift

import kilotune as kt

BOARD = "qemu:mps2-an386"
UNLABELLED, LABELLED, JUDGED, EPOCHS = 100, 20, 200, 5


def adapted(device: kt.Device, d: Drift) -> bytes:
    """Both ways, one behind the other, each through the gate. Returns the state."""
    unlabelled, few = d.x[:UNLABELLED], slice(UNLABELLED, UNLABELLED + LABELLED)

    def told(what: str, gate: kt.Gate) -> None:
        print(f"  {what:<26}{accuracy(device, d):.3f}   {gate}", flush=True)

    with device.gate(d.x[few], d.y[few]) as gate:
        device.renormalise(unlabelled, progress=False)
    told("re-normalised", gate)
    with device.gate(d.x[few], d.y[few]) as gate:
        device.fit(unlabelled, epochs=EPOCHS, progress=False)
    told("information maximised", gate)
    return device.state()


def accuracy(device: kt.Device, d: Drift) -> float:
    judged = slice(UNLABELLED + LABELLED, UNLABELLED + LABELLED + JUDGED)
    return float((device.predict(d.x[judged], progress=False) == d.y[judged]).mean())


def main() -> int:
    warnings.simplefilter("ignore", kt.DataWarning)  # 20 labels need not have every gas
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        d = drift(folder)
        model = kt.load(d.model)
        common: dict[str, Any] = {"method": kt.ScaleShift(), "calibration": (d.known[0][:256], d.known[1][:256]), "target": "cortex-m4"}
        build = kt.build(model, folder / "build", loss=kt.InformationMaximisation(), moments=True, accumulate=16, **common)
        memory = build.report["memory"]
        print(f"{d.source}: {model.name}; training takes {memory['train_total']:,} bytes of memory, {memory['state']:,} of them kept")
        with kt.build(model, folder / "labels", measure=False, **common).open("host") as device:
            few = slice(UNLABELLED, UNLABELLED + LABELLED)
            before = accuracy(device, d)
            device.fit(d.x[few], d.y[few], progress=False)
            alone = accuracy(device, d)
        print(f"the host, before            {before:.3f}")
        with build.open("host") as device:
            expected = adapted(device, d)
        with build.open(BOARD) as device:
            print(f"{BOARD}, before {accuracy(device, d):.3f}", flush=True)
            same = adapted(device, d) == expected
            after = accuracy(device, d)
            print(f"  the adapter has {len(device.export_adapter()):,} bytes")
        print(f"trained on the {LABELLED} labels alone, {alone:.3f}")
    print(f"the board has {'the bits of the host' if same else 'OTHER bits than the host'}")
    return 0 if same and after >= before else 1


if __name__ == "__main__":
    sys.exit(main())
