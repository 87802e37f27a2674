"""The search itself: samples in, choice out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from kiloc import TARGETS, BudgetError, CompileError, Loss, as_loss
from kiloc.optim import SGD, Optimizer
from kiloc.passes import with_whole_sequences
from kiloc.peft import Layers

from ..building import build
from ..config import Config
from ..devices import DeviceError
from ..model import Model
from ..options import Samples
from ..sizes import parse_size
from .candidates import Budget, Candidate, Plans, Space, cost, front
from .chip import Chip, check, parse_energy, parse_wear
from .counting import BUILDS, REACH, Counter, calibrate
from .reason import reasons, verdicts
from .result import Row, SearchResult
from .sensitivity import Sensitivity
from .setting import LEAST, Data, Setting, checked
from .speed import CLOCK, parse_clock, parse_time
from .trials import MOST, Effort, Task, Trainer, Trial, race


def search(
    model: Model,
    data: tuple[Any, Any],
    *,
    ram: int | str | None = None,
    flash: int | str | None = None,
    time: int | str | None = None,
    clock: int | str | None = None,
    energy: int | float | str | None = None,
    flash_wear: int | str | None = None,
    board: str | None = None,
    count: bool | None = None,
    optimizer: Optimizer | None = None,
    loss: Loss | str = "cross_entropy",
    storage: str = "block16",
    accumulate: int = 1,
    calibration: Samples | None = None,
    train: bool = True,
    epochs: int = 10,
    layers: Layers = "all",
    target: str | None = None,
    offload: str = "none",
    seed: int = 0,
    progress: bool = False,
) -> SearchResult:
    """The trainable set and learning rate that promise most within a budget.

    data: samples of the new domain with what the loss takes, (x [N, ...], y [N, ...]); x is a list of arrays for a model of several
    inputs, y None where the loss reads the input. ram: bytes of arena and state, or "64K". flash: bytes of the compiled
    model. time: of one training step, as "20ms" at `clock` Hz (instructions are estimated by `kiloc.forecast`, one a cycle), or as a number of
    MACs. board: one of `kilotune boards`, which decides target and clock unless they are given, and what the next two count with. energy: of one
    training step, as "2mJ" or in joules: instructions times what board.toml says one takes, an estimate. flash_wear: sectors of flash that an
    update of the adapter may erase. count: build a few of the sets and count their instructions on the emulated chip, so that estimates rest on what
    was counted; None does so where `time` as a duration or `energy` is given and compiler and QEMU are installed.
    optimizer, loss, storage, accumulate: as in `kt.build`; the optimizer's learning rate is chosen here. calibration: samples of the
    original domain, as in `kt.build`; without it those of the new domain serve. train: judge by real training on part of
    the samples, else by gradients alone. epochs: passes over the samples, as they are meant for the device. layers: those that may
    be trained, as methods name them. offload: as in `kt.build`; what lies in slow memory is no part of `ram`, and moving it is no part of `time`.

    The same arguments give the same result, with the same tools where it counts. Raises BudgetError, naming the smallest set, where nothing fits.
    """
    chip = None if board is None else Chip.of(board)
    core = target or (chip.target if chip else "cortex-m4")
    used = SGD() if optimizer is None else optimizer
    setting = Setting(used, as_loss(loss), storage, accumulate, epochs, core, seed, layers, offload, chip)
    prepared = Search(model, data, setting, calibration=calibration)
    limits = {"ram": ram, "flash": flash, "time": time, "clock": clock, "energy": energy, "flash_wear": flash_wear}
    try:
        return prepared.choose(**limits, train=train, count=count, progress=progress)  # type: ignore[arg-type]
    finally:
        prepared.close()


class Search:
    """A model and samples, ready to be asked for several budgets; what was planned, built and trained is remembered. `close` it at last."""

    def __init__(
        self,
        model: Model,
        data: tuple[Any, Any],
        setting: Setting | None = None,
        *,
        calibration: Samples | None = None,
        plans: Plans | None = None,
    ) -> None:
        """plans: of other searches of this model and setting, which grow."""
        if not isinstance(model, Model):
            raise CompileError("model", f"{model!r} is not a loaded model", "pass what kt.load(path) returns")
        model = replace(model, graph=with_whole_sequences(model.graph))
        if model.graph.streams():
            what = "keeps a state from slice to slice, and a search judges samples by themselves"
            raise CompileError(model.graph.origin, what, "choose methods and layers yourself: kt.build(method=...)")
        self.model, self.setting = model, Setting() if setting is None else setting
        self.setting.check(model.graph)
        if self.setting.target not in TARGETS:
            raise CompileError(f"target={self.setting.target!r}", "is not a known core", f"targets are {', '.join(TARGETS)}")
        given = checked(model, data, self.setting.loss)
        self.data = given.taken(np.random.Generator(np.random.PCG64(self.setting.seed)).permutation(len(given)))
        base = self.data if calibration is None else _calibration(model, calibration, self.setting.loss)
        self.task = Task(model, self.data, self.setting, base)
        self.trainer = Trainer(self.task)
        self._space: Space | None = None
        self._plans = plans
        self.not_counted = ""

    @property
    def space(self) -> Space:
        if self._space is None:
            self._space = Space(self.model.graph, Sensitivity(self.model.graph, self.data, self.setting), self.setting, self._plans)
        return self._space

    def close(self) -> None:
        """Let go of the programs that trained."""
        self.trainer.close()

    def choose(
        self,
        *,
        ram: int | str | None = None,
        flash: int | str | None = None,
        time: int | str | None = None,
        clock: int | str | None = None,
        energy: int | float | str | None = None,
        flash_wear: int | str | None = None,
        train: bool = True,
        count: bool | None = None,
        progress: bool = False,
    ) -> SearchResult:
        """The choice for one budget; see `search`."""
        macs, seconds = parse_time(time)
        chip = self.setting.chip
        hertz = parse_clock(clock if clock is not None else (chip and chip.clock) or CLOCK)
        joules, wear = parse_energy(energy), parse_wear(flash_wear)
        check(chip, joules, wear)
        instructions = None if seconds is None else int(seconds * hertz)
        budget = Budget(parse_size(ram, "ram"), parse_size(flash, "flash"), macs, instructions, joules, wear)
        if train and len(self.data) < LEAST:
            raise CompileError("data", f"{len(self.data)} samples are too few to hold some out", f"pass {LEAST} or more, or train=False (--no-train)")
        counter = self._counter(count, instructions is not None or joules is not None)
        with _bar(progress) as bar:
            stage = bar.add_task("planning", total=None)
            planned = self._counted(budget, counter, bar, stage) if counter else self.space.candidates(budget)
            while True:
                feasible = [c for c in planned if budget.allows(c)]
                if not feasible:
                    raise _nothing_fits(self.model.name, budget, planned, hertz)
                trials = self._raced(feasible, budget, bar, stage) if train else []
                best = (trials[0].candidate, trials[0].lr) if trials else self._promising(feasible, budget)
                if counter is None or self._stands(best[0], budget, counter, bar, stage):
                    break
        return self._result(budget, hertz, len(planned), feasible, trials, best)

    def _promising(self, feasible: Sequence[Candidate], budget: Budget) -> tuple[Candidate, float]:
        """The set of the largest gain, with its rate, where none is trained."""
        candidate = next(self._fitting(sorted(feasible, key=lambda c: (-c.gain, c.bytes, c.name)), budget), None)
        if candidate is None:
            raise self._flash_error(feasible, budget)
        return candidate, candidate.lr

    def _stands(self, chosen: Candidate, budget: Budget, counter: Counter, bar: Progress, stage: Any) -> bool:
        """Whether a set is within the budget once it was counted itself, as far as it can be; what was estimated of it may have been less."""
        if not self.space.counts.holds(chosen.calls):
            bar.update(stage, description=f"counting {chosen.name}")
            taken = counter.count(chosen)
            if taken is not None:
                self.space.counts.add(chosen.calls, taken)
            self.not_counted = "; ".join(counter.refused)
        return budget.allows(chosen) or not self.space.counts.holds(chosen.calls)

    def _counter(self, count: bool | None, timed: bool) -> Counter | None:
        """What counts candidates, where it is asked for or a budget is timed; `self.not_counted` says why nothing counts then."""
        self.not_counted = ""
        if not (timed if count is None else count):
            return None
        try:
            return Counter(self.model, self.data, self.task.calibration, self.setting)
        except DeviceError as error:
            if count:
                hint = f"{error.hint}; `kilotune doctor` lists what there is. Without --count estimates are of fitted costs"
                raise CompileError("count", f"instructions cannot be counted: {error.where}: {error.what}", hint) from error
            self.not_counted = f"{error.where}: {error.what}"
            return None

    def _counted(self, budget: Budget, counter: Counter, bar: Progress, stage: Any) -> list[Candidate]:
        """The candidates, after some of those within reach of the budget were counted, and the one that is named where none fits."""
        wide = replace(
            budget,
            instructions=None if budget.instructions is None else round(REACH * budget.instructions),
            energy=None if budget.energy is None else REACH * budget.energy,
        )
        reached = [c for c in self.space.candidates(wide) if wide.allows(c)]

        def count(i: int) -> list[float] | None:
            bar.update(stage, description=f"counting {reached[i].name}")
            return counter.count(reached[i])

        calibrate(self.space.counts, [c.calls for c in reached], count, self.setting.accumulate)
        bar.update(stage, description="planning")
        for _ in range(BUILDS):
            planned = self.space.candidates(budget)
            named = _named(budget, planned)
            if named is None or self.space.counts.holds(named.calls) or (taken := counter.count(named)) is None:
                break
            self.space.counts.add(named.calls, taken)
        self.not_counted = "; ".join(counter.refused)
        return planned

    def _raced(self, feasible: Sequence[Candidate], budget: Budget, bar: Progress, stage: Any) -> list[Trial]:
        turns = list({c.name: c for c in (*self.space.by_hand(budget), *_turns(feasible))}.values())
        finalists = list(islice(self._fitting(turns, budget), MOST))
        if not finalists:
            raise self._flash_error(feasible, budget)
        effort = Effort.of([self.task.work(c) for c in finalists], len(self.data))
        finalists = finalists[: effort.most]
        bar.update(stage, description=f"training {len(finalists)} of {len(feasible)} sets", total=effort.trainings(len(finalists)), completed=0)
        return race(self.trainer, finalists, effort, lambda count: bar.advance(stage, count))

    def _recipe_left_out(self, budget: Budget, hertz: int) -> str:
        """Why the default recipe is not what others are measured against, where it does not fit."""
        every = [c for sets in self.space.default_recipes() for s in sets if (c := self.space.candidate(s))]
        if not every or any(budget.allows(c) for c in every):
            return ""
        smallest = _nearest(every, budget)
        return f"the default recipe does not fit: the smallest, {smallest.name}, takes {_needed(smallest, budget, hertz)}"

    def _fitting(self, candidates: Sequence[Candidate], budget: Budget) -> Iterator[Candidate]:
        """Those whose flash, code included, is within the budget: what a build measures."""
        for candidate in candidates:
            if budget.flash is None or self._flash(candidate) <= budget.flash:
                yield candidate

    def _flash(self, candidate: Candidate) -> int:
        setting, x = self.setting, self.data.x
        with tempfile.TemporaryDirectory() as folder:
            report = build(
                self.model, Path(folder) / "build", method=candidate.methods, optimizer=setting.optimizer, loss=setting.loss,
                storage=setting.storage, accumulate=setting.accumulate, target=setting.target, calibration=x, offload=setting.offload,
            ).report["flash"]  # fmt: skip
        return int(report["total"] or report["weights"])

    def _flash_error(self, feasible: Sequence[Candidate], budget: Budget) -> BudgetError:
        smallest = min(feasible, key=lambda c: (c.constant_bytes, c.name))
        need = self._flash(smallest)
        what = f"no trainable set of {self.model.name} fits with its code: the smallest, {smallest.name}, takes {need:,} bytes of flash"
        return BudgetError(f"flash={budget.flash}", what, f"allow {need:,}")

    def _result(
        self, budget: Budget, hertz: int, considered: int, feasible: Sequence[Candidate], trials: Sequence[Trial], best: tuple[Candidate, float]
    ) -> SearchResult:
        best_trials: dict[str, Trial] = {}
        for trial in trials:
            best_trials.setdefault(trial.candidate.name, trial)
        pareto = front(feasible)
        shown = {c.name: c for c in (*pareto, *(t.candidate for t in trials), best[0])}
        names = {c.name for c in pareto}
        said = verdicts(trials) if trials else {}
        rows = [_row(c, best_trials.get(c.name), c.name in names, best, hertz, said.get(c.name, "")) for c in shown.values()]
        accuracy, loss = self.trainer.untrained(best[0])
        setting, training = self.setting, {"epochs": self.setting.epochs, "decay": "linear"}
        optimizer = replace(setting.optimizer, lr=best[1])  # type: ignore[type-var]
        return SearchResult(
            model=self.model.name,
            budget=asdict(budget),
            clock=hertz,
            target=setting.target,
            board=setting.chip.board if setting.chip else None,
            updates=setting.chip.updates if setting.chip else None,
            guessed=best[0].estimate.unknown,
            builds_counted=self.space.counts.builds,
            best_counted=self.space.counts.holds(best[0].calls),
            not_counted=self.not_counted,
            reason=reasons(best[0], trials, feasible, self._recipe_left_out(budget, hertz)),
            before=accuracy,
            loss_before=loss,
            considered=considered,
            feasible=len(feasible),
            rows=tuple(sorted(rows, key=lambda r: (r.bytes, r.macs, r.name))),
            config=Config(best[0].methods, optimizer, self.model.name, training, setting.loss, setting.storage, setting.accumulate),
        )


def _row(c: Candidate, trial: Trial | None, on_front: bool, best: tuple[Candidate, float], hertz: int, verdict: str) -> Row:
    forward, backward = c.forward_and_backward
    chosen = c is best[0]
    return Row(
        name=c.name,
        methods=c.methods,
        lr=best[1] if chosen else trial.lr if trial else c.lr,
        bytes=c.bytes,
        arena=c.arena_bytes,
        state=c.state_bytes,
        macs_forward=forward,
        macs_backward=backward,
        instructions=c.instructions,
        counted=c.estimate.counted,
        seconds=c.instructions / hertz,
        joules=c.energy,
        adapter=c.adapter_bytes,
        erases=c.erases,
        erases_a_save=c.setting.chip.erases_a_save(c.state_bytes) if c.setting.chip else None,
        weights=c.constant_bytes,
        gain=c.gain,
        accuracy=trial.accuracy if trial else None,
        loss=trial.loss if trial else None,
        samples=trial.samples if trial else 0,
        front=on_front,
        chosen=chosen,
        verdict=verdict,
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


def _bar(show: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("at most"), TimeRemainingColumn())
    return Progress(*columns, transient=True, disable=not show)


# ---- Checks ----

UNITS = {
    "ram": "bytes",
    "macs": "MACs a step",
    "instructions": "instructions a step",
    "energy": "joules a step",
    "wear": "sectors an update",
    "flash": "bytes of weights and tables",
}
"""Of the limits of a budget."""
WORDS = {"wear": "flash_wear", "instructions": "time", "macs": "time"}
"""Limits whose argument has another name."""


def _calibration(model: Model, samples: Samples, loss: Loss) -> Data:
    """Samples of the original domain, with targets where they are given."""
    x, y = samples if isinstance(samples, tuple) and len(samples) == 2 else (samples, None)
    try:
        inputs = model.quantize_inputs(x)
    except (ValueError, TypeError) as error:
        raise CompileError("calibration", str(error), "pass samples [N, ...] of the original domain, or (samples, targets)") from None
    targets = None if y is None or loss.attach(model.graph).target is None else np.asarray(y)
    if targets is not None and (targets.ndim == 0 or len(targets) != len(inputs[0])):
        raise CompileError(
            "calibration", f"has {len(inputs[0])} samples, but targets of shape {list(targets.shape)}", "pass as many targets as samples"
        )
    return Data(inputs, targets)


def _nothing_fits(model: str, budget: Budget, planned: Sequence[Candidate], hertz: int) -> CompileError:
    """Names the limit that keeps everything out, and the least that would let something in; of several limits the set that is nearest to them."""
    named = _named(budget, planned)
    if named is None:
        return CompileError(model, "no layer of this model can be trained", "`kilotune ops` lists the operators with a gradient")
    name = _barrier(budget, planned)
    if name is not None:
        allowed, taken = _amount(name, _limits(budget)[name], hertz, round_up=False), _amount(name, cost(named, name), hertz)
        what = f"no trainable set of {model} fits: the smallest, {named.name}, takes {taken}{_unit(name, hertz)}"
        return BudgetError(f"{_option(name)}={allowed}", what, f"allow {taken}")
    what = f"no trainable set of {model} fits all limits: the nearest, {named.name}, takes {_needed(named, budget, hertz)}"
    needs = [f"{_option(limit)}={_amount(limit, cost(named, limit), hertz)}" for limit in _exceeded(named, budget)]
    return BudgetError("budget", what, "allow " + " and ".join(needs))


def _named(budget: Budget, planned: Sequence[Candidate]) -> Candidate | None:
    """The set that is named where none fits: the one with least of what keeps everything out, or the nearest. None where one fits."""
    if not planned or any(budget.allows(c) for c in planned):
        return None
    name = _barrier(budget, planned)
    return _nearest(planned, budget) if name is None else min(_others(name, budget, planned), key=lambda c: (cost(c, name), c.name))


def _barrier(budget: Budget, planned: Sequence[Candidate]) -> str | None:
    """The first limit without which something would fit."""
    return next((name for name in _limits(budget) if _others(name, budget, planned)), None)


def _others(name: str, budget: Budget, planned: Sequence[Candidate]) -> list[Candidate]:
    """What would fit without this limit."""
    return [c for c in planned if replace(budget, **{name: None}).allows(c)]


def _limits(budget: Budget) -> dict[str, float]:
    """Those that are given, by name."""
    return {name: limit for name in UNITS if (limit := getattr(budget, name)) is not None}


def _nearest(candidates: Sequence[Candidate], budget: Budget) -> Candidate:
    """The one that exceeds the limits by the least factor."""
    return min(candidates, key=lambda c: (max(cost(c, name) / limit for name, limit in _limits(budget).items()), c.name))


def _exceeded(candidate: Candidate, budget: Budget) -> list[str]:
    return [name for name, limit in _limits(budget).items() if cost(candidate, name) > limit]


def _needed(candidate: Candidate, budget: Budget, hertz: int) -> str:
    """What a candidate takes of the limits that it exceeds."""
    return ", ".join(f"{_amount(name, cost(candidate, name), hertz)}{_unit(name, hertz)}" for name in _exceeded(candidate, budget))


def _option(name: str) -> str:
    """The argument that a limit comes from."""
    return WORDS.get(name, name)


def _amount(name: str, value: float, hertz: int, round_up: bool = True) -> str:
    """As the argument is written; what is needed is rounded up."""
    if name not in ("energy", "instructions"):
        return f"{value:,}" if round_up else f"{value}"
    unit, scaled = ("uJ", 1e6 * value) if name == "energy" else ("ms", 1e3 * value / hertz)
    return f"{np.ceil(1e3 * scaled) / 1e3 if round_up else scaled:g}{unit}"


def _unit(name: str, hertz: int) -> str:
    """What follows an amount."""
    return f" a step at {hertz / 1e6:g} MHz" if name == "instructions" else " a step, as estimated" if name == "energy" else f" {UNITS[name]}"
