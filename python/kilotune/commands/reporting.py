"""What every command shares: how errors become messages and exit codes, and --json."""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import click
from rich.console import Console

from kiloc import CompileError, KilotuneError, ModelError, message

from ..devices import DataWarning

EXIT_FAILED, EXIT_MODEL, EXIT_INTERRUPTED = 1, 3, 130
console = Console()


def reports_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the exceptions that a user can cause into a message and an exit code; add --json."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
    @functools.wraps(command)
    def wrapped(*args: Any, as_json: bool, **kwargs: Any) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", DataWarning)
                warnings.showwarning = functools.partial(_show_warning, warnings.showwarning)
                command(*args, as_json=as_json, **kwargs)
        except KilotuneError as error:
            code = EXIT_MODEL if type(error) in (CompileError, ModelError) else EXIT_FAILED
            reasons = error.reasons if isinstance(error, ModelError) else ()
            fail(error.where, error.what, error.hint, as_json, code, reasons)
        except OSError as error:
            fail(error.filename or "", error.strerror or str(error), "check the path" if error.filename else "", as_json, EXIT_FAILED)
        except ValueError as error:
            fail("", str(error), "", as_json, EXIT_FAILED)

    return wrapped


def note(title: str, text: str) -> None:
    """A line for a person, on standard error: standard output holds results alone."""
    click.secho(f"{title}: ", fg="yellow", bold=True, nl=False, err=True)
    click.echo(text, err=True)


def _show_warning(otherwise: Callable[..., None], text: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Warnings about data as a note, without the place in our code; others as Python shows them."""
    if issubclass(category, DataWarning):
        note("warning", str(text))
    else:
        otherwise(text, category, *place, **more)


def fail(where: str, what: str, hint: str, as_json: bool, code: int, reasons: Sequence[CompileError] = ()) -> None:
    """End with a message. reasons: all that stands in a model's way, where it is more than where, what and hint say."""
    if as_json:
        listed = {"reasons": [{"where": r.where, "what": r.what, "hint": r.hint} for r in reasons]} if reasons else {}
        click.echo(json.dumps({"error": {"where": where, "what": what, "hint": hint, **listed}}, indent=1))
    else:
        click.secho("error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(str(ModelError(where, reasons)) if len(reasons) > 1 else message(where, what, hint), err=True)
    raise SystemExit(code)
