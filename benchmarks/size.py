"""Flash of builds for size (`--size`), beside the usual ones, and what a training step takes.

    make bench-size

Bytes of the linked model: constants, code, and both, as `kilotune build` has them, and with `--size`: one portable kernel of each kind, compiled
with -Os, whose gradients share the weights of inference. Both give the same bits. Instructions of one training step with its update are counted
exactly under QEMU. In brackets: how much less, and how many times the instructions.

Aimed at for LoRA: 20,000 bytes of code on a Cortex-M4 and 16,000 on a Cortex-M0+, at no more than twice the instructions of the usual build; the
command exits with 1 where that is missed.
"""

from __future__ import annotations

import datetime
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click
import speed
from prose import wrapped
from rich.console import Console

import kilotune as kt
from kiloc.peft import Method

HEADINGS = ("model, method", "core", "build", "constants", "code", "flash", "arena and state", "Minstr")


@dataclass(frozen=True)
class Row:
    """A model, what is trained of it, and the cores that have room for it."""

    model: str
    title: str
    method: Method
    cores: tuple[str, ...]


MOST_TIMES = 2.0
"""Instructions of a build for size over those of the usual one."""
MOST_CODE = {"m0": 16_000, "m4": 20_000}
"""Bytes of code of a build for size, by core."""


ROWS = (
    Row("gas_mlp", "gas MLP, LoRA r=4 all", kt.LoRA(rank=4, layers="all"), ("m0",)),
    Row("fsdd_dscnn", "digits DS-CNN, LoRA r=4 all", kt.LoRA(rank=4, layers="all"), ("m4",)),
    Row("kws_dscnn", "DS-CNN, bias all", kt.BiasOnly(), ("m4",)),
)


@dataclass(frozen=True)
class Found:
    constants: int
    code: int
    memory: int
    instructions: int

    @property
    def flash(self) -> int:
        return self.constants + self.code


def measured(row: Row, core: str, small: bool) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        build = kt.build(speed.load(row.model), Path(folder) / "build", method=row.method, target=speed.CORES[core], size=small)
        flash = build.report["flash"]
        step = speed.counted(build, core, speed.counter(), True, ["-Os"] if small else [])[1]
        return Found(flash["weights"], flash["code"], build.report["memory"]["train_total"], step.instructions)


def cells(row: Row, core: str, usual: Found, found: Found) -> list[str]:
    def less(bytes_: int, before: int) -> str:
        return f"{bytes_:,}" + (f" ({100 * (1 - bytes_ / before):.0f} % less)" if found is not usual else "")

    def limited(met: bool) -> str:
        return "" if found is usual else ", met" if met else ", missed"

    ratio = found.instructions / usual.instructions
    times = f" ({ratio:.2f}){limited(ratio <= MOST_TIMES)}" if found is not usual else ""
    code = less(found.code, usual.code) + limited(found.code <= MOST_CODE[core])
    figures = (f"{found.constants:,}", code, less(found.flash, usual.flash), f"{found.memory:,}")
    return [row.title, core, "usual" if found is usual else "`--size`", *figures, f"{found.instructions / 1e6:.3f}{times}"]


def rows() -> list[list[str]]:
    found = []
    for row in ROWS:
        for core in row.cores:
            usual, small = (measured(row, core, choice) for choice in (False, True))
            found += [cells(row, core, usual, each) for each in (usual, small)]
    return found


@click.command()
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
def main(write: Path | None) -> None:
    """Build, count and print the table."""
    found = rows()
    lines = speed.table(HEADINGS, found)
    Console(width=240, soft_wrap=True).print("\n".join(lines), markup=False, highlight=False)
    if write:
        body = wrapped((__doc__ or "").split("make bench-size", 1)[1])
        when = f"Printed by `make bench-size` on {datetime.date.today().isoformat()}."
        write.write_text("\n".join(["# Code for size", "", when, "", body, "", *lines]).rstrip() + "\n")
    if any(cell.endswith("missed") for row in found for cell in row):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
