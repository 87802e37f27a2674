"""Attention over sequences: its memory beside that of the same operators with whole matrices, and a transformer that learns a new speaker.

    make bench-sequences

The first table is planned, not measured: a model of one attention block (`benchmarks/attention_graph.py`) for each length. The second trains the
generated C on the host. Rates are chosen on other draws of the training samples, by takes of the speaker that are neither trained on there nor
evaluated in the table.
"""

from __future__ import annotations

import argparse
import datetime
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from attention_graph import Block
from numpy.typing import NDArray
from prose import wrapped
from rich.console import Console

import kilotune as kt
from kiloc import pipeline
from kiloc.lowering import place
from kiloc.options import Options
from kiloc.passes.fuse_elementwise import fuse_elementwise
from kiloc.passes.slices import inference_slice, training_slice
from kiloc.peft import Method
from kiloc.plan.slice import Slice, scratch_bytes

DATA = Path(os.environ.get("KILOTUNE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
LENGTHS = (50, 100, 200, 400, 800, 1600)
HEADS, WIDTH = 2, 32
TARGET = "cortex-m4"

Array = NDArray[Any]


# -- memory -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Memory:
    """Bytes of the arena by rows and with whole matrices, in inference and in training in two passes and in one; and of scratch of attention and
    of its gradient."""

    rows: int
    matrix: int
    two: int
    one: int
    training_matrix: int
    scratch: tuple[int, int, int]


def memory(positions: int) -> Memory:
    rng = np.random.default_rng(0)
    x = np.clip(rng.normal(0, 42, (2, positions, WIDTH)), -128, 127).astype(np.int8)
    labels = np.arange(2, dtype=np.int32)
    options = Options(methods=(kt.BiasOnly(),), optimizer=kt.SGD(lr=0.1), calibration=x, calibration_target=labels, target=TARGET)
    c = pipeline.compile_graph(Block(positions, HEADS, WIDTH).graph(), options, "")
    assert c.train is not None
    matrix, kept = (place(fuse_elementwise(part(c.reduced, "caller")), target=TARGET) for part in (inference_slice, training_slice))
    two, one = (place(c.train.graph, target=TARGET, saving={n.name: saved for n in c.train.graph.nodes}) for saved in (1, 0))
    scratch = _scratch(c.infer, "attention"), _scratch(two, "attention_gradient"), _scratch(one, "attention_gradient")
    arenas = (part.plan.arena_bytes for part in (c.infer, matrix, two, one, kept))
    return Memory(*arenas, scratch)


def _scratch(part: Slice, operator: str) -> int:
    return next(scratch_bytes(part.kernels, n) for n in part.kernels.nodes if n.op.mnemonic == operator)


MEMORY_HEADINGS = (
    "positions", "inference, by rows", "with matrices", "training, two passes", "one pass", "with matrices",
    "scratch forward", "two passes", "one pass",
)  # fmt: skip


def memory_rows(said: Callable[[str], None]) -> Iterator[list[str]]:
    for n in LENGTHS:
        said(f"{n} positions")
        m = memory(n)
        yield [f"{v:,}" for v in (n, m.rows, m.matrix, m.two, m.one, m.training_matrix, *m.scratch)]


# -- accuracy -----------------------------------------------------------------------------------------
PROJECTIONS = "tensordot_3,tensordot_5,tensordot_11,tensordot_12"
"""Queries and values of both blocks."""
FEED_FORWARD = "tensordot_8,tensordot_9,tensordot_15,tensordot_16"
HEAD = "dense_15"
LORA = kt.LoRA(rank=4, layers=f"{PROJECTIONS},{FEED_FORWARD}")


@dataclass(frozen=True)
class Recipe:
    """Methods, the rates to choose from, and how many recordings of the old speakers a replay buffer holds."""

    methods: tuple[Method, ...]
    rates: tuple[float, ...]
    replayed: int = 0


ADAPTED = (LORA, kt.BiasOnly(layers=HEAD))
RECIPES = {
    "LoRA r=4 on q, v and feed-forward, bias of the head": Recipe(ADAPTED, (0.1, 0.2, 0.3)),
    "the same, and 20 recordings of old speakers replayed": Recipe(ADAPTED, (0.2, 0.3, 0.4), 20),
    "LoRA and all biases": Recipe((LORA, kt.BiasOnly()), (0.1, 0.2, 0.3)),
    "all biases": Recipe((kt.BiasOnly(),), (0.3, 0.6, 1.0)),
    "head": Recipe((kt.Head(),), (0.1, 0.2, 0.3)),
}
EPOCHS, BATCH = 30, 5
CHOOSING, DRAWS = (10, 11, 12, 13), (*range(10), *range(20, 30))
"""Draws of recordings that rates are chosen by, and those of the table."""


class Speaker:
    """Spoken digits of nicolas, five takes of each of 25 to 49 to train on; takes 0 to 24 are evaluated."""

    def __init__(self) -> None:
        d = np.load(DATA / "sets" / "fsdd_mfcc.npz")
        x = np.clip((d["x"].astype(np.float32) - d["tinytx_mean"]) / d["tinytx_std"] / 4, -1, 1)
        self.x, self.y = np.concatenate([x, x[:, -1:]], 1), d["y"].astype(np.int32)
        self.mine, self.late = d["speaker"] == "nicolas", d["take"] >= 25
        self.evaluated, old = np.flatnonzero(self.mine & ~self.late), np.flatnonzero(~self.mine)
        self.calibration, self.old = np.random.default_rng(1).choice(old, 32, replace=False), old[::10]
        self.others = np.setdiff1d(old, self.old)

    def draw(self, number: int) -> Array:
        return self._of_each_digit(np.flatnonzero(self.mine & self.late), 5, number)

    def replayed(self, count: int, number: int) -> Array:
        """Of the old speakers, none of which is evaluated."""
        return self._of_each_digit(self.others, count // 10, number)

    def _of_each_digit(self, among: Array, count: int, number: int) -> Array:
        rng = np.random.default_rng(number)
        return np.concatenate([rng.choice(among[self.y[among] == c], count, replace=False) for c in range(10)])

    def left(self, chosen: Array) -> Array:
        """What rates are chosen by."""
        return np.setdiff1d(np.flatnonzero(self.mine & self.late), chosen)


@dataclass(frozen=True)
class Trained:
    """Of one method: the rate that was chosen, accuracy of the draws on nicolas and on the old speakers, and bytes of arena and state."""

    rate: float
    speaker: list[float]
    old: list[float]
    bytes: int


def trained(s: Speaker, model: kt.Model, recipe: Recipe) -> Trained:
    with tempfile.TemporaryDirectory() as folder:
        calibration = s.x[s.calibration], s.y[s.calibration]
        options: dict[str, Any] = {"calibration": calibration, "accumulate": BATCH, "target": TARGET, "measure": False}
        if recipe.replayed:
            options["replay"] = kt.Replay(recipe.replayed, "class_balanced", keep="input")
        build = kt.build(model, Path(folder) / "build", method=list(recipe.methods), **options)

        def scores(draw: int, rate: float, *rows: Array) -> list[float]:
            chosen, old = s.draw(draw), s.replayed(recipe.replayed, draw)
            how: dict[str, Any] = {"epochs": EPOCHS, "seed": draw, "learning_rate": rate, "decay": "linear", "hold_out": 0, "progress": False}
            with build.open("host") as device:
                if recipe.replayed:
                    device.remember(s.x[old], s.y[old])
                device.fit(s.x[chosen], s.y[chosen], replay=int(recipe.replayed > 0), **how)
                return [device.evaluate(s.x[i], s.y[i])["accuracy"] for i in rows or (s.left(chosen),)]

        rate = max(recipe.rates, key=lambda r: np.mean([scores(draw, r)[0] for draw in CHOOSING]))
        found = [scores(draw, rate, s.evaluated, s.old) for draw in DRAWS]
        return Trained(rate, [f[0] for f in found], [f[1] for f in found], int(build.report["memory"]["train_total"]))


ACCURACY_HEADINGS = ("trained", "rate", "nicolas", "old speakers", "arena + state, bytes")


def accuracy_rows(said: Callable[[str], None]) -> Iterator[list[str]]:
    s, model = Speaker(), kt.load(DATA / "models" / "fsdd_tinytx_int8.tflite")
    with tempfile.TemporaryDirectory() as folder, kt.build(model, Path(folder) / "build", measure=False).open("host") as device:
        yield ["nothing", "", *(f"{(device.predict(s.x[i]) == s.y[i]).mean():.3f}" for i in (s.evaluated, s.old)), ""]
    for name, recipe in RECIPES.items():
        said(name)
        t = trained(s, model, recipe)
        yield [name, f"{t.rate:g}", *(f"{np.mean(v):.3f} ± {np.std(v):.3f}" for v in (t.speaker, t.old)), f"{t.bytes:,}"]


# -- the page -----------------------------------------------------------------------------------------
def table(headings: tuple[str, ...], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (list(headings), ["---"] * len(headings), *rows))


INTRODUCTION = """
Attention compares every position of a sequence with every other. With n positions the operators of a model file hold n x n scores, n x n
probabilities and, in training, their gradients: at 400 positions that is most of what a microcontroller has, at 1,600 megabytes.

Here no such matrix exists. Where a `.tflite` or an `.onnx` file has BATCH_MATMUL, a scale, a mask, SOFTMAX and BATCH_MATMUL, they run as one
operator, a row of queries at a time: its scores, their softmax, and the product with the values. The row is the model's own int8 row, kept whole,
so that results are those of the operators one after the other, bit for bit. Training keeps q, k and v and nothing else, and computes rows again.

Causal masks and windows cost nothing for what they hide; `attention_window=` makes a window where the model has none, which changes its results.

What is computed, and why the bits are the same, is told in [sequences](internals/sequences.md).
"""
ABOUT_MEMORY = """
Bytes of the arena on a Cortex-M4, by length of the sequence: {heads} heads of {depth} values, a layer in front and behind, all biases trained;
and of it scratch of the attention and of its gradient. "With matrices" is the same graph, planned with the operators as they stand in the file.

By rows everything is linear. The gradient has two forms of the same bits: in one pass, with 32-bit sums of all keys and values of a head, or in
two passes with 8 bytes a query. Counting forward and backward, one pass takes 17 % more products than operators with matrices, two passes 50 %. The
compiler takes one pass where the arena has room for it anyway or `ram=` allows it.
"""
ABOUT_ACCURACY = """
The transformer `fsdd_tinytx` (25 positions, two blocks of two heads, 14 layers) learns to understand another speaker from {count} recordings,
{epochs} epochs on the host, {batch} samples an update, no epoch judged or undone. Mean ± standard deviation over {draws} draws of the recordings
(the standard error of the mean is less than a quarter of that); accuracy on 250 others, and on 150 of the speakers that it knew. The rate is the
best of {rates} for each method on the new speaker, chosen on {choosing} other draws by other recordings. "Replayed": a buffer in the state holds
recordings of the old speakers, none of which is evaluated, and each new sample is followed by one of them
([one thing after another](how_to/continual.md)).
"""


def page(memory_table: list[list[str]], accuracy_table: list[list[str]]) -> str:
    counts = {"epochs": EPOCHS, "batch": BATCH, "draws": len(DRAWS), "count": 50, "choosing": len(CHOOSING), "rates": len(RECIPES["head"].rates)}
    parts = [
        "# Sequences",
        "    make bench-sequences",
        f"Printed on {datetime.date.today().isoformat()}.",
        wrapped(INTRODUCTION),
        "## Memory",
        wrapped(ABOUT_MEMORY.format(heads=HEADS, depth=WIDTH // HEADS)),
        table(MEMORY_HEADINGS, memory_table),
        "## A new speaker",
        wrapped(ABOUT_ACCURACY.format(**counts)),
        table(ACCURACY_HEADINGS, accuracy_table),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--write", type=Path, help="also write the page")
    parser.add_argument("--only", choices=("memory", "accuracy"), help="one table alone, printed")
    arguments = parser.parse_args()
    console = Console(width=160)
    found: dict[str, list[list[str]]] = {"memory": [], "accuracy": []}
    with console.status("planning") as status:
        for name, rows in (("memory", memory_rows), ("accuracy", accuracy_rows)):
            if arguments.only in (None, name):
                for cells in rows(status.update):
                    found[name].append(cells)
                    console.print(" | ".join(cells), markup=False)
    if arguments.write:
        arguments.write.write_text(page(found["memory"], found["accuracy"]))


if __name__ == "__main__":
    main()
