"""Instructions of a training step as `kilotune search --time` estimates them, beside what QEMU counts, on every core.

    make bench-step-time                                                     writes docs/step_time.md
    .venv/bin/python benchmarks/step_time.py --core m4 --model gas_mlp_int8

One sample and one update, the third of a training. Real models only: the costs of kernels were fitted on networks of random layers
(`benchmarks/kernel_costs.py`), none of these among them. Every model is trained by a part of the methods on each core, in turns, so that each
method is counted on every core and with every model. Exit code 1 where an estimate is off by more than `LIMIT`.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import kernel_costs
import numpy as np
import speed
from prose import wrapped
from scenarios import DATA

import kilotune as kt
from kiloc import CompileError
from kiloc.cores import kernels_of
from kiloc.forecast import Forecast, estimate, forecast
from kiloc.forecast.instructions import costs, taken
from kiloc.ir import interp
from kiloc.peft import Method
from kilotune.search.setting import Setting

MODELS = (
    *("gas_mlp_int8", "ecg_cnn_int8", "fsdd_dscnn_int8", "kws_dscnn_int8", "ic_resnet8_int8", "sww_int8", "lenet300_mnist_ptq"),
    *("fsdd_tinytx_int8", "micro_speech_int8", "mltk_tflite_micro_magic_wand", "coral-keras_lstm_mnist_ptq"),
)
METHODS: dict[str, list[Method]] = {
    "bias all": [kt.BiasOnly()],
    "head": [kt.Head()],
    "bias and LoRA r=4 all": [kt.BiasOnly(), kt.LoRA(rank=4)],
    "scale-shift all": [kt.ScaleShift()],
    "LoRA r=1 all": [kt.LoRA(rank=1)],
    "LoRA r=2 last:3": [kt.LoRA(rank=2, layers="last:3")],
    "LoRA r=3 last:2": [kt.LoRA(rank=3, layers="last:2")],
    "LoRA r=4 last:2": [kt.LoRA(rank=4, layers="last:2")],
    "LoRA r=6 all": [kt.LoRA(rank=6)],
    "LoRA r=8 all": [kt.LoRA(rank=8)],
    "LoRA r=9 last:4": [kt.LoRA(rank=9, layers="last:4")],
    "full all": [kt.Full()],
    "full last:2": [kt.Full(layers="last:2")],
    "sparse 0.25 all": [kt.SparseUpdate(fraction=0.25)],
    "sparse 0.25 last:3": [kt.SparseUpdate(fraction=0.25, layers="last:3")],
    "bias all, adapter w=4 last:2": [kt.BiasOnly(), kt.BottleneckAdapter(width=4, layers="last:2")],
}
TURNS = 4
"""A core counts every so-many-th method of a model."""
LIMIT = 0.10
WORST = 6
"""Calls that are shown of a build."""


@dataclass(frozen=True)
class Counted:
    """One build. unknown: kernels without costs."""

    core: str
    model: str
    method: str
    counted: int
    estimated: int
    unknown: tuple[str, ...]

    @property
    def off(self) -> float:
        return self.estimated / self.counted - 1


def turns(core: str, model: str) -> list[str]:
    """The methods that a core counts with a model."""
    start = list(speed.CORES).index(core) + 3 * MODELS.index(model)
    return [title for i, title in enumerate(METHODS) if i % TURNS == start % TURNS]


def measured(core: str, name: str, titles: Sequence[str], objects: Path, count: bool) -> list[Counted]:
    """count: builds whose count is not kept are counted; else they are left out."""
    folder = DATA / ("models" if (DATA / "models" / f"{name}.tflite").exists() else "zoo")
    model, setting, found = kt.load(folder / f"{name}.tflite"), Setting(target=speed.CORES[core]), []
    for title in titles:
        kept = objects.parent / f"{core}-{name}-{title.replace(' ', '_')}-{kernel_costs.digest()}.step"
        if not (count or kept.exists()):
            continue
        try:
            planned = planned_for(model, METHODS[title], setting)
            real = int(kept.read_text()) if kept.exists() else 0
        except CompileError:  # the method has no layer in this model
            continue
        try:
            with tempfile.TemporaryDirectory() as temporary:
                if not real:
                    build = kt.build(model, Path(temporary) / "b", method=METHODS[title], target=setting.target, measure=False)
                    real = kernel_costs.step(build, core, kernel_costs.counter(core), objects / core)
                    kept.write_text(str(real))
        except click.ClickException as error:  # no room on the machine
            print(f"{core} {name} {title}: {error.message}", flush=True)
            continue
        guess = estimate(planned, setting.target)
        found.append(Counted(core, name, title, real, guess.instructions, guess.unknown))
        said = f"{real:12,} {guess.instructions:12,} {100 * found[-1].off:+6.1f} % {' '.join(guess.unknown)}"
        print(f"{core:5} {name:28} {title:30} {said}", flush=True)
    return found


def planned_for(model: kt.Model, methods: Sequence[Method], setting: Setting) -> Forecast:
    sample = {name: np.zeros((1, *model.graph.type(name).shape[1:]), np.int8) for name in model.graph.inputs}
    return forecast(model.graph, setting.options(methods), interp.run(model.graph, sample))


def breakdown(row: Counted, objects: Path) -> list[str]:
    """The calls of a build whose estimates are off most, counted one by one."""
    folder = DATA / ("models" if (DATA / "models" / f"{row.model}.tflite").exists() else "zoo")
    model, setting = kt.load(folder / f"{row.model}.tflite"), Setting(target=speed.CORES[row.core])
    with tempfile.TemporaryDirectory() as temporary:
        build = kt.build(model, Path(temporary) / "b", method=METHODS[row.method], target=setting.target, measure=False)
        real = kernel_costs.counted(build, row.core, kernel_costs.counter(row.core), objects / row.core)
    table, found = costs(kernels_of(setting.target)), list[tuple[float, str]]()
    for (symbol, count), (name, amounts) in zip(real, kernel_costs.calls(model, METHODS[row.method], setting), strict=True):
        guess = taken(table, name, amounts)
        other = "" if name.split()[0] == symbol else f", {symbol} in fact"
        found.append((abs(guess - count), f"{count:12,} {guess:12,.0f} {100 * (guess - count) / row.counted:+6.1f} % of the step  {name}{other}"))
    return [text for _, text in sorted(found, reverse=True)[:WORST]]


def page(rows: Sequence[Counted]) -> str:
    """docs/step_time.md."""
    lines = ["# Instructions of a training step, estimated", "", wrapped(ABOUT.format(date=datetime.date.today(), count=len(rows))), ""]
    for title, key, keys in (("core", "core", tuple(speed.CORES)), ("model", "model", MODELS), ("method", "method", tuple(METHODS))):
        parts = {k: [abs(r.off) for r in rows if getattr(r, key) == k] for k in keys}
        body = [
            [k, str(len(v)), f"{100 * np.mean(v):.1f} %", f"{100 * max(v):.1f} %", f"{sum(x <= LIMIT for x in v)} of {len(v)}"]
            for k, v in parts.items()
            if v
        ]
        lines += [f"## By {title}", "", *speed.table([title, "builds", "off by, mean", "at most", "within 10 %"], body), ""]
    worst = sorted((r for r in rows if abs(r.off) > LIMIT), key=lambda r: -abs(r.off))
    cells = [[r.core, r.model, r.method, f"{r.counted:,}", f"{r.estimated:,}", f"{100 * r.off:+.1f} %"] for r in worst]
    if cells:
        lines += ["## Beyond 10 %", "", *speed.table(["core", "model", "method", "counted", "estimated", "off by"], cells), ""]
    unknown = sorted({u for r in rows for u in r.unknown})
    if unknown:
        lines += [wrapped("Kernels without costs of their own, which are guessed: " + ", ".join(f"`{u}`" for u in unknown) + "."), ""]
    return "\n".join(lines).rstrip() + "\n"


ABOUT = """
Made by `make bench-step-time` on {date}: {count} builds of real models. Instructions of the third training step and update under QEMU beside
those that `kilotune search` estimates without a build. The costs of kernels come from networks of random layers (`make bench-kernel-costs`), none of
these models among them. Programs for Cortex-M0+ run on a larger machine, which executes the same instructions and has room. An instruction is
counted as one cycle in budgets of time: waiting for flash is not in it, nor that a Cortex-M7 issues two at once. Which kinds of layers the
random networks have was widened after these builds had been seen to be off: no network copies one of these models.
"""


@click.command()
@click.option("--core", "cores", multiple=True, type=click.Choice(list(speed.CORES)), help="Core to count; all without it.")
@click.option("--model", "names", multiple=True, type=click.Choice(MODELS), help="Model to measure; all without it.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Folder that keeps compiled kernels and what was counted.")
@click.option("--count/--no-count", default=True, help="Count builds that the folder has no count of, or leave them out.")
@click.option("--kernels", is_flag=True, help="Of builds beyond the limit, count and show the calls that are off most.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the page.")
def main(cores: tuple[str, ...], names: tuple[str, ...], jobs: int, keep: Path | None, count: bool, kernels: bool, write: Path | None) -> None:
    """Count, estimate, print, fail where an estimate is off by more than a tenth."""
    with tempfile.TemporaryDirectory() as temporary, concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        objects = (keep or Path(temporary)) / "objects"
        for core in cores or tuple(speed.CORES):
            kernel_costs.counter(core)
        waiting = [pool.submit(measured, c, n, turns(c, n), objects, count) for c in cores or tuple(speed.CORES) for n in names or MODELS]
        rows = [row for done in waiting for row in done.result()]
        for row in rows if kernels else ():
            if abs(row.off) > LIMIT:
                print(f"{row.core} {row.model} {row.method} {100 * row.off:+.1f} %", *breakdown(row, objects), sep="\n  ", flush=True)
    if keep:
        (keep / "steps.json").write_text(json.dumps([asdict(row) for row in rows]))
    if write:
        write.write_text(page(rows))
    off = [abs(row.off) for row in rows]
    beyond = sum(x > LIMIT for x in off)
    print(f"{len(rows)} builds, off by {100 * np.mean(off):.1f} % in the mean, {100 * max(off):.1f} % at most, {beyond} beyond 10 %")
    raise SystemExit(0 if max(off) <= LIMIT else 1)


if __name__ == "__main__":
    main()
