"""What a shell completes: boards, devices, and the layers of the model that stands on the command line.

A completion never fails: what cannot be read has nothing to offer.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from kiloc import KilotuneError

from .. import boards
from ..devices import available
from ..devices.serial_port import ports
from ..model import load


def complete_board(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Boards that firmware is linked for, with their titles."""
    try:
        rows = boards.overview()
    except KilotuneError:  # of a board of one's own
        return []
    return [CompletionItem(row["board"], help=row["title"]) for row in rows if row["board"].startswith(incomplete)]


def complete_device(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Devices, with the serial ports that are there now."""
    try:
        names = [name for name in available() if not name.startswith("serial:")]
    except KilotuneError:
        return []
    return _items("", [*names, *(f"serial:{port}" for port in ports())], incomplete)


def complete_layers(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The last of the layers that are separated by commas."""
    before, comma, last = incomplete.rpartition(",")
    return _items(before + comma, layers_of(context), last)


def layers_of(context: click.Context) -> list[str]:
    """Names that --layers takes: those of the layers with weights, where MODEL is a file that can be read."""
    # An option without its value ends click's reading before arguments get their names: then they are still in `args`.
    given = context.params.get("model") or next(iter(context.args), None)
    if not isinstance(given, str) or not Path(given).is_file():
        return []
    try:
        names = [layer["name"] for layer in load(given).layers() if layer["trainable"]]
    except (KilotuneError, OSError):
        return []
    return ["all", "last:1", "last:2", *names]


def _items(before: str, names: Iterable[str], last: str) -> list[CompletionItem]:
    return [CompletionItem(before + name) for name in names if name.startswith(last)]


def complete_method(context: click.Context, names: Iterable[str], fields: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """NAME, or the last part of NAME=LAYERS,OPTION=VALUE. fields: the options of the method that is named."""
    name, equals, rest = incomplete.partition("=")
    if not equals:
        return _items("", names, name)
    before, comma, last = rest.rpartition(",")
    return _items(f"{name}={before}{comma}", [*layers_of(context), *(f"{field}=" for field in fields)], last)
