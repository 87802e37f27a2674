"""Arrays of NumPy: .npz and .npy files, and files of labels."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from itertools import count, takewhile
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..devices.errors import DeviceError

SAMPLES = ("x", "X", "data", "inputs", "features", "images", "samples", "x_train", "X_train", "x_test", "X_test")
LABELS = ("y", "Y", "labels", "label", "targets", "target", "y_train", "Y_train", "y_test", "Y_test")
"""What arrays are usually called; the first that is there counts."""
NAMES = "class_names"

Read = TypeVar("Read")


def guarded(path: str, what: str, read: Callable[[], Read], remedy: str) -> Read:
    """What `read` returns; what the disk or the format refuses as an error of the file."""
    try:
        return read()
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DeviceError(path, f"{what} cannot be read: {getattr(error, 'strerror', None) or error}", remedy) from None


def read_npz(
    path: str, what: str, keys: tuple[str, ...], inputs: int
) -> tuple[NDArray[Any] | list[NDArray[Any]], NDArray[Any] | None, tuple[str, ...], list[str]]:
    """Samples, labels, class names and notes. For a model of several inputs samples are the list of x0, x1, ..."""
    arrays = guarded(path, what, lambda: _arrays(path), "pass an .npz file made by numpy.savez(path, x=..., y=...)")
    several = list(takewhile(lambda name: name in arrays, (f"x{i}" for i in count())))
    several = several or list(takewhile(lambda name: name in arrays, (f"input_{i}" if i > 1 else "input" for i in count(1))))
    if keys:
        missing = [k for k in keys if k not in arrays]
        if missing:
            raise DeviceError(path, f"{what} holds no array named {missing[0]}: it has {_described(arrays)}", "--keys names those that it has")
        xs, ys = list(keys[: max(1, inputs)]), list(keys[max(1, inputs) :])
    else:
        xs = several if several and "x" not in arrays else [name for name in SAMPLES if name in arrays][:1]
        ys = [name for name in LABELS if name in arrays][:1]
    if not xs:
        what = f"{what} holds no array named x: it has {_described(arrays) or 'none'}"
        raise DeviceError(path, what, "--keys SAMPLES,LABELS names the arrays, or write the file by numpy.savez(path, x=..., y=...)")
    notes = (
        []
        if keys or xs[0] in ("x", "x0", "input")
        else [f"the samples of {path} are its array {xs[0]!r}" + (f", the labels {ys[0]!r}" if ys else "")]
    )
    x = arrays[xs[0]] if len(xs) == 1 and xs[0] not in ("x0", "input") else [arrays[name] for name in xs]
    names = tuple(str(n) for n in arrays[NAMES].ravel()) if NAMES in arrays else ()
    return x, arrays[ys[0]] if ys else None, names, notes


def _arrays(path: str) -> dict[str, NDArray[Any]]:
    opened = np.load(path, allow_pickle=False)
    if not isinstance(opened, np.lib.npyio.NpzFile):
        raise ValueError("it holds one array without a name")
    with opened as data:
        return {name: data[name] for name in data.files}


def _described(arrays: dict[str, NDArray[Any]]) -> str:
    return ", ".join(f"{name} {list(a.shape)}" for name, a in arrays.items())


def read_npy(path: str, what: str) -> NDArray[Any]:
    """The one array of an .npy file."""

    def read() -> NDArray[Any]:
        with open(path, "rb") as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))

    return guarded(path, what, read, "pass an .npy file made by numpy.save(path, x)")


def read_labels(path: str) -> NDArray[Any]:
    """One label a sample: an .npy file, or the lines of a text file, as whole numbers where all are."""
    if Path(path).suffix == ".npy":
        return read_npy(path, "--labels")
    lines = guarded(path, "--labels", lambda: Path(path).read_text(encoding="utf-8").splitlines(), "one label a line, or an .npy file")
    return as_labels([line.strip() for line in lines if line.strip()])


def as_labels(words: list[str]) -> NDArray[Any]:
    """Numbers where all words are, whole ones as integers; else the words."""
    try:
        values = np.array([float(w) for w in words])
    except ValueError:
        return np.array(words, dtype=np.str_)
    return values.astype(np.int64) if values.size and np.isfinite(values).all() and (values == np.trunc(values)).all() else values
