"""A bearing is watched by an autoencoder on an emulated microcontroller: another machine, another speed, and what adapting there brings.

    python examples/predictive_maintenance/run.py

The model knows one healthy machine. On another one everything is an alarm. The threshold alone, calibrated anew, ends the alarms and the detection
with them; adapting scale and shift of each layer to half a minute of the healthy new machine, and the threshold with it, brings the detection back.
No label is needed but that this machine was healthy then. Exit code 1 unless the board has the host's bits and, of the simulated bearing, detects
again. Recordings of real machines take the place of the simulated ones where KILOTUNE_DATA brings them (recordings.py).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from autoencoder import write_model
from bearing import ORIGINAL, OTHERS, vibration
from recordings import RecordingError, recorded, setting
from watching import CALIBRATED, METHOD, Seen, Setting, Site, calibrated

import kilotune as kt

BOARD = "qemu:mps2-an386"
CHECKED, EPOCHS = 20, 5


def simulated(model: Path) -> Setting:
    """The bearing of one machine, and on another."""
    scaling, known = write_model(model)
    title, machine = list(OTHERS.items())[-1]
    factory = scaling.of(vibration(ORIGINAL, CALIBRATED, 50))
    return Setting(scaling, known, factory, Site.of(ORIGINAL, scaling), title, Site.of(machine, scaling))


def main() -> int:
    folder = recorded()
    print(f"recordings of {folder}" if folder else "a simulated bearing", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "bearing.tflite"
        try:
            given = setting(folder, path) if folder else simulated(path)
        except RecordingError as error:
            print(error, file=sys.stderr)
            return 1
        site, loss = given.site, kt.MeanSquaredError(target="input")
        build = kt.build(kt.load(path), Path(scratch) / "build", method=METHOD, loss=loss, target="cortex-m4", calibration=given.known[::3])
        print(build.report_text(), end="\n\n")
        with build.open("host") as host:
            for x in site.adapt[:CHECKED]:
                host.train_step(x)
            expected = host.state()
        with build.open(BOARD) as device:
            for x in site.adapt[:CHECKED]:
                device.train_step(x)
            same = device.state() == expected
            device.reset()
            factory = calibrated(device, given.factory)
            print(f"{BOARD}, the original machine            {Seen.of(device, given.original, factory)}", flush=True)
            before = Seen.of(device, site, factory)
            print(f"{given.title + ', threshold of the factory':<52}{before}", flush=True)
            alone = Seen.of(device, site, calibrated(device, site.adapt))
            print(f"  threshold calibrated anew                         {alone}", flush=True)
            device.fit(site.adapt, epochs=EPOCHS, progress=False)
            threshold = calibrated(device, site.adapt)
            after = Seen.of(device, site, threshold)
            print(f"  model adapted, threshold with it                  {after}", flush=True)
            print(f"  the adapter has {len(device.export_adapter()):,} bytes, the threshold {len(threshold.to_bytes())}: {threshold.limit:.2f}")
    print(f"after {CHECKED} steps the board has {'the bits of the host' if same else 'OTHER bits than the host'}")
    return 0 if same and (folder or (after.detected > alone.detected and after.area > before.area)) else 1


if __name__ == "__main__":
    sys.exit(main())
