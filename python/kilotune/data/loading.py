"""`load`: from a path to samples in the shape that a model takes, with class numbers as targets."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..devices.errors import DeviceError
from ..devices.manifest import Tensor
from ..devices.recordings import is_recordings
from . import arrays, naming
from .dataset import Dataset, Reading, Wanted
from .folders import read_folder, read_recording
from .table import read_table

KINDS = "an .npz, .npy, .csv or .wav file, or a folder of .wav, .png or .jpg files with a folder a class"


def load(path: str, what: str = "--data", wanted: Wanted | None = None, reading: Reading | None = None) -> Dataset:
    """Read samples and, where there are some, targets. Raises DeviceError naming the file, what is wrong in it, and the remedy.

    what: how messages call the file. wanted: the model that it is for. reading: what cannot be found in the file itself.
    """
    wanted, reading = wanted or Wanted(), reading or Reading()
    source = Path(path)
    notes: list[str] = []
    items: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    x: Any
    y: NDArray[Any] | None = None
    suffix = source.suffix.lower()
    _check_options(path, suffix, reading)
    if source.is_dir():
        x, y, items, notes = read_folder(source, what, wanted.inputs[0] if len(wanted.inputs) == 1 else None, wanted.features)
    elif suffix == ".wav":
        x, notes = read_recording(source, what, wanted.inputs[0] if len(wanted.inputs) == 1 else None, wanted.features, wanted.slices)
    elif suffix == ".csv":
        x, y, notes = read_table(path, what, reading.label_column, replace(wanted, targets="input") if reading.labels else wanted)
    elif suffix == ".npy":
        x = arrays.read_npy(path, what)
    elif suffix not in (".npz", ""):
        raise DeviceError(path, f"{what} is not read from {suffix} files", f"pass {KINDS}")
    else:
        x, y, names, notes = arrays.read_npz(path, what, reading.keys, len(wanted.inputs))
    if reading.labels is not None:
        y = arrays.read_labels(reading.labels)
    if names and not wanted.class_names:
        wanted = replace(wanted, class_names=naming.checked_names(names, path))
    several = isinstance(x, list)
    fitted = [
        a if is_recordings(a, wanted.features) else _fitted(a, wanted.inputs[i] if i < len(wanted.inputs) else None, notes)
        for i, a in enumerate(x if several else [x])
    ]
    if y is not None:
        y, names, said = _targets(y, wanted, reading.labels or path)
        notes += said
    return Dataset(fitted if several else fitted[0], y, path, names or wanted.class_names, items, tuple(notes))


def _check_options(path: str, suffix: str, reading: Reading) -> None:
    """An option that the kind of file has no use for is an error, not ignored."""
    for option, given, kinds in (("--keys", reading.keys, (".npz",)), ("--label-column", reading.label_column, (".csv",))):
        if given and suffix not in kinds:
            raise DeviceError(path, f"{option} is of {' or '.join(kinds)} files", f"leave it out: this is {suffix or 'a folder'}")
    if not Path(path).exists():
        raise DeviceError(path, "there is no such file or folder", f"pass {KINDS}")


def _fitted(x: NDArray[Any], tensor: Tensor | None, notes: list[str]) -> NDArray[Any]:
    """Samples [N, ...] in the model's shape where theirs differs by axes of 1, or one of both is flat; numbers of other types as float32.

    The model's own type, mostly int8, is taken as it is. What cannot be fitted stays as it is, and the device says what is wrong with it.
    """
    if (x.dtype.kind in "iub" and x.dtype != np.dtype(tensor.dtype if tensor else "int8")) or x.dtype == np.float16:
        x = x.astype(np.float32)
    if tensor is None or x.ndim == 0 or x.shape[1:] == tensor.sample_shape or math.prod(x.shape[1:]) != tensor.size:
        return x
    without, shape = [n for n in x.shape[1:] if n != 1], tensor.sample_shape
    if without == [n for n in shape if n != 1]:
        return x.reshape(len(x), *shape)
    if len(without) <= 1:
        notes.append(f"rows of {tensor.size} numbers are taken as {_product(shape)}, in this order")
    elif len(shape) == 1:
        notes.append(f"samples of {_product(x.shape[1:])} are taken as rows of {tensor.size} numbers, in this order")
    else:
        return x
    return x.reshape(len(x), *shape)


def _product(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))


def _targets(y: NDArray[Any], wanted: Wanted, source: str) -> tuple[NDArray[Any], tuple[str, ...], list[str]]:
    if wanted.targets in ("values", "input"):
        return y, (), []
    if wanted.targets is None:  # numbers may be values: what they are, their type says
        return *naming.numbered(y, wanted, source), []
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2 and y.dtype.kind in "fiub" and y.shape[1] == wanted.classes and ((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all():
        return y.argmax(axis=1), wanted.class_names, [f"the labels of {source} are rows with a single 1: its place is the class"]
    if y.dtype.kind == "f" and y.ndim == 1 and np.isfinite(y).all() and (y == np.trunc(y)).all():
        y = y.astype(np.int64)
    return *naming.numbered(y, wanted, source), []
