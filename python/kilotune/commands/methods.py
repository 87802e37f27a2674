"""Options of the command line that are fields of methods. A method declares them in its class (`kiloc.peft.option`)."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from kiloc import CompileError
from kiloc.peft import REGISTRY, Method

from .completing import complete_layers, complete_method


class MethodsCommand(click.Command):
    """A command with --method and the options of every method that is registered when it runs: plugins are loaded before."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        own = super().get_params(ctx)
        names = [p.name for p in own]
        place = next(names.index(n) for n in ("output", "build_folder", "board", "data") if n in names) + 1
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
        if ctx.resilient_parsing:  # of a shell that completes
            return
        for option in self.get_params(ctx):
            if isinstance(option, click.Option) and not (option.multiple or option.is_flag):
                given = [a for a in args if a in option.opts or any(a.startswith(f"{name}=") for name in option.opts if name.startswith("--"))]
                if len(given) > 1:
                    each = "it holds for all methods: give each its own, as --method lora=last:2,rank=4"
                    other = each if option.name in {"layers", *options_of_methods()} else "it has one value"
                    raise click.UsageError(f"{option.opts[-1]} is given {len(given)} times; {other}", ctx)


class MethodType(click.ParamType[tuple[str, dict[str, Any]]]):
    """A method, and what is given of its fields: NAME, or NAME=LAYERS,OPTION=VALUE. What has no = names layers."""

    name = "method"

    @property
    def choices(self) -> list[str]:
        return ["none", *REGISTRY]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        name = incomplete.partition("=")[0]
        fields = [f.name.replace("_", "-") for method, f in _fields() if method.name == name]
        return complete_method(ctx, self.choices, fields, incomplete)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, dict[str, Any]]:
        if isinstance(value, tuple):
            return value
        name, equals, rest = value.partition("=")
        if name not in ("none", *REGISTRY):
            near = difflib.get_close_matches(name, REGISTRY, 1)
            self.fail(f"{name!r} is no method{f', did you mean {near[0]}?' if near else ''}: there are none, {', '.join(REGISTRY)}", param, ctx)
        if name == "none" or not equals:
            if rest or equals:
                self.fail("none takes no options", param, ctx)
            return name, {}
        own = {f.name: f for m, f in _fields() if m.name == name}
        given: dict[str, Any] = {}
        layers = []
        for part in rest.split(","):
            option, equals, text = (piece.strip() for piece in part.partition("="))
            field = option.replace("-", "_")
            if equals and field in own:
                if field in given:
                    self.fail(f"{option} of {name} is given twice", param, ctx)
                given[field] = finite(ctx, param, _type(REGISTRY[name], own[field]).convert(text, param, ctx))
            elif equals or not option:
                has = ", ".join(f.replace("_", "-") for f in own) or "none beside its layers"
                self.fail(f"{name} has no option {option!r}: it has {has}", param, ctx)
            else:
                layers.append(option)
        if layers:
            if not _takes_layers(REGISTRY[name]):
                self.fail(f"{name} takes no layers", param, ctx)
            given["layers"] = ",".join(layers)
        return name, given


def _takes_layers(method: type[Method]) -> bool:
    return any(f.name == "layers" for f in dataclasses.fields(method))  # type: ignore[arg-type]


def method_options(taken: set[str]) -> list[click.Option]:
    """--method, and one option for each name that a field of a method has. taken: options that the command has itself. Raises CompileError."""
    found = [
        click.Option(
            ["--method", "methods"],
            multiple=True,
            type=MethodType(),
            metavar=f"[none|{'|'.join(REGISTRY)}][=LAYERS,OPTION=VALUE]",
            help="What is trained, with layers and options of its own if wanted, as lora=last:2,rank=4; may be repeated.",
        ),
        click.Option(
            ["--layers"],
            shell_complete=complete_layers,
            help='Layers of methods that name none: "all", "last:N", names or globs, separated by commas.',
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


def finite(context: click.Context | None, option: click.Parameter | None, value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number", context, option)
    return value


def made_methods(options: dict[str, Any]) -> list[Method]:
    """The methods that the command line names, in its order: what is given of a method's own counts before what holds for all.

    Takes their options out of those of the command; what is not given is the class's.
    """
    names, layers = options.pop("methods"), options.pop("layers")
    given = {name: (value, fields) for name, fields in options_of_methods().items() if (value := options.pop(name)) is not None}
    made: list[Method] = []
    for name, own in names:
        if name == "none":
            continue
        chosen = {field: value for field, (value, fields) in given.items() if name in fields}
        if layers is not None and _takes_layers(REGISTRY[name]):
            chosen["layers"] = layers
        method = REGISTRY[name](**chosen | own)
        if method not in made:
            made.append(method)
    return made
