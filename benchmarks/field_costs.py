"""What adapting the model of each example takes and brings: in little memory, as parameter-efficient fine-tuning is usually done, of all weights.

    make bench-field-costs

Every way has its default rate, and the same samples of the same draws. Writes docs/field/costs.md.
"""

from __future__ import annotations

import datetime
import statistics
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import continual_tasks
import scenarios
from adaptation_table import FULL, HEADINGS, LOW, STANDARD, WAYS, AdaptationCase, Way, rows_of, table
from finished import Finished
from prose import wrapped

import kilotune as kt

DRAWS = (0, 1, 2)
ROOM = kt.Head(extra_classes=10 - continual_tasks.KNOWN)
FRONT = "dense_1,dense_2"
"""The layers of the digits' network in front of the one with room."""
GROWING = (
    Way(LOW, "last layer, SGD", (ROOM,), kt.SGD(lr=0.1)),
    Way(LOW, "last layer, LoRA r=4 in front, SGD", (ROOM, kt.LoRA(rank=4, layers=FRONT)), kt.SGD(lr=0.03)),
    Way(STANDARD, "last layer, LoRA r=8 in front, Adam", (ROOM, kt.LoRA(rank=8, layers=FRONT)), kt.Adam(lr=0.001)),
    Way(FULL, "all weights, Adam", (ROOM, kt.Full(layers=FRONT)), kt.Adam(lr=0.001)),
)
"""Ways of a model that is to learn classes: its last layer has room for them in all of them. Rates are the best of .03, .1 and .3 (Adam: .001,
.003 and .01) on draws 10 and 11: those of a build are for one training, not for stages."""


@dataclass(frozen=True)
class Page:
    """A table: of which example, in front of which words."""

    title: str
    example: str
    about: str
    ways: Sequence[Way] = WAYS


PAGES: dict[str, Page] = {
    "gas": Page(
        "A sensor that drifts",
        "sensor_drift",
        """Gas sensors of the sixth batch of the gas sensor array drift data behind a network of the first two: five labelled samples of each
        class, the rest of the batch judges. Accuracy.""",
    ),
    "ecg": Page(
        "A patient's heart",
        "patient_ecg",
        """Beats of patient 106 of the MIT-BIH arrhythmia data behind a network of other patients: five minutes with labels, the rest of the half
        hour judges. F1 of abnormal beats.""",
    ),
    "fsdd": Page(
        "A voice of one's own",
        "personal_voice",
        """Digits spoken by nicolas (free spoken digit data) behind a network of the other speakers: five takes of each digit, other takes judge.
        Accuracy.""",
    ),
    "digits": Page(
        "Classes that are added",
        "continual_digits",
        """Digits of scikit-learn behind a network that has seen 0 to 5: 6, 7, 8 and 9 come one by one, twenty samples each, with a class-balanced
        replay buffer of 60, three of it for each new one; the bytes have it. Steps of Adam are of single samples here, and rates, which stay the same
        over all stages, were chosen on draws 10 and 11. Accuracy on all digits, each
        of the five stages counted once; before, 6 to 9 are not known.""",
        GROWING,
    ),
}


def case_of(name: str, draws: Sequence[int]) -> tuple[AdaptationCase, float]:
    """The task of a table, and the mean score of its model before."""
    if name == "digits":
        return _growing(draws)
    made = {draw: scenarios.gas(draw, 6) if name == "gas" else scenarios.SCENARIOS[name](draw) for draw in draws}
    first = scenarios.scenario_of("gas6" if name == "gas" else name, draws[0])

    def judged(device: kt.Device, draw: int) -> float:
        return made[draw].score(device.predict(made[draw].evaluate))

    def score(device: kt.Device, draw: int) -> float:
        device.fit(made[draw].adapt, made[draw].adapt_labels, epochs=made[draw].epochs, hold_out=0.0, seed=draw, progress=False)
        return judged(device, draw)

    model = kt.load(first.path)
    with tempfile.TemporaryDirectory() as folder, kt.build(model, Path(folder) / "b", measure=False).open("host") as device:
        before = statistics.mean(judged(device, draw) for draw in draws)
    sample = (first.adapt[0], int(first.adapt_labels[0]))
    return AdaptationCase(model, "cross_entropy", 1, first.calibration, sample, score, draws), before


def _growing(draws: Sequence[int]) -> tuple[AdaptationCase, float]:
    """The digits one after the other."""
    tasks = {draw: continual_tasks.digits(draw) for draw in draws}
    first = tasks[draws[0]]

    def score(device: kt.Device, draw: int) -> float:
        task = tasks[draw]
        device.remember(task.seeds[0][:60], task.seeds[1][:60])
        for stage in task.stages:
            device.add_class(stage.x[0])
            device.fit(stage.x, stage.y, epochs=task.epochs, replay=task.replayed, decay="constant", hold_out=0.0, seed=draw, progress=False)
        return statistics.mean(device.evaluate(s.judge_x, s.judge_y)["accuracy"] for s in (task.original, *task.stages))

    model = kt.load(first.model)
    with tempfile.TemporaryDirectory() as folder, kt.build(model, Path(folder) / "b", measure=False).open("host") as device:
        before = float(device.evaluate(first.original.judge_x, first.original.judge_y)["accuracy"]) / (1 + len(first.stages))
    sample = (first.seeds[0][0], int(first.seeds[1][0]))
    buffer = kt.Replay(60, policy="class_balanced")
    return AdaptationCase(model, "cross_entropy", 1, first.calibration, sample, score, draws, buffer), before


INTRODUCTION = """
Adapting the model of each example by what is trained: as kilotune does it in little memory, as parameter-efficient fine-tuning is usually done, and
of all weights. Bytes are those of a build for a Cortex-M4, instructions those of a training step and its update as QEMU counts them, scores the
mean over draws {draws} of the samples and the worst draw. Every way has its own default rate, but where the text says otherwise, the same samples
and as many epochs. Low-memory ways update with each sample; "standard" and "full" sum the gradients of 16 samples for an update, for which the
state holds them, but where the text says otherwise. Nothing was chosen on these draws. Tables of [meters](meters.md#what-it-costs), of [adaptation
without labels](labels.md#what-it-takes) and of [an autoencoder](maintenance.md#what-it-takes) stand on their pages.
"""


@click.command()
@click.option("--only", "names", multiple=True, type=click.Choice(list(PAGES)), help="Some of the tables; printed, not written.")
@click.option("--draw", "draws", multiple=True, type=int, default=DRAWS, show_default=True)
@click.option("--results", type=click.Path(dir_okay=False, path_type=Path), help="Keep scores in this file, and take those that it has.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the page into a file.")
def main(names: tuple[str, ...], draws: tuple[int, ...], results: Path | None, write: Path | None) -> None:
    """Adapt every model in every way and print the page."""
    warnings.simplefilter("ignore", kt.DataWarning)  # a stage of one class lacks the others
    parts = [
        "# What adapting takes", "    make bench-field-costs", f"Printed on {datetime.date.today().isoformat()}.",
        wrapped(INTRODUCTION.format(draws=", ".join(map(str, draws)))),
    ]  # fmt: skip
    finished = Finished(results)
    for name in names or PAGES:
        asked = PAGES[name]
        case, before = case_of(name, draws)
        with tempfile.TemporaryDirectory() as folder:
            rows = rows_of(case, Path(folder), asked.ways, finished, name)
        words = f"{asked.about} Before adaptation the score is {before:.3f}. [The example](../../examples/{asked.example}/README.md)."
        part = f"## {asked.title}\n\n{wrapped(words)}\n\n{table(HEADINGS, rows)}"
        click.echo(part, nl=True)
        parts.append(part)
    if write and not names:
        write.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
