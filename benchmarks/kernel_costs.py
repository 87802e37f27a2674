"""Instructions of every kernel, counted on networks of random layers and fitted: what `kilotune search --time` estimates with.

    make bench-kernel-costs                                       every kind of core; writes codegen/kiloc/forecast/costs
    .venv/bin/python benchmarks/kernel_costs.py --core m4 --keep /tmp/m4.json

A network trains each of its layers by a method of its own, drawn at random, so that one program runs many kernels. Each call of the training
step and of the update is counted under QEMU, in the third step. For each kernel the instructions are fitted by non-negative least squares of the
relative error over what `kiloc.forecast.work` says of a call. No real model is among the networks: `benchmarks/step_time.py` checks the estimate
on those. Programs for Cortex-M0+ run on a larger machine, which executes the same instructions and has room.
"""

from __future__ import annotations

import concurrent.futures
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import speed
from attention_graph import Block

import kilotune as kt
from kiloc import CompileError
from kiloc.export import tflite
from kiloc.forecast import forecast
from kiloc.forecast.instructions import taken
from kiloc.forecast.work import form, work
from kiloc.ir import Graph, interp
from kiloc.ops._window import Window, same_padding
from kiloc.ops.model.add import Add
from kiloc.ops.model.average_pool_2d import AveragePool2D
from kiloc.ops.model.max_pool_2d import MaxPool2D
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.softmax import Softmax
from kiloc.optim import Optimizer
from kiloc.peft import Method, has_weights
from kilotune.search.setting import Setting

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from gradients.graphs import Maker

KINDS = {"m0": "armv6m", "m3": "armv7m", "m4": "dsp", "m55": "mve", "rv32": "triple"}
"""Core that is counted -> kernels that the table is of."""
FOLDER = Path(__file__).resolve().parents[1] / "codegen" / "kiloc" / "forecast" / "costs"
NETWORKS = 100
KINDS_OF_NETWORKS = ("separable", "plain", "fully", "separable", "attention")
SMALL_FROM, SMALL_KINDS = 48, ("temporal", "fully", "separable", "temporal", "plain", "fully")
"""Networks from this number on are trained in their last layers alone, or by one method: memory decides otherwise between their kernels."""
RARE_FROM, RARE_KINDS = 72, ("depthwise", "windows", "long")
"""And from this one on they have what is rare above."""
CHANNELS = (3, 5, 8, 10, 12, 16, 17, 20, 24, 32, 33, 40, 48, 64, 96)
WIDTHS = (4, 7, 10, 16, 23, 32, 48, 64, 80, 100, 128, 192, 300, 500)
STEP = re.compile(r"\bkt_\w+")
Row = tuple[str, dict[str, float], int]
"""A call: kernel, work, instructions."""


# ---- Networks ----


def network(seed: int) -> Graph:
    """Drawn by its number: convolutions (three of five), fully connected layers, attention."""
    rng = np.random.default_rng([19, seed])
    kinds = KINDS_OF_NETWORKS if seed < SMALL_FROM else SMALL_KINDS if seed < RARE_FROM else RARE_KINDS
    kind = kinds[seed % len(kinds)]
    if kind == "attention":
        heads = int(rng.choice((1, 2, 4)))
        return Block(int(rng.integers(6, 40)), heads, heads * int(rng.choice((4, 8, 12, 16)))).graph()
    if kind == "long":
        m = Maker(f"random_{seed}", (1, int(rng.integers(200, 1000))), seed)
        return _head(m, m.dense("input", "first", int(rng.choice((12, 31, 64, 100, 200))), "relu"), rng)
    if kind in ("depthwise", "windows"):
        return _rare(seed, kind, rng)
    if kind == "temporal":
        return _signal(seed, rng)
    if kind == "fully":
        m = Maker(f"random_{seed}", (1, int(rng.choice(WIDTHS))), seed)
        y = "input"
        for i in range(int(rng.integers(2, 6))):
            y = m.dense(y, f"layer_{i}", int(rng.choice(WIDTHS[:-1])), "relu" if rng.random() < 0.8 else "none")
        return _head(m, y, rng)
    return _image(seed, kind, rng)


def _signal(seed: int, rng: np.random.Generator) -> Graph:
    """Convolutions along one axis, of few channels."""
    length = int(rng.integers(16, 100))
    m = Maker(f"random_{seed}", (1, length, 1, int(rng.choice((1, 2, 3, 6)))), seed)
    y = "input"
    for i in range(int(rng.integers(2, 5))):
        length = m.type(y).shape[1]
        kernel, stride = int(rng.choice((3, 4, 5, 7))), int(rng.choice((1, 2)))
        before, after = same_padding(length, kernel, stride, 1)
        window = Window((kernel, 1), (stride, 1), (before, 0, after, 0))
        if i and rng.random() < 0.5:
            y = m.depthwise(y, f"spread_{i}", 1, window, "relu")
            y = m.conv(y, f"point_{i}", int(rng.choice((6, 8, 12, 16, 18, 24, 32))), Window((1, 1)), "relu")
        else:
            y = m.conv(y, f"conv_{i}", int(rng.choice((4, 6, 8, 12, 16, 18, 24))), window, "relu")
    if rng.random() < 0.6:
        y = m.op(y, "mean", Mean((1, 2)), (1, m.type(y).shape[3]))
    return _head(m, y, rng)


def _rare(seed: int, kind: str, rng: np.random.Generator) -> Graph:
    """Depthwise layers one behind the other, or windows that are no squares."""
    size = tuple(int(v) for v in rng.integers(6, 20, 2))
    m = Maker(f"random_{seed}", (1, *size, int(rng.choice((1, 2, 4, 8)))), seed)
    y = "input"
    for i in range(3):
        _, *now, _ = m.type(y).shape
        kernel, stride = (int(rng.choice((1, 2, 3, 4, 5, 8))), int(rng.choice((1, 3, 4)))), int(rng.choice((1, 1, 2)))
        if kind == "depthwise" and i:
            y = m.depthwise(y, f"spread_{i}", 1, _window(rng, tuple(now), (3, 3, 3, 5)), "relu" if rng.random() < 0.6 else "none")
            continue
        (top, bottom), (left, right) = (same_padding(now[j], kernel[j], stride, 1) for j in (0, 1))
        window = Window(kernel, (stride, stride), (top, left, bottom, right))
        y = m.conv(y, f"conv_{i}", int(rng.choice((6, 8, 12, 16, 24, 32))), window, "relu" if rng.random() < 0.8 else "none")
    return _head(m, y, rng)


def _image(seed: int, kind: str, rng: np.random.Generator) -> Graph:
    size = tuple(int(v) for v in rng.integers(6, 17, 2))
    m = Maker(f"random_{seed}", (1, *size, int(rng.choice((1, 2, 3, 8)))), seed)
    y = m.conv("input", "stem", int(rng.choice(CHANNELS[2:9])), _window(rng, size, (3, 5)), "relu")
    for i in range(int(rng.integers(3, 6))):
        _, *now, channels = m.type(y).shape
        wanted = int(rng.choice(CHANNELS[1:])) if now[0] * now[1] < 60 else int(rng.choice(CHANNELS[1:9]))
        act = "relu" if rng.random() < 0.85 else "none"
        if kind == "separable":
            y = m.depthwise(y, f"spread_{i}", 1 if rng.random() < 0.9 else 2, _window(rng, tuple(now), (3, 3, 3, 5)), "relu")
            y = m.conv(y, f"point_{i}", wanted, Window((1, 1)), act)
        else:
            y = m.conv(y, f"conv_{i}", wanted, _window(rng, tuple(now), (3, 3, 1)), act)
            if rng.random() < 0.5:
                shape = m.type(y).shape
                z = m.conv(y, f"again_{i}", shape[3], _window(rng, (shape[1], shape[2]), (3,), 1))
                y = m.op(z, f"sum_{i}", Add("relu"), shape, m.type(z).scale * 1.3, -128, other=y)
        _, height, width, channels = m.type(y).shape
        if rng.random() < 0.2 and min(height, width) >= 4:
            window = Window((2, 2), (2, 2))
            op = MaxPool2D(window) if rng.random() < 0.6 else AveragePool2D(window)
            y = m.op(y, f"pool_{i}", op, (1, *window.output(height, width), channels))
    if rng.random() < 0.7:
        y = m.op(y, "mean", Mean((1, 2)), (1, m.type(y).shape[3]))
    return _head(m, y, rng)


def _window(rng: np.random.Generator, size: tuple[int, ...], kernels: Sequence[int], stride: int = 0) -> Window:
    kernel = (int(rng.choice(kernels)),) * 2
    step = stride or int(rng.choice((1, 1, 1, 2)))
    (top, bottom), (left, right) = (same_padding(size[i], kernel[i], step, 1) for i in (0, 1))
    return Window(kernel, (step, step), (top, left, bottom, right))


def _head(m: Maker, y: str, rng: np.random.Generator) -> Graph:
    y = m.dense(y, "logits", int(rng.integers(2, 14)))
    return m.finish(m.op(y, "probabilities", Softmax(), m.type(y).shape, 1 / 256, -128) if rng.random() < 0.5 else y)


# ---- How they are trained ----


def trained(graph: Graph, seed: int) -> tuple[list[Method], Optimizer, int]:
    """Methods, each layer's by itself, an optimizer, and samples an update."""
    rng = np.random.default_rng([20, seed])
    makers: dict[str, tuple[type[Method], str]] = {
        "bias": (kt.BiasOnly, ""),
        "lora": (kt.LoRA, "rank"),
        "scale": (kt.ScaleShift, ""),
        "full": (kt.Full, ""),
        "sparse": (kt.SparseUpdate, ""),
        "adapter": (kt.BottleneckAdapter, "width"),
    }
    if seed >= RARE_FROM and seed % len(RARE_KINDS) == RARE_KINDS.index("depthwise"):
        return [[kt.Full()], [kt.SparseUpdate()], [kt.ScaleShift()], [kt.BiasOnly()]][seed % 4], kt.SGD(), 1
    if seed >= SMALL_FROM:
        return _few(rng), kt.SGD(), 1
    fitting = {name: {n.name for n in method.fitting(graph)} for name, (method, _) in makers.items()}
    layers: dict[tuple[str, int], list[str]] = {}
    for node in graph.phase("forward"):
        if has_weights(node):
            choice = str(rng.choice(("bias", "bias", "lora", "lora", "lora", "bias+lora", "scale", "full", "sparse", "bias+adapter", "")))
            for name in choice.split("+"):
                size = {"lora": int(rng.choice((1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 9))), "adapter": int(rng.choice((4, 8)))}.get(name, 0)
                if name and node.name in fitting[name]:
                    sizes = makers[name][0].sizes
                    size = min(size, sizes.largest(graph, node)) if sizes else 0
                    layers.setdefault((name, size), []).append(node.name)
    methods = [makers[name][0](layers=tuple(on), **({makers[name][1]: size} if makers[name][1] else {})) for (name, size), on in layers.items()]
    optimizer: Optimizer = (kt.SGD(), kt.SGD(), kt.SGD(), kt.Adam(), kt.SGD(momentum=0.9), kt.Lion())[int(rng.integers(0, 6))]
    return methods or [kt.BiasOnly()], optimizer, 1 if rng.random() < 0.8 else 4


def _few(rng: np.random.Generator) -> list[Method]:
    last = str(rng.choice(("all", "last:1", "last:2", "last:3", "last:4")))
    rank = int(rng.choice((1, 2, 3, 4, 4, 6, 8, 9)))
    ways: list[list[Method]] = [
        [kt.BiasOnly(layers=last)],
        [kt.Head()],
        [kt.LoRA(rank=rank, layers=last)],
        [kt.LoRA(rank=rank, layers=last)],
        [kt.BiasOnly(), kt.LoRA(rank=rank, layers=last)],
        [kt.ScaleShift(layers=last)],
        [kt.Full(layers=last)],
        [kt.SparseUpdate(layers=last)],
        [kt.BiasOnly(), kt.BottleneckAdapter(width=4, layers=last)],
    ]
    return ways[int(rng.integers(len(ways)))]


# ---- Counting ----


def calls(model: kt.Model, methods: Sequence[Method], setting: Setting) -> list[tuple[str, dict[str, float]]]:
    """Kernel and work of each call of a training step, and of an update that comes after several, as forecast: nothing is built."""
    sample = {name: np.zeros((1, *model.graph.type(name).shape[1:]), np.int8) for name in model.graph.inputs}
    planned = forecast(model.graph, setting.options(methods), interp.run(model.graph, sample))
    found = []
    for graph, node, symbol, _ in planned.calls():
        amounts = work(graph, node)
        found.append((form(node, symbol, amounts), amounts))
    return found


def counted(build: kt.Build, core: str, rig: Any, objects: Path) -> list[tuple[str, int]]:
    """Kernel and instructions of each call of the third step."""
    m = build.manifest
    source = (build.directory / f"{m['name']}.c").read_text()
    functions = [f"{m['name']}_{f}" for f in ("train_step", "apply") if f"kt_status {m['name']}_{f}(" in source]
    text = speed.marked(source, functions)
    symbols = [STEP.search(line).group() for line in re.findall(r"ROI_BEGIN\([^\n]*\n([^\n]*)", text)]  # type: ignore[union-attr]
    last = _run(build, core, rig, objects, text, program(build, False))[-len(symbols) :]
    return [(symbol, region["insns"]) for symbol, region in zip(symbols, last, strict=True)]


def step(build: kt.Build, core: str, rig: Any, objects: Path) -> int:
    """Instructions of the third training step and its update."""
    source = (build.directory / f"{build.manifest['name']}.c").read_text()
    return sum(r["insns"] for r in _run(build, core, rig, objects, source, program(build, True))[-2:])


def program(build: kt.Build, whole: bool) -> str:
    """A program that trains three times."""
    return speed.main_source(build, whole).replace("round < 2", "round < 3")


def _run(build: kt.Build, core: str, rig: Any, objects: Path, model: str, main: str) -> list[dict[str, Any]]:
    m = build.manifest
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.c").write_text(model)
        (folder / "main.c").write_text(main)
        flags = ["-std=gnu99", "-ffp-contract=off", "-fno-common", *(f"-I{build.directory / i}" for i in m["include"])]
        sources = [str(folder / "main.c"), str(folder / "model.c"), *runtime(build, core, rig, flags, objects)]
        elf = str(folder / "model.elf")
        if rig.link(core, ["-o", elf, *flags, *sources]):
            raise click.ClickException(f"{m['name']} does not link for {core}")
        code, output, regions = rig.run(core, elf)
    if code:
        raise click.ClickException(f"{m['name']} on {core} ended with {code}: {output}")
    return list(regions)


def runtime(build: kt.Build, core: str, rig: Any, flags: Sequence[str], folder: Path) -> list[str]:
    """Objects of the runtime, compiled once a core."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    compiler = [*rig.compiler(core), "-O2", "-ffunction-sections", "-fdata-sections", *flags]
    for source in (s for s in build.manifest["sources"] if s.startswith("runtime/")):
        target = folder / f"{source.replace('/', '-')}.o"
        if not target.exists():
            subprocess.run([*compiler, "-c", str(build.directory / source), "-o", str(target)], check=True)
        found.append(str(target))
    return found


def counter(core: str) -> Any:
    """The instruction counter."""
    rig = speed.counter(core)
    if core == "m0":
        rig.MACH["m0"] = (*rig.MACH["m3"][:8], rig.MACH["m0"][8])
    return rig


def measured(seed: int, core: str, objects: Path) -> list[tuple[str, int]]:
    """Kernel and instructions of each call of one network; none where it cannot be trained so, which is said."""
    try:
        return _measured(seed, core, objects)
    except (CompileError, click.ClickException) as error:
        print(f"network {seed} on {core}: {error}", flush=True)
        return []


def _measured(seed: int, core: str, objects: Path) -> list[tuple[str, int]]:
    with tempfile.TemporaryDirectory() as name:
        model, methods, setting = drawn(seed, core, Path(name))
        build = kt.build(
            model, Path(name) / "b", method=methods, optimizer=setting.optimizer, accumulate=setting.accumulate, target=setting.target, measure=False
        )
        return counted(build, core, counter(core), objects / core)


def drawn(seed: int, core: str, folder: Path) -> tuple[kt.Model, list[Method], Setting]:
    """A network, what trains it and how."""
    graph = network(seed)
    methods, optimizer, accumulate = trained(graph, seed)
    path = folder / f"{graph.name}.tflite"
    path.write_bytes(tflite.write(graph))
    return kt.load(path), methods, Setting(optimizer=optimizer, accumulate=accumulate, target=speed.CORES[core])


def rows_of(seed: int, core: str, real: Sequence[tuple[str, int]]) -> list[Row]:
    """The calls of a network with their work. Those that the forecast does not foresee are left out, and said."""
    if not real:
        return []
    with tempfile.TemporaryDirectory() as name:
        foreseen = calls(*drawn(seed, core, Path(name)))
    if len(real) != len(foreseen):
        print(f"network {seed} on {core}: {len(real)} calls, {len(foreseen)} foreseen", flush=True)
        return []
    rows: list[Row] = []
    for (symbol, count), (expected, of) in zip(real, foreseen, strict=True):
        if symbol == expected.partition(" ")[0]:
            rows.append((expected, of, count))
        else:
            print(f"network {seed} on {core}: {symbol} where {expected} was foreseen", flush=True)
    return rows


# ---- Fitting ----


FEW = 6
"""Calls below which a form of a kernel has no terms of its own."""
SIMPLE, SIMPLE_BELOW = ("call", "macs", "results", "sums", "inputs", "path"), 12
"""Units of work that a kernel with fewer calls is fitted by."""


NOTHING = 100
"""Instructions of a call that do not matter: what is fitted is the error over instructions, and of small calls over so many more."""


def fitted(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Kernel, and kernel in one form -> instructions for each unit of work, without zeros."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        words = row[0].split(" ")
        for count in range(1, len(words) + 1):
            groups.setdefault(" ".join(words[:count]), []).append(row)
    return {name: _fit(mine) for name, mine in sorted(groups.items()) if " " not in name or len(mine) >= FEW}


def _fit(mine: Sequence[Row]) -> dict[str, float]:
    names = list(mine[0][1]) if len(mine) >= SIMPLE_BELOW else SIMPLE
    matrix = np.array([[of[name] for name in names] for _, of, _ in mine])
    counts = np.array([max(count, 1) for _, _, count in mine], float)
    weight = 1 / (counts + NOTHING)
    return _solution(matrix * weight[:, None], counts * weight, names)


def _solution(matrix: Any, wanted: Any, names: Sequence[str]) -> dict[str, float]:
    from scipy.optimize import nnls

    scale = np.where(matrix.max(0) > 0, matrix.max(0), 1.0)
    scaled = matrix / scale
    ridge = 1e-3 * np.eye(len(names))
    solution, _ = nnls(np.vstack([scaled, ridge]), np.concatenate([wanted, np.zeros(len(names))]), maxiter=10_000)
    return {name: float(f"{value:.4g}") for name, value in zip(names, solution / scale, strict=True) if value * 0 == 0 and value > 1e-6}


def errors(rows: Sequence[Row]) -> Iterator[tuple[str, int, float, float, float]]:
    """Form, calls, share of all instructions, and absolute error over instructions: of terms fitted to all of them, and to the other half."""
    total = sum(row[2] for row in rows)
    tables = [fitted(rows), fitted(rows[: len(rows) // 2]), fitted(rows[len(rows) // 2 :])]
    for symbol in sorted({row[0] for row in rows}):
        mine = [(i, row) for i, row in enumerate(rows) if row[0] == symbol]
        count = sum(row[2] for _, row in mine)
        wrong = [0.0, 0.0]
        for i, (name, of, real) in mine:
            for j, table in enumerate((tables[0], tables[2] if i < len(rows) // 2 else tables[1])):
                wrong[j] += abs(taken(table, name, of) - real)
        yield symbol, len(mine), count / total, wrong[0] / max(count, 1), wrong[1] / max(count, 1)


@click.command()
@click.option("--core", "cores", multiple=True, type=click.Choice(list(KINDS)), help="Core to count; all without it.")
@click.option("--networks", default=NETWORKS, show_default=True, help="Random networks a core.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Folder that keeps what was counted, and gives what it has.")
def main(cores: tuple[str, ...], networks: int, jobs: int, keep: Path | None) -> None:
    """Count, fit, write the tables."""
    with tempfile.TemporaryDirectory() as name:
        for core in cores or tuple(KINDS):
            counter(core)
            kept = keep / f"{core}.json" if keep else None
            known: dict[str, list[tuple[str, int]]] = json.loads(kept.read_text()) if kept and kept.exists() else {}
            with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
                waiting = {s: pool.submit(measured, s, core, (keep or Path(name)) / "objects") for s in range(networks) if str(s) not in known}
                for seed, done in waiting.items():
                    known[str(seed)] = done.result()
                    if kept:
                        kept.write_text(json.dumps(known))
                parts = pool.map(rows_of, range(networks), [core] * networks, [known[str(s)] for s in range(networks)])
                rows = [row for part in parts for row in part]
            costs = fitted(rows)
            FOLDER.mkdir(exist_ok=True)
            lines = ",\n".join(f' "{symbol}": {json.dumps(terms)}' for symbol, terms in costs.items())
            (FOLDER / f"{KINDS[core]}.json").write_text(f"{{\n{lines}\n}}\n")
            for symbol, count, share, fit, other in sorted(errors(rows), key=lambda e: -e[2] * e[4]):
                off = f"off by {100 * fit:5.1f} %, {100 * other:5.1f} % where fitted to others"
                print(f"{core:5} {symbol:56} {count:4} calls {100 * share:6.2f} % of instructions, {off}", flush=True)


if __name__ == "__main__":
    main()
