"""Instructions of every kernel, counted on networks of random layers and fitted: what `kilotune search --time` estimates with.

    make bench-kernel-costs                                       every kind of core; writes codegen/kiloc/forecast/costs
    .venv/bin/python benchmarks/kernel_costs.py --core m4 --keep build/counts
    .venv/bin/python benchmarks/kernel_costs.py --core m4 --keep build/counts --only conv2d_lora

Networks of random layers (`random_networks.py`) are trained by random methods. Each call of the training step and of the update is counted under
QEMU, in the third step, and for each kernel the instructions are fitted over what `kiloc.forecast.work` says of a call (`cost_fit.py`). Which
kernels a network calls is foreseen without a build: those networks are counted first that call what was counted least. With `--keep` a folder
keeps the counts beside a digest of the machine code of their kernel (`kernel_code.py`): after a kernel has changed, its counts are left out, and
only networks that are wanted for it are counted. `--only` counts for kernels with a part of their name, fits those, and leaves the lines of
others as they are. No real model is among the networks: `benchmarks/step_time.py` checks the estimate on those. Programs for Cortex-M0+ run on a
larger machine, which executes the same instructions and has room.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Any

import click
import numpy as np
import speed
from cost_fit import Row, fitted
from kernel_code import codes
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
NETWORKS = "0-450"
"""Of `random_networks.py`."""
CALLS = 25
"""Of a form that are wanted."""
Count = tuple[str, int, str]
"""Of a call: kernel, instructions, and the digest of the kernel's code."""
Calls = list[tuple[str, dict[str, float]]]
"""Form and work of each call of a network."""
STEP = re.compile(r"\bkt_\w+")
LANGUAGE = ("-std=gnu99", "-ffp-contract=off", "-fno-common")
TARGET = "kt/target.h"
OPTIONS = ("-O2", "-ffunction-sections", "-fdata-sections", *LANGUAGE)
"""Of the compiler."""


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
        flags = [*LANGUAGE, *(f"-I{build.directory / i}" for i in m["include"])]
        sources = [str(folder / "main.c"), str(folder / "model.c"), *runtime(build, core, rig, flags, objects)]
        elf = str(folder / "model.elf")
        if rig.link(core, ["-o", elf, *flags, *sources]):
            raise click.ClickException(f"{m['name']} does not link for {core}")
        code, output, regions = rig.run(core, elf)
    if code:
        raise click.ClickException(f"{m['name']} on {core} ended with {code}: {output}")
    return list(regions)


def runtime(build: kt.Build, core: str, rig: Any, flags: Sequence[str], folder: Path) -> list[str]:
    """Objects of the runtime, compiled once a core and for each header that says what builds leave out."""
    folder = variant(build, folder)
    found = []
    compiler = [*rig.compiler(core), *OPTIONS, *flags]
    for source in (s for s in build.manifest["sources"] if s.startswith("runtime/")):
        target = folder / f"{source.replace('/', '-')}.o"
        if not target.exists():
            subprocess.run([*compiler, "-c", str(build.directory / source), "-o", str(target)], check=True)
        found.append(str(target))
    return found


def variant(build: kt.Build, folder: Path) -> Path:
    """Where objects of this state of the runtime lie that are compiled with the target.h of this build, beside that header."""
    header = (build.directory / "runtime" / "include" / TARGET).read_text()
    place = folder / digest() / hashlib.sha256(header.encode()).hexdigest()[:8]
    (place / TARGET).parent.mkdir(parents=True, exist_ok=True)
    (place / TARGET).write_text(header)
    return place


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


def measured(seed: int, core: str, objects: Path) -> list[Count]:
    """Each call of one network; none where it cannot be trained so, which is said."""
    try:
        with tempfile.TemporaryDirectory() as name:
            model, methods, setting = drawn(seed, core, Path(name))
            build = kt.build(
                model, Path(name) / "b", method=methods, optimizer=setting.optimizer, accumulate=setting.accumulate, target=setting.target,
                measure=False,
            )  # fmt: skip
            found = counted(build, core, counter(core), objects / core)
            code = _codes(variant(build, objects / core), objdump(core), digest())
    except (CompileError, click.ClickException) as error:
        print(f"network {seed} on {core}: {error}", flush=True)
        return []
    return [(symbol, count, code[symbol]) for symbol, count in found]


def drawn(seed: int, core: str, folder: Path) -> tuple[kt.Model, list[Method], Setting]:
    """A network, what trains it and how."""
    graph = network(seed)
    methods, optimizer, accumulate = trained(graph, seed)
    model = kt.Model(folder / f"{graph.name}.tflite", graph)
    model.path.write_bytes(b"" if seed >= SHAPES_FROM else tflite.write(graph))
    model = model if seed >= SHAPES_FROM else kt.load(model.path)
    return model, methods, Setting(optimizer=optimizer, accumulate=accumulate, target=speed.CORES[core])


def code_of(core: str, folder: Path) -> dict[str, set[str]]:
    """Kernel -> digests of its code as the runtime has it now, one for each header that builds have had. folder: objects of all its states."""
    sources = {f"{p.relative_to(RUNTIME.parent)}.o".replace("/", "-"): p for p in (RUNTIME / "src").rglob("*.c")}
    names, found = {path.name for path in folder.glob("*/*/*.o")} & set(sources), dict[str, set[str]]()
    for header in {path.read_text(): path for path in sorted(folder.glob(f"*/*/{TARGET}"))}.values():
        place = folder / digest() / header.parents[1].name
        (place / TARGET).parent.mkdir(parents=True, exist_ok=True)
        (place / TARGET).write_text(header.read_text())
        compiler = [*counter(core).compiler(core), *OPTIONS, f"-I{place}", f"-I{RUNTIME / 'include'}"]
        for name in sorted(names):
            if not (place / name).exists():
                subprocess.run([*compiler, "-c", str(sources[name]), "-o", str(place / name)], check=True)
        for symbol, code in _codes(place, objdump(core), digest()).items():
            found.setdefault(symbol, set()).add(code)
    return found


def objdump(core: str) -> str:
    """The disassembler of a core."""
    return str(counter(core).compiler(core)[0]).replace("gcc", "objdump")


def _codes(folder: Path, program: str, state: str) -> dict[str, str]:
    return _codes_of(folder, program, state, len(list(folder.glob("*.o"))))


@cache
def _codes_of(folder: Path, program: str, state: str, objects: int) -> dict[str, str]:
    return codes(folder, program)


def foreseen(seed: int, core: str) -> Calls:
    """The calls of a network; none where it cannot be trained as it would be."""
    try:
        with tempfile.TemporaryDirectory() as name:
            return calls(*drawn(seed, core, Path(name)))
    except CompileError:
        return []


def rows_of(seed: int, expected: Calls, real: Sequence[Count], valid: Mapping[str, Collection[str]]) -> list[Row]:
    """The calls that are those foreseen, of kernels whose code is the one that was counted."""
    if len(real) != len(expected):
        return []
    alike = [symbol == name.partition(" ")[0] and code in valid.get(symbol, ()) for (symbol, _, code), (name, _) in zip(real, expected, strict=True)]
    return [(seed, name, of, count) for (_, count, _), (name, of), like in zip(real, expected, alike, strict=True) if like]


def known_rows(networks: Mapping[int, Calls], known: Mapping[str, Sequence[Count]], valid: Mapping[str, Collection[str]]) -> list[Row]:
    """Those of all networks. known: counts by the number of the network."""
    return [row for seed, expected in networks.items() for row in rows_of(seed, expected, known.get(str(seed), []), valid)]


def order(networks: Mapping[int, Calls], rows: Iterable[Row], only: Sequence[str], most: int) -> list[int]:
    """Networks that are to be counted, the one first that has most calls of forms that lack some. rows: what is known."""
    per = {seed: Counter(name for name, _ in found if _has(name.partition(" ")[0], only)) for seed, found in networks.items()}
    wanted = {name: min(CALLS, count) for name, count in sum(per.values(), Counter[str]()).items()}
    got, left, found = Counter(row[1] for row in rows), {seed for seed, names in per.items() if names}, list[int]()

    def gain(seed: int) -> float:
        new = sum(min(count, max(wanted[name] - got[name], 0)) / wanted[name] for name, count in per[seed].items())
        return new / (len(networks[seed]) + 25)

    while left and len(found) < most:
        best = max(sorted(left), key=gain)
        if gain(best) <= 0:
            break
        left.remove(best)
        got.update(per[best])
        found.append(best)
    return found


def _has(symbol: str, parts: Sequence[str]) -> bool:
    return not parts or any(part in symbol for part in parts)


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
@click.option("--only", multiple=True, help="Count for kernels whose name has this in it, and fit such kernels alone.")
@click.option("--most", default=120, show_default=True, help="Networks that are counted of a core; 0 fits what is kept.")
def main(cores: tuple[str, ...], networks: str, jobs: int, keep: Path | None, only: tuple[str, ...], most: int) -> None:
    """Count, fit, write the tables."""
    with tempfile.TemporaryDirectory() as name, concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        for core in cores or tuple(KINDS):
            (keep or Path(name)).mkdir(parents=True, exist_ok=True)
            objects, kept = (keep or Path(name)) / "objects", keep / f"{core}.json" if keep else None
            known: dict[str, list[Count]] = json.loads(kept.read_text()) if kept and kept.exists() else {}
            seeds = numbers(networks)
            found = dict(zip(seeds, pool.map(foreseen, seeds, repeat(core)), strict=True))
            waiting = order(found, known_rows(found, known, code_of(core, objects / core)), only, most)
            for seed, done in {seed: pool.submit(measured, seed, core, objects) for seed in waiting}.items():
                known[str(seed)] = done.result()
                if kept:
                    kept.write_text(json.dumps(known))
            rows = [row for row in known_rows(found, known, code_of(core, objects / core)) if _has(row[1].partition(" ")[0], only)]
            FOLDER.mkdir(exist_ok=True)
            written(fitted(rows), FOLDER / f"{KINDS[core]}.json", only)
            for form_, number, share, other in sorted(errors(rows), key=lambda e: -e[2] * e[3]):
                said = f"{number:4} calls {100 * share:5.1f} % of all, off by {100 * other:5.1f} % with the other half"
                print(f"{core:4} {form_:50} {said}", flush=True)


def numbers(text: str) -> list[int]:
    """Of "0-2,7" 0, 1, 2 and 7."""
    parts = [part.partition("-") for part in text.split(",")]
    return [n for first, _, last in parts for n in range(int(first), int(last or first) + 1)]


if __name__ == "__main__":
    main()
