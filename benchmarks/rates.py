"""How near the default rate of each method is to the best one, by the generated C.

    make bench-rates

The default recipe with the default rate and with a tenth, a third and three times of it, on scenarios that want different ones. Mean over
the draws. "short" is what the default falls short of the best of the four, judged on the evaluation rows, which a device does not have.

    .venv/bin/python benchmarks/rates.py --choose --scenario gas

"chosen": the score at the one of these rates that the adaptation samples prefer, in three folds: the one with the smallest error and loss, if it
is better than the default by more than a standard error of the paired difference. It is what a `fit` that tried rates would reach, for thirteen
times the steps.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from contenders import OURS, with_new_head
from prose import wrapped
from scenarios import SCENARIOS, Scenario, scenario_of

import kilotune as kt
from kilotune.devices import Device

FOLDS = 3
FACTORS = (0.1, 1 / 3, 1.0, 3.0)
METHODS = (
    "head", "bias, all layers", "bias + LoRA r=4, all", "scale-shift, all", "sparse update 1/4, all", "full", "bias, Adam",
    "bias + LoRA all, Adam", "bias, Lion", "bias + LoRA all, Lion",
)  # fmt: skip
DEFAULT = ("gas", "gas6", "ecg", "fsdd", "kws")


def measure(name: str, method: str, draw: int, choose: bool) -> tuple[float, list[float]]:
    """The default rate, and the scores at its multiples; at the end that of the chosen one."""
    scenario = scenario_of(name, draw)
    contender = next(c for c in OURS if c.name == method)
    model, calibration = kt.load(scenario.path), scenario.calibration
    methods = with_new_head(contender.methods, scenario.new_classes, model.graph)
    with tempfile.TemporaryDirectory() as folder:
        build = kt.build(model, Path(folder) / "build", method=methods, optimizer=contender.optimizer, calibration=calibration, measure=False)
        rate = float(build.manifest["learning_rate"])
        scores = []
        with build.open("host") as device:
            for factor in FACTORS:
                device.reset()
                device.fit(scenario.adapt, scenario.adapt_labels, learning_rate=rate * factor, seed=draw)
                scores.append(scenario.score(device.predict(scenario.evaluate)))
            if choose:
                scores.append(scores[preferred(device, scenario, rate, draw)])
    return rate, scores


def preferred(device: Device, scenario: Scenario, rate: float, seed: int) -> int:
    """Which factor the adaptation samples prefer."""
    x, y = scenario.adapt, scenario.adapt_labels
    fold, guess = folds(y, seed), float(np.log(y.max() + 1))
    penalties = np.zeros((len(FACTORS), len(y)))
    for row, factor in zip(penalties, FACTORS, strict=True):
        for k in range(FOLDS):
            device.reset()
            device.fit(x[fold != k], y[fold != k], learning_rate=rate * factor, seed=seed, hold_out=0.0)
            for i in np.flatnonzero(fold == k):
                found = device.evaluate(x[i : i + 1], y[i : i + 1])
                row[i] = min(found["loss"], guess) / guess + 1 - found["accuracy"]
    gains = penalties[FACTORS.index(1.0)] - penalties
    return int((gains.mean(1) - gains.std(1) / np.sqrt(len(y))).argmax())


def folds(y: np.ndarray[Any, Any], seed: int) -> np.ndarray[Any, Any]:
    """The fold of each sample, classes dealt evenly."""
    rng, fold, dealt = np.random.default_rng([seed, 7]), np.empty(len(y), np.int64), 0
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        fold[rows] = (np.arange(len(rows)) + dealt) % FOLDS
        dealt += len(rows)
    return fold


@click.command()
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)), default=DEFAULT, show_default=True)
@click.option("--method", "methods", multiple=True, type=click.Choice(METHODS), default=METHODS)
@click.option("--choose", is_flag=True, help="Also choose a rate by the adaptation samples.")
@click.option("--draws", default=3, show_default=True, help="Draws of the adaptation samples.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
def main(names: tuple[str, ...], methods: tuple[str, ...], choose: bool, draws: int, jobs: int, write: Path | None) -> None:
    """Train at multiples of the default rates and print the table."""
    lines = [
        wrapped(
            f"Made by `benchmarks/rates.py` on {datetime.date.today()}. Mean score over {draws} draws, trained by the default recipe at "
            "multiples of the method's default rate. The last column says how much the best of these multiples is above the default."
        ),
        "",
        "| | default rate | x 0.1 | x 0.33 | **default** | x 3 |" + (" chosen |" if choose else "") + " short |",
        "|---|---|---|---|---|---|---|" + ("---|" if choose else ""),
    ]
    every = []
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        waiting = {(n, m): [pool.submit(measure, n, m, d, choose) for d in range(draws)] for n in names for m in methods}
        for (name, method), parts in waiting.items():
            found = [p.result() for p in parts]
            means = np.mean([scores for _, scores in found], axis=0)
            cells = " | ".join(f"{v:.3f}" for v in means)
            every.append(means)
            lines.append(f"| {name}, {method} | {found[0][0]:g} | {cells} | {means[: len(FACTORS)].max() - means[FACTORS.index(1.0)]:.3f} |")
            click.echo(lines[-1])
    lines.append("| mean | | " + " | ".join(f"{v:.3f}" for v in np.mean(every, axis=0)) + " | |")
    click.echo(lines[-1])
    if write:
        write.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
