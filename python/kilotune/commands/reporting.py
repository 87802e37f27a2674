"""What every command shares: how errors become messages and exit codes, and --json."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console

from kiloc import CompileError

from ..devices import DeviceError

EXIT_FAILED, EXIT_MODEL = 1, 3
console = Console()


def reports_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the exceptions that a user can cause into a message and an exit code; add --json."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
    @functools.wraps(command)
    def wrapped(*args: Any, as_json: bool, **kwargs: Any) -> None:
        try:
            command(*args, as_json=as_json, **kwargs)
        except (CompileError, DeviceError) as error:
            code = EXIT_MODEL if type(error) is CompileError else EXIT_FAILED
            fail(error.where, error.what, error.hint, as_json, code)
        except (ValueError, OSError) as error:
            fail("", str(error), "", as_json, EXIT_FAILED)

    return wrapped


def fail(where: str, what: str, hint: str, as_json: bool, code: int) -> None:
    if as_json:
        click.echo(json.dumps({"error": {"where": where, "what": what, "hint": hint}}, indent=1))
    else:
        click.secho("error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(what, err=True)
        for title, text in (("at", where), ("hint:", hint)):
            if text:
                click.echo(f"  {title} {text}", err=True)
    raise SystemExit(code)
