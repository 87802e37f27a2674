"""Meter digits: what 30 and 100 images of a user's own meter bring, by the generated C, with the model's own images rehearsed.

    make bench-field-meters

Writes docs/field/meters.md and docs/field/meters.svg. Every method is trained alike: `kt.build(model, folder, method=..., loss="soft_cross_entropy")`
and `device.fit(x, y, rehearsal=kt.Rehearsal(known))`, whose rates and epochs are the defaults.
"""

from __future__ import annotations

import concurrent.futures
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import meter_page
import numpy as np
from finished import Finished
from meter_page import DEFAULT, OTHER, page
from meters import CHANGES, METHODS, UNSEEN, Case, build, changed_meter, known, known_for_choosing, meter, trained
from prose import with_section

REHEARSED = 2.0
BOARD = "qemu:mps2-an386"
USUAL = {"LoRA": "standard_peft", "full fine-tuning": "full_finetuning"}


def reported() -> Iterator[Case]:
    """What matters most first."""
    kinds = [("ScaleShift", 100, REHEARSED), ("ScaleShift", 30, REHEARSED)]
    kinds += [(name, 100, REHEARSED) for name in METHODS if name != "ScaleShift"]
    kinds += [("ScaleShift", 100, 0.0)]
    kinds += [(name, 30, REHEARSED) for name in METHODS if name != "ScaleShift"]
    for method, images, ratio in kinds:
        yield from (Case(method, name, images, ratio) for name in UNSEEN)


def chosen_among() -> Iterator[Case]:
    """Of ScaleShift, on meters that are none of the reported ones: other rates, more and less rehearsed."""
    for ratio, rate in ((REHEARSED, None), (REHEARSED, 0.1), (REHEARSED, 0.3), (1.0, None), (4.0, None), (0.0, None)):
        yield from (Case("ScaleShift", name, 100, ratio, rate) for name in CHANGES)


def others() -> Iterator[Case]:
    """The default method on what the set has beside the three meters."""
    yield from (Case(DEFAULT, name, images) for name in OTHER for images in (30, 100))


def measure(case: Case, draw: int) -> dict[str, Any]:
    """Scores; see `meters.trained`."""
    choosing = case.meter in CHANGES
    before = known_for_choosing() if choosing else known()
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder) / "build", case.method, before.rehearsed, case.rate)
        m = (changed_meter if choosing else meter)(case.meter, draw, case.images)
        return trained(Path(folder) / "build", m, before, case.ratio, draw)


def run(cases: Sequence[Case], draws: int, jobs: int, finished: Finished) -> None:
    """Measure what is missing, the method that the page is about first."""
    by_key = {case.key: case for case in cases}
    missing = sorted(finished.missing(tuple(by_key), draws), key=lambda item: not item[0].startswith("ScaleShift"))
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        waiting = {pool.submit(measure, by_key[key], draw): (key, draw) for key, draw in missing}
        for number, done in enumerate(concurrent.futures.as_completed(waiting), start=1):
            finished.keep(waiting[done], done.result())
            click.echo(f"{number} of {len(missing)}: {waiting[done][0]}, draw {waiting[done][1]}", err=True)


def costs() -> dict[str, dict[str, int]]:
    """Bytes of training, and what a step takes on an emulated Cortex-M4, by method; and those that a report compares with."""
    found: dict[str, dict[str, int]] = {}
    calibration = known().rehearsed
    x, y = calibration[0], np.int64(0)
    for name in METHODS:
        with tempfile.TemporaryDirectory() as folder:
            made = build(Path(folder) / "build", name, calibration)
            memory, usual = made.report["memory"], made.report["compare"]
            found[name] = {"arena": memory["train_arena"], "state": memory["state"], "update": made.report["trainable"]["update_bytes"]}
            if name.startswith("LoRA"):
                found |= {f"{title}, float32 (planned)": usual[key] for title, key in USUAL.items()}
            with made.open("host") as host, made.open(BOARD, count=True) as board:
                for device in (host, board):
                    device.train_step(x, y)
                step = board.stats()["instructions"]
                board.apply()
                host.apply()
                found[name] |= {"instructions": int(step + board.stats()["instructions"]), "same": int(host.state() == board.state())}
    return found


@click.command()
@click.option("--draws", type=click.IntRange(1, 3), default=3, show_default=True, help="Draws of the images.")
@click.option("--choose", is_flag=True, help="Measure rates and rehearsal on changed images of a known meter, too.")
@click.option("--others", "beside", is_flag=True, help="Other meters alone; with --write, into the page that is there.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--results", type=click.Path(dir_okay=False, path_type=Path), help="Keep finished draws in this file, and take those that it has.")
@click.option("--finished-only", is_flag=True, help="Train nothing: write the page of what --results has.")
@click.option("--write", type=click.Path(file_okay=False, path_type=Path), help="Write meters.md and meters.svg into this folder.")
def main(draws: int, choose: bool, beside: bool, jobs: int, results: Path | None, finished_only: bool, write: Path | None) -> None:
    """Train on all meters in all ways and write the page."""
    finished = Finished(results)
    if not finished_only:
        run(list(others()), 1, jobs, finished)
    if beside:
        section = meter_page.others(finished.draws)
        click.echo(section)
        if write:
            (write / "meters.md").write_text(with_section((write / "meters.md").read_text(), section), encoding="utf-8")
        return
    if not finished_only:
        run([*reported(), *(chosen_among() if choose else ())], draws, jobs, finished)
        if ("costs", 0) not in finished.draws:
            finished.keep(("costs", 0), costs())
    text, picture = page(finished.draws)
    click.echo(text)
    if write:
        write.mkdir(parents=True, exist_ok=True)
        (write / "meters.md").write_text(text, encoding="utf-8")
        (write / "meters.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
