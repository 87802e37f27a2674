"""A build as a package of an embedded framework: a library for Arduino, a module for Zephyr, a component for ESP-IDF, a CMSIS-Pack."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kiloc import CompileError

from .. import provenance
from .._version import __version__
from ..building import Build, replaceable
from ..files import whole_directory, write_json
from . import arduino, cmsis_pack, esp_idf, zephyr
from .contents import Contents, Identity

__all__ = ["FORMATS", "RECORD", "Contents", "Identity", "package"]

FORMATS: dict[str, Callable[[Contents], dict[str, str | bytes]]] = {
    "arduino": arduino.files,
    "zephyr": zephyr.files,
    "esp-idf": esp_idf.files,
    "cmsis-pack": cmsis_pack.files,
}
"""What a package is called on the command line -> its files: path -> content."""

RECORD = "kilotune_package.json"
"""In a package: the format, the model, and hashes of the other files, by which a package that nobody has changed may be replaced."""


def package(build: Build, format: str, directory: str | os.PathLike[str], **identity: Any) -> Path:
    """Write a package of a build, which appears whole or not at all; the directory.

    format: "arduino", "zephyr", "esp-idf" or "cmsis-pack".
    identity: version="1.0.0", author, license (SPDX, of the model), url, as `Identity` describes them.

    Raises CompileError where the build cannot be read, where a word does not fit the format, or where the directory holds what a package did
    not make, or what was changed since.
    """
    if format not in FORMATS:
        raise CompileError(f"format={format!r}", "is not a format of packages", f"choose one of {', '.join(FORMATS)}")
    target = Path(directory)
    changed = build.changed_files()
    if changed:
        what = f"is not as it was built: {changed[0]}" + (f", and {len(changed) - 1} more" if len(changed) > 1 else "")
        raise CompileError(str(build.directory), what, "build the model again, or package another build")
    contents = Contents.of(build, Identity(**identity))
    made = FORMATS[format](contents)
    with whole_directory(target, lambda path: replaceable(path, RECORD, edited=True)) as folder:
        for name, content in made.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        record = {"kilotune": __version__, "format": format, "model": build.manifest["model"], "files": provenance.hashes(folder)}
        write_json(folder / RECORD, record)
    return target
