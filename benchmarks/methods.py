"""Instructions of every method on models that no kernel was tuned for, counted exactly under QEMU: what a user of another model meets.

    make bench-methods                                        every model, method and core; writes docs/methods_on_models.md
    .venv/bin/python benchmarks/methods.py --model ad01 --core m4
    .venv/bin/python benchmarks/methods.py --file model.tflite --core m4    a model of one's own

Builds are those of `kilotune build` without a budget. Models and methods without a target of their own have the limits of DS-CNN beside them
(`speed.py`).
"""

from __future__ import annotations

import concurrent.futures
import datetime
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import speed
from prose import wrapped
from rich.console import Console

import kilotune as kt
from kiloc.peft import Method

MODELS = {
    "ic_resnet8": "ResNet-8",
    "person_detect": "person_detect",
    "mcunet_vww": "MCUNet, VWW",
    "ad01": "AD autoencoder",
    "sww": "Streaming wake word",
    "micro_speech": "micro_speech",
    "meter_digits": "Meter digits, max pools",
    "esc10_miniresnet1": "ESC-10, max pool of 3x3",
    "ecg_cnn": "ECG, 1-D convolutions",
    "gas_mlp": "Gas, dense",
    "fsdd_tinytx": "Spoken digits, transformer",
}
CORES = ("m0", "m4", "m55")
METHODS: dict[str, Method] = {
    **{row.title: row.method for row in speed.METHODS},
    "bottleneck adapter": kt.BottleneckAdapter(),
    "head": kt.Head(),
}
LIMITS = {row.title: row for row in speed.METHODS}
SMALL_MACS = 100_000
"""Models of fewer MACs: what a call takes and softmax are most of it, and limits a MAC say nothing."""


@dataclass(frozen=True)
class Found:
    """Instructions of plain inference, of inference and of a step with a method; MACs of the step; bytes of arena and state; slow: nodes that run
    in a slower kernel than their fastest. why: what the method cannot train."""

    model: str
    title: str
    core: str
    plain: int = 0
    infer: int = 0
    step: int = 0
    macs: int = 0
    forward: int = 0
    memory: int = 0
    slow: int = 0
    why: str = ""


def plain(model: str, core: str) -> tuple[str, str, int]:
    with tempfile.TemporaryDirectory() as name:
        build = speed.built(model, core, None, Path(name))
        return model, core, speed.counted(build, core, speed.counter(core), True)[0].instructions


def method_on(model: str, title: str, core: str, usual: int) -> Found:
    with tempfile.TemporaryDirectory() as name:
        try:
            build = speed.built(model, core, [METHODS[title]], Path(name))
        except kt.CompileError as error:
            return Found(model, title, core, usual, why=error.what)
        infer, step = speed.counted(build, core, speed.counter(core), True)[:2]
        macs, memory = build.report["macs"], build.report["memory"]
        slow = sum(bool(s["slow"]) for part in ("infer", "train") for s in build.report["kernels"][part])
        both = macs["forward"] + macs["backward"]
        return Found(model, title, core, usual, infer.instructions, step.instructions, both, macs["forward"], memory["train_total"], slow)


def marked(value: float, limit: float | None) -> str:
    """A figure, in bold where it is above the limit."""
    return f"**{value:.2f}**" if limit is not None and value > limit else f"{value:.2f}"


def row_of(title: str, found: Sequence[Found], cores: Sequence[str]) -> list[str]:
    cells = [title]
    limits = LIMITS.get(title)
    for core in cores:
        f = next(f for f in found if f.core == core)
        if f.why:
            cells += ["-"] * 4
            continue
        judged = limits is not None and f.forward >= SMALL_MACS
        most = limits.inference if limits is not None and judged else None
        rate = limits.steps.get(core) if limits is not None and judged else None
        cells += [marked(f.infer / f.plain, most), marked(f.step / f.macs, rate), f"{f.memory:,}", str(f.slow)]
    return cells


def section(model: str, found: Sequence[Found], cores: Sequence[str]) -> list[str]:
    head = ["method", *(f"{core}: {what}" for core in cores for what in ("inference", "a MAC", "bytes", "slower"))]
    usual = next((f for f in found if f.forward), found[0])
    counts = {f.core: f.plain for f in found}
    lines = [f"## {MODELS.get(model, Path(model).name)}", ""]
    lines += [wrapped(f"{usual.forward:,} MACs; plain inference, Minstr: {', '.join(f'{c} {n / 1e6:.3f}' for c, n in counts.items())}."), ""]
    rows = [row_of(title, [f for f in found if f.title == title], cores) for title in METHODS]
    lines += speed.table(head, rows)
    reasons = {f.title: f.why for f in found if f.why}
    for title, why in reasons.items():
        lines += [wrapped(f"{title}: {why}.", "- ")]
    return [*lines, ""] if reasons else lines


@click.command()
@click.option("--model", "models", multiple=True, type=click.Choice(list(MODELS)), help="Model to measure; all without it.")
@click.option("--file", "files", multiple=True, type=click.Path(exists=True, dir_okay=False), help="Model file to measure, instead.")
@click.option("--core", "cores", multiple=True, type=click.Choice(list(speed.CORES)), help=f"Core to measure; {', '.join(CORES)} without it.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the tables as Markdown too.")
def main(models: tuple[str, ...], files: tuple[str, ...], cores: tuple[str, ...], jobs: int, write: Path | None) -> None:
    """Count, print the tables."""
    speed.counter()
    models, cores = (*models, *files) or tuple(MODELS), cores or CORES
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        usual = {(m, c): n for m, c, n in pool.map(plain, *zip(*((m, c) for m in models for c in cores), strict=True))}
        each = [(m, title, c, usual[m, c]) for m in models for title in METHODS for c in cores]
        found = list(pool.map(method_on, *zip(*each, strict=True)))
    lines = [line for m in models for line in section(m, [f for f in found if f.model == m], cores)]
    Console(width=240, soft_wrap=True).print("\n".join(lines), markup=False, highlight=False)
    if write:
        write.write_text("\n".join(["# Methods on other models", "", wrapped(ABOUT.format(date=datetime.date.today())), "", *lines]).rstrip() + "\n")


ABOUT = """
Made by `make bench-methods` on {date}: what each method takes on models that the kernels' limits were not set on, built without a budget, counted
exactly under QEMU as [speed.md](speed.md) says. Of each core: inference over that of a plain build; instructions of a training step with its update
a MAC of its forward and backward pass; bytes of arena and state; and calls of inference and of a step that run in a slower kernel than the fastest
of their kind, of which the report of a build names each with the reason. In bold what is above the limit that the same method has on DS-CNN
([speed.md](speed.md)); models of fewer than 100,000 MACs are not held to it, since a call and the softmax are most of what they take.
"""


if __name__ == "__main__":
    main()
