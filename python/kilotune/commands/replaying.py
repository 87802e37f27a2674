"""`kilotune replay`: the training that a device has recorded, repeated on this computer."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import click

from ..data import Wanted
from ..devices import open_device
from ..devices.manifest import Manifest
from ..replaying import replay
from .options import SAMPLES, read_samples, reading_options
from .reporting import EXIT_FAILED, reports_errors


@click.command(name="replay")
@click.argument("log", type=click.Path(dir_okay=False))
@click.option("--build", "directory", required=True, type=click.Path(file_okay=False), help="The build directory of the device's firmware.")
@click.option("--device", default=None, help='Repeat a step that differs on this device too, kernel by kernel: "qemu:mps2-an386", "serial:PORT".')
@click.option("--data", type=SAMPLES, default=None, help="The samples that the device was trained on, for a log without them.")
@reading_options
@reports_errors
def replay_command(log: str, directory: str, as_json: bool, **options: Any) -> None:
    """Repeat the training of LOG on this computer. Exit code 1 where the device did anything else, with the step and the kernel.

    Device.record(path) and `kilotune train --record FILE` write a log; the flash that firmware's kt/recorder.h filled is one too.
    """
    device, given = options["device"], dict[bytes, bytes]()
    if options["data"]:
        given = _samples(directory, options)
    found = replay(log, directory, None if device is None else lambda: open_device(directory, device), given)
    click.echo(json.dumps(found.to_dict(), indent=1) if as_json else found.text())
    raise SystemExit(0 if found.equal else EXIT_FAILED)


def _samples(directory: str, options: dict[str, Any]) -> dict[bytes, bytes]:
    """SHA-256 of each sample of --data to its bytes, as a log has them."""
    with open_device(directory, "host") as host:
        samples = read_samples(options["data"], "--data", Wanted.by(Manifest.load(directory)), options, options["labels"])
        inputs = host._inputs(samples.x)
        _, values = host._targets(samples.y, len(inputs))
    contents = [x.tobytes() + v.tobytes() for x, v in zip(inputs, values, strict=True)]
    return {hashlib.sha256(content).digest(): content for content in contents}
