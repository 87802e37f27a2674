"""Which class was taken for which: a table with a row for each true class."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

STYLE = """
 table.confusion { font-size: 13px } table.confusion th, table.confusion td { padding: .25em .4em; min-width: 1.5em; text-align: center }
 table.confusion th:first-child { text-align: right; min-width: 0; max-width: 9em; overflow-wrap: break-word }
 @media (max-width: 40em) { table.confusion th, table.confusion td { padding: .25em .15em; min-width: 1.45em } }
 table.confusion tr + tr { border: 0 } table.confusion td.right { outline: 1px solid var(--good); outline-offset: -1px }
"""
DARK_FROM = 0.55
"""Share of a row from which a cell's text is white: the cell is dark then, on a light page and on a dark one."""


def matrix(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """[true class, predicted class]: how many samples."""
    found = np.zeros((classes, classes), np.int64)
    np.add.at(found, (labels, predicted), 1)
    return found


def table(counts: NDArray[np.int64], names: Sequence[str], title: str) -> str:
    """A figure whose cells are as dark as their share of the row's samples."""
    shown = names or [str(i) for i in range(len(counts))]
    head = "".join(f"<th>{escape(n)}" for n in shown)
    rows = []
    for i, row in enumerate(counts):
        total = max(1, int(row.sum()))
        cells = "".join(_cell(int(n), int(n) / total, i == j, f"{shown[i]} taken for {shown[j]}") for j, n in enumerate(row))
        rows.append(f"<tr><th>{escape(shown[i])}{cells}</tr>\n")
    right = int(np.trace(counts))
    caption = f"{title}: {right} of {int(counts.sum())} right"
    body = f'<div class="scroll"><table class="confusion"><tr><th>{head}</tr>\n{"".join(rows)}</table></div>'
    return f"<figure><figcaption>{escape(caption)}</figcaption>\n{body}</figure>\n"


def _cell(count: int, share: float, right: bool, title: str) -> str:
    if count == 0:
        return f"<td{' class=right' if right else ''}>"
    colour = f"background: rgb(52 101 164 / {0.12 + 0.88 * share:.2f}){'; color: #fff' if share > DARK_FROM else ''}"
    return f'<td{" class=right" if right else ""} style="{colour}" title="{escape(f"{title}: {count}")}">{count}'


def mistakes(counts: NDArray[np.int64], names: Sequence[str], most: int = 5) -> list[tuple[str, str, int]]:
    """The most frequent ones: true class, what it was taken for, how often."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    shown = names or [str(i) for i in range(len(counts))]
    return [(shown[i // len(counts)], shown[i % len(counts)], int(wrong.ravel()[i])) for i in map(int, order) if wrong.ravel()[i] > 0]
