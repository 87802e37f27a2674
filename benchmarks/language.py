"""Language models that learn another author on a microcontroller: bits a character, memory and instructions, beside float training.

    make bench-language

The models, their texts and the float reference are those of `examples/language`; float training starts from the same weights, dequantised. Rates are
chosen on a part of the poem that is neither trained on nor reported. Training runs the generated C on the host, whose state is compared with
those of emulated boards after some rows. `--keep FILE` keeps every figure when it is known, and takes those that a run before has left there: a
run that was interrupted goes on; after a change of the code the file has to go. With `--known` nothing is measured, and the page
has the rows whose figures are there.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from threading import Lock
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from prose import broken, wrapped

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "language"))

import float_model
import float_training
from device import CHECKED, CONTEXT, DECAY, HERE, RAM, RANK, TEMPERATURE, alike, bits, built, fingerprint, writer, written
from onnx_file import weights_of
from text import Texts, texts, windows

import kilotune as kt

NAMES = {"base": "three convolutions, one attention", "convolutions": "four convolutions", "recurrent": "three recurrent units"}
BOARDS = {"cortex-m4": "qemu:mps2-an386", "cortex-m7": "qemu:mps2-an500"}
VARIANTS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("base", "cortex-m4", {}), ("base", "cortex-m4", {"backward_weights": "shared"}), ("base", "cortex-m7", {}),
    ("convolutions", "cortex-m4", {}), ("recurrent", "cortex-m4", {}), ("recurrent", "cortex-m4", {"backward_weights": "shared"}),
)  # fmt: skip
"""Builds whose cost is shown: model, core, options."""
RATES = {"base": (1.0, 1.4, 2.0), "convolutions": (1.0, 1.4, 2.0), "recurrent": (1.4, 2.0, 2.8)}
FLOAT_RATES, ALL_RATES = (1.0, 2.0, 4.0), (0.1, 0.2, 0.4)
"""Of LoRA on the device, of LoRA in float, and of all weights in float."""
PASSES, LONG_RATES, SAMPLE, DRAWS = 3, (0.7, 1.0, 1.4), 200, (0, 1, 2)
"""Passes of the longer training and its rates; characters of a sample of its text; draws of the order of the rows and, in float, of LoRA's A."""
EVALUATED = {"validation": 4, "test": 2, "old": 16}
"""Every so many-th row of each set."""

Rows = NDArray[np.int8]
Figures = list[float]
"""Bits a character of the three sets that are not trained on: to choose rates by, to report, and of plays."""


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

    def judged(self, by: Callable[[Rows], float]) -> Figures:
        return [by(rows) for rows in (self.validation, self.test, self.old)]


class Kept:
    """Figures by what they are of, in a file where one is named: a run that was interrupted goes on. known: what is not there is None."""

    def __init__(self, file: Path | None, known: bool) -> None:
        self.file, self.known, self.lock, self.missing = file, known, Lock(), 0
        self.found: dict[str, Any] = json.loads(file.read_text()) if file is not None and file.exists() else {}
        self.several = bool(self.found)

    def of(self, what: str, make: Callable[[], Any]) -> Any:
        if self.known:
            self.missing += what not in self.found
            return self.found.get(what)
        if what not in self.found:
            made = make()
            with self.lock:
                self.found[what] = made
                print(f"{what}: {made}", flush=True)
                if self.file is not None:
                    self.file.write_text(json.dumps(self.found, indent=1))
        return self.found[what]


class Builds:
    """Builds for training, each made once."""

    def __init__(self, folder: Path, t: Texts) -> None:
        self.folder, self.t = folder, t
        self.made: dict[str, kt.Build] = {}
        self.locks: dict[str, Lock] = {}
        self.lock = Lock()

    def of(self, model: str, core: str, options: dict[str, Any], make: Callable[..., kt.Build] = built) -> kt.Build:
        name = "_".join((make.__name__, model, core, *map(str, options.values())))
        with self.lock:
            lock = self.locks.setdefault(name, Lock())
        with lock:
            if name not in self.made:
                self.made[name] = make(self.folder / name, self.t.base, model=HERE / f"{model}.onnx", target=core, **options)
            return self.made[name]


# -- bits a character ---------------------------------------------------------------------------------
def best(found: dict[float, Figures | None]) -> tuple[float, Figures] | None:
    """The rate with the fewest bits on the part that rates are chosen by; None where not all are known."""
    every = {rate: figures for rate, figures in found.items() if figures is not None}
    return min(every.items(), key=lambda item: item[1][0]) if len(every) == len(found) else None


Entry = tuple[float | None, Figures] | None


def in_float(model: str, s: Sets, kept: Kept, everything: bool) -> dict[str, Entry]:
    """Nothing trained, LoRA, and where asked for all weights."""
    a = float_model.MODELS[model]
    p = {k: jnp.asarray(w) for k, w in weights_of((HERE / f"{model}.onnx").read_bytes()).items()}
    untrained = kept.of(f"{model}, nothing, in float", lambda: s.judged(lambda rows: float_model.bits(a, p, rows)))
    found: dict[str, Entry] = {"nothing, in float": None if untrained is None else (None, untrained)}
    kinds = [(f"LoRA r={RANK}, in float", float_model.lora(a, RANK), FLOAT_RATES)] + [("all weights, in float", {}, ALL_RATES)] * everything
    for name, added, rates in kinds:

        def trained(rate: float, added: float_model.Parameters = added) -> Figures:
            q = float_training.trained(a, p, added, s.trained, rate)
            return s.judged(lambda rows: float_model.bits(a, q, rows))

        found[name] = best({rate: kept.of(f"{model}, {name}, rate {rate:g}", lambda rate=rate: trained(rate)) for rate in rates})
    return found


def draws_in_float(model: str, rate: float, s: Sets, kept: Kept) -> list[Figures | None]:
    """LoRA in float with each order of the rows and another A."""
    a = float_model.MODELS[model]
    p = {k: jnp.asarray(w) for k, w in weights_of((HERE / f"{model}.onnx").read_bytes()).items()}

    def of(seed: int) -> Figures:
        q = float_training.trained(a, p, float_model.lora(a, RANK, seed), s.trained, rate, seed=seed)
        return s.judged(lambda rows: float_model.bits(a, q, rows))

    first = f"{model}, LoRA r={RANK}, in float, rate {rate:g}"
    return [kept.of(first if seed == 0 else f"{first}, draw {seed}", lambda seed=seed: of(seed)) for seed in DRAWS]


def learned(build: kt.Build, s: Sets, rate: float, passes: int, seed: int = 0) -> Figures:
    """LoRA from the base model on, or with no pass the base model."""
    with build.open("host") as device:
        if passes:
            device.fit(s.trained, epochs=passes, learning_rate=rate, decay=DECAY, hold_out=0, seed=seed, progress=False)
        return s.judged(lambda rows: bits(device, rows))


def on_device(model: str, rate: float, passes: int, s: Sets, builds: Builds, kept: Kept, seed: int = 0, units: bool = False) -> Figures | None:
    """LoRA on the device, or with no pass nothing trained."""
    what = f"{model}{', its units' * units}, INT8, {passes} passes at {rate:g}, order {seed}"
    options = {"units": True} if units else {}
    made: Figures | None = kept.of(what, lambda: learned(builds.of(model, "cortex-m4", options), s, rate, passes, seed))
    return made


def in_one_pass(model: str, s: Sets, builds: Builds, kept: Kept) -> dict[str, Any]:
    """Nothing trained, the best rate, and other orders of the rows."""

    def of(rate: float, passes: int, seed: int = 0) -> Figures | None:
        return on_device(model, rate, passes, s, builds, kept, seed)

    one, nothing = best({r: of(r, 1) for r in RATES[model]}), of(0, 0)
    found: dict[str, Any] = {"nothing": None if nothing is None else (None, nothing), "one": one}
    if one is not None:
        found["draws"] = [of(one[0], 1, seed) for seed in DRAWS]
    if model == "recurrent":
        found["units"] = best({r: on_device(model, r, 1, s, builds, kept, units=True) for r in RATES[model]})
    return found


# -- cost ---------------------------------------------------------------------------------------------
def costs_of(model: str, core: str, options: dict[str, str], s: Sets, builds: Builds) -> dict[str, Any]:
    """Of a build. Its state after some rows of training is the host's; the build that writes gives the bits of whole rows, with what was learned."""
    build, pen = builds.of(model, core, options), builds.of(model, core, {}, writer)
    memory, kept = build.report["memory"], pen.report["memory"]
    found = {
        "flash": build.report["flash"]["total"], "arena": memory["train_arena"], "state": memory["state"], "total": memory["train_total"],
        "pen flash": pen.report["flash"]["total"], "pen memory": kept["infer_arena"] + kept["state"],
    }  # fmt: skip
    with build.open("host") as host, pen.open("host") as near:
        found["hash"] = fingerprint(host, s.trained[:CHECKED])
        for row in s.trained[:CHECKED]:
            host.train_step(row)
        adapter = host.export_adapter()
        near.load_adapter(adapter)
        if not alike(host, near, s.test[:4]):
            raise SystemExit(f"{model}: a character a call gives other results than all at once")
    with build.open(BOARDS[core], count=True) as device:
        device.infer(s.trained[:1])
        found["forward"] = int(device.stats()["instructions"])
        device.train_step(s.trained[0])
        found["step"] = int(device.stats()["instructions"])
        device.reset()
        if fingerprint(device, s.trained[:CHECKED]) != found["hash"]:
            raise SystemExit(f"{BOARDS[core]} and the host have other states after {CHECKED} rows")
    with pen.open(BOARDS[core], count=True) as device:
        counts = []
        for token in s.trained[0]:
            device.infer(token.reshape(1, 1))
            counts.append(int(device.stats()["instructions"]))
        found["character"] = sum(counts) // len(counts)
    return found


def samples_of(s: Sets, builds: Builds, rate: float) -> list[str]:
    """What the base model writes before and after one pass."""
    with builds.of("base", "cortex-m4", {}).open("host") as device, builds.of("base", "cortex-m4", {}, writer).open("host") as pen:
        before = written(pen, SAMPLE)
        device.fit(s.trained, epochs=1, learning_rate=rate, decay=DECAY, hold_out=0, progress=False)
        pen.load_adapter(device.export_adapter())
        return [before, written(pen, SAMPLE)]


# -- the page -----------------------------------------------------------------------------------------
ACCURACY_HEADINGS = ("model", "trained", "rate", "poem, to choose the rate", "poem", "plays")
UNITS = "the same and LoRA in the units"
PASSED = f"the same in {PASSES} passes"
DRAW_HEADINGS = ("model", "LoRA on the device", "LoRA in float", "difference")
COST_HEADINGS = (
    "model", "core", "flash", "training arena", "state", "arena + state", "instructions of a training step",
    "of 64 characters", f"state after {CHECKED} rows",
)  # fmt: skip
WRITING_HEADINGS = ("model", "core", "flash", "arena + state", "instructions a character", "of all 64", "times fewer")

SEVERAL = "Figures were kept as they were finished, in several runs (`--keep`)."
UNFINISHED = "The command was stopped before it had measured everything: rows of {count} figures are left out."
INTRODUCTION = """
Models of 150 thousand parameters predict the next character of a text: 96 characters, of which they see the last 64. They were trained on
Shakespeare's plays. On a microcontroller they learn from 100 KB of Milton's Paradise Lost, by LoRA of rank {rank} beside all dense layers in front
of the head, with one update for each row of 64 characters. The weights stay in flash. [The example](../examples/language/README.md) does it on an
emulated board by one command.

The base model has three blocks that look back over six characters by a causal depthwise convolution, and one of attention with four heads; a second
one has convolutions alone, a third gated recurrent units, which LoRA is put around: gradients go through them, through time. In one row LoRA is
beside what the units multiply their input by, too; their recurrent weights stay. Each block has a feed-forward part. Weights and activations are
INT8; the residual stream, to which blocks add, has 16 bits.
"""
ABOUT_ACCURACY = """
Bits a character, less is better. Each row of 64 characters begins without a context and has 63 predictions. "Poem" are the 40 KB near its end, of
which nothing is trained on or chosen by; "plays" are some that the base model never saw: what is forgotten there. The rate is the best of {rates}
on the device{long_rates}, of {float_rates} for LoRA in float and of {all_rates} for all weights, each by a part of other 40 KB of the poem; it
falls to 0 linearly. Every second row of the poem is evaluated, every sixteenth of the plays.
"""
ABOUT_DRAWS = """
The figures above are of one order of the rows, in which a training on the device is the same everywhere. Below are {count} orders, each at the rate
above, and in float with another A of LoRA for each: mean ± standard deviation on the poem, and by how much the device is above float.
"""
ABOUT_COST = """
Bytes and instructions, built with `ram={ram}`: the compiler computes some values twice to train in so little. Instructions are those that QEMU
counts. The state after {checked} rows of training is the same on the host and on the board. Where the budget leaves no room for the fastest kernel
of a layer it gets another, and the report of a build says so.
"""
ABOUT_SHARED = """With "shared weights" gradients read the weights of inference, where a second, transposed copy of them is faster and takes flash."""
ABOUT_WRITING = """
Another build of the same model, with `by_position=True`, infers one character a call. It keeps the last inputs of convolutions, the keys and values
of attention and the state of recurrent units, and takes what was learned as an adapter. From a reset on it has the bits of 64 characters at once,
which is checked here, with an adapter; behind them attention sees the last 64. "Times fewer" is against all 64 for each character.
"""
ABOUT_SAMPLES = """
{sample} characters of the base model behind "Of ", at a temperature of {temperature}, before and after one pass on the device:
"""


def table(headings: Sequence[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (list(headings), ["---"] * len(headings), *rows))


def accuracy_rows(model: str, floats: dict[str, Entry], device: dict[str, Any]) -> list[list[str]]:
    first = "nothing, in float"
    entries: list[tuple[str, Entry]] = [
        (first, floats[first]), ("nothing, INT8", device["nothing"]), *((name, floats[name]) for name in floats if name != first),
        (f"LoRA r={RANK}, INT8, on the device", device["one"]), (UNITS, device.get("units")), (PASSED, device.get("long")),
    ]  # fmt: skip
    known = [(name, *entry) for name, entry in entries if entry is not None]
    return [[NAMES[model], name, "" if rate is None else f"{rate:g}", *(f"{b:.3f}" for b in found)] for name, rate, found in known]


def cost_rows(costs: list[dict[str, Any] | None]) -> tuple[list[list[str]], list[list[str]]]:
    learning, writing = [], []
    for (model, core, options), c in zip(VARIANTS, costs, strict=True):
        if c is None:
            continue
        name = ", ".join((NAMES[model], *(f"{weights} weights" for weights in options.values())))
        numbers = [f"{int(c[k]):,}" for k in ("flash", "arena", "state", "total", "step", "forward")]
        learning.append([name, core, *numbers, f"`{c['hash']}`"])
        if not options:
            figures = [f"{int(c[k]):,}" for k in ("pen flash", "pen memory", "character", "forward")]
            writing.append([NAMES[model], core, *figures, f"{c['forward'] / c['character']:.1f}"])
    return learning, writing


def draw_rows(model: str, device: dict[str, Any], floats: list[Figures | None]) -> list[list[str]]:
    """What other orders of the rows make of a model, where they are known."""
    ours, theirs = ([found[1] for found in every if found is not None] for every in (device.get("draws", []), floats))
    if min(len(ours), len(theirs)) < len(DRAWS):
        return []
    return [[NAMES[model], *(f"{mean(x):.3f} ± {stdev(x):.3f}" for x in (ours, theirs)), f"{mean(ours) - mean(theirs):.3f}"]]


def page(accuracy: list[list[str]], draws: list[list[str]], costs: list[dict[str, Any] | None], samples: list[str], kept: Kept) -> str:
    words: dict[str, Any] = {"rank": RANK, "ram": RAM, "checked": CHECKED, "sample": SAMPLE, "temperature": TEMPERATURE, "count": len(DRAWS)}
    words |= {n: ", ".join(f"{r:g}" for r in of) for n, of in (("float_rates", FLOAT_RATES), ("all_rates", ALL_RATES))}
    words["long_rates"] = f" ({', '.join(f'{r:g}' for r in LONG_RATES)} in {PASSES} passes)" if any(PASSED in row for row in accuracy) else ""
    trained = {row[0] for row in accuracy if "on the device" in row[1]}
    words["rates"] = "; ".join(f"{', '.join(f'{r:g}' for r in of)} ({NAMES[model]})" for model, of in RATES.items() if NAMES[model] in trained)
    learning, writing = cost_rows(costs)
    printed = [f"Printed on {datetime.date.today().isoformat()}.", *([SEVERAL] if kept.several else [])]
    printed += [UNFINISHED.format(count=kept.missing)] if kept.missing else []
    shared = ABOUT_SHARED if any("shared weights" in row[0] for row in learning) else ""
    parts = [
        "# A language model",
        "    make bench-language",
        wrapped(" ".join(printed)),
        wrapped(INTRODUCTION.format(**words)),
        "## Bits a character",
        wrapped(ABOUT_ACCURACY.format(**words)),
        table(ACCURACY_HEADINGS, accuracy),
        *([wrapped(ABOUT_DRAWS.format(**words)), table(DRAW_HEADINGS, draws)] if draws else []),
        "## Learning: memory and work",
        wrapped(f"{ABOUT_COST.format(**words)} {shared}"),
        table(COST_HEADINGS, learning),
        "## Writing: a character a call",
        wrapped(ABOUT_WRITING.format(**words)),
        table(WRITING_HEADINGS, writing),
        "## What it writes",
        wrapped(ABOUT_SAMPLES.format(**words)),
        *(f"```text\n{broken(sample)}\n```" for sample in samples),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--write", type=Path, help="also write the page")
    parser.add_argument("--long", action="store_true", help=f"also train in {PASSES} passes")
    parser.add_argument("--keep", type=Path, help="a file of figures: known ones are taken from it, others added")
    parser.add_argument("--known", action="store_true", help="measure nothing: print what the file has")
    parser.add_argument("--threads", type=int, default=2, help="trainings and builds at a time")
    arguments = parser.parse_args()
    t, kept = texts(), Kept(arguments.keep, arguments.known)
    s = Sets.of(t)
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(arguments.threads) as pool:
        builds = Builds(Path(scratch), t)
        costing = [
            pool.submit(kept.of, f"cost of {' '.join((model, core, *options.values()))}", lambda v=(model, core, options): costs_of(*v, s, builds))
            for model, core, options in VARIANTS
        ]
        training = [pool.submit(in_one_pass, model, s, builds, kept) for model in NAMES]
        long = [pool.submit(on_device, "base", rate, PASSES, s, builds, kept) for rate in LONG_RATES if arguments.long]
        floats = {model: in_float(model, s, kept, model == "base") for model in NAMES}
        devices = dict(zip(NAMES, (task.result() for task in training), strict=True))
        devices["base"]["long"] = best(dict(zip(LONG_RATES, (task.result() for task in long), strict=False))) if long else None
        costs = [task.result() for task in costing]
        samples = kept.of("samples", lambda: samples_of(s, builds, devices["base"]["one"][0])) or []
    lora = {model: floats[model][f"LoRA r={RANK}, in float"] for model in NAMES}
    draws = [row for model, entry in lora.items() if entry for row in draw_rows(model, devices[model], draws_in_float(model, entry[0] or 0, s, kept))]
    accuracy = [row for model in NAMES for row in accuracy_rows(model, floats[model], devices[model])]
    made = page(accuracy, draws, costs, samples, kept)
    print(made)
    if arguments.write:
        arguments.write.write_text(made)


if __name__ == "__main__":
    main()
