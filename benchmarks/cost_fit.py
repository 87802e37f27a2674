"""Instructions of kernels as sums of what a call has to do, fitted to counts (`kernel_costs.py`).

For each form of a kernel a few units of work are chosen, one after the other, as long as calls of networks that were left out are estimated
better; their coefficients are non-negative least squares of the relative error. A form has terms of its own only where those of the form without
its last word estimate such calls worse. So few calls give few terms, and none that hold for them alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Row = tuple[int, str, Mapping[str, float], int]
"""A call: number of its network, form of its kernel, work, instructions."""
FEW = 8
"""Calls below which a form of a kernel has no terms of its own, and a kernel only those in `GROWING`."""
GROWING = ("macs", "results")
"""What every kernel that multiplies takes more for. So few calls are alike: anything else may fit them, and say nothing of a larger layer."""
NOTHING = 100
"""Instructions of a call that do not matter: what is fitted is the error over instructions, and of small calls over so many more."""
PARTS = 5
"""The networks are dealt into so many parts, of which one at a time is left out."""
MOST = 8
"""Units of work of a form; of one with fewer than 12 calls 3."""
TRIED = 16
"""Units of work that are tried as the next one."""
WORTH = 0.97
"""Share of the squared error that a further unit of work may leave."""


@dataclass(frozen=True)
class Form:
    """Terms of a form, and by the place of a row the squared error with its network left out."""

    terms: dict[str, float]
    left_out: dict[int, float]


def fitted(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Kernel, and kernel in one form -> instructions for each unit of work."""
    groups: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        words = row[1].split(" ")
        for count in range(1, len(words) + 1):
            groups.setdefault(" ".join(words[:count]), []).append(place)
    found: dict[str, Form] = {}
    for name in sorted(groups, key=lambda n: n.count(" ")):
        mine = groups[name]
        above = name.rpartition(" ")[0]
        while above and above not in found:
            above = above.rpartition(" ")[0]
        if above and (len(mine) < FEW or len(mine) == len(groups[above])):
            continue
        few = len(mine) < FEW and all(rows[place][2]["macs"] > 0 for place in mine)
        form = _form(rows, mine, GROWING if few else tuple(rows[mine[0]][2]))
        if not above or sum(form.left_out.values()) < sum(found[above].left_out[place] for place in mine):
            found[name] = form
    return {name: found[name].terms for name in sorted(found)}


def _form(rows: Sequence[Row], mine: Sequence[int], names: Sequence[str]) -> Form:
    work = np.array([[rows[i][2][name] for name in names] for i in mine])
    counts = np.array([max(rows[i][3], 1) for i in mine], float)
    scale = np.where(work.max(0) > 0, work.max(0), 1.0)
    weight = 1 / (counts + NOTHING)
    matrix, wanted = work / scale * weight[:, None], counts * weight
    parts = _parts([rows[i][0] for i in mine])
    chosen, errors, every = list[int](), wanted**2, _distinct(matrix)
    while len(chosen) < (MOST if len(mine) >= 12 else 3):
        tried = [(_left_out(matrix[:, [*chosen, j]], wanted, parts), j) for j in _promising(matrix, wanted, chosen, every)]
        best, j = min(tried, key=lambda t: float(t[0].sum()), default=(errors, -1))
        if j < 0 or best.sum() > WORTH * errors.sum():
            break
        chosen, errors = [*chosen, j], best
    solution = _solved(matrix[:, chosen], wanted)
    # The least relative error is that of too few instructions; as they stand, their sum would be too small.
    root = np.sqrt(weight)
    level = counts.dot(root) / max(float((work[:, chosen] / scale[chosen]).dot(solution).dot(root)), 1.0)
    terms = {names[j]: float(f"{level * value / scale[j]:.4g}") for j, value in zip(chosen, solution, strict=True) if value > 0}
    return Form(terms, dict(zip(mine, errors.tolist(), strict=True)))


def _parts(networks: Sequence[int]) -> Any:
    """The part of each row: rows of a network stay together."""
    every = np.unique(networks)
    dealt = np.random.default_rng(0).permutation(len(every)) % min(PARTS, len(every))
    part = dict(zip(every.tolist(), dealt.tolist(), strict=True))
    return np.array([part[n] for n in networks])


def _distinct(matrix: Any) -> list[int]:
    """Columns that say something, of equal ones the first."""
    found: dict[bytes, int] = {}
    for j in np.flatnonzero(matrix.max(0) > 0).tolist():
        column = matrix[:, j]
        found.setdefault(np.round(column / column.max(), 7).tobytes(), j)
    return list(found.values())


def _promising(matrix: Any, wanted: Any, chosen: Sequence[int], every: Sequence[int]) -> list[int]:
    """Of the columns those that alone leave least of what the chosen ones leave."""
    others = [j for j in every if j not in chosen]
    left = wanted - matrix[:, chosen] @ _solved(matrix[:, chosen], wanted) if chosen else wanted
    columns = matrix[:, others]
    gain = (left @ columns).clip(0) ** 2 / (columns**2).sum(0)
    return [others[place] for place in np.argsort(-gain, kind="stable")[:TRIED].tolist()]


def _left_out(matrix: Any, wanted: Any, parts: Any) -> Any:
    """The squared error of each row by terms of the other parts; by those of all rows where there is one network."""
    errors = np.empty(len(wanted))
    for part in np.unique(parts):
        out = parts == part
        rest = ~out if not out.all() else out
        errors[out] = (matrix[out] @ _solved(matrix[rest], wanted[rest]) - wanted[out]) ** 2
    return errors


def _solved(matrix: Any, wanted: Any) -> Any:
    from scipy.optimize import nnls

    return nnls(matrix, wanted, maxiter=10_000)[0]
