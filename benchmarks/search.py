"""Accuracy of what `kilotune search` chooses, beside what one trains without it in the same memory.

    make bench-search                                               writes docs/search.md
    .venv/bin/python benchmarks/search.py --scenario gas --draws 2 --results FILE
    .venv/bin/python benchmarks/search.py --results FILE --no-run --write docs/search.md

The budget is what LoRA r=4 on the last two layers takes, arena and state. In it the search is compared with LoRA r=4 on the last two layers and
with the default recipe, biases and LoRA r=4, on as many of the last layers as fit, both at their default rates; beside them stands the default
recipe on all layers, without a budget. The search sees the samples of the draw that the device trains on and the original domain's for
calibration, nothing else: evaluation rows never reach it. All are trained on the same samples in the same order. The rules of the search were
chosen on the scenarios of `MADE_WITH`, on other draws; those of `KEPT_ASIDE` had no part in it. Exit code 1 where the search is behind the
default recipe by more than two standard errors on a scenario, or behind it in the mean.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
from kiloc.peft import Method
from kilotune.search import Search
from kilotune.search.setting import Setting
from kilotune.search.trials import CHANCE

MADE_WITH = ("gas", "ecg", "fsdd", "kws")
KEPT_ASIDE = ("gas3", "gas5", "gas6", "usps", "transformer", "voices", "kws-band")
LORA, DEFAULT, LAVISH, SEARCH = "LoRA last:2", "default", "no budget", "search"
WAYS = (LORA, DEFAULT, LAVISH, SEARCH)
RANK = 4
DRAWS, FIRST = 3, 2
"""Draws, and the first of them: draws 0 and 1 were seen when it was decided what choices are measured against, and how."""


@dataclass(frozen=True)
class Result:
    """One scenario and draw. name: the scenario's in `SCENARIOS`. scores, bytes: by way. chosen: what the search took; reason: why."""

    name: str
    scenario: str
    metric: str
    draw: int
    before: float
    scores: dict[str, float]
    bytes: dict[str, int]
    chosen: str
    reason: list[str]
    seconds: float


@dataclass(frozen=True)
class Line:
    """One scenario, over the draws."""

    results: Sequence[Result]

    def differences(self, way: str) -> np.ndarray[Any, Any]:
        return np.array([r.scores[SEARCH] - r.scores[way] for r in self.results])

    def cells(self) -> list[str]:
        first = self.results[0]
        return [
            f"{first.scenario} ({first.metric})",
            str(len(self.results)),
            f"{np.mean([r.bytes[LORA] for r in self.results]):,.0f}",
            f"{np.mean([r.bytes[SEARCH] for r in self.results]):,.0f}",
            f"{np.mean([r.before for r in self.results]):.3f}",
            *(f"{np.mean([r.scores[way] for r in self.results]):.3f}" for way in WAYS),
            difference(self.differences(DEFAULT)),
            difference(self.differences(LORA)),
        ]


def difference(values: np.ndarray[Any, Any]) -> str:
    """Mean and standard error, which one draw has none of."""
    return f"{values.mean():+.3f}" + (f" ± {standard_error(values):.3f}" if len(values) > 1 else "")


def standard_error(values: np.ndarray[Any, Any]) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def trained(model: kt.Model, scenario: Scenario, methods: Sequence[Method], rate: float, seed: int) -> float:
    """Score on the evaluation rows after training by the generated C on the host."""
    with tempfile.TemporaryDirectory() as folder:
        build = kt.build(model, Path(folder) / "build", method=methods, calibration=scenario.calibration, seed=seed, measure=False)
        with build.open("host") as device:
            device.fit(scenario.adapt, scenario.adapt_labels, epochs=scenario.epochs, seed=seed, decay="linear", learning_rate=rate, hold_out=0.0)
            return scenario.score(device.predict(scenario.evaluate))


def measure(name: str, draw: int) -> Result:
    """One draw of one scenario."""
    scenario = scenario_of(name, draw)
    model = kt.load(scenario.path)
    outputs = interp.infer(model.graph, model.quantize(scenario.evaluate))[0]
    before = scenario.score(outputs.reshape(len(outputs), -1).argmax(1))
    start = time.perf_counter()
    search = Search(model, (scenario.adapt, scenario.adapt_labels), Setting(epochs=scenario.epochs, seed=draw), calibration=scenario.calibration)
    space = search.space
    lora = space.candidate(space.last("lora", RANK, 2))
    assert lora is not None
    found = search.choose(ram=lora.bytes)
    spent = time.perf_counter() - start
    counts = range(len(space.sensitivity.layers["lora"]), 0, -1)
    recipes = [c for n in counts if (c := space.candidate(space.with_every_companion(space.last("lora", RANK, n))))]
    ways = {LORA: lora, DEFAULT: next((c for c in recipes if c.bytes <= lora.bytes), lora), LAVISH: recipes[0]}
    scores = {way: trained(model, scenario, c.methods, c.lr, draw) for way, c in ways.items()}
    scores[SEARCH] = trained(model, scenario, found.config.methods, found.best.lr, draw)
    bytes_ = {**{way: c.bytes for way, c in ways.items()}, SEARCH: found.best.bytes}
    text = f"{found.best.name} lr {found.best.lr:.2g}"
    return Result(name, scenario.name, scenario.metric, draw, before, scores, bytes_, text, list(found.reason), spent)


HEADINGS = ["scenario", "draws", "budget", "used", "before", "LoRA last:2", "default recipe", "without budget", "search", "over default", "over LoRA"]


def summary(title: str, lines: Sequence[Line]) -> list[str]:
    """What a group of scenarios says, each counted once."""
    text = []
    for way, words in ((DEFAULT, "the default recipe"), (LORA, "LoRA on the last two layers"), (LAVISH, "the default recipe without a budget")):
        means = np.array([line.differences(way).mean() for line in lines])
        behind = [line for line in lines if _surely_behind(line, way)]
        names = f": {', '.join(line.results[0].scenario for line in behind)}" if behind else ""
        text.append(
            f"{title}: search over {words} {difference(means)}; ahead on {int((means > 0).sum())} of {len(means)} scenarios, equal on "
            f"{int((means == 0).sum())}, behind by more than two standard errors on {len(behind)}{names}"
        )
    return text


def _surely_behind(line: Line, way: str) -> bool:
    values = line.differences(way)
    return len(values) > 1 and bool(values.mean() < -2 * standard_error(values))


GROUPS = (("Kept aside", KEPT_ASIDE), ("Made with", MADE_WITH))


def report(console: Console, results: Sequence[Result], write: Path | None) -> bool:
    """Print and write the tables; whether the goal is missed."""
    groups = [(title, [Line(mine) for n in names if (mine := [r for r in results if r.name == n])]) for title, names in GROUPS]
    groups = [(title, lines) for title, lines in groups if lines]
    for title, lines in groups:
        table = Table(*HEADINGS, title=f"{title}: score after training, mean over draws")
        for line in lines:
            table.add_row(*line.cells())
        console.print(table)
    text = [line for title, lines in groups for line in summary(title, lines)]
    left = [r for r in results if r.scores[SEARCH] != r.scores[DEFAULT] or r.bytes[SEARCH] != r.bytes[DEFAULT]]
    text.append(f"the search left the default recipe in {len(left)} of {len(results)} draws")
    seconds = [r.seconds for r in results]
    text.append(f"the search took {np.mean(seconds):.0f} s on average, {max(seconds):.0f} s at most, on a computer with other work")
    console.print("\n".join(text))
    if write:
        write.write_text(markdown(groups, text, results))
    lines = groups[0][1]
    behind = np.mean([line.differences(DEFAULT).mean() for line in lines])
    return bool(behind < 0) or any(_surely_behind(line, DEFAULT) for line in lines)


def markdown(groups: Sequence[tuple[str, Sequence[Line]]], text: Sequence[str], results: Sequence[Result]) -> str:
    """docs/search.md."""
    missing = [name for name in (*KEPT_ASIDE, *MADE_WITH) if all(r.name != name for r in results)]
    part = f", without {', '.join(f'`{name}`' for name in missing)}, which were not run" if missing else ""
    about = f"""Made by `make bench-search` on {datetime.date.today()}{part}; trained one sample at a time by the generated C on the host.

    The budget is the memory (arena and state) that LoRA of rank {RANK} on the last two layers takes. In it stand LoRA itself, the default recipe
    (biases, and LoRA of rank {RANK} on as many of the last layers as fit) and what the search chooses; beside them the default recipe on all layers,
    without a budget. All but the search train at the default rate. The search sees only the samples of its draw. All are compared draw by draw;
    after ± stands the standard error of the mean difference. The search leaves the default recipe only where, by what all of its trainings show
    together, another is to be expected to be better, with a chance of at most {CHANCE:.0%} of being no better. That rule was made on drawn numbers,
    not on scenarios."""
    parts = ["# What the search chooses", "", wrapped(about), ""]
    for title, lines in groups:
        parts += [f"## {title}", "", _rows([HEADINGS, ["---"] * len(HEADINGS), *(line.cells() for line in lines)]), ""]
    parts += ["\n".join(wrapped(f"{t}.", "- ") for t in text), "", "## Every draw", ""]
    chosen = [["scenario", "draw", *WAYS, "chosen"], ["---"] * (3 + len(WAYS))]
    chosen += [[r.scenario, str(r.draw), *(f"{r.scores[way]:.3f}" for way in WAYS), r.chosen] for r in results]
    return "\n".join([*parts, _rows(chosen)]) + "\n"


def _rows(cells: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


@click.command()
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)), help="Scenario to run; both groups without it.")
@click.option("--draws", default=DRAWS, show_default=True, help="Draws of the adaptation samples.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--results", type=click.Path(dir_okay=False, path_type=Path), help="Keep finished draws in this file, and take those that it has.")
@click.option("--run/--no-run", default=True, help="Run draws that the file does not have, or print those that it has.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
def main(names: tuple[str, ...], draws: int, jobs: int, results: Path | None, run: bool, write: Path | None) -> None:
    """Search and train on every scenario and print the tables."""
    console = Console(width=190)
    wanted = names or (*KEPT_ASIDE, *MADE_WITH)
    finished = Finished(results)
    with Progress(console=console, transient=True) as progress, concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        task = progress.add_task("searching", total=len(wanted) * draws)
        missing = [(n, d) for d in range(FIRST, FIRST + draws) for n in wanted if run and (n, d) not in finished.draws]
        waiting = {pool.submit(measure, n, d): (n, d) for n, d in missing}
        for done in concurrent.futures.as_completed(waiting):
            r = done.result()
            finished.keep(waiting[done], asdict(r))
            console.print(f"{r.scenario} draw {r.draw}: {r.scores}, {r.chosen} ({r.seconds:.0f} s)")
            progress.advance(task)
    rows = [Result(**outcome) for (n, d), outcome in finished.draws.items() if n in wanted and FIRST <= d < FIRST + draws]
    rows.sort(key=lambda r: (wanted.index(r.name), r.draw))
    raise SystemExit(1 if report(console, rows, write) else 0)


if __name__ == "__main__":
    main()
