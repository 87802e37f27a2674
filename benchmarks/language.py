"""A language model that learns another author on a microcontroller: bits a character, memory and instructions, beside float training.

    make bench-language

The model, its texts and the float reference are those of `examples/language`; float training starts from the same weights, dequantised. Rates are
chosen on a part of the poem that is neither trained on nor reported. Training runs the generated C on the host, whose state is compared with
those of emulated boards after some rows.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from prose import wrapped

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "language"))

import float_model
import float_training
from device import CHECKED, CONTEXT, DECAY, HERE, RAM, RANK, TEMPERATURE, bits, built, fingerprint, written
from onnx_file import weights_of
from text import Texts, texts, windows

import kilotune as kt

BOARDS = {"Cortex-M4": ("cortex-m4", "qemu:mps2-an386"), "Cortex-M7": ("cortex-m7", "qemu:mps2-an500")}
RATES, FLOAT_RATES, ALL_RATES = (0.5, 1.0), (0.5, 1.0, 2.0), (0.1, 0.2)
"""Of LoRA on the device, of LoRA in float, and of all weights in float."""
PASSES, SAMPLE = 3, 200
"""Passes of the longer training; characters of a sample of its text."""
EVALUATED = {"validation": 4, "test": 2, "old": 16}
"""Every so many-th row of each set."""

Rows = NDArray[np.int8]


@dataclass(frozen=True)
class Sets:
    """Rows of tokens: of the poem to train on, to choose rates by and to report, and of plays that the base model never saw."""

    trained: Rows
    validation: Rows
    test: Rows
    old: Rows

    @classmethod
    def of(cls, t: Texts) -> Sets:
        trained, validation, test = (windows(tokens, CONTEXT) for tokens in (t.trained, t.validation, t.test))
        old = windows(t.base_test, CONTEXT)
        return cls(trained, validation[:: EVALUATED["validation"]], test[:: EVALUATED["test"]], old[:: EVALUATED["old"]])


@dataclass(frozen=True)
class Found:
    """Bits a character of the three sets that are not trained on."""

    rate: float | None
    validation: float
    test: float
    old: float

    @classmethod
    def of(cls, s: Sets, judged: Callable[[Rows], float], rate: float | None = None) -> Found:
        return cls(rate, *(judged(rows) for rows in (s.validation, s.test, s.old)))

    def cells(self) -> list[str]:
        return ["" if self.rate is None else f"{self.rate:g}", *(f"{b:.3f}" for b in (self.validation, self.test, self.old))]


def best(candidates: list[Found]) -> Found:
    return min(candidates, key=lambda f: f.validation)


# -- float --------------------------------------------------------------------------------------------
def in_float(s: Sets, said: Callable[[str], None]) -> dict[str, Found]:
    """Nothing trained, LoRA, and all weights."""
    a = float_model.Architecture()
    p = {k: jnp.asarray(w) for k, w in weights_of((HERE / "base.onnx").read_bytes()).items()}
    found = {"nothing, in float": Found.of(s, lambda rows: float_model.bits(a, p, rows))}
    for name, added, rates in ((f"LoRA r={RANK}, in float", float_model.lora(a, RANK), FLOAT_RATES), ("all weights, in float", {}, ALL_RATES)):
        candidates = []
        for rate in rates:
            q = float_training.trained(a, p, added, s.trained, rate)
            candidates.append(Found.of(s, lambda rows, q=q: float_model.bits(a, q, rows), rate))  # type: ignore[misc]
            said(f"{name}, rate {rate:g}: {candidates[-1].cells()}")
        found[name] = best(candidates)
    return found


# -- integers -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Learned:
    """A training on the device: what it reached, what the model writes then, and how often it read the text."""

    found: Found
    sample: str
    passes: int


def learned(s: Sets, build: kt.Build, rate: float, passes: int, said: Callable[[str], None]) -> Learned:
    """LoRA from the base model on, or with no pass the base model."""
    started = time.monotonic()
    with build.open("host") as device:
        if passes:
            device.fit(s.trained, epochs=passes, learning_rate=rate, decay=DECAY, hold_out=0, progress=False)
        found = Found.of(s, lambda rows: bits(device, rows), rate if passes else None)
        said(f"INT8, {passes} passes at {rate:g}: {found.cells()}, {time.monotonic() - started:.0f} s")
        return Learned(found, written(device, SAMPLE), passes)


def in_integers(s: Sets, build: kt.Build, pool: Executor, long: bool, said: Callable[[str], None]) -> Callable[[], list[Learned]]:
    """Starts all trainings; what is returned waits for them: the base model, and the best of one pass, and of several where asked for."""
    runs = [(0.0, 0), *((rate, 1) for rate in RATES), *((rate, PASSES) for rate in RATES if long)]
    started = [pool.submit(learned, s, build, rate, passes, said) for rate, passes in runs]

    def wait() -> list[Learned]:
        ended = [task.result() for task in started]
        groups = [[e for e in ended if e.passes == passes] for passes in (0, 1, PASSES)]
        return [min(group, key=lambda e: e.found.validation) for group in groups if group]

    return wait


# -- cost ---------------------------------------------------------------------------------------------
def costs_of(name: str, t: Texts, s: Sets, folder: Path, said: Callable[[str], None]) -> list[str]:
    """The row of a core. Its state after some rows of training is the host's."""
    target, board = BOARDS[name]
    build = built(folder / target, t.base, target=target)
    memory, flash = build.report["memory"], build.report["flash"]
    with build.open("host") as host:
        expected = fingerprint(host, s.trained[:CHECKED])
    with build.open(board, count=True) as device:
        device.infer(s.trained[:1])
        forward = int(device.stats()["instructions"])
        device.train_step(s.trained[0])
        step = int(device.stats()["instructions"])
        device.reset()
        if fingerprint(device, s.trained[:CHECKED]) != expected:
            raise SystemExit(f"{board} and the host have other states after {CHECKED} rows")
    cells = (flash["total"], memory["infer_arena"], memory["train_arena"], memory["state"], memory["train_total"], forward, forward // CONTEXT, step)
    row = [name, *(f"{int(n):,}" for n in cells), f"`{expected}`"]
    said(" | ".join(row))
    return row


# -- the page -----------------------------------------------------------------------------------------
COST_HEADINGS = (
    "core", "flash", "inference arena", "training arena", "state", "arena + state", "instructions of 64 characters", "a character",
    "a training step", f"state after {CHECKED} rows",
)  # fmt: skip
ACCURACY_HEADINGS = ("trained", "rate", "poem, to choose the rate", "poem", "plays")

INTRODUCTION = """
A model of 155 thousand parameters predicts the next character of a text: 96 characters, of which it sees the last 64. It was trained on
Shakespeare's plays. On a microcontroller it learns from 100 KB of Milton's Paradise Lost, by LoRA of rank {rank} beside all dense layers in front
of the head, with one update for each row of 64 characters. The weights stay in flash. [The example](../examples/language/README.md) does it on an
emulated board by one command.

The model has three blocks that look back over six characters by a causal depthwise convolution, and one of attention with four heads; each
has a feed-forward part. Everything is INT8, the residual stream as well.
"""
ABOUT_COST = """
Bytes and instructions, built with `ram={ram}`: the compiler computes some values twice to train in so little. Instructions are those that QEMU
counts. The state after {checked} rows of training is the same on the host and on both boards.
"""
ABOUT_ACCURACY = """
Bits a character, less is better. Each row of 64 characters begins without a context and has 63 predictions. "Poem" are the 40 KB near its end, of
which nothing is trained on or chosen by; "plays" are some that the base model never saw: what is forgotten there. The rate is the best of {rates}
on the device, of {float_rates} for LoRA in float and of {all_rates} for all weights, each by a part of other 40 KB of the poem; {decay}. Every
second row of the poem is evaluated, every sixteenth of the plays.
"""
ABOUT_SAMPLES = """
{sample} characters behind "Of ", at a temperature of {temperature}, before and after one pass on the device:
"""


def table(headings: tuple[str, ...], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (list(headings), ["---"] * len(headings), *rows))


def page(costs: list[list[str]], found: dict[str, Found], samples: list[str]) -> str:
    rates, float_rates, all_rates = (", ".join(f"{r:g}" for r in of) for of in (RATES, FLOAT_RATES, ALL_RATES))
    words: dict[str, Any] = {
        "rank": RANK, "ram": RAM, "checked": CHECKED, "rates": rates, "float_rates": float_rates, "all_rates": all_rates,
        "sample": SAMPLE, "temperature": TEMPERATURE, "decay": "it falls to 0 linearly" if DECAY == "linear" else "it stays",
    }  # fmt: skip
    parts = [
        "# A language model",
        "    make bench-language",
        f"Printed on {datetime.date.today().isoformat()}.",
        wrapped(INTRODUCTION.format(**words)),
        "## Bits a character",
        wrapped(ABOUT_ACCURACY.format(**words)),
        table(ACCURACY_HEADINGS, [[name, *f.cells()] for name, f in found.items()]),
        "## Memory and work",
        wrapped(ABOUT_COST.format(**words)),
        table(COST_HEADINGS, costs),
        "## What it writes",
        wrapped(ABOUT_SAMPLES.format(**words)),
        *(f"```text\n{sample.rstrip()}\n```" for sample in samples),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--write", type=Path, help="also write the page")
    parser.add_argument("--long", action="store_true", help=f"also train in {PASSES} passes")
    parser.add_argument("--threads", type=int, default=5, help="trainings and builds at a time")
    arguments = parser.parse_args()

    def said(line: str) -> None:
        print(line, flush=True)

    t = texts()
    s = Sets.of(t)
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(arguments.threads) as pool:
        folder = Path(scratch)
        waiting = in_integers(s, built(folder / "learns", t.base), pool, arguments.long, said)
        costing = [pool.submit(costs_of, name, t, s, folder, said) for name in BOARDS]
        found = in_float(s, said)
        costs, ended = [task.result() for task in costing], waiting()
    names = {0: "nothing, INT8", 1: f"LoRA r={RANK}, INT8, on the device", PASSES: f"the same in {PASSES} passes"}
    found |= {names[e.passes]: e.found for e in ended}
    found = dict(sorted(found.items(), key=lambda item: not item[0].startswith("nothing")))
    made = page(costs, found, [e.sample for e in ended[:2]])
    print(made)
    if arguments.write:
        arguments.write.write_text(made)


if __name__ == "__main__":
    main()
