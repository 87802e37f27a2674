"""Instructions of every kernel, counted on networks of random layers and fitted: what `kilotune search --time` estimates with.

    make bench-kernel-costs                                       every kind of core; writes codegen/kiloc/forecast/costs
    .venv/bin/python benchmarks/kernel_costs.py --core m4 --keep build/counts --again conv2d_lora
    .venv/bin/python benchmarks/kernel_costs.py --core m4 --keep build/counts --only conv2d_lora

Networks of random layers (`random_networks.py`) are trained by random methods. Each call of the training step and of the update is counted under
QEMU, in the third step, and for each kernel the instructions are fitted over what `kiloc.forecast.work` says of a call (`cost_fit.py`). With
`--keep` a folder keeps the counts: after a kernel has changed, `--again` with a part of its name counts only the networks that call it. Where no
counts are kept, `--only` counts those alone, fits that kernel, and leaves the lines of other kernels as they are. No real
model is among the networks: `benchmarks/step_time.py` checks the estimate on those. Programs for Cortex-M0+ run on a larger machine, which
executes the same instructions and has room.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Any

import click
import numpy as np
import speed
from cost_fit import Row, fitted
from random_networks import SHAPES_FROM, network, trained

import kilotune as kt
from kiloc import CompileError
from kiloc.export import tflite
from kiloc.forecast import forecast
from kiloc.forecast.instructions import taken
from kiloc.forecast.work import form, work
from kiloc.ir import interp
from kiloc.peft import Method
from kilotune.search.setting import Setting

KINDS = {"m0": "armv6m", "m3": "armv7m", "m4": "dsp", "m55": "mve", "rv32": "triple"}
"""Core that is counted -> kernels that the table is of."""
RUNTIME = Path(__file__).resolve().parents[1] / "runtime"
FOLDER = Path(__file__).resolve().parents[1] / "codegen" / "kiloc" / "forecast" / "costs"
NETWORKS = "0-183"
"""Of `random_networks.py`."""
STEP = re.compile(r"\bkt_\w+")


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
    """Objects of the runtime, compiled once a core. folder: keeps them, for each state of the runtime."""
    folder = folder / digest()
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    compiler = [*rig.compiler(core), "-O2", "-ffunction-sections", "-fdata-sections", *flags]
    for source in (s for s in build.manifest["sources"] if s.startswith("runtime/")):
        target = folder / f"{source.replace('/', '-')}.o"
        if not target.exists():
            subprocess.run([*compiler, "-c", str(build.directory / source), "-o", str(target)], check=True)
        found.append(str(target))
    return found


@cache
def digest() -> str:
    """Of all headers and sources of the runtime."""
    total = hashlib.sha256()
    for path in sorted(RUNTIME.rglob("*.[ch]")):
        total.update(path.read_bytes())
    return total.hexdigest()[:12]


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
    model = kt.Model(folder / f"{graph.name}.tflite", graph)
    model.path.write_bytes(b"" if seed >= SHAPES_FROM else tflite.write(graph))
    model = model if seed >= SHAPES_FROM else kt.load(model.path)
    return model, methods, Setting(optimizer=optimizer, accumulate=accumulate, target=speed.CORES[core])


def rows_of(seed: int, core: str, real: Sequence[tuple[str, int]], some: bool = False) -> list[Row] | None:
    """The calls of a network with their work; None where they are not those that the forecast foresees. some: those that are will do."""
    try:
        with tempfile.TemporaryDirectory() as name:
            foreseen = calls(*drawn(seed, core, Path(name)))
    except CompileError:
        return []
    alike = [symbol == expected.partition(" ")[0] for (symbol, _), (expected, _) in zip(real, foreseen, strict=False)]
    if len(real) != len(foreseen) or not (some or all(alike)):
        return None
    return [(seed, expected, of, count) for (_, count), (expected, of), like in zip(real, foreseen, alike, strict=True) if like]


def callers(seeds: Sequence[int], core: str, only: Sequence[str], pool: concurrent.futures.Executor) -> list[int]:
    """The networks that call a kernel whose name has one of these parts in it, as forecast."""
    return [seed for seed, names in zip(seeds, pool.map(foreseen_kernels, seeds, repeat(core)), strict=True) if any(_has(n, only) for n in names)]


def foreseen_kernels(seed: int, core: str) -> set[str]:
    try:
        with tempfile.TemporaryDirectory() as name:
            return {form_.partition(" ")[0] for form_, _ in calls(*drawn(seed, core, Path(name)))}
    except CompileError:
        return set()


def _has(symbol: str, parts: Sequence[str]) -> bool:
    return any(part in symbol for part in parts)


# ---- Fitting ----


def written(costs: dict[str, dict[str, float]], path: Path, only: Sequence[str]) -> None:
    """A table. only: of the one that is there, lines of kernels without one of these parts stay."""
    before: dict[str, dict[str, float]] = json.loads(path.read_text()) if only and path.exists() else {}
    other = {name: terms for name, terms in before.items() if not _has(name.partition(" ")[0], only)}
    lines = ",\n".join(f' "{symbol}": {json.dumps(terms)}' for symbol, terms in sorted((other | costs).items()))
    path.write_text(f"{{\n{lines}\n}}\n")


def errors(rows: Sequence[Row]) -> Iterator[tuple[str, int, float, float]]:
    """Form, calls, share of all instructions, and absolute error over instructions by terms of the other networks, of two halves."""
    total = sum(row[3] for row in rows)
    tables = [fitted([row for row in rows if row[0] % 2 == half]) for half in (1, 0)]
    for form_ in sorted({row[1] for row in rows}):
        mine = [row for row in rows if row[1] == form_]
        count = sum(row[3] for row in mine)
        wrong = sum(abs(taken(tables[network % 2], name, of) - real) for network, name, of, real in mine)
        yield form_, len(mine), count / total, wrong / max(count, 1)


@click.command()
@click.option("--core", "cores", multiple=True, type=click.Choice(list(KINDS)), help="Core to count; all without it.")
@click.option("--networks", default=NETWORKS, show_default=True, help="Numbers of random networks a core, as in 0-99,100-165.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Folder that keeps what was counted, and gives what it has.")
@click.option(
    "--again", default="", help="Of what is kept, networks are counted again that call a kernel whose name has this in it, as in conv2d_lora."
)
@click.option("--only", multiple=True, help="Count networks that call a kernel whose name has this in it, and fit such kernels alone.")
@click.option("--changed/--unchanged", default=True, help="Count networks again of which some kernels are others now, or leave out those calls.")
def main(cores: tuple[str, ...], networks: str, jobs: int, keep: Path | None, again: str | None, only: tuple[str, ...], changed: bool) -> None:
    """Count, fit, write the tables."""
    with tempfile.TemporaryDirectory() as name, concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        for core in cores or tuple(KINDS):
            counter(core)
            seeds = callers(numbers(networks), core, only, pool) if only else numbers(networks)
            kept = keep / f"{core}.json" if keep else None
            known = _kept(kept, again) if kept else {}
            if again:
                known = {seed: real for seed, real in known.items() if not any(again in symbol for symbol, _ in real)}
            found = dict(zip(seeds, pool.map(rows_of, seeds, repeat(core), [known.get(str(s), []) for s in seeds], repeat(not changed)), strict=True))
            waiting = {s: pool.submit(measured, s, core, (keep or Path(name)) / "objects") for s in seeds if found[s] is None}
            for seed, done in waiting.items():
                known[str(seed)] = done.result()
                if kept:
                    kept.write_text(json.dumps(known))
            if kept:
                kept.with_suffix(".runtime").write_text(digest())
            found |= dict(zip(waiting, pool.map(rows_of, waiting, repeat(core), [known[str(s)] for s in waiting], repeat(True)), strict=True))
            rows = [row for part in found.values() for row in part or () if not only or _has(row[1].partition(" ")[0], only)]
            FOLDER.mkdir(exist_ok=True)
            written(fitted(rows), FOLDER / f"{KINDS[core]}.json", only)
            for form_, count, share, other in sorted(errors(rows), key=lambda e: -e[2] * e[3]):
                print(f"{core:4} {form_:50} {count:4} calls {100 * share:5.1f} % of all, off by {100 * other:5.1f} % with the other half", flush=True)


def _kept(path: Path, again: str | None) -> dict[str, list[tuple[str, int]]]:
    """Counts by network. Kernels may have changed since: then it has to be said which networks are counted again."""
    mark = path.with_suffix(".runtime")
    if again is None and path.exists() and not (mark.exists() and mark.read_text() == digest()):
        raise click.ClickException(
            f"{path}: the runtime has changed since; --again conv2d_lora counts networks with such a kernel again, --again kt_ all"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[tuple[str, int]]] = json.loads(path.read_text()) if path.exists() else {}
    return found


def numbers(text: str) -> list[int]:
    """Of "0-2,7" 0, 1, 2 and 7."""
    parts = [part.partition("-") for part in text.split(",")]
    return [n for first, _, last in parts for n in range(int(first), int(last or first) + 1)]


if __name__ == "__main__":
    main()
