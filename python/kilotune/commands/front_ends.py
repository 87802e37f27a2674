"""--features and --feature of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import click

from kiloc.features import FRONT_ENDS, FrontEnd


def made_front_end(name: str | None, given: Sequence[str]) -> FrontEnd | None:
    """The front end of this name, with fields as "window=640". Usage error where one is none of its."""
    if name is None:
        if given:
            raise click.UsageError(f"--feature {given[0]} is a field of --features, which is not given")
        return None
    cls = FRONT_ENDS[name]
    kinds: dict[str, Any] = {f.name: type(f.default) for f in fields(cls)}
    values: dict[str, Any] = {}
    for text in given:
        field, separator, value = text.partition("=")
        if not separator or field not in kinds:
            raise click.UsageError(f"--feature {text}: fields of {name} are {', '.join(kinds)}, each as NAME=VALUE")
        try:
            values[field] = kinds[field](value)
        except ValueError:
            raise click.UsageError(f"--feature {text}: {value!r} is no {kinds[field].__name__}") from None
    return cls(**values)
