"""How near the planner's arenas are to the least that is possible, and how long planning takes.

    make bench-placement

For every model of the shared data and every training: the arena of the default planner, the bound that the solver proved, the gap
between them, and the seconds of a processor that both took. Exit code 1 where a gap exceeds 1 %. Takes OR-Tools.
"""

from __future__ import annotations

import datetime
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from prose import wrapped

import kilotune as kt
from kiloc.errors import CompileError
from kiloc.forecast import forecast
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.options import Options
from kiloc.peft import Method
from kiloc.plan import Plan, alignment, check_plan, plan_memory
from kiloc.plan.slice import Slice, caller_buffers, scratch_bytes

DATA = Path(os.environ.get("KILOTUNE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
ALLOWED = 0.01
TRAININGS: tuple[tuple[str, list[Method], int], ...] = (
    ("bias", [kt.BiasOnly()], 1),
    ("bias + LoRA r=4, last 2", [kt.BiasOnly(), kt.LoRA(rank=4, layers="last:2")], 1),
    ("LoRA r=4, last 4", [kt.LoRA(rank=4, layers="last:4")], 1),
    ("bias + LoRA r=1, last 6, batches", [kt.BiasOnly(), kt.LoRA(rank=1, layers="last:6")], 4),
    ("full", [kt.Full(), kt.BiasOnly()], 1),
    ("full, batches", [kt.Full(), kt.BiasOnly()], 4),
)
"""Title, methods, samples an update."""
CLASSIFIES_NOTHING = ("ad01_int8", "hello_world_int8")


@dataclass(frozen=True)
class Row:
    """Bytes of the plan and of the proved bound; seconds of the default planner and of the proof.

    alive: the plan takes no more than is alive at one step, which needs no solver. proved: the solver's plan reaches its bound.
    """

    model: str
    what: str
    plan: int
    bound: int
    alive: bool
    proved: bool
    seconds: float
    proof: float

    @property
    def gap(self) -> float:
        return self.plan / self.bound - 1 if self.bound else 0.0


def planned(part: Slice, prove: bool) -> tuple[Plan, float]:
    """The plan of a slice, checked, and the seconds of a processor that planning took."""

    def scratch(node: object) -> int:
        return scratch_bytes(part.kernels, node)  # type: ignore[arg-type]

    start = time.process_time()
    plan = plan_memory(part.kernels, scratch, frozenset(caller_buffers(part.kernels)), alignment("cortex-m4"), prove)
    seconds = time.process_time() - start
    check_plan(part.kernels, part.kernels.nodes, plan.offsets, plan.arena_bytes, scratch)
    return plan, seconds


def slices(graph: Graph) -> Iterator[tuple[str, Slice]]:
    """What is planned of a model: inference, and one training after the other."""
    samples = {i: np.zeros((2, *graph.type(i).shape[1:]), np.int8) for i in graph.inputs}
    forward = interp.run(graph, samples)
    loss = "mse" if graph.name in CLASSIFIES_NOTHING else "cross_entropy"
    for i, (what, methods, accumulate) in enumerate(TRAININGS):
        both = forecast(graph, Options(methods=tuple(methods), loss=loss, accumulate=accumulate), forward)
        if i == 0:
            yield "inference", both.infer
        yield what, both.train


def measure(path: Path) -> Iterator[Row]:
    for what, part in slices(kt.load(path).graph):
        plan, seconds = planned(part, prove=False)
        best, proof = planned(part, prove=True)
        yield Row(
            path.stem,
            what,
            plan.arena_bytes,
            best.lower_bound,
            plan.arena_bytes == plan.lower_bound,
            best.arena_bytes == best.lower_bound,
            seconds,
            proof,
        )


def markdown(rows: list[Row], refused: list[str]) -> str:
    worst, slowest = max(rows, key=lambda r: r.gap), max(rows, key=lambda r: r.seconds)
    alive, reached = sum(r.alive for r in rows), sum(r.proved for r in rows)
    longest = f"{slowest.seconds:.2f} s ({slowest.model}, {slowest.what})"
    text = f"""
        Made by `make bench-placement` on {datetime.date.today()}. Bytes of the arenas that the default planner makes, with offsets aligned to 4,
        beside the least that a solver proved possible, and the seconds of processor time that both took. The solver starts from the planner's
        placement.

        The largest gap is {100 * worst.gap:.2f} % ({worst.model}, {worst.what}); the longest planning took {longest}. In {alive} of {len(rows)} rows
        the default plan takes no more than is alive at its fullest step, which proves without the solver that no plan takes less. The best plan
        known, the solver's where it ran, reaches its bound in {reached} rows."""
    lines = [
        "# Placement",
        "",
        wrapped(text + "".join(f" Not compiled: {why}." for why in refused)),
        "",
        "| model | what | plan | proved bound | gap | planning | proof |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for r in rows:
        lines.append(f"| {r.model} | {r.what} | {r.plan:,} | {r.bound:,} | {100 * r.gap:.2f} % | {r.seconds:.2f} s | {r.proof:.2f} s |")
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--model", "names", multiple=True, help="Name of a model without its suffix; all of the shared data without it.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
def main(names: tuple[str, ...], write: Path | None) -> None:
    """Plan and prove."""
    rows: list[Row] = []
    refused: list[str] = []
    for path in sorted((DATA / "models").glob("*.tflite")):
        if path.stem.endswith("_f32") or (names and path.stem not in names):
            continue
        try:
            for row in measure(path):
                rows.append(row)
                times = f"{row.seconds:6.2f} s {row.proof:6.2f} s"
                click.echo(f"{row.model:30} {row.what:32} {row.plan:9,} {row.bound:9,} {100 * row.gap:5.2f} % {times}")
        except CompileError as error:
            reason = error.what.rpartition("' ")[2]
            refused.append(f"{path.stem} ({reason})")
            click.echo(f"{path.stem}: {error.what}")
    text = markdown(rows, refused)
    click.echo(text.partition("\n| model")[0])
    if write:
        write.write_text(text)
    sys.exit(1 if any(r.gap > ALLOWED for r in rows) else 0)


if __name__ == "__main__":
    main()
