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
from .counting import off
from .picture import html

CAPTION = (
    "RAM: bytes of arena and state. flash: bytes of weights and tables. MACs and ms: of one training step. gain: loss that one update takes from "
    "another sample. held out: accuracy, or loss where there are no classes, of so many predictions; with fewer of them the set was given up "
    "early. behind: its penalty over that of the choice, with the standard error. *: the choice, -: beaten in RAM, MACs and gain"
)


@dataclass(frozen=True)
class Row:
    """One trainable set. accuracy and loss: of `samples` predictions on samples held out, None where it was not trained.

    The loss counts each sample as at most what a guess would cost; accuracy is None too where the loss has no classes.
    instructions, seconds, joules: of one training step, estimated (joules: None where no board says what an instruction takes); counted: the share
    of the instructions that is in kernel calls that were counted. adapter: bytes of an update, signed. erases: sectors of flash that it erases, and
    erases_a_save: that keeping the state over resets does, on average, None without a board. verdict: why it was not chosen, as far as it was
    trained: its penalty over the chosen one's with the standard error. gain: loss that one update takes from another sample. front: nothing beats
    it.
    """

    name: str
    methods: tuple[Method, ...]
    lr: float
    bytes: int
    arena: int
    state: int
    macs_forward: int
    macs_backward: int
    instructions: int
    counted: float
    seconds: float
    joules: float | None
    adapter: int
    erases: int | None
    erases_a_save: float | None
    weights: int
    gain: float
    accuracy: float | None = None
    loss: float | None = None
    samples: int = 0
    front: bool = False
    chosen: bool = False
    verdict: str = ""

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
    seconds of a training step are for. target: core that instructions are for. updates: of an adapter that the flash takes before it is worn, None
    where no board says. guessed: kernels whose instructions were never counted. builds_counted: sets that were built and counted on the emulated
    chip; best_counted: whether the chosen one was among them; not_counted: why none was, where a budget asks for it, or which sets could not be.
    reason: sentences that say why this set. considered, feasible: how many sets were planned, and fit.
    """

    model: str
    budget: dict[str, float | None]
    clock: int
    target: str
    board: str | None
    updates: int | None
    guessed: tuple[str, ...]
    builds_counted: int
    best_counted: bool
    not_counted: str
    reason: tuple[str, ...]
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
            "target": self.target,
            "board": self.board,
            "updates": self.updates,
            "guessed": list(self.guessed),
            "builds_counted": self.builds_counted,
            "best_counted": self.best_counted,
            "not_counted": self.not_counted,
            "reason": list(self.reason),
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
        with_energy, with_wear = (any(getattr(r, name) is not None for r in self.rows) for name in ("joules", "erases"))
        more = (*(("uJ",) if with_energy else ()), *(("erases",) if with_wear else ()))
        for heading in ("", "trainable set", "RAM", "flash", "MACs", "ms", *more, "gain", "lr", "held out", "behind"):
            left = heading in ("", "trainable set")
            table.add_column(heading, justify="left" if left else "right", overflow="fold", min_width=16 if heading == "trainable set" else None)
        for r in self.rows:
            mark = "*" if r.chosen else ("" if r.front else "-")
            style = "bold green" if r.chosen else None
            cost = [f"{r.bytes:,}", f"{r.weights:,}", f"{r.macs:,}", f"{1e3 * r.seconds:.3g}"]
            cost += [f"{1e6 * (r.joules or 0):.3g}"] if with_energy else []
            cost += [str(r.erases)] if with_wear else []
            behind = "" if r.chosen else r.verdict.rpartition(": ")[2]
            table.add_row(mark, r.name.replace(",", ", "), *cost, f"{r.gain:.2g}", f"{r.lr:.2g}", _held_out(r), behind, style=style)
        return table

    def why(self) -> str:
        """The reasons for the choice, a line each."""
        lines = [*self.reason, *self._of_time()]
        if self.guessed:
            lines.append(f"its time is a guess in part: never counted were {', '.join(self.guessed)}")
        if self.best.joules is not None:
            count = f"{self.best.instructions:,} instructions a step"
            lines.append(f"energy is an estimate: {count} times what board.toml of {self.board} says one takes")
        if self.best.erases is not None:
            worn = f"; the flash is worn after {self.updates:,} updates" if self.updates else ""
            lines.append(f"an update is {self.best.adapter:,} bytes, which erases {self.best.erases} sectors of {self.board}{worn}")
        if self.best.erases_a_save is not None:
            lines.append(f"keeping its state over resets, {self.best.state:,} bytes, erases {self.best.erases_a_save:.2g} sectors a save on average")
        return "\n".join(f"  {line}" for line in lines)

    def _of_time(self) -> list[str]:
        """What the instructions of the choice rest on, where a budget or the user asks for them."""
        count = f"its step takes {self.best.instructions:,} instructions on {self.target}"
        if self.builds_counted:
            refused = [f"not counted: {self.not_counted}"] if self.not_counted else []
            if self.best_counted:
                return [f"{count}, counted on the emulated chip, as {self.builds_counted} builds of this model in all", *refused]
            how = f"{self.best.counted:.0%} of them in kernel calls that were counted on the emulated chip"
            return [f"{count}, {how}, in {self.builds_counted} builds of this model{off(self.target, 'counting')}", *refused]
        if self.budget["instructions"] is None and self.budget["energy"] is None:
            return []
        why = f"not counted ({self.not_counted}; see `kilotune doctor`)" if self.not_counted else "not counted"
        return [f"{count}, estimated from fitted costs of kernels and {why}{off(self.target, 'table')}"]

    def html(self) -> str:
        """A self-contained page with the front as a picture."""
        return html(self.model, self.before, self.loss_before, self.budget["ram"], [r.to_dict() for r in self.rows], self.reason)

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write the page of `html` to a file."""
        write_whole(path, self.html())


def _held_out(r: Row) -> str:
    if r.loss is None:
        return ""
    return f"{r.loss if r.accuracy is None else r.accuracy:.3f} of {r.samples}"
