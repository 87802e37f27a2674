"""Options that several commands have, and what is made of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from kiloc import CompileError
from kiloc.optim import SGD, STORAGES, Adam, Lion, parse_schedule

from ..data import Dataset, Reading, Wanted, load, read_names
from ..sizes import parse_size
from .completing import complete_device
from .losses import LOSS_NAMES, LOSS_OPTIONS
from .methods import finite
from .reporting import note

Command = Callable[..., Any]
POSITIVE = click.FloatRange(0, 1e18, min_open=True, max_open=True)
FILE = click.Path(dir_okay=False)
SAMPLES = click.Path()


def size(context: click.Context, option: click.Parameter, value: str | None) -> int | None:
    """Bytes, as a number or as 64K."""
    try:
        return parse_size(value, "")
    except CompileError as error:
        raise click.BadParameter(f"{error.what}: {error.hint}", context, option) from None


def writable(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """A file that can be written, found out before the work is done."""
    if value is not None and not os.access(Path(value).parent, os.W_OK):
        raise click.BadParameter(f"the folder {Path(value).parent} does not exist, or cannot be written", context, option)
    return value


def _all(options: tuple[Callable[[Command], Command], ...]) -> Callable[[Command], Command]:
    """A decorator of several options, in their order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


# ---- How a device trains: the same for a build, a training and a search ----

training_options = _all(
    (
        click.option("--optimizer", type=click.Choice(["sgd", "adam", "lion"]), default="sgd", show_default=True),
        click.option("--momentum", type=click.FloatRange(0, 1, max_open=True), callback=finite, help="Momentum (of sgd; 0 by default)."),
        click.option("--nesterov", is_flag=True, help="Use Nesterov's momentum (of sgd)."),
        click.option("--state-bits", type=click.Choice(["32", "8"]), default="32", show_default=True, help="Bits of the optimizer's moments."),
        click.option("--weight-decay", type=click.FloatRange(0), callback=finite, default=0.0, show_default=True, help="Decoupled weight decay."),
        click.option("--schedule", default="constant", show_default=True,
            help="cosine:UPDATES[:FINAL], linear:UPDATES[:FINAL] or step:EVERY[:FACTOR]."),
        click.option("--storage", type=click.Choice(STORAGES), default="block16", show_default=True, help="Format of trained tensors."),
        click.option("--clip", type=click.FloatRange(0), callback=finite, default=1.0, show_default=True,
            help="Largest norm of a gradient; 0: none."),
        *LOSS_OPTIONS,
        click.option("--accumulate", type=click.IntRange(1), default=1, show_default=True, help="Samples that one update sums over."),
    )
)  # fmt: skip
OF_TRAINING = (
    "optimizer", "momentum", "nesterov", "state_bits", "weight_decay", "schedule", "storage", "clip", *LOSS_NAMES, "accumulate",
)  # fmt: skip
"""Names of `training_options`."""

learning_rate_option = click.option(
    "--lr", type=POSITIVE, callback=finite, default=None, help="Learning rate; by default what suits optimizer and method."
)


def made_optimizer(options: dict[str, Any]) -> Any:
    """Takes its own options out of those of a command."""
    kind, momentum, nesterov, rate = (options.pop(name) for name in ("optimizer", "momentum", "nesterov", "lr"))
    if kind != "sgd" and (momentum is not None or nesterov):
        raise click.UsageError(f"--momentum and --nesterov are of --optimizer sgd, not of {kind}")
    shared = {"lr": rate, "clip": options.pop("clip"), "weight_decay": options.pop("weight_decay")}
    shared |= {"state_bits": int(options.pop("state_bits")), "schedule": parse_schedule(options.pop("schedule"))}
    if kind == "sgd":
        return SGD(momentum=momentum or 0.0, nesterov=nesterov, **shared)
    return Adam(**shared) if kind == "adam" else Lion(**shared)


# ---- Samples ----

KINDS = ".npz, .npy, .csv, .wav, or a folder of .wav, .png or .jpg files with a folder a class"

reading_options = _all(
    (
        click.option("--keys", default=None, metavar="X,Y", help="Names of the arrays of samples and labels in an .npz file."),
        click.option("--labels", type=FILE, default=None, help="Labels of --data, where that holds none: .npy, or one a line."),
        click.option("--label-column", default=None, metavar="NAME", help="Column of the labels in a .csv file, by name or number."),
    )
)
class_names_option = click.option(
    "--class-names", default=None, metavar="NAMES", help="Names of the classes in the model's order: A,B,C or a file of lines."
)


def read_samples(path: str, what: str, wanted: Wanted, options: Mapping[str, Any], labels: str | None = None) -> Dataset:
    """Samples as the options say, for a model; what was done to them is noted on standard error."""
    keys = tuple(k.strip() for k in options["keys"].split(",")) if options.get("keys") else ()
    found = load(path, what, wanted, Reading(keys, labels, options.get("label_column")))
    for text in found.notes:
        note("note", text)
    return found


def named(wanted: Wanted, names: str | None) -> Wanted:
    """With the class names of the command line, if there are some."""
    return wanted if names is None else replace(wanted, class_names=read_names(names))


# ---- Devices ----

device_options = _all(
    (
        click.option("--device", default="host", show_default=True, shell_complete=complete_device,
            help='"host", "agent:host", "qemu:mps2-an386", "serial:/dev/ttyACM0".'),
        click.option("--count", is_flag=True, help="Count instructions, which makes an emulated board slower (--device qemu:...)."),
        click.option("--baud", type=click.IntRange(300, 4_000_000), default=None, help="Bits a second of a serial port; 115200 by default."),
    )
)  # fmt: skip


def taken_by_device(options: dict[str, Any]) -> dict[str, Any]:
    """Takes the options of a kind of device out of those of a command; usage error where one is given for another kind."""
    kind = options["device"].partition(":")[0]
    given = {"serial": ("baud", options.pop("baud")), "qemu": ("count", options.pop("count") or None)}
    for of, (name, value) in given.items():
        if value is not None and of != kind:
            raise click.UsageError(f"--{name} is of --device {of}:..., not of {options['device']}")
    return {name: value for name, value in given.values() if value is not None}
