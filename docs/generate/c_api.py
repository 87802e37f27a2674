"""docs/reference/c.md: the headers that firmware includes, and what every generated model declares, from their comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_text import code, page, prose, wrapped

from kiloc import pipeline
from kiloc.options import Options
from kiloc.peft import BiasOnly

ROOT = Path(__file__).resolve().parents[2]
HEADERS = (
    "model",
    "quantize",
    "adapter",
    "adapter_pool",
    "adapter_slots",
    "port",
    "sliced_step",
    "state_store",
    "guard",
    "drift",
    "recorder",
    "threshold",
    "private_update",
)
"""Of runtime/include/kt, in the order of reading; the others declare kernels, which generated code alone calls."""

MODEL = ROOT / "examples/digits/digits.tflite"
NAME = "kws"

INTRO = """Firmware includes the header of its model, `<name>.h`, which includes `kt/model.h` and `kt/quantize.h`; the other headers are for
firmware that handles adapters or slow memory. Nothing allocates, nothing needs an operating system, and no function may be called from two
contexts at once unless its comment says so. Kernels (the headers of `kt/kernels/` and their neighbours) are called by generated code
only; their headers say what each computes, and [operators.md](operators.md) lists them.

Sizes are bytes. Functions that can fail return a `kt_status`."""

GENERATED = """`kilotune build` writes `<name>.h` beside the C of the model. Below stands that of a build named `{name}`. Numbers that
depend on the model are left out; all of them are constants of the preprocessor, so that firmware can size its buffers with them."""


STORED = "Such a build takes adapters and trains nothing: these declarations differ, and those of training are missing."


@dataclass(frozen=True)
class Item:
    """A comment and the declarations below it."""

    comment: str
    text: str


def render() -> str:
    parts = [prose(INTRO), _header("kt/model.h", _read("model")), *_generated()]
    parts += [_header(f"kt/{name}.h", _read(name)) for name in HEADERS[1:]]
    return page("C reference", "the comments of the public headers", *parts)


def _read(name: str) -> str:
    return (ROOT / f"runtime/include/kt/{name}.h").read_text(encoding="utf-8")


# ---- One header ----


def _header(title: str, text: str) -> str:
    first, *rest = items(text)
    intro = re.sub(r"^\S+\.h: ", "", first.comment)
    return "\n\n".join([f"## `{title}`", prose(intro[:1].upper() + intro[1:]), *map(_item, rest)])


def _item(item: Item) -> str:
    return "\n\n".join(p for p in (code(item.text, "c") if item.text else "", prose(item.comment)) if p)


def items(text: str) -> Iterator[Item]:
    """Declarations in groups as empty lines and comments in the first column part them. The first is the comment of the file."""
    for group in _groups(MACHINERY.sub("", text).splitlines()):
        end = next((i for i, line in enumerate(group, 1) if line.endswith("*/")), 0) if group[0].startswith("/*") else 0
        yield Item(_plain(group[:end]), "\n".join(group[end:]))


MACHINERY = re.compile(
    r"^#ifdef __cplusplus\n.*?^#endif\n|^#if KT_ABI.*?^#endif\n|^#ifndef \w+_H\n#define \w+_H\n|^#include [^\n]*\n|^#endif\n?\Z",
    re.MULTILINE | re.DOTALL,
)
"""Guards, includes and what tells a C++ compiler that this is C."""


def _groups(lines: list[str]) -> Iterator[list[str]]:
    group: list[str] = []
    inside = False  # a comment or braces
    for line in lines:
        begins = line.startswith("/*") and any(not _is_comment(given) for given in group)
        if group and not inside and (begins or not line.strip()):
            yield group
            group = []
        if line.strip() or group:
            group.append(line)
        text = "\n".join(group)
        inside = text.count("/*") > text.count("*/") or text.count("{") > text.count("}")
    if group:
        yield group


def _is_comment(line: str) -> bool:
    return line.startswith(("/*", " *"))


def _plain(comment: list[str]) -> str:
    """A comment without its frame."""
    lines = [re.sub(r"^(?:/\*| \*)? ?", "", line) for line in comment]
    return "\n".join(lines).removesuffix("*/").rstrip()


# ---- The header of a model ----


def _generated() -> Iterator[str]:
    trains = {item.text: item for item in _declared(True)}
    stored = {item.text: item for item in _declared(False)}
    yield f"## The generated header\n\n{prose(GENERATED.format(name=NAME))}"
    yield from map(_item, trains.values())
    differs = [item for text, item in stored.items() if text not in trains or trains[text].comment != item.comment]
    yield f"### In a build with `train=False`\n\n{wrapped(STORED)}"
    yield from map(_item, differs)


def _declared(train: bool) -> Iterator[Item]:
    graph = pipeline.load(MODEL)
    options = Options(methods=(BiasOnly(),), train=train, name=NAME, accumulate=8)
    header = pipeline.compile_graph(graph, options, "0").files[f"{NAME}.h"]
    for item in list(items(header))[1:]:
        text = re.sub(r"^(#define \w+) \S+", r"\1 ...", item.text, flags=re.MULTILINE)
        text = re.sub(r"^(static inline .*)\n\{\n.*?^\}$", r"\1;", text, flags=re.DOTALL | re.MULTILINE)
        text = re.sub(r"(typedef struct \{).*?(\} \w+_(?:state|values);)", r"\1 ... \2", text, flags=re.DOTALL)
        yield Item(item.comment, re.sub(r" \.\.\. (/\* )?\d+ x .*", " ...", text))
