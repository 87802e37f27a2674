"""Predictive maintenance: an autoencoder and its alarm on machines that it was not made for, before and after it adapts there.

    make bench-field-maintenance

The bearing is simulated (`examples/predictive_maintenance`): a draw is other recordings of everything. Rates are those of each method.
"""

from __future__ import annotations

import datetime
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from adaptation_table import HEADINGS, AdaptationCase, rows_of, table
from prose import wrapped

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "predictive_maintenance"))

from autoencoder import Scaling, write_model
from bearing import ORIGINAL, OTHERS, Machine, vibration
from watching import ADAPTED, CALIBRATED, FAULTY, JUDGED, METHOD, SEVERITY, WIDTH, Seen, Site, calibrated

import kilotune as kt

DRAWS = (2, 3, 4)
STAGES = ("factory", "threshold anew", "adapted, factory's threshold", "adapted, threshold with it")
FOULED = (0.1, 0.3)
"""Share of the windows to adapt to that are of a damaged bearing."""
LOSS = kt.MeanSquaredError(target="input")


@dataclass(frozen=True)
class Maker:
    """The model, and what the sites of a draw are."""

    model: kt.Model
    scaling: Scaling
    known: Any

    def site(self, machine: Machine, draw: int) -> Site:
        return Site.of(machine, self.scaling, draw)

    def factory(self, device: kt.Device) -> kt.Threshold:
        return calibrated(device, self.scaling.of(vibration(ORIGINAL, CALIBRATED, 50)))


def stages(maker: Maker, device: kt.Device, site: Site, draw: int) -> dict[str, Seen]:
    """What is seen at a site, stage by stage."""
    device.reset()
    factory = maker.factory(device)
    found = {STAGES[0]: Seen.of(device, site, factory), STAGES[1]: Seen.of(device, site, calibrated(device, site.adapt))}
    device.fit(site.adapt, seed=draw, progress=False)
    found[STAGES[2]] = Seen.of(device, site, factory)
    found[STAGES[3]] = Seen.of(device, site, calibrated(device, site.adapt))
    return found


def fouled(device: kt.Device, site: Site, share: float, draw: int) -> Seen:
    """Adapted where some windows are of a damaged bearing, of which nobody knows."""
    device.reset()
    count = round(share * len(site.adapt))
    spoilt = np.concatenate([site.adapt[count:], site.faulty["inner race"][:count]])
    device.fit(spoilt, seed=draw, progress=False)
    judged = replace(site, faulty={fault: x[count:] if fault == "inner race" else x for fault, x in site.faulty.items()})
    return Seen.of(device, judged, calibrated(device, spoilt))


INTRODUCTION = """
An autoencoder of 64-32-8-32-64 values knows what the healthy bearing of one machine sounds like; how badly it reconstructs a window is the anomaly
score. On another machine everything is an anomaly. The device then learns from {adapted} windows of the healthy new machine
(half a minute), by scale and shift of each layer and without a label, and keeps its alarm calibrated: the mean and the variance of the logarithm of
normal scores run along in integers (`kt.Threshold`, in C `kt/threshold.h`, 12 bytes), and the alarm is {width:g} standard deviations above. [The
example](../../examples/predictive_maintenance/README.md) does it on an emulated board by one command.
"""
ABOUT = """
Vibration of a deep groove ball bearing SKF 6205-2RS, simulated from its published fault frequencies; impacts of severity {severity:g}, that of a
beginning damage. Shares of {judged} healthy windows that are false alarms and of {faulty} windows of each of three faults that are found, and the
area under the ROC curve of the scores, which no threshold moves; the mean over draws {draws} and all faults, of the area the worst draw in
brackets. The severity, the width and the features were chosen on draw 1.
"""
FAILED = """
A threshold calibrated anew without adapting ends the false alarms, and with them the detection where the model reconstructs the new machine so
badly that a fault does not stand out. The factory's threshold behind an adapted model is a matter of luck: on one machine every window is still an
alarm, on another it happens to fit. There are no figures for the autoencoder of MLPerf Tiny (ad01, sounds of toy cars): its recordings are not at
hand where this page was made. And the new machine must be healthy: the same with 10 % and 30 % of the windows to adapt to from a damaged inner race.
"""
ABOUT_COSTS = """
On "{title}", by what is trained: bytes in the memory of a Cortex-M4, instructions of a sample with its update that QEMU counts, bytes of an
adapter, and the area
under the ROC curve behind the training, which is {before:.3f} before. Each sample is an update of its own; "standard" and "full" sum the
gradients of 16 samples for an update.
"""


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.2f}"


def _area(seen: Sequence[Seen]) -> str:
    areas = [s.area for s in seen]
    return f"{statistics.mean(areas):.3f} ({min(areas):.3f})"


def _cells(seen: Sequence[Seen]) -> list[str]:
    return [_mean([s.false for s in seen]), _mean([s.detected for s in seen]), _area(seen)]


def picture(found: dict[str, dict[str, list[Seen]]]) -> str:
    """False alarms and detection as bars, by machine and stage."""
    left, width, height, parts = 190, 170, 12, []
    for column, (title, colour) in enumerate((("false alarms", "#c60"), ("faults found", "#06c"))):
        parts.append(f'<text x="{left + 130 + column * (width + 40)}" y="14" font-size="12">{title}</text>')
        for row, (machine, seen) in enumerate(found.items()):
            top = 28 + row * (len(STAGES) * height + 14)
            if column == 0:
                parts.append(f'<text x="8" y="{top + 28}" font-size="12">{machine}</text>')
            for i, stage in enumerate(STAGES):
                share = statistics.mean(s.false if column == 0 else s.detected for s in seen[stage])
                x, y = left + 130 + column * (width + 40), top + i * height
                if column == 0:
                    parts.append(f'<text x="{x - 6}" y="{y + 9}" font-size="9" text-anchor="end">{stage}</text>')
                parts.append(f'<rect x="{x}" y="{y}" width="{width * share:.1f}" height="{height - 2}" fill="{colour}"/>')
                parts.append(f'<text x="{x + width * share + 4:.1f}" y="{y + 9}" font-size="9">{share:.2f}</text>')
    bottom = 28 + len(found) * (len(STAGES) * height + 14)
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{bottom}" font-family="sans-serif">{"".join(parts)}</svg>\n'


@click.command()
@click.option("--draw", "draws", multiple=True, type=int, default=DRAWS, show_default=True)
@click.option("--write", type=click.Path(file_okay=False, path_type=Path), help="Write maintenance.md and maintenance.svg into a folder.")
def main(draws: tuple[int, ...], write: Path | None) -> None:
    """Adapt on every machine and print the page."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        scaling, known = write_model(folder / "bearing.tflite")
        maker = Maker(kt.load(folder / "bearing.tflite"), scaling, known)
        build = kt.build(maker.model, folder / "build", method=METHOD, loss=LOSS, calibration=known[::3], measure=False)
        found: dict[str, dict[str, list[Seen]]] = {}
        spoilt: dict[str, dict[float, list[Seen]]] = {}
        with build.open("host") as device:
            for title, machine in ({"the original machine": ORIGINAL} | OTHERS).items():
                for draw in draws:
                    site = maker.site(machine, draw)
                    for stage, seen in stages(maker, device, site, draw).items():
                        found.setdefault(title, {}).setdefault(stage, []).append(seen)
                    for share in FOULED:
                        spoilt.setdefault(title, {}).setdefault(share, []).append(fouled(device, site, share, draw))
                click.echo(f"{title}: " + "; ".join(f"{stage} {' '.join(_cells(seen))}" for stage, seen in found[title].items()))
        title, machine = list(OTHERS.items())[-1]
        sites = {draw: maker.site(machine, draw) for draw in draws}

        def score(device: kt.Device, draw: int) -> float:
            device.fit(sites[draw].adapt, seed=draw, progress=False)
            return Seen.of(device, sites[draw], calibrated(device, sites[draw].adapt)).area

        case = AdaptationCase(maker.model, LOSS, 1, known[::3], (sites[draws[0]].adapt[0], None), score, draws)
        costs = rows_of(case, folder / "costs")
    words: dict[str, Any] = {
        "adapted": ADAPTED, "width": WIDTH, "severity": SEVERITY, "judged": JUDGED, "faulty": FAULTY, "draws": ", ".join(map(str, draws)),
        "title": title, "before": statistics.mean(s.area for s in found[title][STAGES[0]]),
    }  # fmt: skip
    rows = [[machine if stage == STAGES[0] else "", stage, *_cells(seen[stage])] for machine, seen in found.items() for stage in STAGES]
    failed = [[machine, *(cell for share in FOULED for cell in _cells(seen[share]))] for machine, seen in spoilt.items()]
    heads = [f"{what}, {share:.0%}" for share in FOULED for what in ("false alarms", "found", "AUC")]
    text = "\n\n".join(
        [
            "# Predictive maintenance", "    make bench-field-maintenance", f"Printed on {datetime.date.today().isoformat()}.",
            wrapped(INTRODUCTION.format(**words)), "## What it brings", wrapped(ABOUT.format(**words)),
            table(("", "", "false alarms", "faults found", "AUC"), rows), "![false alarms and faults found](maintenance.svg)",
            "## What does not work", wrapped(FAILED), table(("", *heads), failed),
            "## What it takes", wrapped(ABOUT_COSTS.format(**words)), table(HEADINGS, costs),
        ]
    )  # fmt: skip
    click.echo(text)
    if write:
        write.mkdir(parents=True, exist_ok=True)
        (write / "maintenance.md").write_text(text + "\n", encoding="utf-8")
        (write / "maintenance.svg").write_text(picture(found), encoding="utf-8")


if __name__ == "__main__":
    main()
