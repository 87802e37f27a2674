"""Accuracy of what `kilotune search` chooses, beside LoRA r=4 on the last layers in the same memory.

    make bench-search
    .venv/bin/python benchmarks/search.py --scenario gas --draws 2

The budget is what LoRA r=4 on the last two (then four) layers takes. The search sees the samples of the draw that the device trains on
and nothing else: evaluation rows never reach it. LoRA is trained at its default rate and, in a column of its own, at the rate that the
search's validation picks for it. Exit code 1 where the search is ahead of LoRA on fewer than three quarters of the scenarios.
"""

from __future__ import annotations

import datetime
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from scenarios import DATA, SCENARIOS, Scenario

import kilotune as kt
from kiloc.ir import interp
from kiloc.peft import Method
from kilotune.search import Search
from kilotune.search.candidates import Candidate
from kilotune.search.trials import Effort, race

NAMES = ("fsdd", "gas", "gas6", "ecg", "kws")
DEPTHS = (2, 4)
RANK = 4
GOAL = 0.75
MARGIN = 0.0005
"""Scores that differ by less are equal."""


@dataclass
class Line:
    """One scenario at one budget; scores by column, one for each draw."""

    scenario: Scenario
    depth: int
    ram: int
    scores: dict[str, list[float]] = field(default_factory=dict)
    sets: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def mean(self, column: str) -> float:
        return float(np.mean(self.scores[column]))

    @property
    def winner(self) -> str:
        difference = self.mean("search") - self.mean("LoRA")
        return "equal" if abs(difference) < MARGIN else "search" if difference > 0 else "LoRA"


def last_lora(search: Search, depth: int) -> Candidate:
    """LoRA r=4 on the last layers, planned."""
    plan = search.space.candidate(search.space.last("lora", RANK, depth))
    assert plan is not None
    return plan


def tuned_rate(search: Search, lora: Candidate) -> float:
    """The rate that the search's validation picks for a given set."""
    work = lora.macs * len(search.y) * search.task.epochs
    return race(search.trainer, [lora], Effort.of(work, len(search.y)))[0].lr


def shuffled(scenario: Scenario) -> Scenario:
    """Original-domain rows in random order, so that any prefix is a fair sample."""
    order = np.random.default_rng(5).permutation(len(scenario.original))
    return replace(scenario, original=scenario.original[order], original_labels=scenario.original_labels[order])


def trained(model: kt.Model, scenario: Scenario, methods: Sequence[Method], rate: float, folder: Path, seed: int) -> float:
    """Score on the evaluation rows after training by the generated C on the host."""
    calibration = (scenario.original[:256], scenario.original_labels[:256])
    build = kt.build(model, folder / "build", method=methods, optimizer=kt.SGD(lr=rate), calibration=calibration, measure=False)
    with build.open("host") as device:
        device.fit(scenario.adapt, scenario.adapt_labels, epochs=scenario.epochs, seed=seed, decay="linear")
        return scenario.score(device.predict(scenario.evaluate))


def measure(name: str, draw: int, lines: dict[tuple[str, int], Line], folder: Path, console: Console) -> None:
    scenario = shuffled(SCENARIOS[name](draw))
    model = kt.load(DATA / "models" / scenario.model)
    outputs = interp.infer(model.graph, model.quantize(scenario.evaluate))[0]
    before = scenario.score(outputs.reshape(len(outputs), -1).argmax(1))
    calibration = (scenario.original[:256], scenario.original_labels[:256])
    start = time.perf_counter()
    search = Search(model, (scenario.adapt, scenario.adapt_labels), calibration=calibration, epochs=scenario.epochs, seed=draw)
    for depth in DEPTHS:
        lora = last_lora(search, depth)
        found = search.choose(ram=lora.bytes)
        spent = time.perf_counter() - start
        line = lines.setdefault((name, depth), Line(scenario, depth, lora.bytes))
        columns = {
            "LoRA": (lora.methods, lora.set.lr),
            "LoRA, tuned": (lora.methods, tuned_rate(search, lora)),
            "search": (found.config.methods, found.best.lr),
        }
        line.scores.setdefault("before", []).append(before)
        for column, (methods, rate) in columns.items():
            line.scores.setdefault(column, []).append(trained(model, scenario, methods, rate, folder, draw))
        line.sets.append(f"{found.best.name} lr {found.best.lr:g}")
        line.seconds += spent
        shown = ", ".join(f"{c} {v[-1]:.3f}" for c, v in line.scores.items())
        console.print(f"{name} draw {draw} last:{depth} {lora.bytes:,} bytes: {shown}; {line.sets[-1]} ({found.best.bytes:,} bytes, {spent:.0f} s)")
        start = time.perf_counter()


def report(console: Console, lines: list[Line], draws: int, write: Path | None) -> bool:
    """Print and write the table; whether the goal is missed."""
    table = Table(title=f"score after training, mean ± standard deviation over {draws} draws")
    columns = list(lines[0].scores)
    headings = ["scenario", "memory of", "bytes", *columns, "ahead"]
    for heading in headings:
        table.add_column(heading)
    rows = []
    for line in lines:
        values = [f"{np.mean(v):.3f} ± {np.std(v):.3f}" for v in line.scores.values()]
        rows.append([f"{line.scenario.name} ({line.scenario.metric})", f"LoRA r={RANK} last:{line.depth}", f"{line.ram:,}", *values, line.winner])
        table.add_row(*rows[-1])
    console.print(table)
    ahead = 0
    for name in dict.fromkeys(line.scenario.name for line in lines):
        mine = [line for line in lines if line.scenario.name == name]
        ahead += float(np.mean([line.mean("search") - line.mean("LoRA") for line in mine])) > MARGIN
    count = len({line.scenario.name for line in lines})
    wins = sum(line.winner == "search" for line in lines)
    verdict = f"search is ahead on {ahead} of {count} scenarios, in {wins} of {len(lines)} rows"
    console.print(verdict)
    if write:
        head = f"Made by `make bench-search` on {datetime.date.today()}: {draws} draws, batch 1, trained by the generated C on the host.\n\n"
        body = [headings, ["---"] * len(headings), *rows]
        write.write_text(head + "\n".join("| " + " | ".join(r) + " |" for r in body) + f"\n\n{verdict[0].upper()}{verdict[1:]}.\n")
    return ahead < GOAL * count


@click.command()
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)), help="Scenario to run; the five main ones without it.")
@click.option("--draws", default=3, show_default=True, help="Draws of the adaptation samples.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
def main(names: tuple[str, ...], draws: int, write: Path | None) -> None:
    """Search and train on every scenario at two budgets and print the table."""
    console = Console(width=150)
    lines: dict[tuple[str, int], Line] = {}
    for name in names or NAMES:
        for draw in range(draws):
            with tempfile.TemporaryDirectory() as folder:
                measure(name, draw, lines, Path(folder), console)
    raise SystemExit(1 if report(console, list(lines.values()), draws, write) else 0)


if __name__ == "__main__":
    main()
