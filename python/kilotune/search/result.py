"""What a search found, as data, as a table, as a configuration and as a picture."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from kiloc.peft import Method

from ..config import Config
from ..files import write_whole
from .picture import html

CAPTION = (
    "RAM: bytes of arena and state. flash: bytes of weights and tables. MACs and ms: of one training step. gain: loss that one update takes from "
    "another sample. held out: accuracy, or loss where there are no classes, of so many predictions; with fewer of them the set was given up "
    "early. *: the choice, -: beaten in RAM, MACs and gain"
)


@dataclass(frozen=True)
class Row:
    """One trainable set. accuracy and loss: of `samples` predictions on samples held out, None where it was not trained.

    The loss counts each sample as at most what a guess would cost; accuracy is None too where the loss has no classes.
    seconds: of one training step, estimated. gain: loss that one update takes from another sample. front: nothing beats it.
    """

    name: str
    methods: tuple[Method, ...]
    lr: float
    bytes: int
    arena: int
    state: int
    macs_forward: int
    macs_backward: int
    seconds: float
    weights: int
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

    before, loss_before: accuracy, None where the loss has no classes, and loss of the model on the samples as it is. clock: Hz that the
    seconds of a training step are for. considered, feasible: how many sets were planned, and fit.
    """

    model: str
    budget: dict[str, int | None]
    clock: int
    before: float | None
    loss_before: float
    considered: int
    feasible: int
    rows: tuple[Row, ...]
    config: Config

    @property
    def best(self) -> Row:
        """The row that was chosen: its set and rate are in `config`."""
        return next(r for r in self.rows if r.chosen)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values for JSON."""
        return {
            "model": self.model,
            "budget": self.budget,
            "clock": self.clock,
            "accuracy_before": self.before,
            "loss_before": self.loss_before,
            "considered": self.considered,
            "feasible": self.feasible,
            "best": self.best.to_dict(),
            "rows": [r.to_dict() for r in self.rows],
            "config": self.config.to_dict(),
        }

    def table(self) -> Table:
        """For the terminal: the front and what was trained, the choice marked."""
        before = f"loss before {self.loss_before:.3f}" if self.before is None else f"accuracy before {self.before:.3f}"
        title = f"{self.model}: {self.feasible} of {self.considered} trainable sets fit; {before}"
        table = Table(title=title, caption=CAPTION, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for heading in ("", "trainable set", "RAM", "flash", "MACs", "ms", "gain", "lr", "held out"):
            left = heading in ("", "trainable set")
            table.add_column(heading, justify="left" if left else "right", overflow="fold", min_width=16 if heading == "trainable set" else None)
        for r in self.rows:
            mark = "*" if r.chosen else ("" if r.front else "-")
            style = "bold green" if r.chosen else None
            cost = (f"{r.bytes:,}", f"{r.weights:,}", f"{r.macs:,}", f"{1e3 * r.seconds:.3g}")
            table.add_row(mark, r.name.replace(",", ", "), *cost, f"{r.gain:.2g}", f"{r.lr:.2g}", _held_out(r), style=style)
        return table

    def html(self) -> str:
        """A self-contained page with the front as a picture."""
        return html(self.model, self.before, self.loss_before, self.budget["ram"], [r.to_dict() for r in self.rows])

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write the page of `html` to a file."""
        write_whole(path, self.html())


def _held_out(r: Row) -> str:
    if r.loss is None:
        return ""
    return f"{r.loss if r.accuracy is None else r.accuracy:.3f} of {r.samples}"
