"""Processor time of inference and of a training step on this computer, with the kernels for its vectors and with portable C.

    .venv/bin/python benchmarks/host.py --write docs/host.md

Time that the process used, the least of several repetitions, of one sample at a time on one core, with what Python does for a call; and the time to
build the library of a model, with nothing in the cache and with the runtime's objects in it.
"""

from __future__ import annotations

import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from scenarios import DATA

import kilotune as kt
from kiloc.peft import Method
from kilotune import host_runtime, toolchain

MODELS = {
    "kws_dscnn_int8": "DS-CNN",
    "ic_resnet8_int8": "ResNet-8",
    "person_detect_int8": "person_detect",
    "ad01_int8": "AD",
    "fsdd_tinytx_int8": "transformer",
}
METHODS: dict[str, list[Method]] = {
    "biases": [kt.BiasOnly()],
    "LoRA r=4": [kt.LoRA(rank=4, layers="all")],
    "ScaleShift": [kt.ScaleShift()],
    "Full": [kt.Full()],
}
USUAL = ("biases", "LoRA r=4")
TARGETS = {"cortex-m4": tuple(MODELS), "cortex-m55": ("kws_dscnn_int8",), "cortex-m0plus": ("kws_dscnn_int8",)}
"""Builds for these cores, which the host runs: each has kernels of its own. All methods on DS-CNN, the usual ones on others."""


@dataclass(frozen=True)
class Times:
    """Milliseconds."""

    inference: float
    step: float


def least(action: Callable[[int], object], count: int, repetitions: int) -> float:
    """Milliseconds of one of `count` calls, in the fastest of the repetitions."""
    found = []
    for _ in range(repetitions):
        start = time.process_time_ns()
        for i in range(count):
            action(i)
        found.append((time.process_time_ns() - start) / count / 1e6)
    return min(found)


def measured(build: kt.Build, kernels: str, repetitions: int) -> Times:
    with build.open(kernels=kernels, threads=1) as device:
        shape = device.manifest.inputs[0].sample_shape
        x = np.random.default_rng(0).integers(-128, 128, (8, *shape)).astype(np.int8)
        label = None if device.manifest.targets == "input" else 0
        count = 4 if kernels == "portable" else 12

        def step(i: int) -> None:
            device.train_step(x[i % 8], label)
            device.apply()

        return Times(least(lambda i: device.infer(x[i % 8 : i % 8 + 1]), count, repetitions), least(step, count, repetitions))


def build_seconds(builds: list[kt.Build], kernels: str) -> list[float]:
    """Of the processor: the libraries of these builds one after the other, which share a cache that is empty at first."""
    kept, found = os.environ.get("KILOTUNE_CACHE"), []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KILOTUNE_CACHE"] = folder
        try:
            for build in builds:
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                toolchain.host_library(build.directory, kernels)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        finally:
            os.environ.pop("KILOTUNE_CACHE")
            if kept is not None:
                os.environ["KILOTUNE_CACHE"] = kept
    return found


def row(title: str, method: str, target: str, portable: Times, vector: Times) -> str:
    def three(of: str) -> str:
        before, after = getattr(portable, of), getattr(vector, of)
        return f"{before:.2f} | {after:.3f} | {before / after:.1f}"

    return f"| {title} | {method} | {target} | {three('inference')} | {three('step')} |"


HEAD = """| model | trained | built for | inference, C | vectors | times | step, C | vectors | times |
|---|---|---|---|---|---|---|---|---|"""

PAGE = """# The host

A model runs on this computer as on a board: the same C, the same graph, the same bits. Search, federations
of many devices and tests run there, so it has kernels of its own, in vectors (AVX2, SSE2, NEON, or
what gcc and clang make of their vector types elsewhere). They give the bits of portable C, which
`device = build.open(kernels="portable")` runs; `device.kernels` says which ones a device has.
[Kernels](internals/kernels.md) says how they work, and [64-bit Arm](arm64.md) what NEON saves.

Milliseconds of the processor for one sample, the least of {repetitions} repetitions, on one core of
{machine}, with what Python does for a call. "Built for" is the core that the build is for:
the host reads its packed constants. A step is followed by its update. `make bench-host` prints
this page.

{table}

Kernels without vectors run in portable C: Winograd's transform, recurrent layers, layers of int16
activations, pools and means, tables, softmax, PReLU, maximum and minimum, normalisations that are
one operator; of trained layers the making of merged weights and, on Cortex-M0, M0+ and M3, the
share that LoRA adds to a position. There the planes of depthwise layers are laid out in portable C,
too, and gradients that share weights with inference scale what they read.

`infer`, `predict` and `evaluate` take several samples at once on several cores, each thread in
memory of its own, where samples do not depend on each other; `build.open(threads=1)` takes one
after the other. Steps of a training follow each other.

Seconds of the processor to build the library of DS-CNN: with LoRA in an empty cache, then with
biases, which shares objects of the runtime with the first.

| kernels | with LoRA | then with biases |
|---|---|---|
{builds}
"""


def page(rows: list[str], builds: list[str], repetitions: int) -> str:
    machine = f"{processor()} ({platform.machine()}), {' '.join(host_runtime.machine_flags('gcc')) or 'the vectors that all of its kind have'}"
    return PAGE.format(table="\n".join([HEAD, *rows]), builds="\n".join(builds), repetitions=repetitions, machine=machine)


def processor() -> str:
    """As the system names it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor() or "a processor")


@click.command()
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Page to write, docs/host.md.")
@click.option("--repetitions", default=7, show_default=True, help="Of which the fastest counts.")
@click.option("--model", "names", multiple=True, type=click.Choice(list(MODELS)), help="Model to measure; all without it.")
def main(write: Path | None, repetitions: int, names: tuple[str, ...]) -> None:
    """Print the page, or write it."""
    rows, first = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for target, models in TARGETS.items():
            for name in models:
                path = DATA / "models" / f"{name}.tflite"
                if (names and name not in names) or not path.is_file():
                    continue
                loss = kt.MeanSquaredError(target="input") if name == "ad01_int8" else "cross_entropy"
                for method, methods in METHODS.items():
                    if method not in USUAL and name != "kws_dscnn_int8":
                        continue
                    made = Path(folder) / f"{name}-{target}-{len(rows)}"
                    build = kt.build(kt.load(path), made, method=methods, target=target, measure=False, loss=loss)
                    times = [measured(build, kernels, repetitions) for kernels in ("portable", "vector")]
                    rows.append(row(MODELS[name], method, target, *times))
                    Console(stderr=True).print(rows[-1])
                    first.setdefault((name, target), []).append(build)
        pair = next(iter(first.values()))[1::-1]
        builds = [f"| {kernels} | " + " | ".join(f"{s:.1f}" for s in build_seconds(pair, kernels)) + " |" for kernels in host_runtime.KERNELS]
    text = page(rows, builds, repetitions)
    if write:
        write.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
