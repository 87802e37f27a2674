"""Adaptation where labels are rare: without labels, with a gate of a few labelled samples, and supervised with those few.

    make bench-field-labels

Each draw chooses 100 samples without labels and 20 with, which are judged by neither. Where data come in time (ECG), the unlabelled ones are the
first five minutes of it, and the labelled ones are of those.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import statistics
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from adaptation_table import HEADINGS, AdaptationCase, rows_of, table
from prose import wrapped
from scenarios import DATA, Array, Scenario, _set, scenario_of

import kilotune as kt

UNLABELLED, LABELLED, MORE = 100, 20, 1
ACCUMULATE = 16
DRAWS = (0, 1, 2)
METERS = ("lcd_pb", "betar", "itron_C114U")


@dataclass(frozen=True)
class Task:
    """A deployed model and the samples of where it is now. score: of predictions for the judged rows."""

    name: str
    model: Path
    calibration: tuple[Array, Array]
    x: Array
    labelled: tuple[Array, Array]
    judged: tuple[Array, Array]
    f1: bool = False

    def score(self, predicted: Array) -> float:
        y = self.judged[1]
        if not self.f1:
            return float((predicted == y).mean())
        hits = int(((predicted == 1) & (y == 1)).sum())
        return 2 * hits / max(1, int((predicted == 1).sum() + (y == 1).sum()))


def _of(s: Scenario, name: str, x: Array, y: Array, judged: tuple[Array, Array], rng: np.random.Generator, f1: bool = False) -> Task:
    """x, y: where the unlabelled samples and the labelled among them are from, the unlabelled first."""
    few = rng.permutation(min(len(x), UNLABELLED))[:LABELLED]
    return Task(name, s.path, s.calibration, x[:UNLABELLED], (x[few], y[few].astype(np.int32)), judged, f1)


def task_of(name: str, draw: int) -> Task:
    """One of TASKS."""
    rng = np.random.default_rng(100 + draw)
    if name.startswith("meter "):
        return _meter(name.removeprefix("meter "), rng)
    if name.startswith("fsdd"):
        s, d = scenario_of("fsdd", draw), _set("fsdd_mfcc.npz")
        mine = d["speaker"] == name.split()[1]
        rows = rng.permutation(np.flatnonzero(mine & (d["take"] >= 25)))
        test, x, y = mine & (d["take"] < 25), d["x"].astype(np.float32)[..., None], d["y"].astype(np.int32)
        return _of(s, name, x[rows], y[rows], (x[test], y[test]), rng)
    s = scenario_of(name, draw)
    if name == "ecg":
        rows = np.sort(rng.permutation(len(s.adapt))[:UNLABELLED])
        return _of(s, "ecg, patient 106 (F1)", s.adapt[rows], s.adapt_labels[rows], (s.evaluate, s.evaluate_labels), rng, True)
    x, y = np.concatenate([s.adapt, s.evaluate]), np.concatenate([s.adapt_labels, s.evaluate_labels])
    order = rng.permutation(len(x))
    half = order[: min(UNLABELLED, len(x) // 2)]
    rest = order[len(half) :]
    return _of(s, s.name.replace("_", " "), x[half], y[half], (x[rest], y[rest]), rng)


def _meter(name: str, rng: np.random.Generator) -> Task:
    d = _set("meter_digits.npz")
    number = list(d["names"]).index(name)

    def codes(images: Array) -> Array:
        return images.astype(np.float32)

    pool, judged = (np.flatnonzero((d["meter"] == number) & (d["split"] == part)) for part in (0, 1))
    x, y = codes(d["x"]), d["label"].astype(np.int32)
    rows = rng.permutation(pool)[:UNLABELLED]
    few = rng.permutation(rows)[:LABELLED]
    calibration = (codes(d["calib_x"])[::2], d["calib_label"].astype(np.int32)[::2])
    return Task(f"meter {name}", DATA / "models/meter_digits_int8.tflite", calibration, x[rows], (x[few], y[few]), (x[judged], y[judged]))


TASKS = ("kws", "gas", "gas5", "gas6", "ecg", "fsdd nicolas", *(f"meter {m}" for m in METERS))
"""Of benchmarks/scenarios.py, and speakers of fsdd and meters by name."""

METHOD = (kt.ScaleShift(),)
WAYS = {
    "information": "information maximisation",
    "moments": "re-normalisation",
    "entropy alone": "entropy alone",
}
"""What learns without labels: as in what is measured, and as on the page."""


def _built(task: Task, folder: Path, loss: Any, accumulate: int, moments: bool = False) -> kt.Build:
    return kt.build(
        kt.load(task.model), folder, method=METHOD, loss=loss, accumulate=accumulate, moments=moments, calibration=task.calibration, measure=False
    )


def measured(name: str, draw: int) -> tuple[str, dict[str, float]]:
    """What each way scores, with the gate and without, and how much surer the model has become."""
    warnings.simplefilter("ignore", kt.DataWarning)  # a few labels lack classes: that is the point
    task, found = task_of(name, draw), dict[str, float]()
    with tempfile.TemporaryDirectory() as scratch:
        folder, adapters = Path(scratch), dict[str, kt.Adapter]()
        for way in WAYS:
            loss = kt.InformationMaximisation(0.0 if way == "entropy alone" else 1.0, memory=UNLABELLED)
            with _built(task, folder / way, loss, ACCUMULATE, way == "moments").open("host") as device:
                found["before"] = task.score(device.predict(task.judged[0]))
                before = _confidence(device, task.x)
                with device.gate(*task.labelled, more=MORE) as gate:
                    if way == "moments":
                        device.renormalise(task.x, progress=False)
                    else:
                        device.fit(task.x, seed=draw, progress=False)
                    found[way] = task.score(device.predict(task.judged[0]))
                    found[f"{way}, confidence"] = _confidence(device, task.x) - before
                found[f"{way}, gate"] = found[way] if gate.kept else found["before"]
                found[f"{way}, kept"] = float(gate.kept or 0)
                adapters[way] = device.export_adapter()
        with _built(task, folder / "labels", "cross_entropy", 1).open("host") as device:
            for way, adapter in (("labels", None), ("labels behind it", adapters["information"])):
                device.reset()
                if adapter is not None:
                    device.load_adapter(adapter)
                device.fit(*task.labelled, seed=draw, progress=False)
                found[way] = task.score(device.predict(task.judged[0]))
    return task.name, found


def _confidence(device: kt.Device, x: Array) -> float:
    """Mean of the largest probability."""
    t = device.manifest.outputs[0]
    real = (np.asarray(device.infer(x, progress=False)).astype(np.float64).reshape(len(x), -1) - t.zero_point) * t.scale
    if t.softmax:
        return float(real.max(1).mean())
    p = np.exp(real - real.max(1, keepdims=True))
    return float((p.max(1) / p.sum(1)).mean())


# -- the table of costs -----------------------------------------------------------------------------------


def costs(name: str, draws: Sequence[int], folder: Path) -> list[list[str]]:
    """What information maximisation takes and brings on one task, by method."""
    tasks = {draw: task_of(name, draw) for draw in draws}
    task = tasks[draws[0]]

    def score(device: kt.Device, draw: int) -> float:
        device.fit(tasks[draw].x, seed=draw, progress=False)
        return tasks[draw].score(device.predict(tasks[draw].judged[0]))

    loss = kt.InformationMaximisation(memory=UNLABELLED)
    return rows_of(AdaptationCase(kt.load(task.model), loss, ACCUMULATE, task.calibration, (task.x[0], None), score, draws), folder)


# -- the page ---------------------------------------------------------------------------------------------

INTRODUCTION = """
A device that meets a new room, a drifted sensor or another person has samples in plenty and labels hardly ever. It can adapt all the same, in two
ways. *Information maximisation* (`loss=kt.InformationMaximisation()`) trains so that each prediction is sure and all together spread over the
classes; the mean prediction is kept in the state, and a sample brings no target. *Re-normalisation* (`moments=True`, `device.renormalise(x)`)
counts integer moments of every layer's results and sets gains and biases so that they are again what they were in the original domain.

Both can be wrong, and how sure the model is does not tell. So a *gate* has the last word: `with device.gate(x, y):` compares the answers to a
handful of labelled samples before and after, and takes the change back unless at least one more is right. All of it runs on the device, with the
bits of the host. [An example](../../examples/sensor_drift/README.md) does it by one command.
"""
ABOUT = """
{unlabelled} samples without labels, {labelled} of them with a label for the gate, both judged by none of them; scale and shift of every layer,
{accumulate}
samples an update, default rate and epochs; accuracy, for ECG F1 of abnormal beats; the mean over draws {draws} and in brackets the worst draw.
"Labels" trains the same values by cross-entropy with the {labelled} labelled samples alone, "behind it" from
what the gate had left of information maximisation. The rate was chosen on kws through a band-limited microphone and on speakers that the model knows,
passes and weight of re-normalisation on draw 7 of these tasks and on batch 3 of the gas sensors.
"""
FAILED = """
The same of minimising the entropy alone, `kt.InformationMaximisation(diversity=0)`, beside how much surer each way makes the model on the samples
that it learned from. A rise of confidence is largest where the model collapses to a few answers; no rule on it could be a gate.
"""
ABOUT_COSTS = """
Information maximisation on {title}, by what is trained: bytes in the memory of a Cortex-M4, instructions of a sample and of an update
that QEMU counts, and bytes of an adapter, mean score and worst draw. Before adaptation the score is {before:.3f}. {accumulate} samples make an
update, for which the state sums gradients.
"""


def _cell(scores: Sequence[float]) -> str:
    return f"{statistics.mean(scores):.3f} ({min(scores):.3f})"


def results(found: dict[str, list[dict[str, float]]]) -> tuple[str, str]:
    """The table of what helps, and the one of what does not."""
    plain = ("before", "information", "information, gate", "moments", "moments, gate", "labels", "labels behind it")
    headings = ("", "before", "information max.", "with the gate", "re-normalised", "with the gate", f"{LABELLED} labels", "behind it")
    rows = [[name, *(_cell([f[key] for f in draws]) for key in plain)] for name, draws in found.items()]
    means = [statistics.mean(f[key] for draws in found.values() for f in draws) for key in plain]
    rows.append(["mean", *(f"{mean:.3f}" for mean in means)])
    failed = []
    for name, draws in found.items():
        surer = [f"{statistics.mean(f[f'{way}, confidence'] for f in draws):+.3f}" for way in WAYS]
        failed.append([name, _cell([f["entropy alone"] for f in draws]), _cell([f["entropy alone, gate"] for f in draws]), *surer])
    return table(headings, rows), table(("", "entropy alone", "with the gate", *(f"surer: {way}" for way in WAYS.values())), failed)


def picture(found: dict[str, list[dict[str, float]]]) -> str:
    """Bars of the mean score, by task and way."""
    ways = {"before": ("before", "#bbb"), "information, gate": ("information maximisation, gated", "#06c"),
            "moments, gate": ("re-normalisation, gated", "#0a7"), "labels": (f"{LABELLED} labels alone", "#c60")}  # fmt: skip
    left, width, height, parts = 170, 420, 12, []
    for row, (name, draws) in enumerate(found.items()):
        top = 10 + row * (len(ways) * height + 12)
        parts.append(f'<text x="{left - 8}" y="{top + 28}" font-size="12" text-anchor="end">{name}</text>')
        for i, (key, (_, colour)) in enumerate(ways.items()):
            value = statistics.mean(f[key] for f in draws)
            y = top + i * height
            parts.append(f'<rect x="{left}" y="{y}" width="{width * value:.1f}" height="{height - 2}" fill="{colour}"/>')
            parts.append(f'<text x="{left + width * value + 4:.1f}" y="{y + 9}" font-size="9">{value:.3f}</text>')
    bottom = 20 + len(found) * (len(ways) * height + 12)
    for i, (title, colour) in enumerate(ways.values()):
        x = 10 + i * 165
        parts.append(
            f'<rect x="{x}" y="{bottom}" width="10" height="10" fill="{colour}"/><text x="{x + 14}" y="{bottom + 9}" font-size="10">{title}</text>'
        )
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="680" height="{bottom + 24}" font-family="sans-serif">{"".join(parts)}</svg>\n'


def page(found: dict[str, list[dict[str, float]]], spent: dict[str, list[list[str]]], draws: Sequence[int]) -> str:
    helps, fails = results(found)
    words: dict[str, Any] = {
        "unlabelled": UNLABELLED, "labelled": LABELLED, "accumulate": ACCUMULATE, "draws": ", ".join(map(str, draws)),
    }  # fmt: skip
    parts = [
        "# Where labels are rare", "    make bench-field-labels", f"Printed on {datetime.date.today().isoformat()}.", wrapped(INTRODUCTION),
        "## What it brings", wrapped(ABOUT.format(**words)), helps, "![mean scores](labels.svg)",
        "## What does not work", wrapped(FAILED), fails, "## What it takes",
    ]  # fmt: skip
    for name, rows in spent.items():
        title = task_of(name, draws[0]).name
        before = statistics.mean(f["before"] for f in found[title])
        parts += [wrapped(ABOUT_COSTS.format(title=title, before=before, **words)), table(HEADINGS, rows)]
    return "\n\n".join(parts) + "\n"


@click.command()
@click.option("--task", "names", multiple=True, type=click.Choice(TASKS), default=TASKS, show_default=True)
@click.option("--draw", "draws", multiple=True, type=int, default=DRAWS, show_default=True)
@click.option(
    "--costs", "costly", multiple=True, type=click.Choice(TASKS), default=("kws", "gas6"), show_default=True, help="Tasks of the table of costs."
)
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--write", type=click.Path(file_okay=False, path_type=Path), help="Write labels.md and labels.svg into a folder.")
def main(names: tuple[str, ...], draws: tuple[int, ...], costly: tuple[str, ...], jobs: int, write: Path | None) -> None:
    """Adapt with and without labels and print the page."""
    found: dict[str, list[dict[str, float]]] = {}
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool, tempfile.TemporaryDirectory() as scratch:
        for job in [pool.submit(measured, name, draw) for name in names for draw in draws]:
            name, scores = job.result()
            found.setdefault(name, []).append(scores)
            click.echo(f"{name}: " + " ".join(f"{k} {v:.3f}," for k, v in scores.items()))
        spent = {name: costs(name, draws, Path(scratch) / name) for name in costly if task_of(name, draws[0]).name in found}
    text = page(found, spent, draws)
    click.echo(text)
    if write:
        write.mkdir(parents=True, exist_ok=True)
        (write / "labels.md").write_text(text, encoding="utf-8")
        (write / "labels.svg").write_text(picture(found), encoding="utf-8")


if __name__ == "__main__":
    main()
