"""The page of a training: what it did to samples of interest and to the original ones, its curves, confusion, what was trained, its memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiloc.report import CHART_STYLE, TIMELINE_STYLE, page, render_timelines
from kiloc.report import table as plain_table

from ..adapters.file import Adapter
from ..devices.base import Device
from ..devices.data import Samples
from ..files import read_json, write_whole
from . import confusion
from .curves import curves

if TYPE_CHECKING:
    from ..devices.history import History

ORIGINAL = "original data"
"""Samples of what the model was made for: what it loses on them it has forgotten."""


RULE = "A row for each true class, a column for each that the model saw; the darker a cell, the larger its share of the row."


@dataclass(frozen=True)
class Seen:
    """Samples as a state of the model sees them. predicted: class numbers [N], None for a model that tells no classes apart."""

    values: dict[str, float]
    predicted: NDArray[np.int64] | None


class TrainingReport:
    """Judges samples before a training and after it, and writes a page about both.

    report = kt.TrainingReport(device, test=(x_test, y_test), original=(x_old, y_old))   # before
    history = device.fit(x, y)
    report.finish(history)                                                               # after
    report.save_html("training.html")
    """

    def __init__(
        self,
        device: Device,
        test: tuple[Samples, ArrayLike | None],
        original: tuple[Samples, ArrayLike | None] | None = None,
        class_names: tuple[str, ...] = (),
        progress: bool | None = None,
    ) -> None:
        """Judges the samples by the model as it is now.

        test: samples and targets that the training does not see.
        original: of what the model was made for; the page says what was forgotten.
        class_names: in the order of the model's outputs; the build's where it has some.
        """
        self._device, self._progress = device, progress
        self._splits = {"test samples": test} | ({} if original is None else {ORIGINAL: original})
        self._names = tuple(class_names) or tuple(getattr(device.manifest, "class_names", ()))
        self._before = {name: self._look(x, y) for name, (x, y) in self._splits.items()}
        self._after: dict[str, Seen] = {}
        self._history: History | None = None
        self._adapter: Adapter | None = None

    def finish(self, history: History | None = None) -> TrainingReport:
        """Judges them again by what was trained. history: what `fit` returned."""
        self._after = {name: self._look(x, y) for name, (x, y) in self._splits.items()}
        self._history, self._adapter = history, self._device.export_adapter()
        return self

    def to_dict(self) -> dict[str, Any]:
        """{"test samples": {"samples", "before", "after"}, ...}; after is None before `finish`."""
        return {
            name: {
                "samples": self._count(name),
                "before": seen.values,
                "after": self._after[name].values if name in self._after else None,
            }
            for name, seen in self._before.items()
        }

    def html(self) -> str:
        """The page."""
        manifest = self._device.manifest
        report, plans = (_optional(manifest.directory / name) for name in ("report.json", "plan.json"))
        parts = [self._summary(report), self._results(), self._curves(), self._confusion(), self._trained(report)]
        if plans is not None:
            parts.append(render_timelines(plans))
        return page(f"{manifest.name}: training", "".join(parts), TIMELINE_STYLE + CHART_STYLE + confusion.STYLE)

    def save_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the page; the path. CompileError where it cannot be written."""
        write_whole(path, self.html())
        return Path(path)

    def _repr_html_(self) -> str:
        """In a frame of its own: a page has styles that would change a notebook."""
        return f'<iframe srcdoc="{escape(self.html())}" style="width: 100%; height: 40em; border: 0"></iframe>'

    # ---- Looking ----

    def _look(self, x: Samples, y: ArrayLike | None) -> Seen:
        values = self._device.evaluate(x, y, progress=self._progress)
        labels = self._device.manifest.targets in (None, "labels") and y is not None
        return Seen(values, self._device.predict(x) if labels else None)

    def _count(self, name: str) -> int:
        x, y = self._splits[name]
        return len(np.asarray(y)) if y is not None else len(x[0] if isinstance(x, list) else np.asarray(x))

    # ---- Sections ----

    def _summary(self, report: Mapping[str, Any] | None) -> str:
        model = report["model"] if report is not None else {}
        said = [" + ".join(model.get("methods", [])), model.get("optimizer", ""), f"on {self._device.name}"]
        ended = f"<p>{escape(_sentence(self._history.text()))}</p>\n" if self._history is not None else ""
        return f"<p>{escape(', '.join(filter(None, said)))}</p>\n{ended}"

    def _results(self) -> str:
        rows = []
        for name, row in self.to_dict().items():
            for what, before in row["before"].items():
                after = row["after"][what] if row["after"] else None
                then = ["-", "-"] if after is None else [f"{after:.4f}", f"{after - before:+.4f}"]
                rows.append([f"{what}, {name} ({row['samples']:,})", f"{before:.4f}", *then])
        text = "" if self._after else "<p>The training is not finished.</p>\n"
        return f"<h2>Before and after</h2>\n{text}{plain_table(['', 'before', 'after', 'change'], rows)}{self._forgotten()}"

    def _forgotten(self) -> str:
        if ORIGINAL not in self._after or "accuracy" not in self._after[ORIGINAL].values:
            return ""
        change = self._after[ORIGINAL].values["accuracy"] - self._before[ORIGINAL].values["accuracy"]
        count = self._count(ORIGINAL)
        if change < 0:
            said = f"Forgotten: {-100 * change:.1f} points of accuracy on the original data, {round(-change * count)} of {count} samples."
        else:
            said = "Nothing was forgotten: on the original data the accuracy did not fall."
        return f"<p>{said}</p>\n"

    def _curves(self) -> str:
        return "" if self._history is None or not self._history.losses else f"<h2>Over the epochs</h2>\n{curves(self._history)}"

    def _confusion(self) -> str:
        found = ""
        for name, (_, y) in self._splits.items():
            before, after = self._before[name], self._after.get(name)
            if before.predicted is None or y is None:
                continue
            labels = np.asarray(y, np.int64)
            classes = self._device.manifest.outputs[0].size
            names = self._names if len(self._names) == classes else ()
            looks = [("before", before), *([("after", after)] if after else [])]
            counts = [confusion.matrix(labels, np.asarray(seen.predicted), classes) for _, seen in looks]
            figures = [confusion.table(c, names, title) for c, (title, _) in zip(counts, looks, strict=True)]
            wrong = [[f"{true} taken for {taken}", str(n)] for true, taken, n in confusion.mistakes(counts[-1], names)]
            listed = f"<p>Most frequent mistakes {looks[-1][0]}:</p>\n{plain_table(['', 'samples'], wrong)}" if wrong else ""
            found += f'<h2>What was taken for what: {escape(name)}</h2>\n<p>{RULE}</p>\n<div class="pair">{"".join(figures)}</div>\n{listed}'
        return found

    def _trained(self, report: Mapping[str, Any] | None) -> str:
        if self._adapter is None:
            return ""
        rows = [[e.name, e.dtype, f"{e.rows} x {e.columns}", f"{e.rows * e.columns:,}"] for e in self._adapter.entries]
        total = sum(e.rows * e.columns for e in self._adapter.entries)
        share = f", {100 * report['trainable']['fraction']:.1f} % of the model's parameters" if report is not None and report.get("trainable") else ""
        text = f"<p>{total:,} values in an adapter of {len(self._adapter):,} bytes{share}.</p>\n"
        return f"<h2>What was trained</h2>\n{text}{plain_table(['value', 'type', 'shape', 'numbers'], rows)}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _optional(path: Path) -> dict[str, Any] | None:
    """A file of the build, where it is there."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
