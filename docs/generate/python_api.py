"""docs/reference/python.md: every name of `kilotune.__all__`, from its signature and its docstrings."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from markdown_text import code, escaped, page, prose, wrapped

import kilotune

SECTIONS: dict[str, str] = {
    "Functions": "What a program calls, in the order in which it usually does.",
    "What is trained": "Pass one of these, or a list, as `kt.build(method=...)`. `layers` is explained under [choosing layers](#choosing-layers).",
    "Optimizers and schedules": "Pass one as `kt.build(optimizer=...)`, with a schedule as `schedule=...`.",
    "Losses": "Pass one as `kt.build(loss=...)`, or its short name.",
    "Options of a build": "Groups of the options of `kt.build`. A field of `kt.Training`, `kt.Memory` or `kt.Target` may be given by its name alone.",
    "Results and devices": "What the functions return, and what they take.",
    "Errors": "All that kilotune raises on purpose, beside `ValueError` for data of a wrong shape or a damaged adapter, and what warns.",
}
SECTION_OF = {
    "kiloc.peft": "What is trained",
    "kiloc.optim": "Optimizers and schedules",
    "kiloc.losses": "Losses",
    "kilotune.options": "Options of a build",
    "kiloc.options": "Options of a build",
}
"""Module, or package of modules -> the section of its classes."""
LAYERS = """`layers` of a method is `"all"`, `"last:N"` (the N layers nearest to the output that the method can train), or a list of
layer names as `kilotune analyze` and `Model.layers` print them."""


def render() -> str:
    found: dict[str, list[str]] = {section: [] for section in SECTIONS}
    for name in names():
        found[section_of(getattr(kilotune, name))].append(entry(name, getattr(kilotune, name)))
    parts = [f"## {title}\n\n{wrapped(SECTIONS[title])}\n\n" + "\n\n".join(entries) for title, entries in found.items()]
    intro = "`import kilotune as kt`. Sizes are bytes; arrays are NumPy's, with the samples along the first axis."
    return page("Python reference", "`kilotune.__all__` and the docstrings", intro, *parts, f"## Choosing layers\n\n{wrapped(LAYERS)}")


def names() -> list[str]:
    """Functions in the order of use, then classes as `__all__` has them."""
    order = ["load", "build", "search", "load_config", "open_build", "merge"]
    public = [n for n in kilotune.__all__ if not n.startswith("__")]
    return [n for n in order if n in public] + [n for n in public if n not in order]


def section_of(thing: Any) -> str:
    if not inspect.isclass(thing):
        return "Functions"
    if issubclass(thing, BaseException):
        return "Errors"
    modules = {base.__module__ for base in thing.__mro__}
    for part, section in SECTION_OF.items():
        if any(module == part or module.startswith(part + ".") for module in modules):
            return section
    return "Results and devices"


def entry(name: str, thing: Any) -> str:
    parts = [f"### `kt.{name}`", code(signature(f"kt.{name}", thing), "python"), prose(doc(thing), parameters(thing))]
    if inspect.isclass(thing):
        parts += [attributes(thing), members(thing)]
    return "\n\n".join(p for p in parts if p)


def doc(thing: Any) -> str:
    """A docstring; "" where there is none but what `dataclass` writes."""
    text = inspect.getdoc(thing) or ""
    return "" if inspect.isclass(thing) and text.startswith(f"{thing.__name__}(") else text


def parameters(thing: Any) -> list[str]:
    return [p for p in inspect.signature(thing).parameters if p != "self"]


def signature(name: str, thing: Callable[..., Any]) -> str:
    """On one line, or with one parameter a line."""
    given = inspect.signature(thing)
    shown = [_parameter(p) for p in given.parameters.values() if p.name != "self"]
    star = next((i for i, p in enumerate(given.parameters.values()) if p.kind is p.KEYWORD_ONLY), None)
    if star is not None:
        shown.insert(star - (len(given.parameters) - sum(p != "self" for p in given.parameters)), "*")
    returned = "" if inspect.isclass(thing) or given.return_annotation is given.empty else f" -> {_type(given.return_annotation)}"
    line = f"{name}({', '.join(shown)}){returned}"
    return line if len(line) <= 100 else f"{name}(\n" + "".join(f"    {p},\n" for p in shown) + f"){returned}"


def _parameter(p: inspect.Parameter) -> str:
    stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
    text = f"{stars}{p.name}" + ("" if p.annotation is p.empty else f": {_type(p.annotation)}")
    if p.default is p.empty:
        return text
    default = "..." if "factory" in repr(p.default) else repr(p.default)
    return f"{text} = {default}" if ":" in text else f"{text}={default}"


def _type(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def attributes(cls: type) -> str:
    """Fields and other attributes whose meaning stands in a string below them, or as `help` in the field's metadata."""
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    found = {f.name: str(f.metadata["help"]) for f in fields if "help" in f.metadata} | _attribute_docs(cls)
    listed = [wrapped(f"`{name}`: {escaped(text)}", "  ", "- ") for name, text in found.items()]
    return "\n".join(listed)


def _attribute_docs(cls: type) -> dict[str, str]:
    found: dict[str, str] = {}
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    for statement, after in zip(body.body, body.body[1:], strict=False):
        target = statement.target if isinstance(statement, ast.AnnAssign) else None
        if isinstance(target, ast.Name) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[target.id] = " ".join(str(after.value.value).split())
    return {name: text for name, text in found.items() if not name.startswith("_")}


def members(cls: type) -> str:
    """Methods and properties of the classes of `kilotune`: those of the compiler's options are for the compiler alone."""
    if not cls.__module__.startswith("kilotune") or issubclass(cls, Exception):
        return ""
    return "\n\n".join(_member(name, thing) for name, thing in public_members(cls))


def public_members(cls: type) -> Iterator[tuple[str, Any]]:
    """In the order of the source, inherited ones first."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("kilotune"):
            found |= {name: thing for name, thing in vars(base).items() if not name.startswith("_")}
    for name, thing in found.items():
        if callable(thing) or isinstance(thing, property | staticmethod | classmethod):
            yield name, thing


def _member(name: str, thing: Any) -> str:
    if isinstance(thing, property):
        returned = inspect.signature(thing.fget).return_annotation if thing.fget else inspect.Signature.empty
        shown = f"{name}: {_type(returned)}"
        return f"{code(shown, 'python')}\n\n{prose(doc(thing))}"
    function = thing.__func__ if isinstance(thing, staticmethod | classmethod) else thing
    shown = signature(name, function)
    if isinstance(thing, classmethod):
        shown = "@classmethod\n" + re.sub(r"\((\s*)cls(?:, |,\n    |(?=\)))", r"(\1", shown, count=1)
    return f"{code(shown, 'python')}\n\n{prose(doc(function), parameters(function))}"


def undocumented() -> Iterable[str]:
    """Public names without a docstring: the page would have nothing to say of them."""
    for name in names():
        thing = getattr(kilotune, name)
        if not doc(thing):
            yield name
        if inspect.isclass(thing) and members(thing):
            yield from (f"{name}.{m}" for m, member in public_members(thing) if not doc(getattr(member, "__func__", member)))
