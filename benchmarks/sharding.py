"""The optimizer's state in parts on emulated boards, and over the memories of one: what each holds, what a step moves, and whether the bits are the
same.

    make bench-sharding

Biases and LoRA of rank 4 of every layer of examples/digits, Adam with moments in float32, 8 samples an update. Moments: bytes of Adam's state on the
device that holds most. State: all that outlives a step there. Traffic: bytes between the computer and one device an update (the mean over devices),
without frames: gradients from it, sums to it, steps from and to it, and what the computer keeps of it to go on without it.
"""

from __future__ import annotations

import datetime
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from prose import wrapped

import kilotune as kt
from kilotune.devices import AgentDevice
from kilotune.sharding.parts import common_ranges, part_of

DIGITS = Path(__file__).resolve().parents[1] / "examples/digits"
sys.path.insert(0, str(DIGITS))

from data import digits  # noqa: E402

OPTIONS: dict[str, Any] = {"method": [kt.BiasOnly(), kt.LoRA(rank=4, layers="all")], "optimizer": kt.Adam(), "accumulate": 8, "measure": False}
SAMPLES, DRAWS = 32, 3
IN_RAM = (None, "4K", "2K", 0)
"""Of the moments on one board; None: no external RAM."""
BOARD = "qemu:mps2-an386"


def shared(device: kt.Device) -> bytes:
    state = device.state()
    return b"".join(state[at : at + size] for at, size in common_ranges(part_of(device.manifest)))


def row(model: kt.Model, found: Any, folder: Path, count: int, board: str, expected: bytes, lost: bool = False) -> str:
    """A line of the table. lost: one device is killed half-way."""
    builds = kt.sharded(model, folder / f"{count}", count, calibration=found.base.x[:32], **OPTIONS)
    x, y = found.adapt.x[:SAMPLES], found.adapt.y[:SAMPLES]
    with kt.Group([build.open(board) for build in builds]) as group:
        begun = group.traffic.kept
        for start in range(0, SAMPLES, 8):
            if lost and start == SAMPLES // 2:
                device = group.devices[1]
                assert isinstance(device, AgentDevice)
                os.kill(device.link.transport.pid, signal.SIGKILL)  # type: ignore[attr-defined]
            group.step(x[start : start + 8], y[start : start + 8])
        same = all(shared(d) == expected for d in group.devices)
        t, each = group.traffic, len(builds) * group.traffic.updates
        moments = max(p.moment_bytes for p in group.parts)
        state = max(d.manifest.state_bytes for d in group.devices)
        moved = [t.gradients, t.sums, t.steps, t.kept - begun]
        cells = [str(count) + (", one killed" if lost else ""), f"{moments:,}", f"{state:,}", *(f"{round(n / each):,}" for n in moved)]
        return f"| {' | '.join(cells)} | {'yes' if same else 'NO'} |"


def train(device: kt.Device, found: Any) -> None:
    for start in range(0, SAMPLES, 8):
        for i in range(start, start + 8):
            device.train_step(found.adapt.x[i], int(found.adapt.y[i]))
        device.apply()


def memories(model: kt.Model, found: Any, folder: Path, board: str) -> list[str]:
    """A line for each division of the moments between the memories of one board."""
    lines, expected = list[str](), b""
    for number, kept in enumerate(IN_RAM):
        where: dict[str, Any] = {} if kept is None else {"offload": "optimizer", "slow_memory": board.removeprefix("qemu:")}
        where |= {"moments_in_ram": kept} if kept else {}
        options = {**OPTIONS, **where, "calibration": found.base.x[:32]}
        make = kt.build if kept is None else lambda m, f, **o: kt.sharded(m, f, 1, **o)[0]
        build = make(model, folder / f"memories-{number}", **options)
        with build.open(board) as device:
            train(device, found)
            got = bytes(device.export_adapter().payload)
        expected = expected or got
        memory = build.report["memory"]
        cells = [f"{n:,}" for n in (memory["by_kind"]["optimizer"], memory["slow"], memory["state"], memory["train_total"], 2 * memory["slow"])]
        lines.append(f"| {kept or ('all' if kept is None else 'not given')} | {' | '.join(cells)} | {'yes' if got == expected else 'NO'} |")
        print(lines[-1], flush=True)
    return lines


def accuracies(model: kt.Model, found: Any, folder: Path) -> dict[str, list[float]]:
    """What training with sums of float32 and with sums of integers reaches, by draws of the order."""
    scores: dict[str, list[float]] = {}
    for title, options in (("float32", {}), ("integers", {"shard": (0, 1)})):
        build = kt.build(model, folder / title, calibration=found.base.x[:32], **OPTIONS, **options)
        with build.open() as device:
            for draw in range(DRAWS):
                device.reset()
                device.fit(found.adapt.x, found.adapt.y, epochs=6, hold_out=0, seed=draw, decay="constant", progress=False)
                scores.setdefault(title, []).append(device.evaluate(found.changed.x, found.changed.y)["accuracy"])
    return scores


@click.command()
@click.option("--counts", default="2,4,8")
@click.option("--board", default=BOARD)
@click.option("--page", type=click.Path(path_type=Path))
def main(counts: str, board: str, page: Path | None) -> None:
    """Measure, and write the page."""
    model, found = kt.load(DIGITS / "digits.tflite"), digits()
    lines = [
        "| devices | moments | state | gradients | sums | steps | kept | bits of one device |",
        "|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        whole = kt.build(model, folder / "whole", shard=(0, 1), calibration=found.base.x[:32], **OPTIONS)
        with whole.open() as device:
            train(device, found)
            expected, part = shared(device), part_of(device.manifest)
            lines.append(f"| 1 | {part.moment_bytes:,} | {device.manifest.state_bytes:,} | | | | | |")
        for count in map(int, counts.split(",")):
            lines.append(row(model, found, folder, count, board, expected))
            print(lines[-1], flush=True)
        lines.append(row(model, found, folder, 2, board, expected, lost=True))
        memory_lines = memories(model, found, folder, board)
        scores = accuracies(model, found, folder)
    said = "; ".join(f"sums of {title} {np.mean(s):.3f} ({', '.join(f'{v:.3f}' for v in s)})" for title, s in scores.items())
    text = "\n\n".join([
        "# The optimizer's state in parts",
        wrapped(f"Printed by `make bench-sharding` on {datetime.date.today()}, on {board}. How it is used: [sharding](how_to/sharding.md)."),
        wrapped((__doc__ or "").split("make bench-sharding")[1]),
        "\n".join(lines),
        wrapped(
            f"The whole group moves that many bytes times its devices. What a device keeps falls as 1 / N, what it sends and takes stays about the "
            f"same: it holds all trained values and all accumulators ({4 * part.elements:,} bytes) however many devices there are, so that its "
            f"state falls to what is left without moments, and no further."
        ),
        "## Over the memories of one device",
        wrapped(
            "The same on one board that has external RAM: `moments_in_ram` bytes of moments at most are in the state, the others in external RAM, "
            "from where an update takes them through the arena. Bytes; moved: an update, in and out again."
        ),
        "| moments_in_ram | moments in RAM | in external RAM | state | RAM, all | moved | bits of all in RAM |\n|---:|---:|---:|---:|---:|---:|---|\n"
        + "\n".join(memory_lines),
        "## Sums of integers",
        wrapped(f"Accuracy on examples/digits after six epochs, three orders of the samples: {said}."),
    ])  # fmt: skip
    print(text)
    if page:
        page.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
