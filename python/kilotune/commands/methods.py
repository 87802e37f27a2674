"""Options of the command line that are fields of methods. A method declares them in its class (`kiloc.peft.option`)."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import click

from kiloc import CompileError
from kiloc.peft import REGISTRY, Method


class MethodsCommand(click.Command):
    """A command with --method and the options of every method that is registered when it runs: plugins are loaded before."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        own = super().get_params(ctx)
        place = next(i for i, p in enumerate(own) if p.name == "output") + 1
        try:
            more = method_options({option for p in own for option in p.opts})
        except CompileError as error:
            raise click.UsageError(f"{error.where}: {error.what}: {error.hint}") from None  # with ctx it would ask for these parameters again
        return [*own[:place], *more, *own[place:]]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        self._check_repetition(ctx, args)
        return super().parse_args(ctx, args)

    def _check_repetition(self, ctx: click.Context, args: list[str]) -> None:
        """Of an option that has one value the last would count, and the others be lost without a word."""
        for option in self.get_params(ctx):
            if isinstance(option, click.Option) and not (option.multiple or option.is_flag):
                given = [a for a in args if a in option.opts or any(a.startswith(f"{name}=") for name in option.opts if name.startswith("--"))]
                if len(given) > 1:
                    hint = "it holds for all methods: name layers separated by commas, or give each method its own by kt.build in Python"
                    other = hint if option.name == "layers" else "it has one value"
                    raise click.UsageError(f"{option.opts[-1]} is given {len(given)} times; {other}", ctx)


def method_options(taken: set[str]) -> list[click.Option]:
    """--method, and one option for each name that a field of a method has. taken: options that the command has itself. Raises CompileError."""
    found = [
        click.Option(["--method", "methods"], multiple=True, type=click.Choice(["none", *REGISTRY]), help="What is trained; may be repeated."),
        click.Option(
            ["--layers"], help='Layers of the methods: "all", "last:N", names or globs, separated by commas. By default each method has its own.'
        ),
    ]
    for name, fields in options_of_methods().items():
        flag = f"--{name.replace('_', '-')}"
        if flag in taken:
            method = next(iter(fields))
            raise CompileError(f"method {method}", f"its option {flag} is one of the command itself", "give the field another name")
        found.append(_option(flag, fields))
    return found


def options_of_methods() -> dict[str, dict[str, dataclasses.Field[Any]]]:
    """The fields that are options: by name, and by the methods that have one of this name."""
    found: dict[str, dict[str, dataclasses.Field[Any]]] = {}
    for method, field in _fields():
        found.setdefault(field.name, {})[method.name] = field
    return found


def _fields() -> Iterator[tuple[type[Method], dataclasses.Field[Any]]]:
    for method in REGISTRY.values():
        for field in dataclasses.fields(method):  # type: ignore[arg-type]
            if "help" in field.metadata:
                yield method, field


def _option(flag: str, fields: Mapping[str, dataclasses.Field[Any]]) -> click.Option:
    """The option of fields of one name; what it accepts is what the first of the methods accepts, each checks for itself."""
    method, field = next(iter(fields.items()))
    default = "" if field.default is None else f"; default {field.default}"
    text = f"{field.metadata['help'].rstrip('.')} (--method {', '.join(fields)}{default})."
    return click.Option([flag], type=_type(REGISTRY[method], field), callback=finite, help=text)


def _type(method: type[Method], field: dataclasses.Field[Any]) -> click.ParamType[Any]:
    hint = typing.get_type_hints(method)[field.name]
    kinds = [k for k in typing.get_args(hint) if k is not type(None)] if isinstance(hint, types.UnionType) else [hint]
    limits = {name: field.metadata.get(name) for name in ("least", "most", "above", "below")}
    low, high = (limits[a] if limits[a] is not None else limits[b] for a, b in (("least", "above"), ("most", "below")))
    ends = {"min_open": limits["above"] is not None, "max_open": limits["below"] is not None}
    if kinds == [int]:
        return click.IntRange(low, high, **ends)
    if kinds == [float]:
        return click.FloatRange(low, high, **ends)
    if kinds == [bool]:
        return click.BOOL
    if kinds == [str]:
        return click.STRING
    what = f"its option {field.name!r} has the type {hint}"
    raise CompileError(f"method {method.name}", what, "options are int, float, bool or str, or one of them or None")


def finite(context: click.Context, option: click.Parameter, value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number", context, option)
    return value


def made_methods(options: dict[str, Any]) -> list[Method]:
    """The methods that the command line names, in its order. Takes their options out of those of the command; what is not given is the class's."""
    names, layers = options.pop("methods"), options.pop("layers")
    given = {name: (value, fields) for name, fields in options_of_methods().items() if (value := options.pop(name)) is not None}
    made: list[Method] = []
    for name in dict.fromkeys(n for n in names if n != "none"):
        method = REGISTRY[name]
        chosen = {field: value for field, (value, fields) in given.items() if name in fields}
        if layers is not None and any(f.name == "layers" for f in dataclasses.fields(method)):  # type: ignore[arg-type]
            chosen["layers"] = layers
        made.append(method(**chosen))
    return made
