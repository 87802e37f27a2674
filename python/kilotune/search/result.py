"""What a search found, as data, as a table, as a configuration and as a picture."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from kiloc.peft import Method

from ..config import Config
from .picture import html


@dataclass(frozen=True)
class Row:
    """One trainable set. accuracy and loss: of `samples` predictions on samples held out, None where it was not trained.

    The loss counts each sample as at most what a guess would cost. front: nothing beats it.
    """

    name: str
    methods: tuple[Method, ...]
    lr: float
    bytes: int
    arena: int
    state: int
    macs_forward: int
    macs_backward: int
    weights: int | None
    gain: float
    accuracy: float | None = None
    loss: float | None = None
    samples: int = 0
    front: bool = False
    chosen: bool = False

    @property
    def macs(self) -> int:
        return self.macs_forward + self.macs_backward

    def to_dict(self) -> dict[str, Any]:
        found = {k: v for k, v in asdict(self).items() if k != "methods"}
        return {**found, "macs": self.macs}


@dataclass(frozen=True)
class SearchResult:
    """`rows`: the Pareto front of bytes, MACs and expected gain, and every set that was trained; cheapest first.

    before: accuracy of the model on the samples as it is. considered, feasible: how many sets were planned, and fit.
    """

    model: str
    budget: dict[str, int | None]
    before: float
    considered: int
    feasible: int
    rows: tuple[Row, ...]
    config: Config

    @property
    def best(self) -> Row:
        return next(r for r in self.rows if r.chosen)

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "model": self.model,
            "budget": self.budget,
            "accuracy_before": self.before,
            "considered": self.considered,
            "feasible": self.feasible,
            "best": self.best.to_dict(),
            "rows": [r.to_dict() for r in self.rows],
            "config": self.config.to_dict(),
        }

    def table(self) -> Table:
        """For the terminal: the front and what was trained, the choice marked."""
        title = f"{self.model}: {self.feasible} of {self.considered} trainable sets fit; accuracy before {self.before:.3f}"
        caption = (
            "bytes: arena and state. MACs: of one training step. gain: loss that one update takes from another sample. accuracy and loss: of "
            "samples held out; with fewer of them the set was given up early. *: the choice, -: beaten in bytes, MACs and gain"
        )
        table = Table(title=title, caption=caption)
        for heading in ("", "trainable set", "bytes", "MACs", "gain", "lr", "accuracy", "loss", "of"):
            left = heading in ("", "trainable set")
            table.add_column(heading, justify="left" if left else "right", overflow="fold", min_width=16 if heading == "trainable set" else None)
        for r in self.rows:
            trained = ("", "", "") if r.accuracy is None or r.loss is None else (f"{r.accuracy:.3f}", f"{r.loss:.3f}", str(r.samples))
            mark = "*" if r.chosen else ("" if r.front else "-")
            style = "bold green" if r.chosen else None
            table.add_row(mark, r.name.replace(",", ", "), f"{r.bytes:,}", f"{r.macs:,}", f"{r.gain:.3g}", f"{r.lr:.2g}", *trained, style=style)
        return table

    def html(self) -> str:
        """A self-contained page with the front as a picture."""
        return html(self.model, self.before, self.budget["ram"], [r.to_dict() for r in self.rows])

    def save_html(self, path: str | os.PathLike[str]) -> None:
        Path(path).write_text(self.html(), encoding="utf-8")
