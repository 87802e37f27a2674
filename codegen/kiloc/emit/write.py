"""Renders the templates into file contents."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import jinja2

from ..ir.kernel_call import PACKAGES
from ..plain_text import plain
from .c_names import WIDTH, Code, c_float, c_wrapped
from .context import ModelContext

FILES = {
    "model.h.j2": "{name}.h",
    "model.c.j2": "{name}.c",
    "weights.h.j2": "{name}_weights.h",
    "interface.c.j2": "{name}_interface.c",
    "CMakeLists.txt.j2": "CMakeLists.txt",
    "config.cmake.j2": "kilotune_{name}-config.cmake",
    "target.h.j2": "runtime/include/kt/target.h",
}
FEATURES = {"features.c.j2": "{name}_features.c"}
"""Of a model with a front end."""


def render(context: ModelContext) -> dict[str, str]:
    """File name -> text of everything generated for a model."""
    chosen = FILES | (FEATURES if context.features else {})
    files = {target.format(name=context.name): _environment().get_template(source).render(m=context) for source, target in chosen.items()}
    files = {name: _wrapped(text) if name.endswith((".c", ".h")) else text for name, text in files.items()}
    files["library.json"] = json.dumps(_library(context), indent=2) + "\n"
    return files


def keep_templates(cache: jinja2.BytecodeCache) -> None:
    """Keep compiled templates for the processes to come: to compile them takes longer than to render them."""
    _environment().bytecode_cache = cache


@cache
def _environment() -> jinja2.Environment:
    """Made once, with the templates that it has compiled."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_finalized,
    )
    environment.filters |= {"statement": _statement, "code": Code, "float32": lambda x: Code(c_float(x))}
    return environment


def _finalized(value: object) -> str:
    """What a template writes for an expression. All that is not our own C or a number may be a model's text: it is made plain."""
    return value if isinstance(value, Code) else plain(str(value))


def _statement(text: str, comment: str = "") -> Code:
    """A call, indented, with its comment behind it, or above it where the line would be too long or there are several."""
    lines = "\n".join(f"    {line}" for line in text.split("\n"))
    if not comment:
        return Code(lines)
    short = f"{lines} /* {plain(comment)} */"
    return Code(short if len(short) <= WIDTH and "\n" not in lines else f"    /* {plain(comment)} */\n{lines}")


def _wrapped(text: str) -> str:
    """Long lines of code broken; the names in them are the model's and may be long. Templates break comments themselves."""
    lines = text.split("\n")
    return "\n".join(line if line.lstrip().startswith(("/*", "*", "#")) else c_wrapped(line) for line in lines)


def _library(context: ModelContext) -> dict[str, object]:
    """A PlatformIO library manifest."""
    own = bool(context.packages)
    signed = context.adapter is not None and context.adapter.public_key
    return {
        "name": f"kilotune_{context.name}",
        "version": "1.0.0",
        "description": f"{context.name} compiled by kilotune {context.version}",
        "frameworks": "*",
        "platforms": "*",
        "build": {
            "flags": [
                "-I.",
                "-Iruntime/include",
                *(["-Imonocypher"] if signed else []),
                *([f"-I{PACKAGES}"] if own else []),
                "-ffp-contract=off",
                *(["-Os"] if context.size else []),
            ],
            "srcDir": ".",
            "srcFilter": ["+<*.c>", "+<runtime/src/**/*.c>", *(["+<monocypher/*.c>"] if signed else []), *([f"+<{PACKAGES}/**/*.c>"] if own else [])],
        },
    }
