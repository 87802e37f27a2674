"""A year of a device from real data: drift is raised, the model adapts in idle time, a guard judges, states outlive resets, wear is counted.

    make bench-field-lifetime

"no adaptation" leaves the model as it is. "always" trains on each labelled sample as it comes, and saves its state every night. "lifetime" waits
for drift (`kt/drift.h`), then for labels, adapts, lets the guard judge (`kt/guard.h`) and saves an adapter (`kt/state_store.h`). Accuracy is that of
each sample before anything is trained on it; where clips recur, of clips that are never trained on.
"""

from __future__ import annotations

import datetime
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cffi
import click
import numpy as np
from numpy.typing import NDArray
from prose import with_section, wrapped
from scenarios import DATA, scenario_of

import kilotune as kt
from kilotune import compilers, resources
from kilotune.devices.data import prepare_inputs
from kilotune.drift import SLACK, THRESHOLD, DriftDetector, DriftReference, margin_of

Array = NDArray[Any]
DAYS, A_DAY = 365, 12
LABEL_EVERY = 8
"""Samples from one label to the next."""
ENOUGH, A_CLASS, BEFORE = 30, 5, 6
"""Labels that an adaptation waits for, or so many a class; of them, those from before the drift was seen. A third of them judges."""
REPLAY, JUDGES = 24, 12
"""Samples of the desk in flash: to train on with the others, and to judge by with them."""
RELEARN = 72
"""Samples behind an adaptation that become the usual ones."""
FAILING = range(170, 190)
"""Days on which the instrument that gives the labels fails: they are random."""
RESETS = 24
FIRST_DRAW = 3
"""Rules were chosen on draw 0."""
PAGE, PAGES = 4096, 8
CHOSEN_ON = ("kws", "kws-band", "usps", "ecg")
METHODS = (kt.BiasOnly(), kt.LoRA(rank=4, layers="all"))
WAYS = ("no adaptation", "always", "lifetime")
EVENTS = {
    "drift": ("#d97706", "drift raised"), "adapted": ("#15803d", "adapted, and saved"), "taken back": ("#b91c1c", "taken back by the guard"),
    "reset": ("#6b7280", "reset"),
}  # fmt: skip


@dataclass(frozen=True)
class Year:
    """x, y: samples in their order, A_DAY of each day. trained: which may be trained on; scored: which count. changes: day -> what is new."""

    name: str
    model: str
    calibration: tuple[Array, Array]
    x: Array
    y: Array
    trained: Array
    scored: Array
    changes: dict[int, str]


def gas_year(draw: int) -> Year:
    """Sensors that drift: what is left of the base months, then batches 3 to 6, months 11 to 20 of the recording, each in random order."""
    d, rng = np.load(DATA / "sets" / "gas_drift.npz"), np.random.default_rng(draw)
    x, y, base = d["x"].astype(np.float32), d["y"].astype(np.int32), d["base_train_idx"]
    parts, changes, day = [rng.permutation(d["base_test_idx"])[: 28 * A_DAY]], {}, 28
    for batch, days in ((3, 118), (4, 13), (5, 16), (6, 190)):
        parts.append(rng.permutation(np.flatnonzero(d["batch"] == batch))[: days * A_DAY])
        changes[day], day = f"batch {batch}", day + days
    rows = np.concatenate(parts)
    every = np.ones(len(rows), bool)
    return Year("gas sensors", "gas_mlp_int8.tflite", (x[base][:256], y[base][:256]), x[rows], y[rows], every, every, changes)


def voice_year(draw: int) -> Year:
    """Spoken digits: the speakers that the model knows, from day 120 on another, from day 240 on all of them."""
    d, rng = np.load(DATA / "sets" / "fsdd_mfcc.npz"), np.random.default_rng(draw)
    x, y = d["x"].astype(np.float32)[..., None], d["y"].astype(np.int32)
    new = d["speaker"] == "nicolas"
    learnable = d["take"] >= 25
    rows = []
    for i in range(DAYS * A_DAY):
        day, labelled = i // A_DAY, i % LABEL_EVERY == LABEL_EVERY - 1
        whose = ~new if day < 120 else new if day < 240 else np.ones(len(y), bool) if i % 2 else new
        rows.append(rng.choice(np.flatnonzero(whose & (learnable if labelled else ~learnable))))
    known = np.flatnonzero(~new & learnable)[::3]
    every = np.arange(len(rows)) % LABEL_EVERY == LABEL_EVERY - 1
    changes = {120: "a new speaker", 240: "all speakers"}
    return Year("spoken digits", "fsdd_dscnn_int8.tflite", (x[known], y[known]), x[rows], y[rows], every, ~every, changes)


YEARS: dict[str, Callable[[int], Year]] = {"gas": gas_year, "voice": voice_year}


class Flash:
    """The store of a device, in simulated flash: the C of the runtime."""

    def __init__(self, folder: Path) -> None:
        runtime, here = resources.runtime(), Path(__file__).resolve().parent
        core = [runtime / "src/core" / f"{name}.c" for name in ("state_store", "adapter", "adapter_slots")]
        library = folder / "field_store.so"
        command = [compilers.host_compiler().program, "-O2", "-shared", "-fPIC", f"-I{runtime / 'include'}", here / "field_store.c", *core]
        subprocess.run([*map(str, command), "-o", str(library)], check=True)
        self.ffi = cffi.FFI()
        self.ffi.cdef(
            "void field_new(void); int field_boot(void); int field_save(const void *, uint32_t); const void *field_content(uint32_t *);"
            "uint32_t field_erasures(void);"
        )
        self.c: Any = self.ffi.dlopen(str(library))

    def content(self) -> bytes | None:
        """What a reset finds."""
        assert self.c.field_boot() == 0
        size = self.ffi.new("uint32_t *")
        found = self.c.field_content(size)
        return None if found == self.ffi.NULL else bytes(self.ffi.buffer(found, size[0]))


@dataclass
class Life:
    """What happened in a year."""

    right: Array
    events: list[tuple[int, str, str]] = field(default_factory=list)
    saves: int = 0
    erasures: int = 0
    steps: int = 0
    saved_bytes: int = 0

    def count(self, kind: str) -> int:
        return sum(event[1] == kind for event in self.events)


@dataclass
class Sample:
    """A labelled sample that is kept."""

    x: Array
    y: int


def live(year: Year, build: kt.Build, way: str, flash: Flash, draw: int) -> Life:
    """One device for a year."""
    rng = np.random.default_rng(100 + draw)
    resets = set(rng.choice(np.arange(5, DAYS), RESETS, replace=False).tolist())
    life = Life(np.full(len(year.y), np.nan))
    flash.c.field_new()
    with build.open(threads=1) as device:
        detector = DriftDetector(DriftReference.of(device, year.calibration[0]))
        samples = prepare_inputs(year.x, device.manifest)
        old = _desk(year)
        enough = max(ENOUGH, A_CLASS * device.manifest.outputs[0].size)
        labels: list[Sample] = []
        for day in range(DAYS):
            if day in resets:
                life.events.append((day, "reset", ""))
                _reset(device, flash, way)
            for i in range(day * A_DAY, (day + 1) * A_DAY):
                output = np.asarray(device.infer(year.x[i : i + 1]))
                if year.scored[i]:
                    life.right[i] = output.reshape(-1).argmax() == year.y[i]
                if way == "lifetime" and detector.flags == 0 and detector.update(samples[i].view(np.int8), output):
                    life.events.append((day, "drift", {1: "input", 2: "confidence", 3: "both"}[detector.flags]))
                    labels = labels[-BEFORE:]
                if i % LABEL_EVERY == LABEL_EVERY - 1 and year.trained[i]:
                    label = int(rng.integers(0, output.size)) if day in FAILING else int(year.y[i])
                    labels.append(Sample(year.x[i], label))
                    if way == "always":
                        device.train_step(labels[-1].x, labels[-1].y)
                        life.steps += 1
            if way == "always":
                _save(life, flash, device.state())
            if way == "lifetime" and detector.flags and len(labels) >= enough:
                _adapt(life, device, flash, day, labels, old, draw)
                labels = []
                detector.learn(RELEARN)
    life.erasures = flash.c.field_erasures()
    return life


def _desk(year: Year) -> list[Sample]:
    """Samples of calibration, its classes in turn."""
    x, y = year.calibration
    rank = np.zeros(len(y), int)
    for c in np.unique(y):
        rank[y == c] = np.arange(int((y == c).sum()))
    rows = np.argsort(rank, kind="stable")[: REPLAY + JUDGES]
    return [Sample(x[i], int(y[i])) for i in np.random.default_rng(0).permutation(rows)]


def _save(life: Life, flash: Flash, content: bytes) -> None:
    assert flash.c.field_save(content, len(content)) == 0, "the flash is large enough"
    life.saves, life.saved_bytes = life.saves + 1, len(content)


def _reset(device: kt.Device, flash: Flash, way: str) -> None:
    """Memory is lost; what the flash holds is there again."""
    device.reset()
    found = flash.content()
    if found is not None and way == "always":
        device.set_state(found)
    elif found is not None:
        device.load_adapter(kt.Adapter(found))


def _adapt(life: Life, device: kt.Device, flash: Flash, day: int, labels: list[Sample], old: list[Sample], draw: int) -> None:
    """Train on the labels since the drift, but for those that judge with some of before; keep or take back, as kt_guard_end does."""
    third = len(labels) // 3
    judges = labels[-third:] + old[REPLAY:]
    x, y = np.stack([s.x for s in judges]), np.array([s.y for s in judges], np.int32)
    mine, before = labels[:-third] + old[:REPLAY], device.export_adapter()

    def wrong() -> int:
        return int((device.predict(x) != y).sum())

    first = wrong()
    history = device.fit(np.stack([s.x for s in mine]), np.array([s.y for s in mine]), epochs=20, seed=draw, hold_out=0.0, progress=False)
    life.steps += len(history.losses) * len(mine)
    last = wrong()
    if last > first:
        device.load_adapter(before)
        life.events.append((day, "taken back", f"{first} of {len(judges)} wrong before, {last} after"))
        return
    life.events.append((day, "adapted", f"{first} of {len(judges)} wrong before, {last} after"))
    _save(life, flash, device.export_adapter().data)


# ---- What is printed ----


def picture(year: Year, lives: dict[str, Life], path: Path) -> None:
    """Accuracy by fortnight of each way, and the events of "lifetime"."""
    left, top, wide, high = 60, 30, 820, 220
    colours = {"no adaptation": "#6b7280", "always": "#7c3aed", "lifetime": "#15803d"}

    def at(day: float) -> float:
        return round(left + wide * day / DAYS, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + wide + 20} {top + high + 90}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        height = top + high * (1 - share)
        parts.append(f'<path d="M{left} {height}h{wide}" stroke="#e5e7eb"/><text x="{left - 8}" y="{height + 4}" text-anchor="end">{share}</text>')
    first, last = at(FAILING.start), at(FAILING.stop)
    parts.append(f'<rect x="{first}" y="{top}" width="{last - first:.1f}" height="{high}" fill="#fee2e2"><title>labels are random</title></rect>')
    for day, what in year.changes.items():
        parts.append(
            f'<path d="M{at(day)} {top}v{high}" stroke="#9ca3af" stroke-dasharray="4 3"/><text x="{at(day) + 3}" y="{top - 6}">{what}</text>'
        )
    for way, life in lives.items():
        points = []
        for day in range(0, DAYS, 14):
            values = life.right[day * A_DAY : (day + 14) * A_DAY]
            points.append(f"{at(min(day + 7, DAYS - 1))},{top + high * (1 - float(np.nanmean(values))):.1f}")
        parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colours[way]}" stroke-width="2"><title>{way}</title></polyline>')
    for day, kind, why in lives["lifetime"].events:
        colour, title = EVENTS[kind]
        height = top + high + {"drift": 14, "adapted": 28, "taken back": 28, "reset": 42}[kind]
        said = f"{title}, day {day}{f': {why}' if why else ''}"
        parts.append(f'<circle cx="{at(day)}" cy="{height}" r="4" fill="{colour}"><title>{said}</title></circle>')
    for i, (name, colour) in enumerate([*colours.items(), *((title, colour) for colour, title in EVENTS.values())]):
        x = left + i * 122
        parts.append(
            f'<circle cx="{x}" cy="{top + high + 68}" r="4" fill="{colour}"/><text x="{x + 8}" y="{top + high + 72}" font-size="10">{name}</text>'
        )
    path.write_text("\n".join([*parts, "</svg>"]) + "\n")


def lives_table(found: dict[str, list[Life]]) -> str:
    """A row a way, means over the draws."""
    rows = ["| | accuracy | worst draw | last 30 days | steps | drift | adapted | taken back | saves | erasures | bytes a save |"]
    rows.append("|---|---|---|---|---|---|---|---|---|---|---|")
    for way, lives in found.items():
        year = [float(np.nanmean(life.right)) for life in lives]
        end = float(np.mean([np.nanmean(life.right[-30 * A_DAY :]) for life in lives]))
        counts = [np.mean([life.count(kind) for life in lives]) for kind in ("drift", "adapted", "taken back")]
        size = max(life.saved_bytes for life in lives)
        saves, erasures = np.mean([life.saves for life in lives]), np.mean([life.erasures for life in lives])
        cells = [way, f"{np.mean(year):.3f}", f"{min(year):.3f}", f"{end:.3f}", f"{np.mean([life.steps for life in lives]):,.0f}"]
        cells += [f"{n:.1f}" for n in counts] + [f"{saves:.1f}", f"{erasures:.1f}", f"{size:,}" if size else "-"]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def thresholds_table() -> str:
    """What slack and threshold were chosen on: scenarios that are not reported."""
    rows = ["| scenario | slack | threshold | false alarms | input after | confidence after |", "|---|---|---|---|---|---|"]
    for name in CHOSEN_ON:
        s = scenario_of(name, 10 if name != "ecg" else 0)
        with tempfile.TemporaryDirectory() as folder, kt.build(kt.load(s.path), Path(folder) / "b", measure=False).open() as device:
            known = s.original[: min(256, len(s.original) // 2)]
            new = np.concatenate([s.adapt, s.evaluate])
            reference = DriftReference.of(device, known)
            streams = [
                _standard(device, reference, x) for x in (s.original[len(known) :][:2000], new[np.random.default_rng(0).permutation(len(new))][:400])
            ]
        for slack, threshold in ((0.5, 6.0), (0.5, 12.0), (0.5, 25.0), (0.75, 12.0), (1.0, 12.0)):
            alarms = sum(_first(v, slack, threshold, restart=True)[1] for v in streams[0])
            delays = [_first(v, slack, threshold)[0] for v in streams[1]]
            chosen = "**" if (slack, threshold) == (SLACK, THRESHOLD) else ""
            shown = ["never" if delay is None else str(delay) for delay in delays]
            rows.append(
                f"| {name} | {chosen}{slack}{chosen} | {chosen}{threshold:g}{chosen} | {alarms} in {len(streams[0][0])} | {' | '.join(shown)} |"
            )
    return "\n".join(rows)


def _standard(device: kt.Device, reference: DriftReference, x: Array) -> list[Array]:
    outputs = np.asarray(device.infer(x)).reshape(len(x), -1)
    inputs = prepare_inputs(x, device.manifest).reshape(len(x), -1)
    distance = np.array([reference.distance_of(v) for v in inputs]) - reference.distance.mean
    margin = reference.margin.mean - np.array([margin_of(o) for o in outputs])
    return [np.clip(v / u.deviation, -4, 4) for v, u in ((distance, reference.distance), (margin, reference.margin))]


def _first(values: Array, slack: float, threshold: float, restart: bool = False) -> tuple[int | None, int]:
    """Samples up to the first alarm, and alarms."""
    total, first, alarms = 0.0, None, 0
    for i, v in enumerate(values):
        total = max(0.0, total + v - slack)
        if total > threshold:
            first, alarms, total = i + 1 if first is None else first, alarms + 1, 0.0
            if not restart:
                break
    return first, alarms


def slices_table(folder: Path, draw: int) -> str:
    """Instructions of the longest slice as QEMU counts them on a Cortex-M4, each of a build that asks for it."""
    rows = [
        "| model | slice asked for | slices | longest, counted | longest step | step, counted | step, estimated | arena + state |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in YEARS:
        for budget in (2**32 - 1, 200_000, 50_000):
            year = YEARS[name](draw)
            build = built(year, folder / f"{name}-{budget}", budget)
            longest = build.report["sliced_step"]["longest"]["step"]
            with build.open("qemu:mps2-an386", count=True) as device:
                counts: list[int] = []
                loss: float | None = None
                while loss is None:
                    loss = device.train_slice(year.x[0], year.y[0], budget)
                    counts.append(device.stats()["instructions"])
            asked = "all" if budget == 2**32 - 1 else f"{budget:,}"
            total = f"{sum(counts):,} | {build.report['sliced_step']['total']:,} | {build.report['memory']['train_total']:,}"
            rows.append(f"| {year.name} | {asked} | {len(counts)} | {max(counts):,} | {longest} | {total} |")
            print(rows[-1], flush=True)
    return "\n".join(rows)


def slices_section(table: str) -> str:
    """Of the page: the table under its heading."""
    return f"{SLICES_HEADING}\n\n{wrapped(SLICES.format(date=datetime.date.today()))}\n\n{table}"


def built(year: Year, folder: Path, slices: int) -> kt.Build:
    """The model of a year, whose training steps are cut into slices of so many instructions."""
    return kt.build(kt.load(DATA / "models" / year.model), folder, method=METHODS, calibration=year.calibration, slice_instructions=slices)


def page(found: dict[str, dict[str, list[Life]]], years: dict[str, Year], draws: int, slices: str, costs: str) -> str:
    """docs/field/lifetime.md"""
    parts = [
        "# A year of a device",
        wrapped(f"""Printed by `make bench-field-lifetime` on {datetime.date.today()}: {draws} draws of the order of the samples,
    of resets and of wrong labels. {A_DAY} samples a day, each {LABEL_EVERY}th with a label; {RESETS} resets;
    in the shaded days ({FAILING.start} to {FAILING.stop - 1}) the instrument that gives the
    labels fails, and they are random. Flash is {PAGES} pages of {PAGE:,} bytes. Biases and LoRA of rank 4 on every layer are trained.
    [How it is done](../how_to/lifetime.md)."""),
    ]
    parts.append(
        wrapped("""**No adaptation** leaves the model as it is. **Always** trains on each labelled sample as it comes and saves its state every night.
    **Lifetime** waits until drift is raised and there are 30 labels, or 5 a class, from behind it (6 of them may be from before), trains
    on two thirds
    of them and 24 samples of the desk for 20 epochs, and lets a guard judge by the last third and 12 of the desk; what it accepts is saved as an
    adapter. Then the distances of the next 72 samples become the usual ones. Steps are of single samples.""")
    )
    for name, lives in found.items():
        year = years[name]
        parts += [f"## {year.name.capitalize()}", wrapped(YEARS[name].__doc__ or ""), lives_table(lives)]
        parts.append(f"![{year.name}: accuracy and events of a year](lifetime_{name}.svg)")
    parts += [
        slices_section(slices),
    ]
    parts += [
        "## Thresholds of drift",
        wrapped("""Slack and threshold in standard deviations, chosen on these scenarios, which are not those above: samples of the original
    domain until an alarm that is false, samples of the new one until one that is right. Chosen is what sees most changes with at most one false
    alarm in all."""),
        costs,
    ]
    parts += ["## What did not work", "\n".join(wrapped(text, bullet="- ") for text in WHAT_DID_NOT)]
    return "\n\n".join(parts) + "\n"


SLICES_HEADING = "## Slices of a training step"
SLICES = """On an emulated Cortex-M4, on {date}. A kernel that takes longer than a slice is cut by rows where it has rows, which takes memory and some
instructions more; one without rows runs whole. Between two slices the model infers, with the bits of a model that is not trained meanwhile where
several samples make an update."""
WHAT_DID_NOT = (
    """Margins learned anew behind an adaptation, as distances are: the gas model was then used to being unsure, and the drift of batch 6
    was not seen.
    Held against those of the desk they ask again and again until the model is as sure as it was. Seen on draw 0, which is not printed here.""",
    """An adaptation from 20 labels for ten classes, with few samples of before: it made the spoken digits worse than no adaptation (draw
    0). Five labels a
    class and 24 samples of the desk, which take flash, did not.""",
    """The distance of inputs alone: it does not see the gas sensors drift, whose model gets less sure, and it raises false alarms where one speaker
    says much in a row. Neither number sees patient 106 of the last table. So drift only asks for labels; it decides nothing.""",
    """A guard of two dozen samples does not see what costs less than a few points. Where the labels that judge are wrong too, those of the desk alone
    hold against it.""",
    """A training step for each label, as it comes: it follows a slow drift, forgets what it is not shown, learns wrong labels as it learns
    right ones, and
    wears the flash with a save a night.""",
)


@click.command()
@click.option("--draws", default=3, show_default=True, help=f"From {FIRST_DRAW} on.")
@click.option("--only", default=None, help="One of the years.")
@click.option("--slices", is_flag=True, help="Print the table of slices alone; with --write, into the page that is there.")
@click.option("--write", type=click.Path(path_type=Path), default=None, help="The page; pictures go beside it.")
def main(draws: int, only: str | None, slices: bool, write: Path | None) -> None:
    """Live the years."""
    if not (DATA / "sets").is_dir():
        raise SystemExit(f"{DATA} has no sets: set KILOTUNE_DATA")
    if slices:
        with tempfile.TemporaryDirectory() as scratch:
            section = slices_section(slices_table(Path(scratch), 0))
        if write is not None:
            write.write_text(with_section(write.read_text(), section))
        return
    found: dict[str, dict[str, list[Life]]] = {}
    years: dict[str, Year] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        flash = Flash(folder)
        for name in [only] if only else list(YEARS):
            years[name] = YEARS[name](0)
            made = built(years[name], folder / name, 200_000)
            lives: dict[str, list[Life]] = {way: [] for way in WAYS}
            for draw in range(FIRST_DRAW, FIRST_DRAW + draws):
                for way in WAYS:
                    lives[way].append(live(YEARS[name](draw), made, way, flash, draw))
            found[name] = lives
            print(lives_table(lives), flush=True)
            for event in lives["lifetime"][0].events:
                if event[1] != "reset":
                    print(*event)
        if write is None:
            return
        table, costs = slices_table(folder, 0), thresholds_table()
    write.parent.mkdir(parents=True, exist_ok=True)
    for name, lives in found.items():
        picture(years[name], {way: lives[way][0] for way in WAYS}, write.parent / f"lifetime_{name}.svg")
    write.write_text(page(found, years, draws, table, costs))


if __name__ == "__main__":
    sys.exit(main())
