"""`kilotune new` and `kilotune federated new`."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import click

from kiloc import MeanSquaredError
from kiloc.peft import Method

from .. import boards
from ..data import Dataset
from ..model import load
from ..project import make, make_app
from .completing import complete_board
from .losses import RECONSTRUCTION
from .methods import MethodsCommand, made_methods
from .options import FILE, KINDS, SAMPLES, class_names_option, named, read_samples, reading_options
from .reporting import note, reports_errors
from .subject import wanted_of


def _given(options: dict[str, Any]) -> tuple[list[Method], Any, Dataset | None]:
    """Methods, loss and samples that the options name."""
    methods = made_methods(options)
    loss = MeanSquaredError(target="input") if options["loss"] == RECONSTRUCTION else "cross_entropy"
    if not options["data"]:
        return methods, loss, None
    if options["model"] is None:
        raise click.UsageError("--data needs --model: the digits have samples of their own")
    wanted = named(wanted_of(load(options["model"]), methods, loss), options["class_names"])
    return methods, loss, read_samples(options["data"], "--data", wanted, options, options["labels"])


@click.command(cls=MethodsCommand)
@click.argument("directory", type=click.Path(file_okay=False))
@click.option("--board", required=True, shell_complete=complete_board, help="A board of `kilotune boards`.")
@click.option("--model", type=FILE, default=None, help="The model; by default the digits of the examples.")
@click.option("--data", type=SAMPLES, default=None, help=f"Samples for the firmware: {KINDS}; by default digits, or noise.")
@reading_options
@class_names_option
@click.option("--loss", type=click.Choice(["cross_entropy", RECONSTRUCTION]), default="cross_entropy", show_default=True)
@reports_errors
def new(directory: str, as_json: bool, **options: Any) -> None:
    """Make a project in DIRECTORY: model, application in C, CMake and PlatformIO files, samples. It builds at once."""
    boards.load(options["board"])
    methods, loss, data = _given(options)
    made = make(directory, options["board"], options["model"], data, methods, loss)
    if as_json:
        found = {"directory": directory, "board": made.board.name, "model": made.model, "samples": made.samples}
        click.echo(json.dumps(found, indent=1))
        return
    if made.samples == "simulated":
        note("note", "the samples are noise, as --data names none: nothing can be learned from them")
    click.echo(f"{directory}: {made.model} for {made.board.title}; its README.md says more")
    click.echo(f"  cd {directory}\n  cmake -S . -B build\n  cmake --build build")
    if made.board.emulator:
        place = next(p for p in (made.directory / "boards").glob("*/*/board.toml")).parent.relative_to(made.directory)
        click.echo(f"  python emulate.py {place.as_posix()} build/firmware.elf")
    else:
        click.echo(f"  kilotune flash model --board {made.board.name} --elf build/firmware.elf")


@click.group()
def federated() -> None:
    """Training on many devices, whose samples stay where they are."""


@federated.command("new", cls=MethodsCommand)
@click.argument("directory", type=click.Path(file_okay=False))
@click.option("--model", type=FILE, default=None, help="The model; by default the digits of the examples.")
@click.option("--data", type=SAMPLES, default=None, help=f"Samples of all simulated clients: {KINDS}; by default digits, or noise.")
@reading_options
@class_names_option
@click.option("--loss", type=click.Choice(["cross_entropy", RECONSTRUCTION]), default="cross_entropy", show_default=True)
@click.option("--private-updates", is_flag=True, help="Devices noise their updates themselves, where the app's configuration asks for noise.")
@reports_errors
def new_app(directory: str, as_json: bool, **options: Any) -> None:
    """Make an app for Flower in DIRECTORY: server, client, configuration, build and samples. `flwr run DIRECTORY` runs it at once."""
    methods, loss, data = _given(options)
    made = make_app(directory, options["model"], data, methods, loss, options["private_updates"])
    if as_json:
        click.echo(json.dumps({**vars(made), "directory": directory}, indent=1))
        return
    if made.samples == "simulated":
        note("note", "the samples are noise, as --data names none: nothing can be learned from them")
    click.echo(f"{directory}: {made.model}, of which {made.adapter_bytes:,} bytes travel a client and direction; its README.md says more")
    if importlib.util.find_spec("flwr") is None:
        click.echo("  pip install 'kilotune[federated]'")
    click.echo(f"  flwr run {directory} --stream")
