"""A monitor of the heart meets another patient: an emulated microcontroller adapts to the beats, first without labels, then with twenty.

    python examples/patient_ecg/run.py

Information maximisation learns from 100 beats that nobody has looked at; 20 labelled beats judge it, and take it back where it answers none of
them more right. Then other 20 labelled beats are learned, through the same gate. F1 is of ectopic beats, over what comes later. Exit code 1 unless
the board has the host's bits and is no worse than before.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from beats import Heart, heart

import kilotune as kt

BOARD = "qemu:mps2-an386"
UNLABELLED, LABELLED, JUDGED, EPOCHS = 100, 20, 300, 5


def f1(device: kt.Device, h: Heart) -> float:
    """Of ectopic beats, over beats of later."""
    found, y = device.predict(h.later[0][:JUDGED], progress=False) == 1, h.later[1][:JUDGED] == 1
    return float(2 * (found & y).sum() / max(1, found.sum() + y.sum()))


def adapted(device: kt.Device, h: Heart, what: str, x: Any, y: Any, judges: slice) -> tuple[kt.Adapter, bytes]:
    """Learn, through the gate; the adapter and the state then."""
    with device.gate(h.x[judges], h.y[judges]) as gate:
        device.fit(x, y, epochs=EPOCHS, progress=False)
    print(f"  {what:<24}F1 {f1(device, h):.3f}   {gate}", flush=True)
    return device.export_adapter(), device.state()


def main() -> int:
    warnings.simplefilter("ignore", kt.DataWarning)  # 20 beats may all be of one kind
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        h = heart(folder)
        order = np.random.default_rng(0).permutation(len(h.x))
        h = Heart(h.source, h.model, h.known, h.x[order], h.y[order], h.later)
        model = kt.load(h.model)
        common: dict[str, Any] = {
            "method": kt.ScaleShift(),
            "calibration": (h.known[0][:256], h.known[1][:256]),
            "target": "cortex-m4",
            "name": "beats",
        }
        free = kt.build(model, folder / "free", loss=kt.InformationMaximisation(), accumulate=16, **common)
        labelled = kt.build(model, folder / "labelled", **common)
        memory = free.report["memory"]
        print(f"{h.source}: {model.name}; training takes {memory['train_total']:,} bytes of memory, {memory['state']:,} of them kept")
        judges, few = (slice(UNLABELLED + n * LABELLED, UNLABELLED + (n + 1) * LABELLED) for n in (0, 1))
        states: dict[str, list[bytes]] = {}
        scores = [0.0, 0.0]
        for place in ("host", BOARD):
            with free.open(place) as device:
                scores[0] = f1(device, h)
                print(f"{place:<26}F1 {scores[0]:.3f}", flush=True)
                adapter, state = adapted(device, h, "without labels", h.x[:UNLABELLED], None, judges)
            with labelled.open(place) as device:
                device.load_adapter(adapter)
                states[place] = [state, adapted(device, h, f"{LABELLED} labels", h.x[few], h.y[few], judges)[1]]
                scores[1] = f1(device, h)
        print(f"the adapter has {len(adapter):,} bytes")
    same = states["host"] == states[BOARD]
    print(f"the board has {'the bits of the host' if same else 'OTHER bits than the host'}")
    return 0 if same and scores[1] >= scores[0] else 1


if __name__ == "__main__":
    sys.exit(main())
