"""Continual learning: batches of a drifting sensor, speakers and classes that come one after another.

    make bench-field-continual

Each stage is trained on when it comes and never again; accuracy on all of them is taken behind each stage. Naive fine-tuning, replay buffers of
several sizes and both policies, and joint training (all stages at once) start from the same model with the same method. Rates are chosen by
--choose on draws that the page does not report. Writes docs/field/continual.md and the picture beside it.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from continual_tasks import Array, Task, digits, gas, patients, speakers
from finished import Finished
from prose import with_section, wrapped

import kilotune as kt
from kiloc.peft import Method

DRAWS = {"gas": (*range(8), *range(50, 58)), "speakers": (0, 1, 2), "digits": (0, 1, 2)}
"""Of each task; those of the gas sensors differ by more than its ways do, and are quick."""
CHOSEN_ON = {"gas": tuple(range(10, 30)), "speakers": (10, 11), "digits": (10, 11)}
"""Draws on which rates were chosen, and how many samples of the original domain and replayed ones."""
JOINT_SEEDS = 120
"""Samples of the original domain that joint training has."""


@dataclass(frozen=True)
class Way:
    """How the stages are learned: one after another with a buffer of so many samples (0: naive), or "joint"."""

    samples: int = 0
    policy: str = "reservoir"
    joint: bool = False
    at_buffer_rate: bool = False
    """Joint training at the rate of the buffers, not at its own best."""
    bits: int = 8

    @property
    def name(self) -> str:
        if self.joint:
            return "joint, rate of the buffers" if self.at_buffer_rate else "joint"
        bits = f", {self.bits} bits" if self.bits != 8 else ""
        return f"{self.policy.replace('_', ' ')} {self.samples}{bits}" if self.samples else "naive"


BALANCED = Way(60, "class_balanced")
HALVED = Way(120, "class_balanced", bits=4)
"""The same bytes, but for an entry that is unpacked."""
SIZES = {
    "gas": ((12, 8), (30, 8), (60, 8), (60, 4), (120, 4), (120, 8)),
    "speakers": ((60, 8),),
    "digits": ((30, 8), (60, 8), (120, 4), (120, 8)),
}
"""Samples of the buffers of each task, and bits of a value."""


def ways(name: str) -> list[Way]:
    """Of a task: naive, buffers of its sizes by both policies, joint."""
    return [
        Way(),
        *(Way(samples, policy, bits=bits) for policy in ("reservoir", "class_balanced") for samples, bits in SIZES[name]),
        Way(joint=True),
        *([Way(joint=True, at_buffer_rate=True)] if RATES[name]["joint"] != RATES[name]["buffer"] else []),
    ]


TASKS: dict[str, Callable[[int], Task]] = {"gas": gas, "speakers": speakers, "digits": digits}
TITLES = {"gas": "A sensor that drifts", "speakers": "Speakers one after another", "digits": "Classes one after another"}
RATES: dict[str, dict[str, float]] = {
    "gas": {"naive": 0.01, "buffer": 0.2, "joint": 0.2},
    "speakers": {"naive": 0.01, "buffer": 0.03, "joint": 0.1},
    "digits": {"naive": 0.01, "buffer": 0.1, "joint": 0.1},
}
"""Chosen by --choose."""
CANDIDATES = (0.01, 0.03, 0.1, 0.2)


@dataclass(frozen=True)
class Course:
    """accuracy [stages, 1 + stages]: on what the model knew and on each stage, behind each stage. sizes: samples that judge each of them."""

    accuracy: Array
    sizes: Array
    bytes: int

    def after(self, stage: int) -> float:
        """Mean over what the model should know behind a stage: what it knew, and the stages so far; each counts once."""
        return float(self.accuracy[stage, : stage + 2].mean())

    @property
    def last(self) -> float:
        return float(self.accuracy[-1].mean())

    @property
    def of_all(self) -> float:
        """Behind the last stage: of all samples that judge, each of which counts once."""
        return float(self.accuracy[-1] @ self.sizes / self.sizes.sum())

    @property
    def transfer(self) -> float:
        """Backward transfer: the mean change of each stage's accuracy since it was learned. Below 0 it was forgotten; joint training has none."""
        if len(self.accuracy) == 1:
            return float("nan")
        return float(np.mean([self.accuracy[-1, i + 1] - self.accuracy[i, i + 1] for i in range(len(self.accuracy) - 1)]))


def built(task: Task, way: Way, folder: Path) -> kt.Build:
    """The task's model with its method and the buffer of a way."""
    replay = kt.Replay(way.samples, policy=way.policy, keep=task.keep, bits=way.bits) if way.samples else None
    path = folder / f"{task.name}-{way.name.replace(', ', ' ').replace(' ', '-')}"
    return kt.build(kt.load(task.model), path, method=list(task.methods), calibration=task.calibration, replay=replay, measure=False)


def course(task: Task, build: kt.Build, way: Way, rate: float, draw: int) -> Course:
    """Learn the stages on the host."""
    options: dict[str, Any] = {"epochs": task.epochs, "hold_out": 0.0, "decay": task.decay, "learning_rate": rate, "seed": draw}
    judged, rows = (task.original, *task.stages), []
    with build.open() as device, warnings.catch_warnings():
        warnings.simplefilter("ignore", kt.DataWarning)  # of classes that a stage lacks

        def accuracies() -> list[float]:
            return [device.evaluate(s.judge_x, s.judge_y)["accuracy"] for s in judged]

        if way.joint:
            for stage in task.stages if task.grows else ():
                device.add_class(stage.x[0])
            old = task.seeds[0][:JOINT_SEEDS], task.seeds[1][:JOINT_SEEDS]
            x, y = (np.concatenate(part) for part in zip(*((s.x, s.y) for s in task.stages), old, strict=True))
            device.fit(x, y, **options)
            rows.append(accuracies())
        else:
            if way.samples:
                first = round(task.share * way.samples)
                device.remember(task.seeds[0][:first], task.seeds[1][:first])
            for stage in task.stages:
                if task.grows:
                    device.add_class(stage.x[0])
                device.fit(stage.x, stage.y, replay=task.replayed if way.samples else 0, **options)
                rows.append(accuracies())
    return Course(np.array(rows), np.array([len(s.judge_y) for s in judged]), build.report["replay"]["total"] if way.samples else 0)


def rate_of(name: str, way: Way) -> float:
    return RATES[name]["joint" if way.joint and not way.at_buffer_rate else "buffer" if way.samples or way.joint else "naive"]


def courses(title: str, make: Callable[[int], Task], way: Way, draws: Sequence[int], rate: float, finished: Finished) -> list[Course]:
    """One for each draw. title: what is made, by which draws that are finished are known. The calibration of the first draw serves all, so that they
    share a build."""
    key = f"{title}|{way.name}|{rate:g}"
    missing = [draw for draw in draws if (key, draw) not in finished.draws]
    with tempfile.TemporaryDirectory() as folder:
        build = built(make(draws[0]), way, Path(folder)) if missing else None
        for draw in missing:
            assert build is not None
            c = course(make(draw), build, way, rate, draw)
            finished.keep((key, draw), [c.accuracy.tolist(), c.sizes.tolist(), c.bytes])
    kept = [finished.draws[key, draw] for draw in draws]
    return [Course(np.array(accuracy), np.array(sizes), size) for accuracy, sizes, size in kept]


def of_task(name: str, way: Way, draws: Sequence[int], finished: Finished) -> list[Course]:
    """Of one of TASKS, at its rates."""
    return courses(name, TASKS[name], way, draws, rate_of(name, way), finished)


def below(joint: Sequence[Course], other: Sequence[Course]) -> tuple[float, float]:
    """Points by which a way ends below joint training: mean of the draws' differences, and its standard error."""
    points = 100 * np.array([j.last - o.last for j, o in zip(joint, other, strict=True)])
    return float(points.mean()), float(points.std(ddof=1) / np.sqrt(len(points)))


def mean(found: Sequence[float]) -> float:
    return float(np.mean(found))


# ---- The page ----


def table(name: str, found: dict[Way, list[Course]]) -> list[str]:
    """Accuracy behind each stage, backward transfer and bytes of every way; mean over the draws, and the spread of the last."""
    stages = [s.name for s in TASKS[name](0).stages]
    lines = [f"| | rate | {' | '.join(f'after {s}' for s in stages)} | draws | backward transfer | buffer |", "|---" * (len(stages) + 5) + "|"]
    for way, all_of in found.items():
        cells = [f"{mean([c.after(i) for c in all_of]):.3f}" for i in range(len(stages))] if not way.joint else ["-"] * (len(stages) - 1)
        cells += [f"{mean([c.last for c in all_of]):.3f}"] if way.joint else []
        spread = f"{min(c.last for c in all_of):.3f} to {max(c.last for c in all_of):.3f}"
        back = "-" if way.joint else f"{mean([c.transfer for c in all_of]):+.3f}"
        size = f"{all_of[0].bytes:,}" if way.samples else "-"
        lines.append(f"| {way.name} | {rate_of(name, way):g} | {' | '.join(cells)} | {spread} | {back} | {size} |")
    return lines


def picture(found: dict[str, dict[Way, list[Course]]]) -> str:
    """Accuracy on all that should be known, stage by stage, a small picture a task."""
    width, height, gap, parts = 200, 150, 45, list[str]()
    for i, (name, ways) in enumerate(found.items()):
        left, top = 30 + i * (width + gap), 30
        parts.append(f'<text x="{left}" y="{top - 8}" font-size="12">{TITLES[name]}</text>')
        parts.append(f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#ccc"/>')
        low = 0.1 * np.floor(10 * min(mean([c.after(k) for c in all_of]) for all_of in ways.values() for k in range(len(all_of[0].accuracy))))
        for value in (low, 1.0):
            parts.append(f'<text x="{left - 24}" y="{top + height * (1 - (value - low) / (1 - low)) + 4:.0f}" font-size="10">{value:.1f}</text>')
        for way, (colour, style) in SHOWN.items():
            all_of = ways[way]
            values = (
                [mean([c.after(k) for c in all_of]) for k in range(len(all_of[0].accuracy))]
                if not way.joint
                else 2 * [mean([c.last for c in all_of])]
            )
            points = " ".join(
                f"{left + width * k / (len(values) - 1):.1f},{top + height * (1 - (v - low) / (1 - low)):.1f}" for k, v in enumerate(values)
            )
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"{style}/>')
    legend = [f'<tspan fill="{colour}">{way.name}</tspan>{", dashed" if style else ""}' for way, (colour, style) in SHOWN.items()]
    parts.append(f'<text x="30" y="{height + 60}" font-size="12">{"; ".join(legend)}: accuracy on all so far, behind each stage</text>')
    size = f'width="{len(found) * (width + gap) + 30}" height="{height + 80}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">{"".join(parts)}</svg>\n'


SHOWN = {
    Way(): ("#c60", ""),
    BALANCED: ("#06c", ""),
    Way(joint=True): ("#555", ' stroke-dasharray="4 3"'),
}
"""Ways in the picture: colour and style of their lines."""


METHODS: dict[str, list[Method]] = {
    "biases, LoRA rank 8": [kt.LoRA(rank=8, layers="all"), kt.BiasOnly()],
    "biases, LoRA rank 4": [kt.LoRA(rank=4, layers="all"), kt.BiasOnly()],
    "the last layer": [kt.Head()],
    "all weights": [kt.Full(layers="all"), kt.BiasOnly()],
}
"""Of the comparison, for the model of the gas sensors."""
METHOD_RATES = {"biases, LoRA rank 8": 0.2, "biases, LoRA rank 4": 0.2, "the last layer": 0.3, "all weights": 0.2}
"""Chosen by --choose."""


def instructions(task: Task, build: kt.Build) -> tuple[int, int]:
    """Of a training step and of a replayed one, on an emulated Cortex-M4."""
    stage = task.stages[0]
    with build.open("qemu:mps2-an386", count=True) as device:
        device.remember(task.seeds[0][:2], task.seeds[1][:2])
        device.train_step(stage.x[0], stage.y[0])
        new = device.stats()["instructions"]
        device.replay_step()
        return new, device.stats()["instructions"]


def comparison(draws: Sequence[int], finished: Finished) -> list[str]:
    """The methods with the same buffer: bytes here and as frameworks keep them, instructions counted on an emulated Cortex-M4, accuracy."""
    way, lines = HALVED, list[str]()
    lines += ["| trained | bytes here | as frameworks keep it | instructions a step | a replayed step | accuracy | backward transfer | update |"]
    lines += ["|---" * 8 + "|"]
    for title, methods in METHODS.items():

        def make(draw: int, methods: Sequence[Method] = methods) -> Task:
            return replace(gas(draw), methods=methods)

        found = courses(f"gas, {title}", make, way, draws, METHOD_RATES[title], finished)
        with tempfile.TemporaryDirectory() as folder:
            task = make(draws[0])
            build = built(task, way, Path(folder))
            counted = instructions(task, build)
            report = build.report
        usual = report["compare"]["full_finetuning" if title == "all weights" else "standard_peft"]["total"]
        accuracy, back = mean([c.last for c in found]), mean([c.transfer for c in found])
        bytes_here, update = report["memory"]["train_total"], report["trainable"]["update_bytes"]
        steps = f"{counted[0]:,} | {counted[1]:,}"
        lines.append(f"| {title} | {bytes_here:,} | {usual:,} | {steps} | {accuracy:.3f} | {back:+.3f} | {update:,} |")
    return lines


ORDERS: dict[str, tuple[str, Callable[[int], Task]]] = {
    "gas sensors, batches 6, 5, 4, 3": ("gas", lambda draw: gas(draw, (6, 5, 4, 3))),
    "gas sensors, batches 5, 3, 6, 4": ("gas", lambda draw: gas(draw, (5, 3, 6, 4))),
    "speakers jackson, lucas, george, nicolas": ("speakers", lambda draw: speakers(draw, ("jackson", "lucas", "george", "nicolas"))),
    "digits 9, 8, 7, 6": ("digits", lambda draw: digits(draw, (0, 1, 2, 3, 4, 5, 9, 8, 7, 6))),
    "digits 0, 1, 2, 3 behind 4 to 9": ("digits", lambda draw: digits(draw, (4, 5, 6, 7, 8, 9, 0, 1, 2, 3))),
    "digits 3, 5, 7, 9 behind 0, 1, 2, 4, 6, 8": ("digits", lambda draw: digits(draw, (0, 1, 2, 4, 6, 8, 3, 5, 7, 9))),
    "patients 106, 116, 105, 114": ("speakers", patients),
    "patients 114, 105, 116, 106": ("speakers", lambda draw: patients(draw, (114, 105, 116, 106))),
}
"""What comes in another order, or is none of the tasks above; the task whose rates it has."""
ORDER_DRAWS = (0, 1, 2, 3)


def orders(finished: Finished) -> str:
    """A row an order: naive, a buffer and joint training; means of the draws."""
    lines = ["| | naive | backward transfer | buffer | lowest | backward transfer | joint | buffer below joint, points |", "|---" * 8 + "|"]
    for title, (rates, make) in ORDERS.items():
        naive, buffer, joint = (
            courses(title, make, way, ORDER_DRAWS, rate_of(rates, way), finished)
            for way in (Way(), HALVED if rates == "gas" else BALANCED, Way(joint=True))
        )
        less, error = below(joint, buffer)
        cells = [f"{mean([c.last for c in naive]):.3f}", f"{mean([c.transfer for c in naive]):+.3f}", f"{mean([c.last for c in buffer]):.3f}"]
        cells += [f"{min(c.last for c in buffer):.3f}", f"{mean([c.transfer for c in buffer]):+.3f}", f"{mean([c.last for c in joint]):.3f}"]
        lines.append(f"| {title} | {' | '.join(cells)} | {less:.1f} ± {error:.1f} |")
        click.echo(lines[-1])
    return section("Other orders", ORDERS_ABOUT.format(draws=len(ORDER_DRAWS)), lines)


def section(title: str, about: str, lines: Sequence[str]) -> str:
    """Of the page: a heading, words and a table."""
    return "\n".join([f"## {title}", "", wrapped(about), "", *lines])


def page(found: dict[str, dict[Way, list[Course]]], parts: Sequence[str], once: float, halved: float, filled: Sequence[Course]) -> str:
    """docs/field/continual.md. parts: sections that stand by themselves. once: of the digits with one replayed sample for each new one; halved: of
    the speakers in four bits; filled: of the digits, whose buffer is full at first."""
    about = wrapped(ABOUT.format(gas=len(DRAWS["gas"]), other=len(DRAWS["digits"]), chosen=len(CHOSEN_ON["gas"])))
    lines = ["# Continual learning", "", about, "", "![accuracy behind each stage](continual.svg)", ""]
    last = {(name, way): mean([c.last for c in all_of]) for name, ways in found.items() for way, all_of in ways.items()}
    usual = found["digits"][BALANCED]
    numbers = {"replayed": once, "usual": last["digits", BALANCED], "halved": halved, "speakers": last["speakers", BALANCED]}
    numbers |= {"filled": mean([c.last for c in filled]), "filled_of_all": mean([c.of_all for c in filled])}
    numbers |= {"of_all": mean([c.of_all for c in usual]), "filled_known": mean([float(c.accuracy[-1, 0]) for c in filled])}
    failed = FAILED.format(**numbers, known=mean([float(c.accuracy[-1, 0]) for c in usual])).split("@")
    short, whole = (below(found["gas"][Way(joint=True)], found["gas"][way]) for way in (HALVED, BALANCED))
    reached = REACHED.format(
        bytes=found["gas"][HALVED][0].bytes,
        short=short[0],
        error=short[1],
        whole=whole[0],
        whole_error=whole[1],
        transfer=100 * mean([c.transfer for c in found["gas"][HALVED]]),
        draws=len(DRAWS["gas"]),
    )
    for name, ways in found.items():
        lines += [f"## {TITLES[name]}", "", wrapped(INTRODUCTIONS[name]), "", *table(name, ways), ""]
        lines += [wrapped(reached), ""] if name == "gas" else []
    lines += [
        "\n\n".join(parts),
        "",
        "## What did not work",
        "",
        "\n".join(wrapped(part, "- ") for part in failed),
        "",
    ]
    return "\n".join(lines)


ABOUT = """
Made by `make bench-field-continual` on the host, with the generated C. A model learns what comes in stages, each once, and is judged behind every
stage on all that it should know by then: what it was made for and the stages so far, each of which counts once. Naive fine-tuning trains on each
stage alone; a replay buffer ([how to](../how_to/continual.md)) is filled by half with samples of the original domain at first and then offered each
stage's samples behind it; joint training has all stages and 120 samples of the original domain at once. Mean of {gas} draws (gas sensors) or {other}
of the samples to train on, and the lowest and the highest of them behind the last stage. Backward transfer is the mean change of the accuracy on a
stage between its own end and the last, the last stage left out: below 0, the stage was forgotten. Rates, what fills a buffer at first, and samples
replayed for each new one were chosen on other draws: {chosen} for the gas sensors, two for speakers and digits.
"""
INTRODUCTIONS = {
    "gas": """Gas sensors that age: batches 3 to 6 of the gas sensor array drift data behind a dense network of batches 1 and 2. 25 to 30 samples
        a batch, five of each class that is there, 20 epochs, over which the rate falls to 0; biases and LoRA of rank 8 on all layers; nothing is
        frozen, so an entry is the input of 128 bytes, or of 64 with four bits a value (`bits=4`). Two replayed samples for each new one.""",
    "speakers": """Spoken digits (free spoken digit data): the model knows three speakers. A fourth comes, then each of the three through a
        microphone that changes two cepstral coefficients. Five takes of each digit, 10 epochs, biases and LoRA of rank 4 on the last two layers. An
        entry is the result of the last frozen convolution, 8,000 bytes, or the input of 490, `keep="input"`, which is what is used here. One
        replayed sample for each new one.""",
    "digits": """The digits of scikit-learn: a dense network has seen 0 to 5, then 6, 7, 8 and 9 come one by one, twenty samples each, 8
        epochs. The last layer alone is trained, with room for four classes (`kt.Head(extra_classes=4)`), each opened by its first sample; an entry is
        what the frozen layers make of a sample, 32 bytes. Three replayed samples for each new one.""",
}
ORDERS_ABOUT = """
The same recipe where nothing was chosen: other orders, other digits, and heart beats (MIT-BIH), of which a network knows seven patients. Patient 106,
whom it never saw, comes with three that it knows under other electrodes: reversed for 116, half the gain for 105, twice the gain for 114; ten beats
of each kind, 10 epochs, biases and LoRA of rank 4 on all layers, one replayed input for each new one, and the rates of the speakers. Means of
{draws} draws, and the lowest of them with a buffer, behind the last stage; the buffer is that of the table of the task (class balanced 120 in four
bits for gas sensors, 60 else), beside joint training at its own rate.
"""
COSTS = """
The model of the gas sensors, with a class-balanced buffer of 120 in four bits, by what is trained; mean of eight draws. Bytes here are arena and
state, the buffer included; as frameworks keep it is the same training planned with float32 values and all activations kept, without a buffer.
Instructions are counted on an emulated Cortex-M4 (one step that trains and updates). The update is the adapter that is sent.
"""
REACHED = """
A class-balanced buffer of 120 inputs in four bits a value, {bytes:,} bytes, ends {short:.1f} ± {error:.1f} points below joint training (mean over
{draws} draws of the difference, and its standard error); backward transfer is {transfer:+.1f} points. In eight bits a buffer of 60 takes as much, and
ends {whole:.1f} ± {whole_error:.1f} points below.
"""
FAILED = """
Gas sensors at a rate that stays the same over a stage, with LoRA of rank 4: on other draws a reservoir of 60 stayed farther from joint training. A
rate that falls to 0 within each stage, and rank 8, brought them together. On the draws that the recipe was chosen on these brought nothing: twice the
epochs, three replayed samples for each new one, equal shares for stages, for samples of the original domain medoids of their classes, an adapter that
begins anew in each stage with all that the buffer holds, and lower rates from stage to stage. 240 inputs in two bits a value, simulated, were worse
than 60 in eight.
@
A buffer that samples of the original domain fill: what comes later replaces it one by one, and each stage is held by a few samples alone. Half of it
was better on the draws of choice in all three tasks, where each stage counts once. Here the digits end at {filled:.3f} with a full buffer of 60,
at {usual:.3f} with one filled by half; of all digits, each image counted once, {filled_of_all:.3f} and {of_all:.3f} are read right, of those known
before {filled_known:.3f} and {known:.3f}. Where what was known matters more than what is new, fill all of it, as `make continual-digits` does.
@
Four bits a value where a buffer is not what is short: speakers end at {halved:.3f} with 120 inputs in four bits, at {speakers:.3f} with 60 in eight.
@
Balancing by class is hardly better than a reservoir here, where each class that comes brings as many samples as any other.
@
One replayed sample for each new one where a stage is a single class: {replayed:.3f} behind the last digit with a class-balanced buffer of 60,
{usual:.3f} with three.
@
Speakers: an entry of 490 bytes makes the buffer the largest part of the state, and stages are forgotten all the same, though less. A new head on a
network of other words was given up: joint training of all speakers itself stayed far below the network that was made for digits.
@
Biases and LoRA on the layers in front of a head with room: the buffer then holds inputs, twice the bytes, and on other draws the digits before were
forgotten more, not less.
@
A first form of the head closed its classes by a bias just low enough for the lowest code. A rate that was too high took an open class below it, and
its labels were refused from then on; now it is the lowest bias that there is.
"""


@click.command()
@click.option("--choose", is_flag=True, help="Print what the candidates of rates bring on the draws kept for that.")
@click.option("--task", "names", multiple=True, type=click.Choice(list(TASKS)), help="Task of --choose; all without it.")
@click.option("--part", type=click.Choice(["orders", "costs"]), help="One section alone; with --write, into the page that is there.")
@click.option("--results", type=click.Path(dir_okay=False, path_type=Path), help="Keep finished draws in this file, and take those that it has.")
@click.option("--write", "folder", type=click.Path(file_okay=False, path_type=Path), help="Folder of the page and its picture.")
def main(choose: bool, names: tuple[str, ...], part: str | None, results: Path | None, folder: Path | None) -> None:
    """Learn in stages by every way; print the page."""
    finished = Finished(results)
    if choose:
        for name in names or TASKS:
            for way in (Way(), Way(60), BALANCED, HALVED, Way(joint=True)):
                for rate in CANDIDATES:
                    found = courses(name, TASKS[name], way, CHOSEN_ON[name], rate, finished)
                    click.echo(f"{name} {way.name} {rate:g}: {mean([c.last for c in found]):.3f} {mean([c.transfer for c in found]):+.3f}")
        return
    parts = [] if part == "costs" else [orders(finished)]
    parts += [] if part == "orders" else [section("What it costs", COSTS, comparison(DRAWS["gas"][:8], finished))]
    if part is not None:
        click.echo(parts[0])
        if folder is not None:
            path = folder / "continual.md"
            path.write_text(with_section(path.read_text(), parts[0]))
        return
    of_all = {name: {way: of_task(name, way, DRAWS[name], finished) for way in ways(name)} for name in TASKS}
    digit_draws, rate = DRAWS["digits"], rate_of("digits", BALANCED)
    once = courses("digits, one replayed", lambda draw: replace(digits(draw), replayed=1), BALANCED, digit_draws, rate, finished)
    filled = courses("digits, full buffer", lambda draw: replace(digits(draw), share=1.0), BALANCED, digit_draws, rate, finished)
    halved = of_task("speakers", HALVED, DRAWS["speakers"], finished)
    text = page(of_all, parts, mean([c.last for c in once]), mean([c.last for c in halved]), filled)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "continual.md").write_text(text)
        (folder / "continual.svg").write_text(picture(of_all))
    click.echo(text)


if __name__ == "__main__":
    main()
