"""Accuracy after on-device training, by the generated C, beside float training.

    make bench-accuracy                                           every scenario, method, optimizer and float reference, three draws
    .venv/bin/python benchmarks/accuracy.py --scenario ecg        one scenario, the main methods, float head-only
    .venv/bin/python benchmarks/accuracy.py --scenario ecg --method full      one of our methods alone

Ours are trained by the default recipe: `kt.build(model, folder, method=...)` and `device.fit(x, y)` with no rate, decay or number of
epochs. Float references are the dequantised model in float32 under jax, with the same number of epochs, clipping, falling rate and batch of one;
for each the best of its rates by mean over the draws; a new head goes by a higher rate there too. Mean and standard deviation over the draws,
each of which chooses other adaptation samples.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from contenders import FLOAT_RATES, OURS, WITH_NEW_HEAD, Contender, with_new_head
from finished import Finished
from prose import wrapped
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scenarios import DRAWS, MAIN, SCENARIOS, Scenario, scenario_of

import kilotune as kt
from kiloc.ir import interp
from kilotune.devices.recipe import default_epochs

Scores = dict[str, float]
HEAD = "float head-only"


def trained(model: kt.Model, scenario: Scenario, contender: Contender, seed: int) -> float:
    """Score after training by the generated C on the host."""
    methods = with_new_head(contender.methods, scenario.new_classes, model.graph)
    with tempfile.TemporaryDirectory() as folder:
        build = kt.build(
            model, Path(folder) / "build",
            method=methods, optimizer=contender.optimizer, storage=contender.storage, calibration=scenario.calibration, measure=False,
        )  # fmt: skip
        with build.open("host") as device:
            device.fit(scenario.adapt, scenario.adapt_labels, seed=seed)
            return scenario.score(device.predict(scenario.evaluate))


def measure(name: str, draw: int, everything: bool, references: bool) -> tuple[str, str, Scores]:
    """(title, metric, scores) of one draw of one scenario; float scores are keyed "float METHOD @ RATE"."""
    from float_engine import engine_of

    scenario = scenario_of(name, draw)
    model, new = kt.load(scenario.path), scenario.new_classes
    if new:
        scores = {"before": 1 / new}
    else:
        outputs = interp.infer(model.graph, model.quantize(scenario.evaluate))[0]
        scores = {"before": scenario.score(outputs.reshape(len(outputs), -1).argmax(1))}
    engine = engine_of(model, scenario)
    for method, rates in (WITH_NEW_HEAD if new else FLOAT_RATES).items():
        if method == "head" or references:
            for rate in rates:
                predicted = engine.train(method, rate, default_epochs(len(scenario.adapt)), draw)[0]
                scores[f"float {method} @ {rate:g}"] = scenario.score(predicted)
    for contender in OURS:
        if contender.main or everything:
            scores[contender.name] = trained(model, scenario, contender, draw)
    return scenario.name, scenario.metric, scores


def alone(name: str, draw: int, methods: Sequence[str]) -> tuple[str, str, Scores]:
    """The same of some of our methods alone, without the model as it is and float rows."""
    scenario = scenario_of(name, draw)
    chosen = (c for c in OURS if c.name in methods)
    return scenario.name, scenario.metric, {c.name: trained(kt.load(scenario.path), scenario, c, draw) for c in chosen}


def best_float(draws: list[Scores]) -> dict[str, tuple[list[float], str]]:
    """For every row its values over the draws and a remark; float rows at their best rate."""
    rows: dict[str, tuple[list[float], str]] = {}
    for key in draws[0]:
        values = [d[key] for d in draws]
        title, _, rate = key.partition(" @ ")
        title = HEAD if title == "float head" else title
        if title not in rows or np.mean(values) > np.mean(rows[title][0]):
            rows[title] = (values, f"lr {rate}" if rate else "")
    return rows


@click.command()
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)), help="Scenario to run; the README's without it.")
@click.option("--all", "everything", is_flag=True, help="Every scenario, method, optimizer and float reference.")
@click.option("--float", "references", is_flag=True, help="Every float reference, not head-only alone.")
@click.option("--method", "methods", multiple=True, type=click.Choice([c.name for c in OURS]), help="These rows alone.")
@click.option("--draws", default=DRAWS, show_default=True, help="Draws of the adaptation samples.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--results", type=click.Path(dir_okay=False, path_type=Path), help="Keep finished draws in this file, and take those that it has.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
def main(
    names: tuple[str, ...],
    everything: bool,
    references: bool,
    methods: tuple[str, ...],
    draws: int,
    jobs: int,
    results: Path | None,
    write: Path | None,
) -> None:
    """Train on every scenario and print the table; exit code 1 where no method reaches float head-only."""
    console = Console(width=150)
    wanted = names or (tuple(SCENARIOS) if everything else MAIN)
    found: dict[str, list[Scores]] = {name: [] for name in wanted}
    titles: dict[str, tuple[str, str]] = {}
    with Progress(console=console, transient=True) as progress, concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        task = progress.add_task("training", total=len(wanted) * draws)
        finished = Finished(results)
        todo = finished.missing(wanted, draws)
        waiting = {
            pool.submit(alone, n, d, methods) if methods else pool.submit(measure, n, d, everything, everything or references): (n, d)
            for n, d in todo
        }
        for done in concurrent.futures.as_completed(waiting):
            finished.keep(waiting[done], done.result())
            progress.advance(task)
    for name in wanted:
        for draw in range(draws):
            title, metric, scores = finished.draws[name, draw]
            titles[name] = (title, metric)
            found[name].append(scores)
    tables = {name: best_float(found[name]) for name in wanted}
    missed = report(console, titles, tables, draws)
    if write:
        write_markdown(write, titles, tables, draws)
    raise SystemExit(1 if missed else 0)


def report(console: Console, titles: dict[str, tuple[str, str]], tables: dict[str, dict[str, tuple[list[float], str]]], draws: int) -> bool:
    table = Table(title=f"score after training, mean ± standard deviation over {draws} draws")
    table.add_column("")
    missed = False
    for name, rows in tables.items():
        table.add_column(f"{titles[name][0]}\n({titles[name][1]})")
        if HEAD not in rows:
            continue
        reference = float(np.mean(rows[HEAD][0]))
        ours = max(float(np.mean(rows[c.name][0])) for c in OURS if c.name in rows)
        missed |= ours < reference
        console.print(f"{titles[name][0]}: float head-only {reference:.4f}, best of ours {ours:.4f} {'reached' if ours >= reference else 'MISSED'}")
    for row in next(iter(tables.values())):
        table.add_row(row, *(_cell(*rows[row]) for rows in tables.values()))
    console.print(table)
    return missed


ABOUT = """Mean and standard deviation over {draws} draws of the adaptation samples, trained one sample at a time by the generated C on the host
with the default recipe: no rate, decay or number of epochs was given. Float rows: jax, float32, at the best of a few rates. A model with a new
head starts at chance."""


def write_markdown(path: Path, titles: dict[str, tuple[str, str]], tables: dict[str, dict[str, tuple[list[float], str]]], draws: int) -> None:
    """The table with one line a method."""
    lines = [
        wrapped(f"Made by `benchmarks/accuracy.py` on {datetime.date.today()}. {ABOUT.format(draws=draws)}"),
        "",
        "| | " + " | ".join(f"{titles[n][0]} ({titles[n][1]})" for n in tables) + " |",
        "|---" * (1 + len(tables)) + "|",
    ]
    for row in next(iter(tables.values())):
        lines.append(f"| {row} | " + " | ".join(_cell(*rows[row]) for rows in tables.values()) + " |")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def _cell(values: list[float], remark: str) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}" + (f" ({remark})" if remark else "")


if __name__ == "__main__":
    main()
