"""Instructions of inference and of a training step on 64-bit Arm, with the kernels for NEON and with portable C.

    make bench-arm64

A computer with such a processor is not needed: programs of Linux, made by aarch64-linux-gnu-gcc, run under qemu-aarch64, which says each block of
instructions that it executes. Two steps, and the difference to none. That is not time: how many a processor issues at once is not in it.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click
from host import METHODS, MODELS, USUAL
from prose import wrapped
from scenarios import DATA
from speed import table

import kilotune as kt
from kilotune import compilers, host_runtime, resources
from kilotune.devices.manifest import Manifest

SESSION = Path(__file__).parent / "arm64" / "session.c"
EMULATOR = "qemu-aarch64"
TARGET = "cortex-m4"
STEPS = 2
FIRST = {"biases": (13.43, 23.38), "LoRA r=4": (16.22, 28.82), "ScaleShift": (21.05, 36.81), "Full": (55.75, 92.83)}
"""Millions of instructions of DS-CNN, inference and a step with its update, before the host had kernels of its own: of commit 092db739, counted as
here, with the flags that the host had (-O3)."""
TIMES = 5.0
"""How many times less DS-CNN is to take."""


WAYS = {"portable": ("portable", ()), "vector": ("vector", ()), "dot": ("vector", (host_runtime.DOT_PRODUCTS,))}
"""Kernels of the host, and flags beyond theirs."""


@dataclass(frozen=True)
class Row:
    """Instructions of a build by one of `WAYS`: inference, a step with its update."""

    model: str
    method: str
    inference: dict[str, int]
    step: dict[str, int]


def program(build: kt.Build, way: str, output: Path) -> Path:
    """The session with a model, by the flags of the host engine."""
    kernels, beyond = WAYS[way]
    manifest, folder = Manifest.load(build.directory), build.directory
    compiler = compilers.tool_of(("aarch64-linux-gnu-gcc",), "gcc-aarch64-linux-gnu libc6-dev-arm64-cross").program
    vector = kernels == "vector"
    sources = [host_runtime.source(name) if vector and name.startswith("runtime") else folder / name for name in manifest.sources]
    include = [resources.runtime() / "include", *(folder / name for name in manifest.include)]
    flags = ["-std=c99", "-ffp-contract=off", *host_runtime.optimization(kernels, compiler), *beyond, *(["-DKT_VECTOR=1"] if vector else [])]
    command = [compiler, *flags, *(f"-I{path}" for path in include), str(SESSION), *map(str, sources), "-static", "-lm", "-o", str(output)]
    subprocess.run(command, check=True)
    return output


def executed(path: Path, inference: int, steps: int) -> int:
    """Instructions of a whole program: QEMU lists those of each block when it translates it, and says where each block begins that it runs."""
    emulator = compilers.tool_of((EMULATOR,), "qemu-user").program
    command = [emulator, "-d", "in_asm,exec,nochain", "-D", "/dev/stdout", str(path), str(inference), str(steps)]
    sizes, total, start = dict[int, int](), 0, -1
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith(b"Trace"):
                total += sizes[int(line.split(b"/")[1], 16)]
            elif line.startswith(b"IN:"):
                start = -1
            elif line.startswith(b"0x"):
                start = int(line.split(b":")[0], 16) if start < 0 else start
                sizes[start] = 1 if int(line.split(b":")[0], 16) == start else sizes[start] + 1
    if running.returncode != 0:
        raise SystemExit(f"{path.name} ended with {running.returncode}")
    return total


def counted(name: str, method: str) -> Row:
    inference, step = dict[str, int](), dict[str, int]()
    with tempfile.TemporaryDirectory() as folder:
        model = kt.load(DATA / "models" / f"{name}.tflite")
        loss = kt.MeanSquaredError(target="input") if name == "ad01_int8" else "cross_entropy"
        build = kt.build(model, Path(folder) / "build", method=METHODS[method], target=TARGET, loss=loss, name="model", measure=False)
        for way in WAYS:
            path = program(build, way, Path(folder) / way)
            none = executed(path, 0, 0)
            inference[way] = executed(path, 1, 0) - none
            step[way] = (executed(path, 0, STEPS) - none) // STEPS
    return Row(MODELS[name], method, inference, step)


def page(rows: list[Row]) -> str:
    """docs/arm64.md."""
    columns = ["C", "vectors", "times", "dot products", "times"]
    head = ["model", "trained", *(f"{'inference, ' if column == 'C' else ''}{column}" for column in columns), "step, C", *columns[1:]]
    body = [[r.model, r.method, *cells(r.inference), *cells(r.step)] for r in rows]
    return "\n".join(
        ["# The host on 64-bit Arm", "", wrapped(ABOUT.format(date=datetime.date.today())), "", *table(head, body), "", *since(rows), ""]
    )


def since(rows: list[Row]) -> list[str]:
    """DS-CNN beside what it took before the host had kernels of its own."""
    head = ["DS-CNN, trained", "inference, then", "vectors", "dot products", "step, then", "vectors", "dot products"]
    body = [[r.method, *times(FIRST[r.method][0], r.inference), *times(FIRST[r.method][1], r.step)] for r in rows if r.model == "DS-CNN"]
    return [wrapped(SINCE).strip(), "", *table(head, body)] if body else []


def times(first: float, now: dict[str, int]) -> list[str]:
    """How many times less than that a computer takes now."""
    found = [first / (now[way] / 1e6) for way in ("vector", "dot")]
    return [f"{first:.2f}", *(f"{few:.1f} {'met' if few >= TIMES else 'missed'}" for few in found)]


def cells(of: dict[str, int]) -> list[str]:
    """Millions of instructions; how many times less than portable C takes."""
    found = [f"{of['portable'] / 1e6:.2f}"]
    for way in ("vector", "dot"):
        found += [f"{of[way] / 1e6:.2f}", f"{of['portable'] / of[way]:.1f}"]
    return found


ABOUT = """
Made by `make bench-arm64` on {date}: millions of instructions of one sample, on a computer with a 64-bit Arm processor, of builds for a Cortex-M4,
which the host runs ([The host](host.md)). Counted under qemu-aarch64, of programs by aarch64-linux-gnu-gcc with the flags of the host engine: -O3
for portable C, which the compiler turns into vectors where it can, and -O2 for what is written in them. "Dot products" are those of processors that
have the instruction of that name, as most since 2018 have: the host asks for it where it runs on one. A step is followed by its update.
Instructions are not time: NEON has vectors of 128 bits, AVX2 of 256, and how many a processor issues at once is not in it. That the bits are those
of portable C is tested with every kernel (`tests/ops/test_vectors_of_arm.py`) and a model that is trained (`tests/deploy/test_host_kernels.py`).
"""

SINCE = """
Beside the millions of instructions that DS-CNN took before the host had kernels of its own, in portable C of that time by the same compiler with -O3:
how many times less it takes now, aimed at five times.
"""


@click.command()
@click.option("--model", "names", multiple=True, type=click.Choice(list(MODELS)), help="Model to count; all without it.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the page.")
def main(names: tuple[str, ...], write: Path | None) -> None:
    """Count and print."""
    pairs = [(name, method) for name in names or MODELS for method in (METHODS if name == "kws_dscnn_int8" else USUAL)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(lambda pair: counted(*pair), pairs))
    text = page(rows)
    print(text)
    if write:
        write.write_text(text, encoding="utf-8")
    if " missed |" in text:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
