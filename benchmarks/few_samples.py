"""What a user gets who has few samples, by the generated C: with the recipe, and trained to the end.

    make bench-few-samples

Biases and LoRA of every layer, as `kilotune train` trains without `--method`. "recipe": `fit(x, y)`. Of fewer than 100 samples nothing is held out;
an epoch that does not lower the loss on the samples themselves is undone, and training goes on more slowly. "to the end":
`fit(x, y, hold_out=0)`, which judges nothing. Classes in turn, as far as the samples go; at most 300 others are judged by. The mean accuracy over
the draws, and in brackets the worst draw. The rule was chosen on draws 10 to 12 of other scenarios: batches 3 and 5 of the gas sensors, other voices,
digits through another sensor, another patient, another speaker, USPS.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from prose import wrapped
from scenarios import Array, scenario_of

import kilotune as kt

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SIZES = (4, 8, 16, 32, 64, 100, 200)
MOST_JUDGED, CALIBRATION = 300, 256
METHODS = (kt.BiasOnly(), kt.LoRA(layers="all"))
WAYS: dict[str, dict[str, Any]] = {"to the end": {"hold_out": 0.0}, "recipe": {}}


@dataclass(frozen=True)
class Pool:
    """A model that is deployed, and all labelled samples of where it is now. calibration: samples of where it was."""

    name: str
    model: Path
    calibration: tuple[Array, Array]
    x: Array
    y: Array

    def split(self, draw: int) -> tuple[Array, Array]:
        """Rows to train on, of which any number of the first may be used, its classes in turn; and rows to judge by."""
        rng = np.random.default_rng(draw)
        rows = rng.permutation(len(self.y))
        half = rows[: min(max(SIZES), len(rows) // 2)]
        rank = np.zeros(len(half), int)
        for c in np.unique(self.y):
            mine = np.flatnonzero(self.y[half] == c)
            rank[mine] = np.arange(len(mine))
        return half[np.argsort(rank, kind="stable")], rows[len(half) :][:MOST_JUDGED]


def real(name: str, folder: Path) -> Pool:
    """One of benchmarks/scenarios.py; of accuracy, also where its own measure is another."""
    s = scenario_of(name, 0)
    return Pool(s.name, s.path, s.calibration, np.concatenate([s.adapt, s.evaluate]), np.concatenate([s.adapt_labels, s.evaluate_labels]))


def voice(folder: Path) -> Pool:
    """examples/voice: a child says digits to a model of grown-ups; the simulation, which needs nothing installed."""
    sys.path[:0] = [str(EXAMPLES / "voice"), str(EXAMPLES / "personalise")]
    import run
    from base import write_model
    from voices import SIMULATED, WORDS, Voice, simulate

    def features(who: Sequence[Voice], takes: range) -> tuple[Array, Array]:
        jobs = [(v, w, t) for v in who for t in takes for w in range(len(WORDS))]
        x = np.stack([run.recording(simulate(*job), 1000 * job[1] + job[2]) for job in jobs])
        return run.FRONT_END.reference(x).reshape(len(x), -1).astype(np.float32), np.array([w for _, w, _ in jobs], np.int32)

    known, new = SIMULATED
    x, y = features(known, range(run.KNOWN_TAKES))
    model = write_model(x, y, folder / "voice.tflite")
    order = np.random.default_rng(5).permutation(len(x))[:CALIBRATION]
    return Pool("simulated voices, a child", model, (x[order], y[order]), *features(new[:1], range(run.KNOWN_TAKES, run.KNOWN_TAKES + 50)))


def knocked(folder: Path) -> Pool:
    """examples/digits: digits through a sensor that was knocked."""
    sys.path.insert(0, str(EXAMPLES / "digits"))
    from data import digits

    d = digits()
    x, y = (np.concatenate(pair) for pair in ((d.adapt.x, d.changed.x), (d.adapt.y, d.changed.y)))
    base = slice(0, CALIBRATION)
    return Pool("digits, sensor knocked", EXAMPLES / "digits/digits.tflite", (d.base.x[base], d.base.y[base]), x, y)


POOLS: dict[str, Callable[[Path], Pool]] = {name: partial(real, name) for name in ("kws", "fsdd", "gas", "ecg")} | {"voice": voice, "digits": knocked}


def measure(name: str, draws: Sequence[int], sizes: Sequence[int]) -> tuple[str, dict[tuple[str, int], list[float]]]:
    """The scenario's title, and the accuracy of each draw by way and number of samples; ("before", 0): before."""
    found: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        pool = POOLS[name](Path(folder))
        build = kt.build(kt.load(pool.model), Path(folder) / "build", method=METHODS, calibration=pool.calibration, measure=False)
        with build.open("host") as device:
            for draw in draws:
                rows, judged = pool.split(draw)

                def score(way: str, number: int, judged: Array = judged) -> None:
                    accuracy = float((device.predict(pool.x[judged]) == pool.y[judged]).mean())
                    found.setdefault((way, number), []).append(accuracy)

                device.reset()
                score("before", 0)
                for number in (n for n in sizes if n <= len(rows)):
                    for way, options in WAYS.items():
                        device.reset()
                        device.fit(pool.x[rows[:number]], pool.y[rows[:number]], seed=draw, progress=False, **options)
                        score(way, number)
    return pool.name, found


def cell(scores: list[float] | None) -> str:
    """The mean, and the worst."""
    if scores is None:
        return ""
    mean, worst = (f"{value:.3f}".lstrip("0") if value < 1 else f"{value:.3f}" for value in (float(np.mean(scores)), min(scores)))
    return mean if len(scores) == 1 else f"{mean} ({worst})"


@click.command()
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(POOLS)), default=tuple(POOLS), show_default=True)
@click.option("--draw", "draws", multiple=True, type=int, default=(0, 1, 2), show_default=True, help="Draws of the samples.")
@click.option("--samples", "sizes", multiple=True, type=int, default=SIZES, show_default=True, help="Numbers of samples to train on.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
def main(names: tuple[str, ...], draws: tuple[int, ...], sizes: tuple[int, ...], jobs: int, write: Path | None) -> None:
    """Train with every number of samples in both ways and print the table."""
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        results = [job.result() for job in [pool.submit(measure, name, draws, sizes) for name in names]]
    lines = ["| | before | | " + " | ".join(f"{n} samples" for n in sizes) + " |", "|---" * (3 + len(sizes)) + "|"]
    for title, found in results:
        for way in WAYS:
            lines.append(f"| {title} | {cell(found['before', 0])} | {way} | {' | '.join(cell(found.get((way, n))) for n in sizes)} |")
    click.echo("\n".join(lines))
    if write:
        said = " ".join((__doc__ or "").split("make bench-few-samples")[1].split()) + " [The recipe](methods.md#the-recipe) says what this means."
        text = f"Printed by `make bench-few-samples` on {datetime.date.today()}, draws {', '.join(map(str, draws))}. {said}"
        write.write_text("\n".join(["# Few samples", "", wrapped(text), "", *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
