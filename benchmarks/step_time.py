"""Instructions of a training step as `kilotune search --time` estimates them, beside what QEMU counts, on every core.

    make bench-step-time                                                     writes docs/step_time.md
    .venv/bin/python benchmarks/step_time.py --core m4 --model gas_mlp_int8

One sample and one update, the mean of the third to the fifth of a training: by the fitted costs of kernels alone, and after some of the other builds
of the same model were counted call by call, as the search chooses them. Real models only: the costs of kernels were fitted on networks of random
layers (`benchmarks/kernel_costs.py`), none of these among them. Every model is trained by a part of the methods on each core, in turns. Exit code 1
where less than nine of ten estimates with counting are within a tenth on a core, or one of a build by its own calls is not.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np
import speed
from numpy.typing import NDArray
from prose import wrapped
from scenarios import DATA

import kilotune as kt
from kiloc import CompileError
from kiloc.forecast import Call, Counts, Estimate, Forecast, calls, estimate, forecast
from kiloc.ir import interp
from kiloc.peft import Method
from kilotune import DeviceError
from kilotune.counting import counted_calls, counted_step, machine
from kilotune.search.counting import STEPS, calibrate, matched
from kilotune.search.setting import Setting

MODELS = (
    *("gas_mlp_int8", "ecg_cnn_int8", "fsdd_dscnn_int8", "kws_dscnn_int8", "ic_resnet8_int8", "sww_int8", "lenet300_mnist_ptq"),
    *("fsdd_tinytx_int8", "micro_speech_int8", "mltk_tflite_micro_magic_wand"),
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
MODELS_A_CORE = 4
"""Models that a core counts."""
TURNS = 5
"""A core compares every so-many-th method of a model."""
WAYS = ("table", "counting", "itself")
"""By fitted costs alone; by counts of other builds of the model; by the counted calls of the build itself, as what the search chooses."""
LIMIT = 0.10
WORST = 6
"""Calls that are shown of a build."""
GOAL = 0.9
"""Of the builds of a core that are within the limit with counting."""
ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("codegen/kiloc", "runtime", "python/kilotune/counting")
ACCURACY = ROOT / "python/kilotune/search/accuracy.json"


@dataclass(frozen=True)
class Counted:
    """One build. estimates: by each of `WAYS`; share: of that with counting in calls that were counted; builds: how many calibrated it. unknown:
    kernels without costs."""

    core: str
    model: str
    method: str
    counted: int
    estimates: Mapping[str, int]
    share: float
    builds: int
    unknown: tuple[str, ...]

    def off(self, way: str) -> float:
        return self.estimates[way] / self.counted - 1


def models(core: str) -> list[str]:
    """Those that a core counts: every third one, beginning with the number of the core."""
    start = list(speed.CORES).index(core)
    return [MODELS[(start + 3 * i) % len(MODELS)] for i in range(MODELS_A_CORE)]


def turns(core: str, model: str) -> list[str]:
    """The methods whose estimates a core compares with a model."""
    start = list(speed.CORES).index(core) + 3 * MODELS.index(model)
    return [title for i, title in enumerate(METHODS) if i % TURNS == start % TURNS]


@dataclass
class Builds:
    """The builds of one model for one core by the methods of the page, planned, and what was counted of them."""

    core: str
    model: kt.Model
    setting: Setting
    kept: Path | None = None
    calls: dict[str, tuple[Call, ...]] = field(default_factory=dict)
    tables: dict[str, Estimate] = field(default_factory=dict)
    counts: dict[str, Sequence[float] | None] = field(default_factory=dict)
    _own: tempfile.TemporaryDirectory[str] = field(default_factory=tempfile.TemporaryDirectory)

    def plan(self) -> None:
        """Of every method that has a layer in this model."""
        for title, methods in METHODS.items():
            try:
                planned = planned_for(self.model, methods, self.setting)
            except CompileError:
                continue
            self.calls[title], self.tables[title] = calls(planned, self.setting.target), estimate(planned, self.setting.target)

    def each_call(self, title: str) -> Sequence[float] | None:
        """What the calls of a build take; None where the build has no room on the machine, or other calls than were foreseen."""
        if title not in self.counts:
            found = self._figures(title, "calls")
            self.counts[title] = found and matched(self.calls[title], found)
            if self.counts[title] is None:
                print(f"{self.core} {self.model.name} {title}: not counted", flush=True)
        return self.counts[title]

    def whole(self, title: str) -> int | None:
        """Instructions of a step and its update, without a mark inside."""
        found = self._figures(title, "step")
        return None if found is None else round(found)

    @property
    def samples(self) -> tuple[list[NDArray[Any]], NDArray[Any]]:
        """As many as the search counts with, of noise, each of a class at random: of one that is trained on again and again the gradients vanish,
        and with them a part of an update's work."""
        graph, rng = self.model.graph, np.random.default_rng(1)
        types = [graph.type(name) for name in graph.inputs]
        inputs = [rng.integers(-128, 128, (STEPS, *t.shape[1:])).astype(t.dtype) for t in types]
        return inputs, rng.integers(graph.type(graph.outputs[0]).shape[-1], size=STEPS).astype(np.int32)

    def _figures(self, title: str, what: str) -> Any:
        """Of the calls, or of the whole "step"; counted, or as the folder has it."""
        name = f"{self.core}-{self.model.name}-{title.replace(' ', '_')}-{digest()}"
        places = {kind: (self.kept or Path(self._own.name)) / f"{name}.{kind}.json" for kind in ("step", "calls")}
        if not places[what].exists():
            places[what].parent.mkdir(parents=True, exist_ok=True)
            for kind in places if what == "step" else (what,):  # a build that is compared calibrates others
                places[kind].write_text(json.dumps(self._built(title, counted_step if kind == "step" else counted_calls)))
        return json.loads(places[what].read_text())

    def _built(self, title: str, count: Callable[..., Any]) -> Any:
        folder = Path(self._own.name) / title.replace(" ", "_")
        if not folder.exists():
            kt.build(self.model, folder, method=METHODS[title], target=self.setting.target, measure=False)
        try:
            return count(folder, *self.samples)
        except DeviceError as error:
            print(f"{self.core} {self.model.name} {title}: {error.what}", flush=True)
            return None


def measured(core: str, name: str, keep: Path | None = None, kernels: bool = False) -> list[Counted]:
    """The builds of one model that a core compares. Each is estimated from counts of others: those that the search would count, but for itself."""
    folder = DATA / ("models" if (DATA / "models" / f"{name}.tflite").exists() else "zoo")
    builds, found = Builds(core, kt.load(folder / f"{name}.tflite"), Setting(target=speed.CORES[core]), keep), []
    builds.plan()
    titles = list(builds.calls)
    for title in (t for t in turns(core, name) if t in builds.calls):
        real = builds.whole(title)
        if real is None:
            continue
        counts, every = Counts(), [builds.calls[t] for t in titles]
        used = calibrate(counts, every, lambda i: builds.each_call(titles[i]), spared=[titles.index(title)])
        guess, itself = counts.estimate(builds.calls[title]), builds.each_call(title)
        if itself is None:
            continue
        counts.add(builds.calls[title], itself)
        estimates = (builds.tables[title], guess, counts.estimate(builds.calls[title]))
        row = Counted(
            core, name, title, real, {way: e.instructions for way, e in zip(WAYS, estimates, strict=True)}, guess.counted, len(used), guess.unknown
        )
        found.append(row)
        off = " ".join(f"{row.estimates[way]:12,} {100 * row.off(way):+6.1f} %" for way in WAYS)
        print(
            f"{core:5} {name:28} {title:30} {real:12,} {off}, {100 * guess.counted:3.0f} % of {len(used)} builds {' '.join(guess.unknown)}",
            flush=True,
        )
        if kernels and abs(row.off("counting")) > LIMIT:
            print(*breakdown(builds.calls[title], counts, builds.each_call(title) or [], real), sep="\n  ", flush=True)
    return found


def breakdown(expected: Sequence[Call], counts: Counts, found: Sequence[float], whole: int) -> list[str]:
    """The calls of a build whose estimates are off most, beside what they take."""
    lines = []
    for call, count in zip(expected, found, strict=False):
        guess = counts.taken(call)
        how = "counted elsewhere" if counts.has(call.kind) else f"{call.fitted:,.0f} by the table"
        text = f"{count:12,.0f} {guess:12,.0f} {100 * (guess - count) / whole:+6.1f} % of the step  {call.form}, {call.node}; {how}"
        lines.append((abs(guess - count), text))
    return ["", *(text for _, text in sorted(lines, reverse=True)[:WORST])]


def planned_for(model: kt.Model, methods: Sequence[Method], setting: Setting) -> Forecast:
    sample = {name: np.zeros((1, *model.graph.type(name).shape[1:]), np.int8) for name in model.graph.inputs}
    return forecast(model.graph, setting.options(methods), interp.run(model.graph, sample))


def page(rows: Sequence[Counted]) -> str:
    """docs/step_time.md."""
    lines = [
        "# Instructions of a training step, estimated",
        "",
        wrapped(ABOUT.format(date=datetime.date.today(), count=len(rows), without=without(rows))),
        "",
    ]
    head = ["builds", *(f"{way}: {what}" for way in WAYS for what in ("off by, mean", "at most", "within 10 %"))]
    for title, key, keys in (("core", "core", tuple(speed.CORES)), ("model", "model", MODELS), ("method", "method", tuple(METHODS))):
        parts = {k: [r for r in rows if getattr(r, key) == k] for k in keys}
        body = [[k, str(len(v)), *(cell for way in WAYS for cell in summary(v, way))] for k, v in parts.items() if v]
        lines += [f"## By {title}", "", *speed.table([title, *head], body), ""]
    worst = sorted((r for r in rows if abs(r.off("counting")) > LIMIT), key=lambda r: -abs(r.off("counting")))
    cells = [[r.core, r.model, r.method, *figures(r)] for r in worst]
    if cells:
        columns = ["core", "model", "method", "counted", *(cell for way in WAYS for cell in (way, "off by")), "in counted calls"]
        lines += ["## Beyond 10 % with counting", "", *speed.table(columns, cells), ""]
    unknown = sorted({u for r in rows for u in r.unknown})
    if unknown:
        lines += [wrapped("Kernels without costs of their own, which are guessed: " + ", ".join(f"`{u}`" for u in unknown) + "."), ""]
    return "\n".join(lines).rstrip() + "\n"


def without(rows: Sequence[Counted]) -> str:
    """The cores that are not on the page."""
    missing = [core for core in speed.CORES if all(r.core != core for r in rows)]
    return f", without {', '.join(missing)}, which {'was' if len(missing) == 1 else 'were'} not run" if missing else ""


def summary(rows: Sequence[Counted], way: str) -> list[str]:
    """By how much estimates are off in the mean and at most, and how many are within the limit."""
    off = [abs(r.off(way)) for r in rows]
    return [f"{100 * np.mean(off):.1f} %", f"{100 * max(off):.1f} %", f"{sum(x <= LIMIT for x in off)} of {len(off)}"]


def figures(r: Counted) -> list[str]:
    """Of one build."""
    estimates = [cell for way in WAYS for cell in (f"{r.estimates[way]:,}", f"{100 * r.off(way):+.1f} %")]
    return [f"{r.counted:,}", *estimates, f"{100 * r.share:.0f} %"]


def known(rows: Sequence[Counted]) -> dict[str, dict[str, float]]:
    """By target, how far off estimates of the table alone and with counting are: what the search says of them."""
    found = {}
    for core, target in speed.CORES.items():
        off = {way: [abs(r.off(way)) for r in rows if r.core == core] for way in ("table", "counting")}
        if off["table"]:
            names = ("mean", "most")
            found[target] = {f"{k} {n}": round(float(f(v)), 3) for k, v in off.items() for n, f in zip(names, (np.mean, max), strict=True)}
    return found


ABOUT = """
Made by `make bench-step-time` on {date}: {count} builds of real models{without}. Instructions of a training step and its update under QEMU, the mean
of the third to the fifth, each of another sample of noise and a class at random, beside those that `kilotune search` estimates. "table": by the
fitted costs of kernels alone, without a build. They come from networks of random layers (`make bench-kernel-costs`), none of these models among them.
"counting": after other builds of the same model were counted call by call on the emulated core, at most 8 of the other methods of this page, chosen
as the search chooses them; never the build that is compared. "itself": by the counted calls of that build, as what the search chooses is counted. "in
counted calls": how much of the estimate is in calls of a kernel with the same to do as one that was counted. Programs for Cortex-M0+ are counted on
the machine with a Cortex-M3, which executes the same instructions. An instruction is counted as one cycle in budgets of time: waiting for flash is
not in it, nor that a Cortex-M7 issues two at once. Each core counts every third of the models and every fifth of the methods, beginning with another
one. Which kinds of layers the random networks have was widened after some of these builds had been seen to be off: no network copies one of these
models.
"""


@click.command()
@click.option("--core", "cores", multiple=True, type=click.Choice(list(speed.CORES)), help="Core to count; all without it.")
@click.option("--model", "names", multiple=True, type=click.Choice(MODELS), help="Model to measure; those of the core without it.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Folder that keeps what was counted, and gives what it has.")
@click.option("--kernels", is_flag=True, help="Of builds beyond the limit with counting, show the calls that are off most.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the page, and what the search says of its estimates.")
def main(cores: tuple[str, ...], names: tuple[str, ...], jobs: int, keep: Path | None, kernels: bool, write: Path | None) -> None:
    """Count, estimate, print, and fail where the limits are missed."""
    for core in cores or tuple(speed.CORES):
        machine(speed.CORES[core])
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        pairs = [(c, n) for c in cores or tuple(speed.CORES) for n in names or models(c)]
        pairs.sort(key=lambda pair: models(pair[0]).index(pair[1]) if pair[1] in models(pair[0]) else 0)  # one model of every core after the other
        waiting = [pool.submit(measured, c, n, keep, kernels) for c, n in pairs]
        rows = [row for done in waiting for row in done.result()]
    if write:
        write.write_text(page(rows))
        ACCURACY.write_text(json.dumps(known(rows), indent=1) + "\n")
    parts = {core: [abs(r.off("counting")) <= LIMIT for r in rows if r.core == core] for core in speed.CORES}
    for way in WAYS:
        mean, most, within = summary(rows, way)
        print(f"{way:8} off by {mean} in the mean, {most} at most, {within} within 10 %")
    raise SystemExit(0 if all(np.mean(v) >= GOAL for v in parts.values() if v) and all(abs(r.off("itself")) <= LIMIT for r in rows) else 1)


@cache
def digest() -> str:
    """Of the compiler but for its forecasts, the kernels and what is counted."""
    total = hashlib.sha256()
    for path in sorted(
        p for folder in SOURCES for p in (ROOT / folder).rglob("*") if p.suffix in (".py", ".c", ".h", ".j2") and "forecast" not in p.parts
    ):
        total.update(path.read_bytes())
    return total.hexdigest()[:12]


if __name__ == "__main__":
    main()
