"""Seconds of a processor that builds take, by model and method, and how they grow with the number of layers.

    make bench-compile-time

Seconds of a processor, not of a clock: what runs beside it does not count. "compiler" is kilotune itself, from the model's file to the sources,
the plans and the report. "C compiler, first" is what gcc and the linker take for the report's size of code and stack where nothing was built
before, "again" where the kernels are in the cache and the model has changed: then its own file is compiled, and linked. The search that
`front` asks for (`--front`), what computing values twice would save, is in the last column alone, the compiler's time in a process that has built
before. To start (import) the package comes on top.

A chain of depthwise and pointwise convolutions of 16 channels shows the growth: "a layer" is the compiler's time of the row divided by its
layers.
"""

from __future__ import annotations

import datetime
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import speed
from layer_chain import layer_chain
from prose import wrapped
from rich.console import Console

import kilotune as kt
from kiloc.export import WRITERS
from kiloc.peft import Method

DATA = Path(os.environ.get("KILOTUNE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
METHODS: dict[str, list[Method]] = {
    "bias all": [kt.BiasOnly()],
    "LoRA r=4 all": [kt.LoRA(rank=4, layers="all")],
    "full": [kt.Full()],
    "bias + LoRA r=4 last 2": [kt.BiasOnly(), kt.LoRA(rank=4, layers="last:2")],
}
MODELS = (
    ("kws_dscnn_int8", "bias + LoRA r=4 last 2"),
    ("ic_resnet8_int8", "bias all"),
    ("person_detect_int8", "bias all"),
    ("person_detect_int8", "LoRA r=4 all"),
    ("person_detect_int8", "full"),
    ("mcunet_vww_int8", "bias all"),
)
LAYERS = (25, 50, 100, 200)
CHAINS = ("bias all", "LoRA r=4 all", "full")
HEADINGS = ("model", "method", "compiler", "C compiler, first", "again", "with `front`")
OF_CHAINS = ("layers", "method", "compiler", "a layer", "C compiler, first")


def seconds(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def built(model: kt.Model, method: str, **options: Any) -> tuple[float, float]:
    """Of kilotune and of the programs that it runs."""
    before = seconds(resource.RUSAGE_SELF), seconds(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        kt.build(model, Path(folder) / "build", method=METHODS[method], **options)
    return seconds(resource.RUSAGE_SELF) - before[0], seconds(resource.RUSAGE_CHILDREN) - before[1]


def alone(path: Path, method: str, further: bool) -> list[float]:
    """In a process with a cache of its own: compiler and C compiler, and if `further` the C compiler again and the compiler with the front."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, __file__, "--one", str(path), method, *(["--further"] if further else [])]
        done = subprocess.run(command, env={**os.environ, "KILOTUNE_CACHE": cache}, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def one(path: Path, method: str, further: bool) -> list[float]:
    model = kt.load(path)
    found = list(built(model, method))
    if further:
        found.append(built(model, method, seed=1)[1])
        found.append(built(model, method, measure=False, front=True)[0])
    return found


def started() -> float:
    """Seconds that importing the package takes."""
    before = seconds(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import kilotune"], check=True)
    return seconds(resource.RUSAGE_CHILDREN) - before


def model_rows() -> list[list[str]]:
    found = []
    for name, method in MODELS:
        times = alone(DATA / "models" / f"{name}.tflite", method, True)
        found.append([name, method, *(f"{t:.2f} s" for t in times)])
    return found


def chain_rows(layers: Sequence[int]) -> list[list[str]]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for method in CHAINS:
            for count in layers:
                path = Path(folder) / f"chain_{count}.tflite"
                path.write_bytes(WRITERS[".tflite"](layer_chain(count)))
                compiler, c = alone(path, method, False)
                found.append([str(count), method, f"{compiler:.2f} s", f"{1000 * compiler / count:.0f} ms", f"{c:.2f} s"])
    return found


@click.command()
@click.option("--one", "single", nargs=2, default=None, hidden=True)
@click.option("--further", is_flag=True, hidden=True)
@click.option("--layers", type=int, multiple=True, default=LAYERS, show_default=True, help="Layers of the chains.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the tables as Markdown too.")
def main(single: tuple[str, str] | None, further: bool, layers: tuple[int, ...], write: Path | None) -> None:
    """Build, and print the tables."""
    if single:
        print(*one(Path(single[0]), single[1], further))
        return
    lines = [
        f"Importing the package takes {started():.2f} s.",
        "",
        *speed.table(HEADINGS, model_rows()),
        "",
        *speed.table(OF_CHAINS, chain_rows(layers)),
    ]
    Console(width=240, soft_wrap=True).print("\n".join(lines), markup=False, highlight=False)
    if write:
        body = wrapped((__doc__ or "").split("make bench-compile-time", 1)[1])
        when = f"Printed by `make bench-compile-time` on {datetime.date.today().isoformat()}."
        write.write_text("\n".join(["# Time of a build", "", when, "", body, "", *lines]).rstrip() + "\n")


if __name__ == "__main__":
    main()
