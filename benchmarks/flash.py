"""Flash of training builds whose gradients read transposed weights of their own, make them, or share those of inference, and what a step takes.

    make bench-flash

Bytes of the linked model: constants, code, and both. Gradients to inputs need the weights transposed: "transposed" builds store a second copy of
them in flash, "shared" builds read the one copy of inference. All give the same results, bit for bit. By default ("auto"), on cores with the DSP
extension, gradients transpose inference's weights in each step, into scratch, where the arena has room for them and it takes a small part of the
step. Of a 1x1 layer they transpose those of as many input channels as the arena has room for, and flash holds a copy of the others alone. Others
read a copy as far as the `flash` budget allows, but where sharing takes no longer. Instructions of one training step with its update are counted
exactly under QEMU, cycles are those of the counter's model of a Cortex-M4 ([speed.md](speed.md)). In brackets: how much less flash, and how many
times the instructions, than with transposed weights. The target is 70,000 bytes for DS-CNN with trained biases on a Cortex-M4, by default and with
all that share. Where the gradients of its last two pointwise layers are computed, the masks of eight layers leave 1,000 and 3,000 bytes of the
arena: room for a quarter and for three quarters of their weights. With a budget of 68,000 bytes ("budget") their positions are taken in blocks, for
each of which all weights are transposed again, in parts. Without one what is left of copies stays, since what saves it takes up to 1.3 times the
instructions of a step on cores with the DSP extension, and up to twice with Helium. Gradients of dense layers of one position share where that
takes no longer, and those for whose fast form the arena has no room: of the autoencoder all on a Cortex-M4, and one on a Cortex-M7.
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

CORES = ("m4", "m7", "m55")
WAYS = ("transposed", "auto", "shared")
BUDGET = "budget"
"""The way of builds with a budget of flash."""


@dataclass(frozen=True)
class Row:
    """A model and what is trained of it."""

    model: str
    title: str
    methods: tuple[Method, ...] = (kt.BiasOnly(),)


ROWS = (
    Row("kws_dscnn", "DS-CNN, bias all"),
    Row("kws_dscnn", "DS-CNN, bias + LoRA r=4 all", (kt.BiasOnly(), kt.LoRA(rank=4, layers="all"))),
    Row("ic_resnet8", "ResNet-8, bias all"),
    Row("person_detect", "person_detect, bias all"),
    Row("ad01", "AD autoencoder, bias all"),
)


@dataclass(frozen=True)
class Found:
    """A build's flash and memory in bytes, gradients by what they read, and its training step."""

    weights: int
    code: int
    memory: int
    shared: int
    repacked: int
    twice: int
    step: speed.Region


TARGETS = {("DS-CNN, bias all", "m4"): 70_000}
"""Bytes of flash of builds without copies of all weights, by title and core."""
BUDGETS = {("DS-CNN, bias all", "m4"): 68_000}


def measured(row: Row, core: str, way: str) -> Found:
    loss = kt.MeanSquaredError(target="input") if row.model == "ad01" else "cross_entropy"
    rig = speed.counter()
    with tempfile.TemporaryDirectory() as name:
        options = {"method": list(row.methods), "loss": loss, "target": speed.CORES[core], "backward_weights": "auto" if way == BUDGET else way}
        options |= {"flash": BUDGETS[(row.title, core)]} if way == BUDGET else {}
        build = kt.build(speed.load(row.model), Path(name) / "build", **options)
        flash, ways = build.report["flash"], build.report["kernels"]["backward_weights"]
        step = speed.counted(build, core, rig, True)[1]
        shared, repacked, twice = (ways[w]["gradients"] for w in ("shared", "repacked", "twice"))
        return Found(flash["weights"], flash["code"], build.report["memory"]["train_total"], shared, repacked, twice, step)


def cells(row: Row, core: str, usual: Found, found: Found, way: str) -> list[str]:
    total, before = found.weights + found.code, usual.weights + usual.code
    times = found.step.instructions / usual.step.instructions
    cycles = "-" if found.step.cycles is None or usual.step.cycles is None else f"{found.step.cycles / 1e6:.3f}"
    less = f" ({100 * (1 - total / before):.0f} % less)" if found is not usual else ""
    more = f" ({times:.2f})" if found is not usual else ""
    figures = (f"{found.weights:,}", f"{found.code:,}", f"{total:,}{less}", f"{found.memory:,}")
    if way != "transposed" and (target := TARGETS.get((row.title, core))) is not None:
        figures = (*figures[:2], f"{figures[2]}, {'met' if total <= target else f'missed by {total - target:,}'}", figures[3])
    gradients = found.shared + found.repacked + found.twice
    return [
        row.title,
        core,
        way,
        f"{found.shared} of {gradients}",
        f"{found.repacked} of {gradients}",
        *figures,
        f"{found.step.instructions / 1e6:.3f}{more}",
        cycles,
    ]


HEADINGS = (
    "model, method", "core", "weights", "gradients that share", "that transpose",
    "constants", "code", "flash", "arena and state", "Minstr", "Mcycles",
)  # fmt: skip


def rows(models: Sequence[str], cores: Sequence[str]) -> list[list[str]]:
    chosen = [(row, core) for row in ROWS for core in CORES if (not models or row.model in models) and (not cores or core in cores)]
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        running = [{way: pool.submit(measured, *each, way) for way in ways(*each)} for each in chosen]
        found = [{way: one.result() for way, one in each.items()} for each in running]
    return [cells(*each, each_way[WAYS[0]], one, way) for each, each_way in zip(chosen, found, strict=True) for way, one in each_way.items()]


def ways(row: Row, core: str) -> tuple[str, ...]:
    return (*WAYS, BUDGET) if (row.title, core) in BUDGETS else WAYS


@click.command()
@click.option("--model", "models", multiple=True, help="Model to measure, as its file begins; all without it.")
@click.option("--core", "cores", multiple=True, type=click.Choice(CORES), help="Core to measure; all without it.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
def main(models: tuple[str, ...], cores: tuple[str, ...], write: Path | None) -> None:
    """Build, count and print the table."""
    lines = speed.table(HEADINGS, rows(models, cores))
    Console(width=240, soft_wrap=True).print("\n".join(lines), markup=False, highlight=False)
    if write:
        body = wrapped((__doc__ or "").split("make bench-flash", 1)[1])
        when = f"Printed by `make bench-flash` on {datetime.date.today().isoformat()}."
        write.write_text("\n".join(["# Flash", "", when, "", body, "", *lines]).rstrip() + "\n")


if __name__ == "__main__":
    main()
