"""`kilotune package`: a build as a package of an embedded framework."""

from __future__ import annotations

import json

import click

from ..building import open_build
from ..packages import FORMATS, package
from ..packages.contents import PLACEHOLDER
from .reporting import note, reports_errors


@click.command(name="package")
@click.argument("directory", type=click.Path(file_okay=False))
@click.option("--format", "format_", type=click.Choice(list(FORMATS)), required=True, help="The framework that the package is for.")
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False), help="Folder of the package; it appears whole or not at all.")
@click.option("--version", default="1.0.0", show_default=True, help="Of the package.")
@click.option("--author", default="", help='"Ann Example <ann@example.org>"; a CMSIS-Pack takes its vendor from it.')
@click.option("--license", "license_", default="", help="Of the model, as an SPDX expression; that of the runtime is added.")
@click.option("--url", default="", help="Where the package will be published.")
@reports_errors
def package_command(directory: str, format_: str, output: str, version: str, author: str, license_: str, url: str, as_json: bool) -> None:
    """Make a library, module, component or pack of the build in DIRECTORY."""
    path = package(open_build(directory), format_, output, version=version, author=author, license=license_, url=url)
    missing = [f"--{name}" for name, value in (("author", author), ("license", license_), ("url", url)) if not value]
    if as_json:
        names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        click.echo(json.dumps({"directory": str(path), "format": format_, "files": names}, indent=1))
        return
    click.echo(f"{path}: {format_} package; its README.md says how it is used")
    if missing:
        note("note", f"before you publish it, pass {' and '.join(missing)}: the package names {PLACEHOLDER} or nobody in their place")
