"""Reversible networks: memory and work of training by the number of blocks, beside saved activations and gradient checkpointing at the same memory.

    make bench-reversible

Planned, not measured: what a build takes from memory does not depend on weights, which are drawn at random.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from prose import wrapped
from rich.console import Console

import kilotune as kt
from kiloc import Convolution, Dense, Reversible, pipeline
from kiloc.ir.graph import Graph
from kiloc.ir.verify import total_macs
from kiloc.lowering import order_training, place
from kiloc.options import Options
from kiloc.passes.recompute import Again, saved_values
from kiloc.plan.slice import Slice

BLOCKS = (2, 4, 8, 16, 32)
TARGET = "cortex-m4"
HALF, HIDDEN, CLASSES = 32, 64, 10
IMAGE, CHANNELS = (8, 8, 1), 8


def dense(r: np.random.Generator, rows: int, columns: int, relu: bool = False) -> Dense:
    return Dense(r.normal(0, 1 / columns**0.5, (rows, columns)), r.normal(0, 0.1, rows), relu)


def convolution(r: np.random.Generator, rows: int, columns: int, relu: bool = False) -> Convolution:
    return Convolution(r.normal(0, 0.3 / columns**0.5, (rows, 3, 3, columns)), r.normal(0, 0.1, rows), relu)


def sequences(blocks: int) -> tuple[Graph, tuple[int, ...]]:
    """16 positions of 2 x 32 values; F and G have a hidden layer of 64."""
    r = np.random.default_rng(0)
    halves = [([dense(r, HIDDEN, HALF, True), dense(r, HALF, HIDDEN)], [dense(r, HIDDEN, HALF, True), dense(r, HALF, HIDDEN)]) for _ in range(blocks)]
    net = Reversible([dense(r, 2 * HALF, HALF)], halves, [dense(r, CLASSES, 2 * HALF)])
    return net.quantized(r.normal(0, 1, (8, 16, HALF))), (16, HALF)


def images(blocks: int) -> tuple[Graph, tuple[int, ...]]:
    """8 x 8 pixels of 2 x 8 channels; F and G are two convolutions of 3 x 3."""
    r = np.random.default_rng(0)
    layers = [[convolution(r, CHANNELS, CHANNELS, True), convolution(r, CHANNELS, CHANNELS)] for _ in range(2 * blocks)]
    net = Reversible([convolution(r, 2 * CHANNELS, 1)], list(zip(layers[::2], layers[1::2], strict=True)), [dense(r, CLASSES, 2 * CHANNELS)])
    return net.quantized(r.normal(0, 1, (8, *IMAGE))), IMAGE


NETWORKS = {"positions": sequences, "images": images}
HEADINGS = (
    "blocks", "inference", "activations saved", "reconstructed", "MACs of a step, saved", "reconstructed", "more", "checkpoints", "more",
)  # fmt: skip


def checkpoints(saved: Graph, blocks: int, every: int, part: Slice) -> tuple[int, int]:
    """Bytes of the arena and MACs where the halves behind every so many blocks are kept, and what lies between is computed again from them."""
    ends = {f"block_{i}_{side}_sum" for i in range(every - 1, blocks, every) for side in "fg"} | {"stream_0", "stream_1"}
    again = Again(saved, frozenset(v for v in saved_values(saved) if v.startswith(("block_", "stream_"))), nested=False)
    again.kept |= ends
    graph = again.graph()
    return place(graph, part.plan.alignment, target=TARGET, saving=part.saving).plan.arena_bytes, total_macs(graph)


def rows(name: str) -> Iterator[list[str]]:
    for blocks in BLOCKS:
        graph, shape = NETWORKS[name](blocks)
        x = np.random.default_rng(1).integers(-128, 128, (4, *shape)).astype(np.int8)
        options = Options(
            methods=(kt.BiasOnly(), kt.LoRA(rank=4, layers="all")), optimizer=kt.SGD(lr=0.1), calibration=x,
            calibration_target=np.arange(4, dtype=np.int32), target=TARGET,
        )  # fmt: skip
        c = pipeline.compile_graph(graph, options, "")
        assert c.train is not None
        saved = order_training(c.reduced, TARGET, "caller")
        kept = place(saved, c.train.plan.alignment, target=TARGET, saving=c.train.saving).plan.arena_bytes
        macs, again = total_macs(saved), total_macs(c.train.graph)
        choices = [checkpoints(saved, blocks, every, c.train) for every in (1, 2, 4, 8, 16) if every <= blocks]
        least, steps = min(choices)
        sizes = (c.infer.plan.arena_bytes, kept, c.train.plan.arena_bytes, macs, again)
        yield [f"{v:,}" for v in (blocks, *sizes)] + [f"{again / macs - 1:.0%}", f"{least:,}", f"{steps / macs - 1:.0%}"]


INTRODUCTION = """
Training keeps the activations of every layer for the backward pass, so its memory grows with the depth of a network. Blocks of two halves,
y1 = x1 + F(x2) and y2 = x2 + G(y1), can be undone: x2 = y2 - G(y1), x1 = y1 - F(x2). With halves of int16 that share a scale with what F and G add
to them no sum is rounded and none can leave int16, so the way back is exact, bit for bit. The compiler finds such sums in a model, and proves it;
then it keeps the halves behind the last block alone, and computes each F and G once more.

How to make such a network is told in [how to](how_to/reversible.md), why the bits are the same in [sequences](internals/sequences.md).

Below: bytes of the arena on a Cortex-M4 and multiply-accumulates of a training step, biases and LoRA (r = 4) of all layers trained. "Saved" is
the same network with all activations kept; "checkpoints" keeps the halves behind every 1, 2, 4, 8 or 16 blocks, whichever takes the least
memory, and computes what lies between again from them (gradient checkpointing).
"""
TITLES = {"positions": sequences.__doc__ or "", "images": images.__doc__ or ""}


def table(found: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (list(HEADINGS), ["---"] * len(HEADINGS), *found))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--write", type=Path, help="also write the page")
    arguments = parser.parse_args()
    console = Console(width=160)
    parts = ["# Reversible networks", "    make bench-reversible", f"Printed on {datetime.date.today().isoformat()}.", wrapped(INTRODUCTION)]
    for name, title in TITLES.items():
        console.print(title)
        found = []
        for cells in rows(name):
            found.append(cells)
            console.print(" | ".join(cells), markup=False)
        parts += [f"## {name.capitalize()}", wrapped(title), table(found)]
    if arguments.write:
        arguments.write.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
