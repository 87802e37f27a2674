"""Labels as words: the numbers that a model counts its classes by."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc import CompileError, check_class_names

from ..devices.errors import DeviceError
from ..devices.plausible import DataWarning
from .dataset import Wanted

SHOWN = 8
"""Names that a message lists, at most."""


def read_names(given: str) -> tuple[str, ...]:
    """Class names: separated by commas, or the lines of a file. Raises CompileError."""
    path = Path(given)
    if path.is_file():
        try:
            names: Iterable[str] = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise CompileError(given, f"class names cannot be read: {error}", "one name a line, as UTF-8") from None
    else:
        names = (name.strip() for name in given.split(","))
    return checked_names(names, "--class-names")


def checked_names(names: Iterable[Any], where: str = "class_names") -> tuple[str, ...]:
    """Names that are text, printable and different. Raises CompileError."""
    found = tuple(names)
    check_class_names(found, where)
    return found


def numbered(labels: NDArray[Any], wanted: Wanted, source: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Class numbers [N] of labels that may be words, and the names in their order. Warns where the alphabet had to decide."""
    names = wanted.class_names
    if labels.dtype.kind not in "USO":
        return labels, names
    words = [str(w) for w in labels]
    if not names:
        names = tuple(sorted(set(words)))
        if wanted.classes is not None and len(names) != wanted.classes:
            what = f"the labels are {len(names)} words ({_listed(names)}), the model has {wanted.classes} classes: which is which cannot be known"
            raise DeviceError(source, what, "--class-names NAMES names all classes in the model's order")
        shown = _listed(f"{i} {n}" for i, n in enumerate(names))
        text = f"{source}: its classes are numbered by the alphabet, {shown}; where the model has another order, --class-names says which"
        warnings.warn(DataWarning(text), stacklevel=2)
    numbers = {name: i for i, name in enumerate(names)}
    unknown = next((w for w in words if w not in numbers), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, names, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DeviceError(source, f"the label {unknown!r} is none of the classes", f"{hint}classes are {_listed(names)}")
    return np.array([numbers[w] for w in words], np.int64), names


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more
