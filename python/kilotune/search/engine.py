"""The search itself: samples in, choice out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.progress import Progress

from kiloc.errors import BudgetError, CompileError
from kiloc.ir import interp
from kiloc.optim import SGD

from ..building import Samples, build
from ..config import Config
from ..model import Model
from ..sizes import parse_size
from .candidates import Budget, Candidate, Space, front
from .result import Row, SearchResult
from .sensitivity import Sensitivity
from .trials import FOLDS, Effort, Task, Trainer, Trial, race

HINT = "pass labelled samples of the new domain: (x, y), with y class numbers"
Tick = Callable[[], None]


def search(
    model: Model,
    data: tuple[ArrayLike, ArrayLike],
    *,
    ram: int | str | None = None,
    flash: int | str | None = None,
    time: int | None = None,
    calibration: Samples | None = None,
    train: bool = True,
    epochs: int = 10,
    target: str = "cortex-m4",
    seed: int = 0,
    progress: bool = False,
) -> SearchResult:
    """The trainable set that promises most within a budget.

    data: labelled samples of the new domain, (x [N, ...], y [N]). ram: bytes of arena and state, or "64K". flash: bytes of the
    compiled model. time: MACs of one training step. calibration: samples of the original domain, as in `kt.build`; without
    it those of the new domain serve. train: judge by real training on part of the samples, else by gradients alone.
    epochs: passes over the samples, as they are meant for the device. The same arguments give the same result.
    Raises BudgetError, naming the smallest set, where nothing fits.
    """
    prepared = Search(model, data, calibration=calibration, epochs=epochs, target=target, seed=seed)
    return prepared.choose(ram=ram, flash=flash, time=time, train=train, progress=progress)


class Search:
    """A model and samples, ready to be asked for several budgets; what was planned and trained is remembered."""

    def __init__(
        self,
        model: Model,
        data: tuple[ArrayLike, ArrayLike],
        *,
        calibration: Samples | None = None,
        epochs: int = 10,
        target: str = "cortex-m4",
        seed: int = 0,
    ) -> None:
        x, y = _samples(model, data)
        if epochs < 1:
            raise CompileError(f"epochs={epochs}", "no training", "pass 1 or more")
        order = np.random.Generator(np.random.PCG64(seed)).permutation(len(x))
        self.model, self.x, self.y = model, x[order], y[order]
        self.space = Space(model.graph, Sensitivity(model.graph, self.x, self.y))
        self.task = Task(model, self.x, self.y, self.x if calibration is None else calibration, epochs, target, seed)
        self.trainer = Trainer(self.task)

    def choose(
        self,
        *,
        ram: int | str | None = None,
        flash: int | str | None = None,
        time: int | None = None,
        train: bool = True,
        progress: bool = False,
    ) -> SearchResult:
        """The choice for one budget; see `search`."""
        budget = Budget(parse_size(ram, "ram"), parse_size(flash, "flash"), time)
        planned = self.space.candidates(budget)
        feasible = [c for c in planned if budget.allows(c)]
        if not feasible:
            raise _nothing_fits(self.model.name, budget, planned)
        trials: list[Trial] = []
        if train:
            if len(self.y) < 2 * FOLDS:
                raise CompileError("data", f"{len(self.y)} samples are too few to hold some out", "pass more, or --no-train")
            trials = self._raced(feasible, budget, progress)
            best = trials[0].candidate, trials[0].lr
        else:
            candidate = next(self._fitting(sorted(feasible, key=lambda c: (-c.gain, c.bytes, c.name)), budget), None)
            if candidate is None:
                raise _flash_error(self.model.name, budget)
            best = candidate, candidate.set.lr
        return self._result(budget, len(planned), feasible, trials, best)

    def _raced(self, feasible: Sequence[Candidate], budget: Budget, progress: bool) -> list[Trial]:
        work = max(c.macs for c in feasible) * len(self.y) * self.task.epochs
        effort = Effort.of(work, len(self.y))
        finalists: list[Candidate] = []
        plain = self.space.by_hand(budget)
        turns = _turns(feasible) if plain is None else [plain, *(c for c in _turns(feasible) if c is not plain)]
        for candidate in self._fitting(turns, budget):
            finalists.append(candidate)
            if len(finalists) == effort.finalists:
                break
        if not finalists:
            raise _flash_error(self.model.name, budget)
        with Progress(transient=True, disable=not progress) as bar:
            total = len(finalists) * len(effort.parts) + 2 * min(effort.tuned, len(finalists))
            task = bar.add_task(f"training {len(finalists)} of {len(feasible)} sets", total=total)
            return race(self.trainer, finalists, effort, lambda: bar.advance(task))

    def _fitting(self, candidates: Sequence[Candidate], budget: Budget) -> Iterator[Candidate]:
        """Those whose flash, code included, is within the budget: what a build measures."""
        for candidate in candidates:
            if budget.flash is None or self._flash(candidate) <= budget.flash:
                yield candidate

    def _flash(self, candidate: Candidate) -> int:
        with tempfile.TemporaryDirectory() as folder:
            report = build(self.model, Path(folder) / "build", method=candidate.methods, calibration=self.x, target=self.task.target).report["flash"]
        return int(report["total"] or report["weights"])

    def _result(
        self, budget: Budget, considered: int, feasible: Sequence[Candidate], trials: Sequence[Trial], best: tuple[Candidate, float]
    ) -> SearchResult:
        best_trials: dict[str, Trial] = {}
        for trial in trials:
            best_trials.setdefault(trial.candidate.name, trial)
        pareto = front(feasible)
        shown = {c.name: c for c in (*pareto, *(t.candidate for t in trials), best[0])}
        names = {c.name for c in pareto}
        rows = [_row(c, best_trials.get(c.name), c.name in names, best) for c in shown.values()]
        outputs = interp.infer(self.model.graph, self.x)[0]
        before = float((outputs.reshape(len(outputs), -1).argmax(1) == self.y).mean())
        training = {"epochs": self.task.epochs, "decay": "linear"}
        return SearchResult(
            model=self.model.name,
            budget={"ram": budget.ram, "flash": budget.flash, "time": budget.macs},
            before=before,
            considered=considered,
            feasible=len(feasible),
            rows=tuple(sorted(rows, key=lambda r: (r.bytes, r.macs, r.name))),
            config=Config(best[0].methods, SGD(lr=best[1]), self.model.name, training),
        )


def _row(c: Candidate, trial: Trial | None, on_front: bool, best: tuple[Candidate, float]) -> Row:
    forward, backward = c.forward_and_backward
    chosen = c is best[0]
    return Row(
        name=c.name,
        methods=c.methods,
        lr=best[1] if chosen else trial.lr if trial else c.set.lr,
        bytes=c.bytes,
        arena=c.arena_bytes,
        state=c.state_bytes,
        macs_forward=forward,
        macs_backward=backward,
        weights=c.constant_bytes,
        gain=c.gain,
        accuracy=trial.accuracy if trial else None,
        loss=trial.loss if trial else None,
        samples=trial.samples if trial else 0,
        front=on_front,
        chosen=chosen,
    )


def _turns(feasible: Sequence[Candidate]) -> list[Candidate]:
    """All candidates in the order they deserve training: the kinds take turns, each with its most promising sets first.

    Gains of one kind are comparable, those of different kinds less so: LoRA grows as it trains, a bias does not.
    """
    kinds: dict[str, list[Candidate]] = {}
    for c in sorted(feasible, key=lambda c: (-c.gain, c.bytes, c.name)):
        kinds.setdefault(c.set.kind, []).append(c)
    longest = max(len(members) for members in kinds.values())
    return [members[turn] for turn in range(longest) for members in kinds.values() if turn < len(members)]


# ---- Checks ----


def _samples(model: Model, data: Any) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    if not isinstance(data, tuple) or len(data) != 2 or data[1] is None:
        raise CompileError("data", "holds no labels", HINT)
    graph = model.graph
    if len(graph.inputs) > 1:
        raise CompileError("data", f"{graph.name} has {len(graph.inputs)} inputs, the search takes models of one", "choose the set by hand")
    try:
        x, y = model.quantize(data[0]), np.asarray(data[1])
    except (ValueError, TypeError) as error:
        raise CompileError("data", str(error), HINT) from None
    if y.ndim != 1 or len(y) != len(x):
        raise CompileError("data", f"has {len(x)} samples, but labels of shape {list(y.shape)}", HINT)
    classes = graph.type(graph.outputs[0]).size
    if y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= classes:
        raise CompileError("data", f"the labels are not class numbers below {classes}", HINT)
    if len(np.unique(y)) < 2:
        raise CompileError("data", f"every sample has the label {y[0]}", "pass samples of at least two classes: one teaches nothing about the others")
    return x, y.astype(np.int32)


def _nothing_fits(model: str, budget: Budget, planned: Sequence[Candidate]) -> CompileError:
    if not planned:
        return CompileError(model, "no layer of this model can be trained", "`kilotune ops` lists the operators with a gradient")
    broken = {budget.exceeded(c) for c in planned}
    where, what = f"ram={budget.ram}", "bytes"
    smallest = min(planned, key=lambda c: c.bytes)
    need = smallest.bytes
    if "ram" not in broken or (budget.ram is not None and smallest.bytes <= budget.ram):
        if "time" in broken:
            smallest = min(planned, key=lambda c: c.macs)
            where, what, need = f"time={budget.macs}", "MACs a step", smallest.macs
        else:
            smallest = min(planned, key=lambda c: c.constant_bytes)
            where, what, need = f"flash={budget.flash}", "bytes of weights and tables", smallest.constant_bytes
    return BudgetError(where, f"no trainable set of {model} fits: the smallest, {smallest.name}, takes {need:,} {what}", f"allow {need:,}")


def _flash_error(model: str, budget: Budget) -> BudgetError:
    return BudgetError(f"flash={budget.flash}", f"no trainable set of {model} fits with its code", "allow more flash, or use a smaller model")
