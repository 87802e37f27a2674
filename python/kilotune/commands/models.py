"""`kilotune models`: what becomes of the models in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import click

from kiloc import TARGETS

from ..files import write_whole
from ..survey import SAMPLES, survey
from ..survey.page import markdown, others, tables
from .reporting import EXIT_FAILED, console, reports_errors


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FOLDER...")
@click.option("--target", type=click.Choice(TARGETS), default="cortex-m4", show_default=True)
@click.option("--samples", type=click.IntRange(1, 10_000), default=SAMPLES, show_default=True, help="Random inputs that are compared.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as a page to this file.")
@reports_errors
def models(folders: tuple[Path, ...], target: str, samples: int, write: Path | None, as_json: bool) -> None:
    """Which models of FOLDER compile, give the bits of other interpreters and can be trained, or why not.

    Exit code 1 where one is too much for the compiler, or a .tflite file's bits differ.
    """
    found = survey(folders, target, samples, lambda text: click.echo(text, err=True))
    if write:
        write_whole(write, markdown(found, "make models").encode())
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=1))
    else:
        for table in tables(found):
            console.print(table)
        for line in others(found):
            click.echo(line)
        click.echo(found.summary())
    raise SystemExit(0 if found.sound else EXIT_FAILED)
