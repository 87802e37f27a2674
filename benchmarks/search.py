"""Accuracy of what `kilotune search` chooses, beside LoRA r=4 on the last layers in the same memory.

    make bench-search                                               four scenarios, two budgets, six draws, writes docs/search.md
    .venv/bin/python benchmarks/search.py --scenario gas --draws 2

The budget is what LoRA r=4 on the last two (then four) layers takes, arena and state. The search sees the samples of the draw that the
device trains on and the original domain's for calibration, nothing else: evaluation rows never reach it. LoRA is trained at three rates;
what counts is the one that is best in the mean over all scenarios and draws, judged on the evaluation rows, which favours LoRA. Draws
are paired: both train on the same samples in the same order. Exit code 1 where the search is ahead on fewer than three quarters of the
scenarios.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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

NAMES = ("fsdd", "gas", "ecg", "kws")
DEPTHS = (2, 4)
RANK = 4
RATES = (0.3, 0.1, 0.03)
DRAWS = 6
GOAL = 0.75


@dataclass(frozen=True)
class Result:
    """One scenario, budget and draw. name: the scenario's in `SCENARIOS`. lora: score by rate."""

    name: str
    scenario: str
    metric: str
    depth: int
    draw: int
    ram: int
    before: float
    lora: dict[float, float]
    search: float
    chosen: str
    bytes: int
    seconds: float


def result(fields: dict[str, Any]) -> Result:
    """One that was kept."""
    return Result(**{**fields, "lora": {float(rate): score for rate, score in fields["lora"].items()}})


@dataclass(frozen=True)
class Line:
    """One scenario at one budget, over the draws."""

    results: Sequence[Result]
    rate: float

    @property
    def differences(self) -> np.ndarray[Any, Any]:
        return np.array([r.search - r.lora[self.rate] for r in self.results])

    def cells(self) -> list[str]:
        first = self.results[0]
        lora, chosen = [r.lora[self.rate] for r in self.results], [r.search for r in self.results]
        return [
            f"{first.scenario} ({first.metric})",
            f"LoRA r={RANK} last:{first.depth}",
            f"{np.mean([r.ram for r in self.results]):,.0f}",
            f"{np.mean([r.bytes for r in self.results]):,.0f}",
            f"{np.mean([r.before for r in self.results]):.3f}",
            f"{np.mean(lora):.3f}",
            f"{np.mean(chosen):.3f}",
            difference(self.differences),
            verdict(self.differences),
        ]


def difference(values: np.ndarray[Any, Any]) -> str:
    """Mean and standard error."""
    return f"{values.mean():+.3f} ± {standard_error(values):.3f}"


def standard_error(values: np.ndarray[Any, Any]) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def verdict(values: np.ndarray[Any, Any]) -> str:
    """Who is ahead; "surely" by more than two standard errors."""
    mean, error = float(values.mean()), standard_error(values)
    if mean == 0:
        return "equal"
    return ("search" if mean > 0 else "LoRA") + (", surely" if abs(mean) > 2 * error > 0 else "")


def trained(model: kt.Model, scenario: Scenario, methods: Sequence[Method], rates: Sequence[float], seed: int) -> list[float]:
    """Scores on the evaluation rows after training by the generated C on the host, at each rate."""
    scores = []
    with tempfile.TemporaryDirectory() as folder:
        build = kt.build(model, Path(folder) / "build", method=methods, calibration=scenario.calibration, seed=seed, measure=False)
        with build.open("host") as device:
            for rate in rates:
                device.reset()
                device.fit(scenario.adapt, scenario.adapt_labels, epochs=scenario.epochs, seed=seed, decay="linear", learning_rate=rate, hold_out=0.0)
                scores.append(scenario.score(device.predict(scenario.evaluate)))
    return scores


def measure(name: str, draw: int) -> list[Result]:
    """One draw of one scenario at both budgets."""
    scenario = scenario_of(name, draw)
    model = kt.load(scenario.path)
    outputs = interp.infer(model.graph, model.quantize(scenario.evaluate))[0]
    before = scenario.score(outputs.reshape(len(outputs), -1).argmax(1))
    start = time.perf_counter()
    search = Search(model, (scenario.adapt, scenario.adapt_labels), Setting(epochs=scenario.epochs, seed=draw), calibration=scenario.calibration)
    results = []
    for depth in DEPTHS:
        lora = search.space.candidate(search.space.last("lora", RANK, depth))
        assert lora is not None
        found = search.choose(ram=lora.bytes)
        spent = time.perf_counter() - start
        scores = dict(zip(RATES, trained(model, scenario, lora.methods, RATES, draw), strict=True))
        chosen = trained(model, scenario, found.config.methods, [found.best.lr], draw)[0]
        text = f"{found.best.name} lr {found.best.lr:g}"
        results.append(Result(name, scenario.name, scenario.metric, depth, draw, lora.bytes, before, scores, chosen, text, found.best.bytes, spent))
        start = time.perf_counter()
    return results


def best_rate(results: Sequence[Result]) -> float:
    """At which LoRA is best in the mean over these results."""
    return max(RATES, key=lambda rate: float(np.mean([r.lora[rate] for r in results])))


def summary(lines: Sequence[Line]) -> tuple[list[str], bool]:
    """What the lines say of each scenario, both budgets together, and whether the goal is missed."""
    text, won, sure = [], 0, 0
    names = list(dict.fromkeys(line.results[0].scenario for line in lines))
    for name in names:
        mine = [line.differences for line in lines if line.results[0].scenario == name]
        both = np.mean(mine, axis=0)
        won += both.mean() > 0
        sure += both.mean() > 2 * standard_error(both) > 0
        own = best_rate([r for line in lines for r in line.results if r.scenario == name])
        against = np.mean([replace(line, rate=own).differences for line in lines if line.results[0].scenario == name], axis=0)
        text.append(f"{name}: {difference(both)} ({verdict(both)}); against LoRA at {own:g}, the best rate for this scenario, {difference(against)}")
    rows = sum(line.differences.mean() > 0 for line in lines)
    text.append(f"search is ahead on {won} of {len(names)} scenarios ({sure} by more than two standard errors), in {rows} of {len(lines)} rows")
    return text, won < GOAL * len(names)


HEADINGS = ["scenario", "memory of", "budget", "used", "before", "LoRA", "search", "difference", "ahead"]


def report(console: Console, results: Sequence[Result], draws: int, write: Path | None) -> bool:
    """Print and write the table; whether the goal is missed."""
    rate = best_rate(results)
    keys = dict.fromkeys((r.scenario, r.depth) for r in results)
    lines = [Line([r for r in results if (r.scenario, r.depth) == key], rate) for key in keys]
    means = ", ".join(f"{np.mean([x.lora[r] for x in results]):.4f} at {r:g}" for r in RATES)
    table = Table(*HEADINGS, title=f"score after training, mean over {draws} draws; difference with its standard error")
    for line in lines:
        table.add_row(*line.cells())
    console.print(table)
    text, missed = summary(lines)
    seconds = [r.seconds for r in results]
    text.append(f"LoRA's mean score over all rows is {means}; the search took {np.mean(seconds):.0f} s on average, {max(seconds):.0f} s at most")
    console.print("\n".join(text))
    if write:
        write.write_text(markdown(lines, text, results, draws))
    return missed


def markdown(lines: Sequence[Line], text: Sequence[str], results: Sequence[Result], draws: int) -> str:
    """docs/search.md."""
    about = f"""{datetime.date.today()}, {draws} draws of the adaptation samples, trained one sample at a time by the generated C on the host.

    The budget is the memory (arena and state) that LoRA of rank {RANK} on the last two or four layers takes. LoRA is trained at the one common rate
    that is best over all rows on the evaluation samples; the search sees only the samples of its draw. Both are compared draw by draw; after ± stands
    the standard error of the mean difference."""
    head = f"# What the search chooses\n\n    .venv/bin/python benchmarks/search.py --draws {draws}\n\n{wrapped(about)}\n"
    body = [HEADINGS, ["---"] * len(HEADINGS), *(line.cells() for line in lines)]
    chosen = [["scenario", "memory of", "draw", "LoRA", "search", "chosen"], ["---"] * 6]
    chosen += [[r.scenario, f"last:{r.depth}", str(r.draw), f"{r.lora[lines[0].rate]:.3f}", f"{r.search:.3f}", r.chosen] for r in results]
    parts = [head, _rows(body), "", "\n".join(wrapped(f"{t}.", "- ") for t in text), "\n## Every draw\n", _rows(chosen)]
    return "\n".join(parts) + "\n"


def _rows(cells: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


@click.command()
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)), help="Scenario to run; the four main ones without it.")
@click.option("--draws", default=DRAWS, show_default=True, help="Draws of the adaptation samples.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--results", type=click.Path(dir_okay=False, path_type=Path), help="Keep finished draws in this file, and take those that it has.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
def main(names: tuple[str, ...], draws: int, jobs: int, results: Path | None, write: Path | None) -> None:
    """Search and train on every scenario at two budgets and print the table."""
    console = Console(width=170)
    wanted = names or NAMES
    finished = Finished(results)
    with Progress(console=console, transient=True) as progress, concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        task = progress.add_task("searching", total=len(wanted) * draws)
        waiting = {pool.submit(measure, n, d): (n, d) for n, d in finished.missing(wanted, draws)}
        for done in concurrent.futures.as_completed(waiting):
            finished.keep(waiting[done], [asdict(r) for r in done.result()])
            for r in done.result():
                lora = " ".join(f"{score:.3f} at {rate:g}" for rate, score in r.lora.items())
                console.print(f"{r.scenario} draw {r.draw} last:{r.depth}: LoRA {lora}; search {r.search:.3f}, {r.chosen} ({r.seconds:.0f} s)")
            progress.advance(task)
    rows = [r for n in wanted for d in range(draws) for r in map(result, finished.draws[n, d])]
    rows.sort(key=lambda r: (wanted.index(r.name), r.depth, r.draw))
    raise SystemExit(1 if report(console, rows, draws, write) else 0)


if __name__ == "__main__":
    main()
