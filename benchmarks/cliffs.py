"""Instructions a MAC of single layers of every size on every core, counted exactly under QEMU: where a kernel has a hole, it shows here.

    make bench-cliffs                                  a core of each kind and fewer sizes; writes docs/cliffs.md
    .venv/bin/python benchmarks/cliffs.py --core m7    every size of one core

A layer is a model of its own, as `kilotune build` compiles it without a budget. Layers of one core run in few programs, side by side.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
import speed
from prose import wrapped

from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph
from kiloc.ir.types import Quantization, activation
from kiloc.ir.verify import verify
from kiloc.ops._window import Window, same_padding
from kiloc.ops.model._linear import Linear
from kiloc.ops.model.conv_2d import Conv2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.ops.model.fully_connected import FullyConnected
from kiloc.options import Options
from kiloc.pipeline import Compilation, compile_graph
from kiloc.report.kernels import kernels
from kilotune import runtime_files

CHANNELS = (1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 64, 80, 100, 127, 128, 129, 144, 200, 255, 256, 300, 512)
FEW_CHANNELS = (1, 3, 8, 17, 80, 144, 256, 300, 512)
HEIGHTS = (48, 24, 16, 12, 8, 6, 4, 2, 1)
MOST_MACS = 400_000
MOST_VALUES = 1 << 16
MOST_WEIGHTS = 1 << 16
LARGEST_BATCH = 48, 1_000_000
"""Layers of one program, and bytes of their weights."""


@dataclass(frozen=True)
class Layer:
    """kind: "conv", "depthwise" or "fully". channels, outputs: of the image and of the result. size: rows and columns of the image."""

    kind: str
    channels: int
    outputs: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    size: tuple[int, int] = (1, 1)
    dilation: int = 1
    relu: bool = True
    valid: bool = False

    @property
    def window(self) -> Window:
        pad = (0, 0, 0, 0)
        if not self.valid:
            (top, bottom), (left, right) = (same_padding(self.size[i], self.kernel[i], self.stride, self.dilation) for i in (0, 1))
            pad = (top, left, bottom, right)
        return Window(self.kernel, (self.stride, self.stride), pad, (self.dilation, self.dilation))

    @property
    def weights(self) -> int:
        return self.kernel[0] * self.kernel[1] * self.outputs * (1 if self.kind == "depthwise" else self.channels)

    @property
    def macs(self) -> int:
        height, width = (1, 1) if self.kind == "fully" else self.window.output(*self.size)
        return height * width * self.weights

    @property
    def title(self) -> str:
        if self.kind == "fully":
            return f"fully connected, {self.channels} to {self.outputs}"
        kind = "depthwise" if self.kind == "depthwise" else "convolution"
        more = f", dilation {self.dilation}" if self.dilation > 1 else ""
        return (
            f"{self.kernel[0]}x{self.kernel[1]} {kind}, stride {self.stride}, {self.channels} to {self.outputs}, {self.size[0]}x{self.size[1]}{more}"
        )

    def graph(self, name: str) -> Graph:
        """A model of this layer alone, with weights of all sizes and a result that spreads over int8."""
        rng, b = np.random.default_rng([self.channels, self.outputs, *self.kernel]), GraphBuilder(name, f"{name}.tflite")
        shape: tuple[int, ...] = (self.outputs, *self.kernel, self.channels)
        x_shape: tuple[int, ...] = (1, *self.size, self.channels)
        op: Linear | DepthwiseConv2D = FullyConnected(activation="relu" if self.relu else "none")
        y_shape: tuple[int, ...] = (1, self.outputs)
        axis = 0
        if self.kind == "fully":
            shape, x_shape = (self.outputs, self.channels), (1, self.channels)
        else:
            y_shape = (1, *self.window.output(*self.size), self.outputs)
            op = Conv2D(activation=op.activation, window=self.window)
        if self.kind == "depthwise":
            shape, axis, op = (1, *self.kernel, self.outputs), 3, DepthwiseConv2D(self.window, op.activation)
        taps = self.kernel[0] * self.kernel[1] * (1 if self.kind == "depthwise" else self.channels)
        x = activation(x_shape, 1 / 32, -128 if self.relu else -3)
        y = activation(y_shape, float(np.float32(0.01 * taps**0.5)), -128 if self.relu else 5)
        weights = np.clip(rng.normal(0, 40, shape), -127, 127).round().astype(np.int8)
        bias = rng.integers(-2000, 2000, self.outputs).astype(np.int32)
        scales = tuple(float(np.float32(s)) for s in rng.uniform(0.004, 0.01, self.outputs))
        inputs = {
            "x": b.input(x, "x"),
            "weights": b.constant("weights", weights, Quantization(scales, 0, axis), ""),
            "bias": b.constant("bias", bias, None, ""),
        }
        return verify(b.finish([b.node("layer", op, inputs, y, "layer")]))


def fitted(layer: Layer) -> Layer:
    """The layer over the largest image that keeps it small enough to count."""
    for height in HEIGHTS:
        sized = replace(layer, size=(height, height))
        if sized.macs <= MOST_MACS and height * height * max(layer.channels, layer.outputs) <= MOST_VALUES:
            return sized
    return replace(layer, size=(1, 1))


def lines() -> Iterator[Layer]:
    """Windows along one axis, as sensors and speech have them."""
    for c, (taps, stride, dilation) in product((3, 8, 17, 64), ((3, 1, 1), (8, 1, 1), (9, 1, 1), (9, 2, 1), (5, 1, 2), (9, 1, 4))):
        yield Layer("depthwise", c, c, (1, taps), stride, (1, 96), dilation)
        yield Layer("conv", c, 16, (1, taps), stride, (1, 96), dilation)
    for c in (8, 17):
        yield Layer("depthwise", c, c, (9, 1), 1, (96, 1))
        yield Layer("depthwise", c, c, (5, 1), 1, (49, 1), 2)
        yield Layer("depthwise", c, c, (3, 1), 1, (25, 10))
        yield Layer("depthwise", c, c, (1, 3), 1, (25, 10))


def layers(quick: bool) -> Iterator[Layer]:
    channels = FEW_CHANNELS if quick else CHANNELS
    for c, k, stride in product(channels, (1, 3, 5, 7), (1, 2)):
        outputs = max(min(c, 32, MOST_WEIGHTS // (k * k * c)), 8)
        yield fitted(Layer("conv", c, outputs, (k, k), stride))
    for c, k, stride in product(channels, (3, 5, 7), (1, 2)):
        yield fitted(Layer("depthwise", c, c, (k, k), stride))
    for c in channels:
        yield Layer("fully", c, 10)
        yield Layer("fully", c, max(c // 2, 1))
        yield fitted(Layer("conv", c, 16, (3, 3), dilation=2))
        yield fitted(Layer("depthwise", c, c, (3, 3), dilation=2))
        yield fitted(Layer("conv", c, 17, (1, 1), relu=False))
        yield fitted(Layer("conv", c, 17, (3, 3), relu=False))
        yield fitted(Layer("depthwise", c, c, (3, 3), relu=False))
    for k in (2, 4, 6, (10, 4), (1, 7), (7, 1), (9, 9), (11, 11)):
        kernel = (k, k) if isinstance(k, int) else k
        for c in (1, 8, 17, 64, 80):
            yield fitted(Layer("conv", c, 16, kernel))
            yield fitted(Layer("depthwise", c, c, kernel))
    yield from lines()
    for c, factor in product((1, 3, 8, 17), (2, 3, 4, 8)):
        yield fitted(Layer("depthwise", c, factor * c, (3, 3)))
    for c, k, size in product((8, 17, 64), (3, 5), ((1, 48), (48, 1), (2, 31), (3, 3), (5, 7))):
        yield Layer("conv", c, 16, (k, k), 1, size)
        yield Layer("depthwise", c, c, (k, k), 1, size)
    for c in (3, 8, 16):
        yield Layer("conv", c, 8, (3, 3), 1, (48, 48))
        yield Layer("conv", c, 8, (3, 3), 2, (48, 48))
        yield Layer("depthwise", c, c, (3, 3), 1, (48, 48))
    yield Layer("conv", 144, 144, (3, 3), 1, (8, 8))
    yield Layer("conv", 80, 80, (3, 3), 1, (8, 8))
    yield Layer("depthwise", 512, 512, (3, 3), 1, (8, 8))
    yield Layer("conv", 512, 64, (1, 1), 1, (8, 8))


@dataclass(frozen=True)
class Counted:
    """A layer on a core: the kernel that runs, why it is not the fastest of the target ("" where it is), and instructions of a call."""

    layer: Layer
    core: str
    kernel: str
    slow: str
    instructions: int

    @property
    def rate(self) -> float:
        return self.instructions / self.layer.macs


def compiled(layer: Layer, name: str, core: str) -> Compilation:
    return compile_graph(layer.graph(name), Options(target=speed.CORES[core]), "0")


def counter() -> Any:
    """The instruction counter. Programs for the smallest core run on a larger machine, which executes the same instructions and has room."""
    rig = speed.counter()
    rig.MACH["m0"] = (*rig.MACH["m3"][:8], rig.MACH["m0"][8])
    return rig


RUNTIME = Path(__file__).resolve().parents[1] / "runtime"


def objects(core: str, rig: Any, sources: Sequence[Path], folder: Path) -> list[str]:
    """Of these sources of the runtime, compiled once a folder."""
    folder.mkdir(exist_ok=True)
    found = []
    for source in sources:
        target = folder / f"{str(source).replace('/', '-')}.o"
        if not target.exists():
            define = f"-DKT_TARGET_{speed.CORES[core].upper().replace('-', '_')}"
            flags = [*rig.flags(core), "-O2", "-std=gnu99", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections", define]
            subprocess.run(["arm-none-eabi-gcc", *flags, f"-I{RUNTIME / 'include'}", "-c", str(RUNTIME / source), "-o", str(target)], check=True)
        found.append(str(target))
    return found


def main_source(names: Sequence[str]) -> str:
    """A program that calls each model once, on noise. They share one arena and one buffer for inputs and results."""
    includes = "".join(f'#include "{n}.h"\n' for n in names)
    bytes_of = {what: [f"{n.upper()}_{what}" for n in names] for what in ("INPUT_BYTES", "OUTPUT_BYTES", "ARENA_BYTES_INFER")}
    unions = "".join(
        f"static union {{ uint64_t word; {' '.join(f'char c{i}[{v} + 1];' for i, v in enumerate(values))} }} {what.lower()};\n"
        for what, values in bytes_of.items()
    )
    calls = "".join(
        f"    {{ static {n}_model model; if ({n}_init(&model, &arena_bytes_infer, sizeof arena_bytes_infer, &state, sizeof state)) return 1;"
        f' ROI_BEGIN("{n}"); {n}_infer(&model, (const int8_t *)&input_bytes, (int8_t *)&output_bytes); ROI_END(); }}\n'
        for n in names
    )
    return f"""#include "rig.h"
{includes}{unions}static uint64_t state;
int main(void)
{{
    unsigned i, seed = 1;
    for (i = 0; i < sizeof input_bytes; i++) {{ ((int8_t *)&input_bytes)[i] = (int8_t)((seed = seed * 1664525u + 1013904223u) >> 24); }}
{calls}    return 0;
}}
"""


def counted(chosen: Sequence[Layer], core: str) -> list[Counted]:
    """Layers in one program."""
    rig, found = counter(), []
    with tempfile.TemporaryDirectory() as temporary:
        folder, sources, rows = Path(temporary), dict[Path, None](), []
        names = [f"l{i}" for i in range(len(chosen))]
        for layer, name in zip(chosen, names, strict=True):
            compilation = compiled(layer, name, core)
            for file, text in compilation.files.items():
                if file.startswith(name):
                    (folder / file).write_text(text)
            sources |= dict.fromkeys(runtime_files.sources(compilation.context))
            *_, row = kernels(compilation)["infer"]  # behind the repetition of its channels where it has one
            rows.append((row["kernel"], row["slow"]))
        (folder / "main.c").write_text(main_source(names))
        flags = ["-std=gnu99", "-ffp-contract=off", "-fno-common", f"-I{RUNTIME / 'include'}", f"-I{folder}"]
        flags.append(f"-DKT_TARGET_{speed.CORES[core].upper().replace('-', '_')}")
        elf = str(folder / "layers.elf")
        own = [str(folder / f"{name}.c") for name in ("main", *names)]
        if rig.link(core, ["-o", elf, *flags, *own, *objects(core, rig, list(sources), folder / "objects")]):
            raise click.ClickException(f"layers do not link for {core}")
        code, output, regions = rig.run(core, elf)
    if code or len(regions) != len(chosen):
        raise click.ClickException(f"layers on {core} ended with {code} after {len(regions)}: {output}")
    for layer, (kernel, slow), region in zip(chosen, rows, regions, strict=True):
        found.append(Counted(layer, core, kernel, slow, region["insns"]))
    return found


def batches(chosen: Sequence[Layer]) -> list[list[Layer]]:
    found, size = [list[Layer]()], 0
    for layer in chosen:
        if len(found[-1]) == LARGEST_BATCH[0] or size + layer.weights > LARGEST_BATCH[1]:
            found.append([])
            size = 0
        found[-1].append(layer)
        size += layer.weights
    return found


def shown(rows: Sequence[Counted]) -> Sequence[Counted]:
    """Print them."""
    for row in rows:
        print(f"{row.core:4} {row.rate:7.2f}  {row.layer.title:60} {row.kernel} {row.slow}", flush=True)
    return rows


FAMILIES = {
    "Convolutions": ("conv", ((1, 1), (3, 3), (5, 5), (7, 7))),
    "Depthwise layers": ("depthwise", ((3, 3), (5, 5), (7, 7))),
}
"""Title -> kind, windows of the tables by channels."""

SHORT = 100
"""Values under a window below which not the products are most of what a layer takes."""


def most(layer: Layer) -> float:
    """Instructions that a layer may take on Cortex-M55."""
    per_result = layer.weights // layer.outputs
    if layer.kind == "depthwise":
        return max(1.2, 15 / per_result) * layer.macs + CALL
    return (0.45 if per_result >= SHORT else max(0.45, 48 / per_result)) * layer.macs + CALL


CALL = 3000
"""Instructions of a call that no result accounts for."""


def by_channels(found: Mapping[tuple[Layer, str], Counted], cores: Sequence[str]) -> list[str]:
    lines: list[str] = []
    for title, (kind, windows) in FAMILIES.items():
        for kernel, stride in product(windows, (1, 2)):
            rows = []
            for c in CHANNELS:
                chosen = [x for x, core in found if core == cores[0] and is_of(x, kind, c, kernel, stride)]
                if chosen:
                    cells = [f"{found[chosen[0], core].rate:.2f}" for core in cores]
                    rows.append([str(c), str(chosen[0].outputs), f"{chosen[0].size[0]}x{chosen[0].size[1]}", *cells])
            lines += [f"### {title}, {kernel[0]}x{kernel[1]}, stride {stride}", "", *speed.table(["channels", "results", "image", *cores], rows)]
    return lines


def is_of(layer: Layer, kind: str, channels: int, kernel: tuple[int, int], stride: int) -> bool:
    usual = layer.dilation == 1 and layer.relu and not layer.valid and layer.size[0] == layer.size[1]
    sized = layer.outputs == channels if kind == "depthwise" else layer.outputs not in (16, 17, channels) or channels < 33
    return usual and sized and (layer.kind, layer.channels, layer.kernel, layer.stride) == (kind, channels, kernel, stride)


def slower(found: Sequence[Counted], cores: Sequence[str]) -> list[str]:
    """Every reason for which a core does not run its fastest kernel: of how many layers, and the one that takes most a MAC."""
    rows = []
    for core in cores:
        reasons: dict[tuple[str, str], list[Counted]] = {}
        for row in found:
            if row.core == core and row.slow:
                reasons.setdefault((row.kernel, "sums above 2^23" if row.slow.startswith("sums reach") else row.slow), []).append(row)
        for (kernel, reason), layers_of in sorted(reasons.items()):
            worst = max(layers_of, key=lambda r: r.rate)
            rows.append([core, f"`{kernel}`", reason, str(len(layers_of)), f"{worst.rate:.2f}", worst.layer.title])
    return speed.table(["core", "kernel", "why it is not the fastest", "layers", "at most a MAC", "layer"], rows)


def page(found: Sequence[Counted], cores: Sequence[str]) -> str:
    table = {(row.layer, row.core): row for row in found}
    others = [x for x in dict.fromkeys(row.layer for row in found) if x.kind == "fully" or not is_of(x, x.kind, x.channels, x.kernel, x.stride)]
    lines = ["# Single layers by size", "", wrapped(ABOUT.format(date=datetime.date.today())), ""]
    lines += ["## Instructions a MAC", "", *by_channels(table, cores)]
    rows = [[x.title + ("" if x.relu else ", no activation"), *(f"{table[x, core].rate:.2f}" for core in cores)] for x in others]
    lines += ["### Other layers", "", *speed.table(["layer", *cores], rows)]
    lines += ["## Slower kernels", "", *slower(found, cores)]
    return "\n".join(lines).rstrip() + "\n"


ABOUT = """
Made by `make bench-cliffs` on {date}. Each layer is a model of its own, without a budget, and its instructions of one call are counted exactly
under QEMU (arm-none-eabi-gcc, -O2). Where windows hold few values, requantisation and the way to a position are most of what a MAC takes; of
fully connected layers of a few values it is the call. "same" padding; weights are random, results of a ReLU with the zero point at -128 where
nothing else is said. The command fails where a layer takes more on Cortex-M55 than 0.45 instructions a MAC (or, where windows hold less than 100
values, 48 a result), a depthwise layer of more than one channel more than 1.2 (or 15 a result), and 3,000 a call; front ends read a depthwise layer
of one channel as a convolution. `benchmarks/cliffs.py` without options counts more sizes, on every core.
"""


@click.command()
@click.option("--core", "cores", multiple=True, type=click.Choice(list(speed.CORES)), help="Core to measure; all without it.")
@click.option("--quick", is_flag=True, help="Fewer channels.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--grep", default="", help="Only layers whose title has this.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the tables as Markdown too.")
def main(cores: tuple[str, ...], quick: bool, jobs: int, grep: str, write: Path | None) -> None:
    """Count, print every layer, fail where one takes more than it may."""
    counter().plugin()
    named = cores or tuple(speed.CORES)
    chosen = [layer for layer in dict.fromkeys(layers(quick)) if grep in layer.title]
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        parts = [pool.submit(counted, batch, core) for core in named for batch in batches(chosen)]
        found = [row for part in parts for row in shown(part.result())]
    if write:
        write.write_text(page(found, named))
    judged = [row for row in found if row.core == "m55" and (row.layer.kind != "depthwise" or row.layer.channels > 1)]
    lost = [row.layer.title for row in judged if row.instructions > most(row.layer)]
    if lost:
        raise click.ClickException(f"on m55 more than they may take: {'; '.join(lost)}")


if __name__ == "__main__":
    main()
