"""Accuracy of what `kilotune search` chooses, beside what one would train without it in the same budget.

    make bench-search                                               writes docs/search.md
    .venv/bin/python benchmarks/search.py --scenario gas --draws 2 --results FILE
    .venv/bin/python benchmarks/search.py --results FILE --no-run --write docs/search.md

Four budgets: the memory (arena and state) of LoRA r=4 on the last two layers; half and a quarter of the memory that the default recipe takes,
biases and LoRA r=4 on all layers; and half of the instructions of its training step. In each the search is compared with what one would otherwise
train there, at the default rates: the default recipe, LoRA r=4 alone and biases alone, each on as many of the last layers as fit, and the head
alone. Beside them stands the default recipe without a budget. The search sees the samples of the draw that the device trains on and the original
domain's for calibration, nothing else: evaluation rows never reach it. All are trained on the same samples in the same order. The rules of the
search were chosen on the scenarios of `MADE_WITH`, on other draws; those of `KEPT_ASIDE` had no part in it. Exit code 1 where the search is behind
what it is measured against by more than two standard errors on a scenario kept aside, or behind it in the mean.
"""

from __future__ import annotations

import concurrent.futures
import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from finished import Finished
from prose import wrapped
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scenarios import SCENARIOS, Scenario, scenario_of

import kilotune as kt
from kiloc.ir import interp
from kilotune.search import Search
from kilotune.search.candidates import Budget, Candidate, Plans, Space
from kilotune.search.families import TrainableSet
from kilotune.search.setting import Setting, checked
from kilotune.search.speed import CLOCK
from kilotune.search.trials import CHANCE

MADE_WITH = ("gas", "ecg", "fsdd", "kws")
KEPT_ASIDE = ("gas3", "gas5", "gas6", "usps", "transformer", "voices", "kws-band")
GROUPS = (("kept aside", KEPT_ASIDE), ("made with", MADE_WITH))
RECIPE, LORA, BIAS, HEAD, SEARCH = "default recipe", "LoRA", "biases", "head", "search"
WAYS = (RECIPE, LORA, BIAS, HEAD)
"""What one would train without a search, as far as it fits."""
ANY = "the mean of those that fit"
RANK = 4
BUDGETS: Mapping[str, str] = {
    "lora": "The memory of LoRA on the last two layers",
    "half": "Half of the default recipe's memory",
    "quarter": "A quarter of the default recipe's memory",
    "time": "Half of the default recipe's time",
}
DRAWS, FIRST = 3, 2
"""Draws, and the first of them: draws 0 and 1 were seen when it was decided what choices are measured against, and how."""
RULE = f"""
The search leaves what it measures others against, the default recipe where it fits, only where by what all of its trainings show together another
is to be expected to be better, with a chance of at most {CHANCE:.0%} of being no better. That rule was made on drawn numbers, not on scenarios.
"""
PLANS: dict[str, Plans] = {}
"""Of each model, for the scenarios and draws of a process."""
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Way:
    """What was trained. score: after training on all samples of the draw. bytes: of arena and state."""

    name: str
    score: float
    bytes: int


@dataclass(frozen=True)
class Result:
    """One scenario and draw. name: the scenario's in `SCENARIOS`. lavish: the default recipe without a budget. limits: by budget, bytes or
    instructions. ways: by budget, those of `WAYS` that fit, and what the search chose."""

    name: str
    scenario: str
    metric: str
    draw: int
    before: float
    lavish: Way
    limits: dict[str, int]
    ways: dict[str, dict[str, Way]] = field(default_factory=dict)

    @staticmethod
    def of(kept: Mapping[str, Any]) -> Result:
        """As `asdict` left it."""
        ways = {b: {w: Way(**v) for w, v in found.items()} for b, found in kept["ways"].items()}
        return Result(**{**kept, "lavish": Way(**kept["lavish"]), "ways": ways})


def measure(name: str, draw: int) -> Result:
    """One draw of one scenario."""
    scenario = scenario_of(name, draw)
    model = kt.load(scenario.path)
    outputs = interp.infer(model.graph, model.quantize(scenario.evaluate))[0]
    before = scenario.score(outputs.reshape(len(outputs), -1).argmax(1))
    setting, plans = Setting(epochs=scenario.epochs, seed=draw), PLANS.setdefault(scenario.model, {})
    search = Search(model, (scenario.adapt, scenario.adapt_labels), setting, calibration=scenario.calibration, plans=plans)
    training = Training(search, scenario)
    space = search.space
    recipe = _last(space, "lora", Budget(), space.with_every_companion)
    lora = space.candidate(space.last("lora", RANK, 2))
    assert recipe is not None and lora is not None
    limits = {"lora": lora.bytes, "half": recipe.bytes // 2, "quarter": recipe.bytes // 4, "time": recipe.instructions // 2}
    result = Result(name, scenario.name, scenario.metric, draw, before, training.way(recipe, recipe.lr), limits)
    for title, limit in limits.items():
        budget = Budget(instructions=limit) if title == "time" else Budget(ram=limit)
        found = search.choose(time=f"{limit / CLOCK:.9f}s", count=False) if title == "time" else search.choose(ram=limit)
        fitting = {
            RECIPE: _last(space, "lora", budget, space.with_every_companion),
            LORA: _last(space, "lora", budget),
            BIAS: _last(space, "bias", budget),
            HEAD: _last(space, "head", budget),
        }
        result.ways[title] = {w: training.way(c, c.lr) for w, c in fitting.items() if c is not None}
        chosen = next(c for c in (*space.by_hand(budget), *space.candidates(budget)) if c.name == found.best.name)
        result.ways[title][SEARCH] = training.way(chosen, found.best.lr)
    search.close()
    return result


def _last(space: Space, family: str, budget: Budget, more: Callable[[TrainableSet], TrainableSet] = lambda s: s) -> Candidate | None:
    """A family on as many of the last layers as fit."""
    layers = space.sensitivity.layers.get(family, [])
    sets = (more(space.last(family, RANK if family == "lora" else 0, n)) for n in range(len(layers), 0, -1))
    return next((c for s in sets if (c := space.candidate(s)) and budget.allows(c)), None)


class Training:
    """Training on all samples of a draw by the programs that the search has built already: the bits are those of a build of the whole model."""

    def __init__(self, search: Search, scenario: Scenario) -> None:
        self.search, self.scenario = search, scenario
        given = [(scenario.adapt, scenario.adapt_labels), (scenario.evaluate, scenario.evaluate_labels)]
        parts = [checked(search.model, samples, search.setting.loss) for samples in given]
        self.adapt, self.evaluate = (replace(search.task, data=data, calibration=data.taken(slice(1))) for data in parts)
        self.known: dict[tuple[str, float], float] = {}

    def way(self, candidate: Candidate, rate: float) -> Way:
        """Trained at a rate, and judged by the evaluation rows."""
        key = (candidate.name, rate)
        if key not in self.known:
            layers = {p.layer for p in candidate.set.pieces}
            samples, others, setting = self.adapt.rest(layers).data, self.evaluate.rest(layers).data, self.search.setting
            device = self.search.trainer.device(candidate)
            device.reset()
            device.fit(samples.x, samples.targets, epochs=setting.epochs, seed=setting.seed, decay="linear", learning_rate=rate, hold_out=0.0)
            self.known[key] = self.scenario.score(device.predict(others.x))
        return Way(f"{candidate.name} lr {rate:.2g}", self.known[key], candidate.bytes)


# ---- What it says ----


@dataclass(frozen=True)
class Line:
    """One scenario in one budget, over the draws."""

    budget: str
    results: Sequence[Result]

    def scores(self, way: str) -> Array:
        """By draw; nan where it does not fit."""
        return np.array([found[way].score if way in (found := r.ways[self.budget]) else np.nan for r in self.results])

    def over(self, way: str) -> Array:
        """By draw in which the way fits, by how much the search is ahead of it."""
        found = self.scores(SEARCH) - (self.otherwise() if way == ANY else self.scores(way))
        return found[~np.isnan(found)]

    def otherwise(self) -> Array:
        """By draw, the mean of the ways that fit."""
        return np.nanmean([self.scores(way) for way in WAYS], axis=0)

    def cells(self) -> list[str]:
        first = self.results[0]
        limit = np.mean([r.limits[self.budget] for r in self.results])
        return [
            f"{first.scenario} ({first.metric})",
            str(len(self.results)),
            f"{1e3 * limit / CLOCK:.3g} ms" if self.budget == "time" else f"{limit:,.0f}",
            f"{np.mean([r.before for r in self.results]):.3f}",
            *(_mean(self.scores(way)) for way in (*WAYS, SEARCH)),
            _difference(self.over(ANY)),
            _difference(self.over(RECIPE)),
            f"{np.mean([r.lavish.score for r in self.results]):.3f}",
        ]


HEADINGS = ["scenario", "draws", "budget", "before", *WAYS, SEARCH, "over their mean", "over default recipe", "without budget"]


def _mean(values: Array) -> str:
    """Where every draw has one."""
    return "-" if np.isnan(values).any() else f"{values.mean():.3f}"


def _difference(values: Array) -> str:
    """Mean and standard error, which one value has none of."""
    if len(values) == 0:
        return "-"
    return f"{values.mean():+.3f}" + (f" ± {_standard_error(values):.3f}" if len(values) > 1 else "")


def _standard_error(values: Array) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _surely_behind(values: Array) -> bool:
    return len(values) > 1 and bool(values.mean() < -2 * _standard_error(values))


def summary(lines: Sequence[Line]) -> list[str]:
    """What the scenarios of a group say in one budget, each counted once."""
    text = []
    for way in (RECIPE, LORA, BIAS, HEAD, ANY):
        found = {line.results[0].scenario: line.over(way) for line in lines}
        found = {name: values for name, values in found.items() if len(values)}
        if found:
            means = np.array([values.mean() for values in found.values()])
            behind = [name for name, values in found.items() if _surely_behind(values)]
            names = f": {', '.join(behind)}" if behind else ""
            text.append(
                f"search over {ANY if way == ANY else f'the {way}' if way in (RECIPE, HEAD) else way}: {_difference(means)}; ahead on "
                f"{int((means > 0).sum())} of {len(means)} scenarios, equal on {int((means == 0).sum())}, behind by more than two standard errors "
                f"on {len(behind)}{names}"
            )
    return text


def report(console: Console, results: Sequence[Result], write: Path | None) -> bool:
    """Print and write the tables; whether the goal is missed."""
    missed, parts = False, [*_about(results)]
    for budget, title in BUDGETS.items():
        parts += [f"## {title}", ""]
        for group, names in GROUPS:
            lines = [Line(budget, mine) for n in names if (mine := [r for r in results if r.name == n and budget in r.ways])]
            if not lines:
                continue
            table = Table(*HEADINGS, title=f"{title}: {group}")
            for line in lines:
                table.add_row(*line.cells())
            text = summary(lines)
            console.print(table)
            console.print("\n".join(text))
            parts += [f"Scenarios {group}:", "", _rows([HEADINGS, ["---"] * len(HEADINGS), *(line.cells() for line in lines)]), ""]
            parts += ["\n".join(wrapped(f"{t}.", "- ") for t in text), ""]
            recipe = [values for line in lines if len(values := line.over(RECIPE))]
            if names is KEPT_ASIDE and recipe:
                missed |= bool(np.mean([v.mean() for v in recipe]) < 0) or any(_surely_behind(v) for v in recipe)
    if write:
        write.write_text("\n".join([*parts, "## Every draw", "", _rows(_choices(results))]) + "\n")
    return missed


def _choices(results: Sequence[Result]) -> list[list[str]]:
    """What was chosen, and what stood in its place."""
    rows = [["scenario", "draw", "budget", "default recipe", "search", "chosen"], ["---"] * 6]
    for r in results:
        for budget, ways in r.ways.items():
            recipe = f"{ways[RECIPE].score:.3f}" if RECIPE in ways else "-"
            chosen = "the default recipe" if RECIPE in ways and ways[RECIPE] == ways[SEARCH] else ways[SEARCH].name
            rows.append([r.scenario, str(r.draw), budget, recipe, f"{ways[SEARCH].score:.3f}", chosen])
    return rows


def _about(results: Sequence[Result]) -> list[str]:
    """The head of docs/search.md."""
    missing = [name for name in (*KEPT_ASIDE, *MADE_WITH) if all(r.name != name for r in results)]
    part = f", without {', '.join(f'`{name}`' for name in missing)}, which were not run" if missing else ""
    about = f"""Made by `make bench-search` on {datetime.date.today()}{part}; trained one sample at a time by the generated C on the host.

    In four budgets stands what one would train there without a search: the default recipe (biases of all layers, and LoRA of rank {RANK} on as many
    of the last layers as fit), LoRA of rank {RANK} alone and biases alone on as many of the last layers as fit, and the head alone, all at their
    default rates; "-" where it does not fit in every draw. Beside them is what the search chose, which sees only the samples of its draw, and the
    default recipe on all layers without a budget. Budgets are bytes of arena and state, or a training step on a Cortex-M4 at {CLOCK / 1e6:g} MHz. All
    are compared draw by draw; after ± stands the standard error of the mean difference."""
    return ["# What the search chooses", "", wrapped(about), "", wrapped(RULE.strip()), ""]


def _rows(cells: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


@click.command()
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)), help="Scenario to run; both groups without it.")
@click.option("--draws", default=DRAWS, show_default=True, help="Draws of the adaptation samples.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--results", type=click.Path(dir_okay=False, path_type=Path), help="Keep finished draws in this file, and take those that it has.")
@click.option("--run/--no-run", default=True, help="Run draws that the file does not have, or print those that it has.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the tables as Markdown too.")
def main(names: tuple[str, ...], draws: int, jobs: int, results: Path | None, run: bool, write: Path | None) -> None:
    """Search and train on every scenario and print the tables."""
    console = Console(width=220)
    wanted = names or (*KEPT_ASIDE, *MADE_WITH)
    finished = Finished(results)
    with Progress(console=console, transient=True) as progress, concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        missing = [(n, d) for d in range(FIRST, FIRST + draws) for n in wanted if run and (n, d) not in finished.draws]
        task = progress.add_task("searching", total=len(missing))
        waiting = {pool.submit(measure, n, d): (n, d) for n, d in missing}
        for done in concurrent.futures.as_completed(waiting):
            finished.keep(waiting[done], asdict(done.result()))
            progress.advance(task)
    rows = [Result.of(outcome) for (n, d), outcome in finished.draws.items() if n in wanted and FIRST <= d < FIRST + draws]
    rows.sort(key=lambda r: (wanted.index(r.name), r.draw))
    raise SystemExit(1 if report(console, rows, write) else 0)


if __name__ == "__main__":
    main()
