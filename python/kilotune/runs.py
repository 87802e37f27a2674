"""Training, evaluation and prediction by a build on a device: what `kilotune train`, `evaluate`, `predict` and `simulate` do."""

from __future__ import annotations

import dataclasses
import hashlib
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .adapters import Adapter
from .building import Build
from .data import Dataset
from .devices import Device, DeviceError, History, TrainingInterrupted, recipe
from .devices.data import dequantize
from .devices.history import INTERRUPTED
from .pictures.training import TrainingReport

Near = Mapping[str, float | None]
NOTHING: Near = MappingProxyType({})
"""Of samples whose answers are near enough nothing is said."""


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
    """After the training, or with the adapter that is evaluated."""
    unseen: bool = False
    """Whether these are samples that were not trained on."""


@dataclass(frozen=True)
class Run:
    """What was found on a device. values: single ones by name, in the order in which they are shown."""

    values: dict[str, Any]
    splits: list[Split]
    history: History | None
    columns: tuple[str, str] = ("before", "after")

    @property
    def worse(self) -> str:
        """What a training made worse on samples that it did not see, or nothing."""
        for split in self.splits if self.history is not None else []:
            measure, sign = ("accuracy", 1) if "accuracy" in split.before else ("loss", -1)
            if split.unseen and split.after is not None and sign * (split.after[measure] - split.before[measure]) < 0:
                return f"{measure} of the {split.title} went from {split.before[measure]:.4f} to {split.after[measure]:.4f}"
        return ""

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
        return found | (
            {} if self.history is None else {"interrupted": self.interrupted, "worse": bool(self.worse), "history": self.history.to_dict()}
        )

    def text(self) -> str:
        """For a person, in 80 columns but for file names and hashes."""
        lines = []
        if any(self.columns) and self.splits:
            lines.append(f"{'':<48}{self.columns[0]:>10}{self.columns[1]:>10}")
        for split in self.splits:
            for name, before in split.before.items():
                after = f"{split.after[name]:>10.4f}" if split.after else ""
                lines.append(f"{f'{name}, {split.title} ({split.samples})':<48}{before:>10.4f}{after}")
        if self.history is not None:
            lines += ["", *textwrap.wrap(self.history.text(), 80), ""]
        for key, value in self.values.items():
            lines.append(f"{key.replace('_', ' '):<18} {f'{value:.4f}' if isinstance(value, float) else value}")
        return "\n".join(lines)


def evaluate(
    build: Build, test: Dataset, device: str, adapter: str | None, progress: bool | None, options: Mapping[str, Any], near: Near = NOTHING,
    title: str = "samples of --data",
) -> Run:  # fmt: skip
    """Accuracy and loss of samples; with an adapter those of the base model beside it."""
    _need_targets(build, test, "evaluate")
    with build.open(device, **options) as dev, _read_from(test.source):
        before = dev.evaluate(test.x, test.y, progress=progress, **near)
        after: dict[str, float] | None = None
        if adapter is not None:
            dev.load_adapter(Adapter.load(adapter))
            after = dev.evaluate(test.x, test.y, progress=progress, **near)
        values = _values(device, test) | ({} if adapter is None else {"adapter": adapter}) | _cost(dev.stats())
    return Run(values, [Split(title, test.source, len(test), before, after)], None, ("base", "adapter") if after else ("", ""))


def train(
    build: Build,
    samples: Dataset,
    test: Dataset | None,
    *,
    device: str,
    adapter: str | None,
    save: str | None,
    progress: bool | None,
    fit: Mapping[str, Any],
    options: Mapping[str, Any],
    near: Near = NOTHING,
    html: str | None = None,
    record: tuple[str, bool] | None = None,
) -> Run:
    """Evaluate, train, evaluate. Ctrl-C while it trains ends that; what was learned is saved then too.

    adapter: to start from instead of the base model. fit: arguments of `Device.fit`. options: of the device.
    near: within and period of `Device.evaluate`. html: a page about the training, with curves and confusion before and after. record: the
    file of a log, and whether it has checksums of kernels.
    """
    if not build.manifest["training"]:
        raise DeviceError(str(build.directory), "the model was built without training", "build it with --method, such as bias or lora")
    _need_targets(build, samples, "train on")
    tested = test or samples
    _need_targets(build, tested, "evaluate")
    values = _values(device, samples)
    with build.open(device, **options) as dev:
        if adapter is not None:
            dev.load_adapter(Adapter.load(adapter))
            values["started_from"] = adapter
        with _read_from(tested.source):
            before = dev.evaluate(tested.x, tested.y, progress=progress, **near)
            page = TrainingReport(dev, (tested.x, tested.y), class_names=samples.class_names, progress=progress) if html else None
        recording = nullcontext() if record is None else dev.record(record[0], kernels=record[1])
        with _read_from(samples.source), recording:
            history = _trained(dev, samples, progress, fit)
        if page is not None and html is not None and history.ended != INTERRUPTED:
            page.finish(history)
            page.save_html(html)
        after = dev.evaluate(tested.x, tested.y, progress=progress, **near) if history.ended != INTERRUPTED else None
        values["state_sha256"] = hashlib.sha256(dev.state()).hexdigest()
        cost = dev.stats()
        if save:
            dev.export_adapter().save(Path(save))
            values["adapter"] = save
    title = "test samples" if test else "samples trained on or judged by" if history.held_out else "samples trained on"
    splits = [Split(title, tested.source, len(tested), before, after, unseen=test is not None)]
    if history.before is not None:
        own = history.judged_by_its_own
        if test or not own:
            count = len(recipe.judged(history.samples)) if own else history.held_out
            splits.append(Split("trained on" if own else "held out of --data", samples.source, count, history.before, history.after))
    return Run(values | _cost(cost), splits, history)


@dataclass(frozen=True)
class Prediction:
    """Outputs of N samples. scores: real values [N, outputs] of the first output. classes: [N], or None for a model that tells none apart."""

    scores: NDArray[np.float32]
    classes: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    items: tuple[str, ...]

    def rows(self) -> list[dict[str, Any]]:
        """One entry a sample, for tables and JSON."""
        found: list[dict[str, Any]] = []
        for i, score in enumerate(self.scores):
            row: dict[str, Any] = {"sample": self.items[i] if self.items else i}
            if self.classes is None:
                row |= {f"output_{k}": float(v) for k, v in enumerate(score)}
            else:
                number = int(self.classes[i])
                row |= {"class": number} | ({"name": self.class_names[number]} if self.class_names else {}) | {"score": float(score[number])}
            found.append(row)
        return found


def predict(build: Build, samples: Dataset, device: str, adapter: str | None, progress: bool | None, options: Mapping[str, Any]) -> Prediction:
    """Classes and real outputs of samples."""
    with build.open(device, **options) as dev, _read_from(samples.source):
        if adapter is not None:
            dev.load_adapter(Adapter.load(adapter))
        tensor = dev.manifest.outputs[0]
        found = dev.infer(samples.x, progress=progress)
        first = found[0] if isinstance(found, list) else found
        outputs = first.reshape(len(first), -1)
        labelled = dev.manifest.targets in (None, "labels") and tensor.size > 1
        names = samples.class_names if len(samples.class_names) == tensor.size else ()
        return Prediction(dequantize(outputs, tensor), np.asarray(outputs.argmax(axis=1), np.int64) if labelled else None, names, samples.items)


def _need_targets(build: Build, samples: Dataset, what: str) -> None:
    if samples.y is None and build.manifest["targets"] != "input":
        hint = "an .npz file holds them as y, a .csv file in a column, a folder by its folders; --labels names a file of their own"
        raise DeviceError(samples.source, f"holds no labels (no array named y): there is nothing to {what}", hint)


def _values(device: str, samples: Dataset) -> dict[str, Any]:
    return {"device": device, "samples": len(samples)}


def _cost(stats: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in stats.items() if v is not None and k != "call"}


def _trained(device: Device, samples: Dataset, progress: bool | None, fit: Mapping[str, Any]) -> History:
    try:
        return device.fit(samples.x, samples.y, progress=progress, **fit)
    except TrainingInterrupted as interruption:
        return interruption.history
