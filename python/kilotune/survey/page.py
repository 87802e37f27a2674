"""A survey as a table of the terminal and as a page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from rich import box
from rich.table import Table

from .folder import Survey
from .one import COMPILED, FAILED, REFUSED, Outcome

COLUMNS = 100
TITLES = ("file", "results", "trainable", "arena", "flash", "MACs", "s")


def cells(o: Outcome) -> tuple[str, ...]:
    """The row of a file that compiles."""
    flash = "-" if o.flash is None else f"{o.flash:,}"
    return o.file, bits(o), f"{o.trainable} of {o.layers}", f"{o.arena:,}", flash, f"{o.macs:,}", f"{o.seconds:.1f}"


def bits(o: Outcome) -> str:
    """How the results compare with those of another interpreter."""
    if o.steps is None:
        return "not compared"
    return f"{'equal' if o.exact else f'within {o.steps}'}, {o.oracle}"


def tables(s: Survey) -> Iterable[Table]:
    """One a folder, of what compiles."""
    for folder, found in s.folders.items():
        compiled = [o for o in found if o.outcome == COMPILED]
        if compiled:
            table = Table(title=folder, title_justify="left", box=box.SIMPLE)
            for i, title in enumerate(TITLES):
                table.add_column(title, justify="left" if i < 2 else "right", overflow="fold")
            for o in compiled:
                table.add_row(*cells(o))
            yield table


def others(s: Survey) -> list[str]:
    """Lines on the files that do not compile, and on those that nothing was compared with."""
    lines: list[str] = []
    for o in s.outcomes:
        if o.outcome == REFUSED:
            lines.append(f"{o.file} is refused:")
            lines += _reasons(o, "  ")
        elif o.outcome == FAILED:
            lines.append(f"{o.file} fails, which is a fault of kilotune: {o.failure}")
        else:
            lines += [f"{o.file} {remark}" for remark in remarks(o)]
    return lines


def remarks(o: Outcome) -> list[str]:
    """What the row of a file that compiles does not say."""
    found = [] if o.steps is not None else [f"was not compared: {o.unchecked}"]
    return found + ([f"is trained up to {o.untrainable}"] if o.untrainable else [])


def _reasons(o: Outcome, indent: str) -> list[str]:
    """Each reason in its lines, and each remedy once."""
    together: dict[str, list[str]] = {}
    for reason in o.reasons:
        together.setdefault(reason["hint"], []).append(f"{reason['where']}: {reason['what']}")
    lines = []
    for hint, reasons in together.items():
        for text in (*(f"- {reason}" for reason in reasons), *([f"  remedy: {hint}"] if hint else [])):
            lines += textwrap.wrap(
                text, COLUMNS, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False, break_on_hyphens=False
            )
    return lines


def markdown(s: Survey, command: str) -> str:
    """The page; command: how it was made."""
    most = max((o.samples for o in s.outcomes), default=0)
    names = ", ".join(f"`{folder}`" for folder in s.folders)
    text = (
        f"Each model file of {names} is loaded, built for inference on {s.target} and run on this computer with {most} random inputs. "
        f"The same inputs go through the interpreter that the column names, TensorFlow Lite Micro where it runs the model and else LiteRT's "
        f"reference kernels, or onnxruntime; FLOAT32 outputs are compared where they are still integers. Trainable are the layers with weights "
        f"that have a gradient. Arena and flash are in bytes; the last column is the seconds that loading and building took. In all, {s.summary()}."
    )
    lines = [
        "# Models of other people",
        "",
        *textwrap.wrap(text, COLUMNS, break_long_words=False, break_on_hyphens=False),
        "",
        f"Made by `{command}`.",
        "",
    ]
    for folder, found in s.folders.items():
        lines += [f"## {folder}", ""]
        compiled = [o for o in found if o.outcome == COMPILED]
        if compiled:
            lines += [f"| {' | '.join(TITLES)} |", "|---|---|" + "---:|" * (len(TITLES) - 2)]
            lines += [f"| {' | '.join(cells(o))} |" for o in compiled] + [""]
        for o in found:
            lines += _explained(o)
    return "\n".join(lines).rstrip() + "\n"


def _explained(o: Outcome) -> list[str]:
    if o.outcome == REFUSED:
        return [f"`{o.file}` is refused:", "", *(line.removeprefix("  ").replace("*", "\\*") for line in _reasons(o, "  ")), ""]
    texts = [f"fails, which is a fault of kilotune: {o.failure}"] if o.outcome == FAILED else remarks(o)
    lines: list[str] = []
    for text in texts:
        escaped = f"`{o.file}` {text}".replace("*", "\\*")
        lines += [*textwrap.wrap(escaped, COLUMNS, break_long_words=False, break_on_hyphens=False), ""]
    return lines
