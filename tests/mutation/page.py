"""The section of docs/reliability.md about mutants."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .mutant import Mutant

TITLE = "## Mutants"
GOAL = 0.95

TEXT = """{title}

A test that cannot fail proves nothing. So small bugs are planted, one at a time, and the tests of
the file must see each: a comparison that is off by one, a constant larger by one, a condition
negated or dropped, an operator swapped, a statement left out, an error that becomes a success. What
no test sees is a survivor: either a test is missing, or the change has no effect that anyone could
see, which is called an equivalent mutant. The runner and what it replaces are in `tests/mutation`.

    make mutants

| area | mutants there are | run | killed | equivalent | share killed | without equivalent ones |
|---|---|---|---|---|---|---|
{rows}

"Run" is a sample by seed {seed}; mutants of C that the compiler refuses are not counted. A mutant
is killed when a test fails, when it cannot be imported, or when it does not end within twice the
time of the tests and ten seconds.
"""


@dataclass(frozen=True)
class Outcome:
    """by: the line of pytest that says which test failed."""

    mutant: Mutant
    killed: bool
    by: str


def section(outcomes: Mapping[str, Sequence[Outcome]], every: Mapping[str, int], seed: int, reasons: Mapping[str, tuple[str, str]]) -> str:
    """outcomes: of each area. every: how many mutants it has. reasons: of survivors, by name, the kind and the reason."""
    rows, lists = [], []
    for area, found in outcomes.items():
        survivors = [o.mutant for o in found if not o.killed]
        equivalent = [m for m in survivors if reasons.get(m.name, ("", ""))[0] == "equivalent"]
        killed, left = len(found) - len(survivors), len(found) - len(equivalent)
        rows.append(
            f"| {area} | {every[area]:,} | {len(found)} | {killed} | {len(equivalent)} | {_share(killed, len(found))} | {_share(killed, left)} |"
        )
        lists += [f"\n### Survivors: {area}\n", *_listed(survivors, reasons)] if survivors else []
    return TEXT.format(title=TITLE, rows="\n".join(rows), seed=seed) + "\n".join(lists) + ("\n" if lists else "")


def _share(killed: int, of: int) -> str:
    return f"{100 * killed / of:.1f} %" if of else "none"


def _listed(survivors: Sequence[Mutant], reasons: Mapping[str, tuple[str, str]]) -> list[str]:
    lines = ["| mutant | in | change | reason |", "|---|---|---|---|"]
    for m in sorted(survivors, key=lambda m: (m.path, m.start)):
        kind, reason = reasons.get(m.name, ("open", "no test sees it yet"))
        change = m.shown().split(": ", 1)[1].replace("|", "\\|")
        lines.append(f"| {m.name} | {m.path.rsplit('/', 1)[-1]}:{m.line} | `{change}` | {kind}: {reason} |")
    return lines


def with_section(page: str, text: str) -> str:
    """A page with this section in place of the one that it has, or at its end."""
    if TITLE not in page:
        return (page.rstrip("\n") + "\n\n" if page else "# Reliability\n\n") + text
    return re.sub(rf"^{TITLE}\n.*?(?=^## |\Z)", lambda _: text, page, flags=re.DOTALL | re.MULTILINE)
