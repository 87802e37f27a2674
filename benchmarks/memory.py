"""Memory of inference and training beside the peers', and against the budgets that the project has set itself.

    make bench-memory

All figures are bytes. Those of TensorFlow Lite Micro (TFLM) are of peers.json of the measuring rig (TFLM with CMSIS-NN, scratch included);
TinyEngine's 237,456 is the buffer of its own training example. Ours come from the plan of the build: the arena of inference, and arena + state of
training one sample at a time by SGD without momentum, unless another optimizer is named. (Of the autoencoder's training the arena alone: its
biases are most of its state.) Inputs and results lie in the caller's buffers, except in the rows that say that they are in the arena, as
TFLM's are.

A build that does not meet its target by itself is given the target as its memory budget: then parts run in stripes of rows, forward or
backward, and values are computed again, and "extra MACs" says how many that costs. Offloaded values lie in slow memory, and come into the arena
when they are needed; the last column has the bytes that a training step moves. At most 10 % of extra MACs are aimed at; for rows with more the
planner found no cheaper way to their target. Where a target cannot be met, the row has the least that the planner finds, whatever it costs, and by
how much it misses the target. The command exits with 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tinyengine_graph
from prose import wrapped
from rich.console import Console
from rich.table import Table

import kilotune as kt
from kiloc.optim import Optimizer
from kiloc.passes.simplify import simplify
from kiloc.peft import Method

SHARED = Path(__file__).resolve().parents[2] / "shared"
DATA = Path(os.environ.get("KILOTUNE_DATA", SHARED / "data"))
PEERS = SHARED / "rig" / "peers.json"
BIAS: tuple[Method, ...] = (kt.BiasOnly(),)
FULL: tuple[Method, ...] = (kt.Full(), kt.BiasOnly())


def lora(layers: str) -> tuple[Method, ...]:
    return (kt.LoRA(rank=4, layers=layers),)


@dataclass(frozen=True)
class Row:
    """One training (or, without methods, inference) of a model, and its target. arena_only: the state does not count."""

    model: str
    what: str
    methods: tuple[Method, ...]
    target: int | None
    arena_only: bool = False
    buffers: str = "caller"
    optimizer: Optimizer | None = None
    offload: str = "none"


RESNET, DSCNN, PERSON, AUTOENCODER, MCUNET = "ic_resnet8_int8", "kws_dscnn_int8", "person_detect_int8", "ad01_int8", "mcunet_vww_int8"
TINYENGINE = "MCUNet 128x128"
INSIDE = "inference, input and result in the arena"
ROWS = (
    Row(RESNET, "inference", (), 36_000),
    Row(RESNET, INSIDE, (), None, buffers="arena"),
    Row(RESNET, "all biases", BIAS, 37_000),
    Row(RESNET, "LoRA r=4, last 2", lora("last:2"), 40_000),
    Row(RESNET, "LoRA r=4, all", lora("all"), 70_000),
    Row(DSCNN, "inference", (), 9_800),
    Row(DSCNN, INSIDE, (), None, buffers="arena"),
    Row(DSCNN, "all biases", BIAS, 20_000),
    Row(DSCNN, "LoRA r=4, last 2", lora("last:2"), 14_300),
    Row(DSCNN, "LoRA r=4, last 2, least", lora("last:2"), 12_000),
    Row(DSCNN, "LoRA r=4, last 4", lora("last:4"), 27_000),
    Row(DSCNN, "LoRA r=4 and biases, all, Adam", (*lora("all"), *BIAS), None, optimizer=kt.Adam()),
    Row(DSCNN, "the same, moments offloaded", (*lora("all"), *BIAS), None, optimizer=kt.Adam(), offload="optimizer"),
    Row(DSCNN, "the same, saved values too", (*lora("all"), *BIAS), None, optimizer=kt.Adam(), offload="all"),
    Row(DSCNN, "all biases, saved values offloaded", BIAS, None, offload="activations"),
    Row(DSCNN, "full, Adam", FULL, None, optimizer=kt.Adam()),
    Row(DSCNN, "the same, all offloaded", FULL, None, optimizer=kt.Adam(), offload="all"),
    Row(PERSON, "inference", (), 40_000),
    Row(PERSON, "all biases", BIAS, 48_000),
    Row(PERSON, "LoRA r=4, last 2", lora("last:2"), 45_000),
    Row(PERSON, "LoRA r=4, all", lora("all"), 90_000),
    Row(AUTOENCODER, "inference", (), 800, True),
    Row(AUTOENCODER, INSIDE, (), None, True, "arena"),
    Row(AUTOENCODER, "all biases", BIAS, 1_100, True),
    Row(AUTOENCODER, "LoRA r=4, last 2", lora("last:2"), 1_100, True),
    Row(MCUNET, "inference", (), None),
    Row(MCUNET, INSIDE, (), None, buffers="arena"),
    Row(MCUNET, "all biases", BIAS, 105_000),
    Row(MCUNET, "LoRA r=4, last 2", lora("last:2"), None),
    Row(TINYENGINE, "inference", (), None),
    Row(TINYENGINE, "TinyEngine's sparse update", (), 150_000),
)
LEAST = re.compile(r"at least ([\d,]+) bytes")
TFLM = {RESNET: "resnet8", DSCNN: "dscnn", AUTOENCODER: "ad", MCUNET: "mcuvww"}


def load(name: str) -> kt.Model:
    if name != TINYENGINE:
        return kt.load(DATA / "models" / f"{name}.tflite")
    folder = DATA / "reference"
    return kt.Model(folder / tinyengine_graph.FILES[0], simplify(tinyengine_graph.read(folder)))


def measure(row: Row, ram: int | None) -> dict[str, Any]:
    sparse = row.model == TINYENGINE and row.what != "inference"
    method = tinyengine_graph.trainable() if sparse else list(row.methods) or None
    with tempfile.TemporaryDirectory() as folder:
        loss = "mse" if row.model == AUTOENCODER else "cross_entropy"
        options = {"buffers": row.buffers, "optimizer": row.optimizer, "offload": row.offload}
        return kt.build(load(row.model), Path(folder) / "build", method=method, loss=loss, ram=ram, measure=False, **options).report


def needed(row: Row, memory: dict[str, Any]) -> int:
    if not memory["train_arena"]:
        return int(memory["infer_arena"])
    return int(memory["train_arena"] if row.arena_only else memory["train_total"])


def within(row: Row) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reports of the usual build, and of the build that has the target as its budget where the usual one is larger."""
    usual = measure(row, None)
    if row.target is None or needed(row, usual["memory"]) <= row.target:
        return usual, usual
    try:
        return usual, measure(row, row.target + (usual["memory"]["state"] if row.arena_only else 0))
    except kt.BudgetError as error:
        least = LEAST.search(str(error))
    try:
        return usual, measure(row, int(least[1].replace(",", ""))) if least else usual
    except kt.BudgetError:
        return usual, usual


def peer(row: Row, peers: dict[str, Any]) -> str:
    if not row.methods and TFLM.get(row.model) in peers:
        return f"{peers[TFLM[row.model]]['arena_bytes_incl_scratch']:,} TFLM"
    return "237,456 TinyEngine" if row.model == TINYENGINE and row.what != "inference" else ""


def rows(progress: Callable[[str], None]) -> tuple[list[list[str]], bool]:
    peers = json.loads(PEERS.read_text())["inference"]["tflm+cmsis-nn"]["m4"] if PEERS.exists() else {}
    found, missed = [], False
    for row in ROWS:
        progress(f"{row.model}: {row.what}")
        usual, tight = within(row)
        need = needed(row, tight["memory"])
        extra = sum(tight["macs"].values()) / sum(usual["macs"].values()) - 1
        miss = row.target is not None and need > row.target
        missed |= miss
        cells = [f"{row.target:,}" if row.target else "", f"{need:,}" + (f" (missed by {need - (row.target or 0):,})" if miss else "")]
        state = f"{tight['memory']['state']:,}" if tight["memory"]["train_arena"] else ""
        found.append([row.model, row.what, peer(row, peers), *cells, state, f"{100 * extra:.1f} %" if tight is not usual else "", moved(tight)])
    return found, missed


def moved(report: dict[str, Any]) -> str:
    return f"{report['memory']['moved']:,}" if report["memory"]["moved"] else ""


HEADINGS = ("model", "what", "peer", "target", "ours", "of it state", "extra MACs", "moved a step")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--write", type=Path, help="also write the table as Markdown")
    arguments = parser.parse_args()
    console = Console(width=160)
    with console.status("planning") as status:
        found, missed = rows(lambda what: status.update(what))
    table = Table(*HEADINGS, title="bytes of memory")
    for cells in found:
        table.add_row(*cells)
    console.print(table)
    if arguments.write:
        lines = [f"| {' | '.join(c)} |" for c in (list(HEADINGS), ["---"] * len(HEADINGS), *found)]
        body = wrapped((__doc__ or "").split("make bench-memory", 1)[1])
        when = f"Printed by `make bench-memory` on {datetime.date.today().isoformat()}."
        arguments.write.write_text("\n".join(["# Memory", "", when, "", body, "", *lines]) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
