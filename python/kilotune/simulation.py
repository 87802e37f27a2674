"""Evaluate, train, evaluate: what `kilotune simulate` does."""

from __future__ import annotations

import dataclasses
import hashlib
import textwrap
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .building import Build
from .devices import Device, DeviceError, History, TrainingInterrupted
from .devices.history import INTERRUPTED

Samples = tuple[NDArray[Any] | list[NDArray[Any]], NDArray[Any] | None]


def load_samples(path: str, what: str) -> Samples:
    """Arrays x and y (None where missing) of an NPZ file; for a model of several inputs x is the list of x0, x1, ..., or of input, input_2, ...
    as the C functions call them."""
    try:
        opened = np.load(path, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise ValueError("it holds one array without a name")
        with opened as data:
            several = list(takewhile(lambda name: name in data, (f"x{i}" for i in count())))
            several = several or list(takewhile(lambda name: name in data, (f"input_{i}" if i > 1 else "input" for i in count(1))))
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
        raise DeviceError(path, str(error), "`kilotune analyze MODEL` shows shape, scale and range of what the model takes") from None


@dataclass(frozen=True)
class Split:
    """Samples that are evaluated before and after. title: what they are to the training; file: where they are from."""

    title: str
    file: str
    samples: int
    before: dict[str, float]
    after: dict[str, float] | None


@dataclass(frozen=True)
class Simulation:
    """What `simulate_build` found. values: single ones by name, in the order in which they are shown."""

    values: dict[str, Any]
    splits: list[Split]
    history: History | None

    @property
    def interrupted(self) -> bool:
        return self.history is not None and self.history.ended == INTERRUPTED

    def to_dict(self) -> dict[str, Any]:
        """As JSON: `accuracy_before` and its like are of the first split."""
        found = dict(self.values)
        if self.splits:
            first = self.splits[0]
            found |= {f"{k}_before": v for k, v in first.before.items()} | {f"{k}_after": v for k, v in (first.after or {}).items()}
            found["splits"] = [dataclasses.asdict(split) for split in self.splits]
        return found | ({} if self.history is None else {"interrupted": self.interrupted, "history": self.history.to_dict()})

    def text(self) -> str:
        """For a person, in 80 columns but for file names and hashes."""
        lines = []
        if self.splits:
            lines.append(f"{'':<48}{'before':>10}{'after':>10}")
        for split in self.splits:
            for name, before in split.before.items():
                after = f"{split.after[name]:>10.4f}" if split.after else ""
                lines.append(f"{f'{name}, {split.title} ({split.samples})':<48}{before:>10.4f}{after}")
        if self.history is not None:
            lines += ["", *textwrap.wrap(self.history.text(), 80), ""]
        for key, value in self.values.items():
            lines.append(f"{key.replace('_', ' '):<18} {f'{value:.4f}' if isinstance(value, float) else value}")
        return "\n".join(lines)


def simulate_build(
    build: Build,
    *,
    data: str,
    test: str | None,
    device: str,
    epochs: int | None,
    seed: int,
    decay: str | None,
    hold_out: float | None,
    save: str | None,
    progress: bool | None,
    within: float | None = None,
    period: float | None = None,
    device_options: Mapping[str, Any] = MappingProxyType({}),
) -> Simulation:
    """Run a build on a device: evaluate, train, evaluate. Ctrl-C while it trains ends that; what was learned is saved then too."""
    samples = load_samples(data, "--data")
    tested = load_samples(test, "--test") if test else samples
    values: dict[str, Any] = {"device": device, "samples": len(samples[0][0] if isinstance(samples[0], list) else samples[0])}
    with build.open(device, **device_options) as dev:
        if samples[1] is None and build.manifest["targets"] != "input":
            with _read_from(data):
                values["classes"] = np.bincount(np.asarray(dev.predict(samples[0]))).tolist()
            return Simulation(values, [], None)
        if tested[1] is None and samples[1] is not None:
            raise DeviceError(str(test), "holds no array named y", "pass labels to evaluate")
        with _read_from(test or data):
            before = dev.evaluate(*tested, progress=progress, within=within, period=period)
        after: dict[str, float] | None = None
        history: History | None = None
        if build.manifest["training"]:
            with _read_from(data):
                history = _trained(dev, samples, progress, epochs=epochs, seed=seed, decay=decay, hold_out=hold_out)
            if history.ended != INTERRUPTED:
                after = dev.evaluate(*tested, progress=progress, within=within, period=period)
            values["state_sha256"] = hashlib.sha256(dev.state()).hexdigest()
            cost = dev.stats()
            if save:
                dev.export_adapter().save(Path(save))
                values["adapter"] = save
        else:
            cost = dev.stats()
        values |= {k: v for k, v in cost.items() if v is not None and k != "call"}
    count = len(tested[0][0] if isinstance(tested[0], list) else tested[0])
    splits = [Split(_title(bool(test), history), test or data, count, before, after)]
    if history is not None and history.before is not None:
        splits.append(Split("held out of --data", data, history.held_out, history.before, history.after))
    return Simulation(values, splits, history)


def _title(test: bool, history: History | None) -> str:
    """What the evaluated samples are to the training."""
    if test or history is None:
        return "test samples" if test else "samples of --data"
    return "samples trained on or judged by" if history.held_out else "samples trained on"


def _trained(device: Device, samples: Samples, progress: bool | None, **options: Any) -> History:
    try:
        return device.fit(*samples, progress=progress, **options)
    except TrainingInterrupted as interruption:
        return interruption.history
