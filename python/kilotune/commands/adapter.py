"""`kilotune adapter`: adapters as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from ..adapters import Adapter, signing
from ..adapters.compare import compare
from ..adapters.interchange import export_peft, import_peft
from ..building import open_build
from ..data import Wanted, load
from ..devices.manifest import Manifest
from ..merging import merge as merge_adapter
from .completing import complete_device
from .reporting import console, reports_errors

FILE = click.Path(dir_okay=False)
BUILD = click.Path(file_okay=False)
DEVICE = click.option(
    "--device", required=True, shell_complete=complete_device, help="Where the model of DIRECTORY runs, as `kilotune train` takes it."
)


@click.group()
def adapter() -> None:
    """Adapters as files: look at, sign, move and merge what was trained."""


def described(given: Adapter) -> dict[str, Any]:
    """An adapter as JSON."""
    return {
        "name": given.name,
        "sequence": given.sequence,
        "base_hash": given.base_hash,
        "methods": given.methods,
        "bytes": len(given),
        "payload_bytes": len(given.payload),
        "digest": given.digest.hex() if given.digest else None,
        "signed_by": given.public_key.hex() if given.public_key else None,
        "values": [{"name": e.name, "dtype": e.dtype, "rows": e.rows, "columns": e.columns} for e in given.entries],
    }


@adapter.command()
@click.argument("file", type=FILE)
@reports_errors
def inspect(file: str, as_json: bool) -> None:
    """What is in FILE. Exit code 1 where it is damaged."""
    found = described(Adapter.load(file))
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    for title in ("name", "sequence", "base_hash", "methods", "bytes", "digest", "signed_by"):
        click.echo(f"{title.replace('_', ' '):<10} {found[title] if found[title] not in (None, '') else '-'}")
    table = Table("value", "type", "shape")
    for value in found["values"]:
        table.add_row(value["name"], value["dtype"], f"{value['rows']}x{value['columns']}")
    console.print(table)


@adapter.command()
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@reports_errors
def diff(first: str, second: str, as_json: bool) -> None:
    """What FIRST and SECOND differ in. Exit code 1 where they do."""
    a, b = Adapter.load(first), Adapter.load(second)
    rows = compare(a, b)
    header = {k: [described(a)[k], described(b)[k]] for k in ("name", "sequence", "base_hash", "methods", "signed_by")}
    header = {k: v for k, v in header.items() if v[0] != v[1]}
    changed = [r for r in rows if r.between != 0]
    if as_json:
        click.echo(json.dumps({"header": header, "values": [r.to_dict() for r in changed]}, indent=1))
    else:
        for title, (one, other) in header.items():
            click.echo(f"{title.replace('_', ' '):<10} {one or '-'} | {other or '-'}")
        table = Table("value", "shape", "norm, first", "norm, second", "norm of the difference")
        for r in changed:
            table.add_row(r.name, "x".join(map(str, r.shape)), *("-" if n is None else f"{n:.6g}" for n in (r.first, r.second, r.between)))
        if changed:
            console.print(table)
        click.echo(f"{len(changed)} of {len(rows)} values differ")
    raise SystemExit(1 if header or changed else 0)


@adapter.command()
@click.argument("name")
@reports_errors
def keys(name: str, as_json: bool) -> None:
    """Make a pair of keys: NAME.key, to be kept secret, and NAME.pub, for builds."""
    secret, public = signing.make_keys(name)
    click.echo(json.dumps({"secret": str(secret), "public": str(public)}, indent=1) if as_json else f"{secret} (keep it secret), {public}")


@adapter.command()
@click.argument("file", type=FILE)
@click.option("--key", required=True, type=FILE, help="Secret key, of `kilotune adapter keys`.")
@click.option("--name", default=None, help="Give it this name first, at most 24 bytes.")
@click.option("--sequence", type=click.IntRange(0, 2**32 - 1), default=None, help="Give it this sequence number first: one higher than the last.")
@click.option("-o", "--output", type=FILE, default=None, help="Where to write it; FILE by default.")
@reports_errors
def sign(file: str, key: str, name: str | None, sequence: int | None, output: str | None, as_json: bool) -> None:
    """Sign FILE with a secret key."""
    signed = signing.sign(Adapter.load(file).labelled(name, sequence), key)
    signed.save(output or file)
    _report(signed, output or file, as_json)


@adapter.command()
@click.argument("file", type=FILE)
@click.option("--key", required=True, type=FILE, help="Public key of the signer.")
@reports_errors
def verify(file: str, key: str, as_json: bool) -> None:
    """Whether FILE is whole and signed with this key. Exit code 1 where it is not."""
    given = Adapter.load(file)
    signing.verify(given, key)
    _report(given, file, as_json)


@adapter.command()
@click.argument("directory", type=BUILD)
@click.argument("file", type=FILE)
@DEVICE
@click.option("--name", default="", help="Name of the adapter, at most 24 bytes.")
@click.option("--sequence", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@reports_errors
def pull(directory: str, file: str, device: str, name: str, sequence: int, as_json: bool) -> None:
    """Read what a device has learned into FILE."""
    with open_build(directory).open(device) as opened:
        found = opened.export_adapter().labelled(name, sequence)
    found.save(file)
    _report(found, file, as_json)


@adapter.command()
@click.argument("directory", type=BUILD)
@click.argument("file", type=FILE)
@DEVICE
@reports_errors
def push(directory: str, file: str, device: str, as_json: bool) -> None:
    """Load FILE into the model on a device, into flash where the build has slots; nothing changes where the device refuses it."""
    given = Adapter.load(file)
    with open_build(directory).open(device) as opened:
        if opened.manifest.adapter_slots:
            opened.update_adapter(given)
        else:
            opened.load_adapter(given)
    _report(given, file, as_json)


@adapter.command()
@click.argument("directory", type=BUILD)
@click.argument("file", type=FILE)
@click.option("-o", "--output", required=True, type=FILE, help="The merged model: .tflite, or .onnx in QDQ form.")
@reports_errors
def merge(directory: str, file: str, output: str, as_json: bool) -> None:
    """Fold FILE, trained by the build in DIRECTORY, into the weights of its model."""
    merged = merge_adapter(open_build(directory), file, Path(output))
    summary = {"model": str(merged.path), "parameters": sum(x["parameters"] for x in merged.layers())}
    click.echo(json.dumps(summary, indent=1) if as_json else f"{summary['model']}: {summary['parameters']:,} parameters")


@adapter.command("export")
@click.argument("directory", type=BUILD)
@click.argument("file", type=FILE)
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False), help="Folder of adapter_model.safetensors and adapter_config.json.")
@reports_errors
def export_command(directory: str, file: str, output: str, as_json: bool) -> None:
    """Write the LoRA weights of FILE, trained by the build in DIRECTORY, as PEFT names them."""
    export_peft(open_build(directory), Adapter.load(file), output)
    click.echo(json.dumps({"folder": output}, indent=1) if as_json else output)


@adapter.command("import")
@click.argument("directory", type=BUILD)
@click.argument("folder", type=click.Path(file_okay=False))
@click.option("--calibration", required=True, type=FILE, help="NPZ with x, inputs like those to come.")
@click.option("--name", default="", help="Name of the adapter, at most 24 bytes.")
@click.option("--sequence", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option("-o", "--output", required=True, type=FILE, help="The adapter, a .kta file.")
@reports_errors
def import_command(directory: str, folder: str, calibration: str, name: str, sequence: int, output: str, as_json: bool) -> None:
    """Quantise LoRA weights of another trainer, in a PEFT FOLDER, for the build in DIRECTORY."""
    build = open_build(directory)
    samples = load(calibration, "--calibration", Wanted.by(Manifest.load(build.directory)))
    found = import_peft(build, folder, samples.x, name, sequence)
    found.save(output)
    _report(found, output, as_json)


def _report(given: Adapter, file: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(described(given), indent=1))
        return
    signer = f"signed by {given.public_key.hex()[:16]}..." if given.public_key else "not signed"
    click.echo(f"{file}: {len(given):,} bytes, {given.methods}, sequence {given.sequence}, {signer}")
