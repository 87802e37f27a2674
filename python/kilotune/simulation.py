"""Evaluate, train, evaluate: what `kilotune simulate` does."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count, takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .building import Build
from .devices import DeviceError

Samples = tuple[NDArray[Any] | list[NDArray[Any]], NDArray[Any] | None]


def load_samples(path: str, what: str) -> Samples:
    """Arrays x and y (None where missing) of an NPZ file; for a model of several inputs x is the list of x0, x1, ..."""
    try:
        opened = np.load(path, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise ValueError("it holds one array without a name")
        with opened as data:
            several = list(takewhile(lambda name: name in data, (f"x{i}" for i in count())))
            if "x" not in data and not several:
                found = ", ".join(data.files) or "none"
                raise DeviceError(path, f"{what} holds no array named x (it has {found})", "numpy.savez(path, x=..., y=...)")
            return data["x"] if "x" in data else [data[name] for name in several], data.get("y")
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DeviceError(path, f"{what} cannot be read: {error}", "pass an .npz file made by numpy.savez(path, x=..., y=...)") from None


@contextmanager
def _read_from(path: str) -> Iterator[None]:
    """Samples or targets that the model does not take are the fault of the file that they are from."""
    try:
        yield
    except ValueError as error:
        raise DeviceError(path, str(error), "kilotune analyze shows what the model takes") from None


def simulate_build(
    build: Build,
    *,
    data: str,
    test: str | None,
    device: str,
    epochs: int | None,
    seed: int,
    decay: str | None,
    save: str | None,
    progress: bool,
    device_options: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Run a build on a device. Returns accuracy (or loss) before and after, the state's hash and the device's statistics."""
    x, y = load_samples(data, "--data")
    x_test, y_test = load_samples(test, "--test") if test else (x, y)
    result: dict[str, Any] = {"device": device, "samples": len(x[0] if isinstance(x, list) else x)}
    with build.open(device, **device_options) as dev:
        if y is None and build.manifest["targets"] != "input":
            with _read_from(data):
                result["classes"] = np.bincount(np.asarray(dev.predict(x))).tolist()
            return result
        if y_test is None and y is not None:
            raise DeviceError(str(test), "holds no array named y", "pass labels to evaluate")
        with _read_from(test or data):
            result |= {f"{k}_before": v for k, v in dev.evaluate(x_test, y_test, progress=progress).items()}
        cost = dev.stats()
        if build.manifest["training"]:
            with _read_from(data):
                dev.fit(x, y, epochs=epochs, seed=seed, decay=decay, progress=progress)
            result |= {f"{k}_after": v for k, v in dev.evaluate(x_test, y_test, progress=progress).items()}
            result["state_sha256"] = hashlib.sha256(dev.state()).hexdigest()
            cost = dev.stats()
            if save:
                dev.export_adapter().save(Path(save))
                result["adapter"] = save
        result |= {k: v for k, v in cost.items() if v is not None and k != "call"}
    return result
