"""Integer training beside float training at the same rate: what low precision costs, apart from the choice of a rate.

    make bench-same-rate                                         every scenario, three draws; writes docs/same_rate.md
    .venv/bin/python benchmarks/same_rate.py --scenario gas --draws 1

Both start from the same model, see the same samples in the same order for the same number of epochs, and take the default rate of the
build, falling linearly to 0, with the same clipping; nothing is held out. Float: the dequantised model in float32 under jax
(float_engine.py). Integer: the generated C on the host. Only A of LoRA differs, which each draws by itself.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from contenders import with_new_head
from finished import Finished
from prose import shown, wrapped
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scenarios import DRAWS, SCENARIOS, Scenario, scenario_of

import kilotune as kt
from kiloc.optim import SGD
from kiloc.peft import Method
from kilotune.devices.recipe import default_epochs

METHODS: dict[str, tuple[Method, ...]] = {
    "head": (kt.Head(),),
    "bias": (kt.BiasOnly(),),
    "lora": (kt.BiasOnly(), kt.LoRA(rank=4, layers="all")),
    "full": (kt.Full(layers="all"),),
}
"""Methods of the float engine, and what trains the same here."""
Pair = tuple[float, float]
"""Scores of float and of integer training."""
POINTS = 1.0
"""Of the mean that integer training may lose."""
HEADINGS = ["scenario", "method", "float", "integer", "integer - float, points"]


def measure(name: str, draw: int) -> tuple[str, dict[str, Pair]]:
    """Title and scores by method of one draw of one scenario."""
    from float_engine import engine_of

    scenario = scenario_of(name, draw)
    model = kt.load(scenario.path)
    engine, epochs = engine_of(model, scenario), default_epochs(len(scenario.adapt))
    found = {}
    for method, methods in METHODS.items():
        rate, integer = trained(model, scenario, methods, epochs, draw)
        head_rate = SGD().usual_rate(["head"]) if scenario.new_classes else rate
        found[method] = (scenario.score(engine.train(method, rate, epochs, draw, head_rate)[0]), integer)
    return scenario.name, found


def trained(model: kt.Model, scenario: Scenario, methods: tuple[Method, ...], epochs: int, seed: int) -> tuple[float, float]:
    """The default rate, and the score after training at it by the generated C on the host."""
    methods = with_new_head(methods, scenario.new_classes, model.graph)
    with tempfile.TemporaryDirectory() as folder:
        build = kt.build(model, Path(folder) / "build", method=methods, calibration=scenario.calibration, measure=False)
        with build.open("host") as device:
            device.fit(scenario.adapt, scenario.adapt_labels, epochs=epochs, decay="linear", hold_out=0.0, seed=seed)
            return float(build.manifest["learning_rate"]), scenario.score(device.predict(scenario.evaluate))


def row(title: str, method: str, pairs: Sequence[Pair]) -> list[str]:
    """Means over the draws, and mean and standard deviation of what integer training gains, in points."""
    scores = np.array(pairs)
    gain = 100 * (scores[:, 1] - scores[:, 0])
    return [title, method, f"{scores[:, 0].mean():.3f}", f"{scores[:, 1].mean():.3f}", f"{gain.mean():+.1f} ± {gain.std():.1f}"]


@click.command()
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)), help="Scenario; all without it.")
@click.option("--draws", type=click.IntRange(1, DRAWS), default=3, show_default=True, help="Draws of the adaptation samples.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--results", type=click.Path(dir_okay=False, path_type=Path), help="Keep finished draws in this file, and take those that it has.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown.")
def main(names: tuple[str, ...], draws: int, jobs: int, results: Path | None, write: Path | None) -> None:
    """Train both ways and print the table; exit code 1 where integer training is more than a point behind in the mean of a row."""
    console, wanted, finished = Console(width=150), names or tuple(SCENARIOS), Finished(results)
    with Progress(console=console, transient=True) as progress, concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        task = progress.add_task("training", total=len(finished.missing(wanted, draws)))
        waiting = {pool.submit(measure, n, d): (n, d) for n, d in finished.missing(wanted, draws)}
        for done in concurrent.futures.as_completed(waiting):
            finished.keep(waiting[done], done.result())
            progress.advance(task)
    rows, behind = [], []
    for name in wanted:
        found = [finished.draws[name, d] for d in range(draws)]
        for method in METHODS:
            pairs = [scores[method] for _, scores in found]
            rows.append(row(found[0][0], method, pairs))
            if 100 * float(np.mean([integer - reference for reference, integer in pairs])) < -POINTS:
                behind.append(f"{found[0][0]}, {method}")
    table = Table(*HEADINGS, title=f"score after training at the default rate, mean over {draws} draws")
    for cells in rows:
        table.add_row(*cells)
    console.print(table)
    verdict = f"Integer training is more than a point behind in {len(behind)} of {len(rows)} rows" + (f": {'; '.join(behind)}" if behind else "")
    console.print(verdict)
    if write:
        command = "make bench-same-rate" if not names else " ".join([".venv/bin/python benchmarks/same_rate.py", *(f"--scenario {n}" for n in names)])
        write.write_text(markdown(command, rows, verdict, draws))
    raise SystemExit(1 if behind else 0)


def markdown(command: str, rows: Sequence[Sequence[str]], verdict: str, draws: int) -> str:
    lines = [
        "# Integer and float training at the same rate",
        "",
        shown(command),
        "",
        wrapped(
            f"{datetime.date.today()}, {draws} draws. The generated C on the host beside float32 training (jax) of the dequantised model. Both take "
            "the same samples in the same order, at the default rate of the build, which falls to 0, with the same clipping; nothing is held out. "
            "The score is F1 for ecg, else accuracy."
        ),
        "",
        *("| " + " | ".join(cells) + " |" for cells in (HEADINGS, ["---"] * len(HEADINGS), *rows)),
        "",
        wrapped(f"{verdict}."),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
