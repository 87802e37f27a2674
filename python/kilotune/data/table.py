"""Tables as text: .csv files, one sample a row, with a header or without."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..devices.errors import DeviceError
from .arrays import LABELS, as_labels, guarded
from .dataset import Wanted

DELIMITERS = ",;\t "
MOST_NAMED = 8
"""Columns that a message names."""
LABEL_NAMES = {*(name.lower() for name in LABELS), "class", "category"}


def read_table(path: str, what: str, label_column: str | None, wanted: Wanted) -> tuple[NDArray[Any], NDArray[Any] | None, list[str]]:
    """Samples [N, columns], labels or values or None, and notes."""
    rows = guarded(path, what, lambda: _rows(path), "a .csv file has one sample a row: numbers, separated by commas")
    if not rows:
        raise DeviceError(path, f"{what} holds no rows", "one sample a row")
    header = rows[0] if sum(_is_number(c) for c in rows[0]) * 2 < len(rows[0]) else None
    body = rows[1:] if header else rows
    width = len(rows[0])
    for number, row in enumerate(body, start=2 if header else 1):
        if len(row) != width:
            raise DeviceError(path, f"row {number} has {len(row)} columns, the first has {width}", "each row has the same number of columns")
    columns = _label_columns(path, header, width, label_column, wanted)
    others = [i for i in range(width) if i not in columns]
    x = np.empty((len(body), len(others)), np.float32)
    for r, row in enumerate(body):
        for c, column in enumerate(others):
            if not _is_number(row[column]):
                title = f"column {header[column]!r}" if header else f"column {column}"
                what = f"row {r + (2 if header else 1)}, {title}: {row[column]!r} is not a number"
                raise DeviceError(path, what, "samples are numbers; --label-column names the column of the labels, if it is another")
            x[r, c] = float(row[column])
    names = [header[i] if header else f"number {i}" for i in columns]
    notes = [f"the labels of {path} are its column {names[0]}"] if len(columns) == 1 and label_column is None else []
    if len(columns) > 1 or (columns and wanted.targets == "values"):
        return x, np.array([[float(row[i]) for i in columns] for row in body], np.float32), notes
    return x, as_labels([row[columns[0]].strip() for row in body]) if columns else None, notes


def _rows(path: str) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        text = file.read()
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = next((d for d in DELIMITERS if d in first), ",")
    reader = csv.reader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
    return [row for row in reader if any(cell.strip() for cell in row)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _shortened(header: list[str]) -> str:
    """Titles of columns, of many the first and the last ones."""
    if len(header) <= MOST_NAMED:
        return ", ".join(header)
    half = MOST_NAMED // 2
    return f"{', '.join(header[:half])}, ... ({len(header)} in all) ..., {', '.join(header[-half:])}"


def _label_columns(path: str, header: list[str] | None, width: int, asked: str | None, wanted: Wanted) -> list[int]:
    """Columns of labels or values: those asked for, those named as labels are, else the last where the model leaves it over."""
    if asked is not None:
        if header and asked in header:
            return [header.index(asked)]
        try:
            number = int(asked)
        except ValueError:
            known = f"columns are {_shortened(header)}" if header else "the file has no header: give the column's number, -1 is the last"
            raise DeviceError(path, f"has no column {asked!r}", known) from None
        if not -width <= number < width:
            raise DeviceError(path, f"has no column {number}", f"there are {width}, 0 to {width - 1}")
        return [number % width]
    if wanted.targets == "input":
        return []
    named = [i for i, title in enumerate(header or []) if title.strip().lower() in LABEL_NAMES]
    if len(named) == 1:
        return named
    size = wanted.inputs[0].size if len(wanted.inputs) == 1 else None
    targets = wanted.values if wanted.targets == "values" else 1
    if size is None or width == size + targets:
        return list(range(width - targets, width))
    if width == size:
        return []
    what = f"has {width} columns, the model takes {size} numbers a sample, and a target has {targets}"
    raise DeviceError(path, what, "--label-column names the column of the labels where it is not the last")
