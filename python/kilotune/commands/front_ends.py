"""--features and --feature of the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import click

from kiloc.features import FRONT_ENDS, FrontEnd


def features_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Takes recordings: the options that say what makes the input of them."""
    field = click.option(
        "--feature", "feature_fields", multiple=True, metavar="NAME=VALUE", help="A field of --features, as window=640; may be repeated."
    )
    which = click.option("--features", type=click.Choice(tuple(FRONT_ENDS)), default=None, help="Take recordings: what makes the input of them.")
    return which(field(command))


def made_front_end(name: str | None, given: Sequence[str]) -> FrontEnd | None:
    """The front end of this name, with fields as "window=640". Usage error where one is none of its."""
    if name is None:
        if given:
            raise click.UsageError(f"--feature {given[0]} is a field of --features, which is not given")
        return None
    cls = FRONT_ENDS[name]
    defaults: dict[str, Any] = {f.name: f.default for f in fields(cls)}
    values: dict[str, Any] = {}
    for text in given:
        field, separator, value = text.partition("=")
        if not separator or field not in defaults:
            raise click.UsageError(f"--feature {text}: fields of {name} are {', '.join(defaults)}, each as NAME=VALUE")
        try:
            values[field] = _read(value, defaults[field])
        except ValueError:
            raise click.UsageError(f"--feature {text}: {value!r} is no {_kind(defaults[field])}") from None
    return cls(**values)


def _read(text: str, default: Any) -> Any:
    """A value of the type that the default has; ValueError where it is none."""
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    if isinstance(default, tuple):
        return tuple(_number_or_word(part.strip()) for part in text.split(",") if part.strip())
    return type(default)(text)


def _number_or_word(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _kind(default: Any) -> str:
    return "list of values" if isinstance(default, tuple) else type(default).__name__
