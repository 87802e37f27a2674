"""Accuracy of an adapted model with its adapter and merged into plain weights, on real data.

    make bench-merge

For each draw of the adaptation samples the model is trained by the generated C on the host. The adapted score is the device's; the
merged score is that of the .tflite file which `kt.merge` writes, run by the generated C and by tflite-micro, which must agree bit for
bit, and that of the .onnx file in onnxruntime, which rounds in float.
The loss is adapted minus merged, in points (1 point: 0.01 of the score). Exit code 1 where a mean loss is above the target.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import datetime
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from contenders import OURS
from finished import Finished
from numpy.typing import NDArray
from prose import wrapped
from rich.console import Console
from scenarios import SCENARIOS, scenario_of

import kilotune as kt

WANTED = ("fsdd", "gas", "ecg", "kws")
NAMES = ("head", "bias, all layers", "bias + LoRA r=4, last 2", "bias + LoRA r=4, all", "scale-shift, all", "sparse update 1/4, all", "full")
TARGET = 0.4
"""Points that merging may cost, of the mean over the draws."""
WITHIN = f"Every mean loss is at most {TARGET} points. One evaluation sample of fsdd is 0.4 points, one of kws 0.2."


@dataclass(frozen=True)
class Row:
    """One training: scores with the adapter and merged, and how many evaluation samples got another class by merging."""

    adapted: float
    merged: float
    onnx: float
    changed: float

    @property
    def loss(self) -> float:
        return 100 * (self.adapted - self.merged)


def measure(name: str, contender: str, draw: int) -> tuple[str, Row]:
    scenario, chosen = scenario_of(name, draw), next(c for c in OURS if c.name == contender)
    model, calibration = kt.load(scenario.path), scenario.calibration
    with tempfile.TemporaryDirectory() as folder:
        build = kt.build(model, Path(folder) / "b", method=chosen.methods, optimizer=chosen.optimizer, calibration=calibration, measure=False)
        with build.open("host") as device:
            device.fit(scenario.adapt, scenario.adapt_labels, epochs=scenario.epochs, seed=draw, decay="linear", hold_out=0.0)
            adapted, adapter = device.predict(scenario.evaluate), device.export_adapter()
        merged = kt.merge(build, adapter, Path(folder) / "merged.tflite")
        with kt.build(merged, Path(folder) / "m", measure=False).open("host") as device:
            outputs = np.asarray(device.infer(scenario.evaluate))
        oracle = tflite_micro(merged.path, merged.quantize(scenario.evaluate))
        floats = onnx_runtime(kt.merge(build, adapter, Path(folder) / "merged.onnx").path, merged.quantize(scenario.evaluate))
    assert np.array_equal(outputs.reshape(oracle.shape), oracle), f"{name}, {contender}: tflite-micro computes other integers"
    found, rounded = (results.reshape(len(results), -1).argmax(1) for results in (oracle, floats))
    return scenario.name, Row(scenario.score(adapted), scenario.score(found), scenario.score(rounded), float((adapted != found).mean()))


def tflite_micro(path: Path, x: NDArray[np.int8]) -> NDArray[np.int8]:
    """int8 results [N, ...] of the published interpreter."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_file(str(path))
    results: list[Any] = []
    for sample in x:
        interpreter.set_input(sample[None], 0)
        interpreter.invoke()
        results.append(interpreter.get_output(0)[0].copy())
    return np.asarray(results)


def onnx_runtime(path: Path, x: NDArray[np.int8]) -> NDArray[np.int8]:
    """int8 results [N, ...] of onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: sample[None]})[0] for sample in x])


@click.command()
@click.option("--scenario", "wanted", multiple=True, type=click.Choice(list(SCENARIOS)), default=WANTED, show_default=True)
@click.option("--draws", type=click.IntRange(1, 5), default=3, show_default=True)
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True)
@click.option("--results", type=click.Path(dir_okay=False, path_type=Path), help="Keep finished draws in this file, and take those that it has.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown.")
def main(wanted: tuple[str, ...], draws: int, jobs: int, results: Path | None, write: Path | None) -> None:
    finished = Finished(results)
    console = Console(width=160)
    rows: dict[tuple[str, str], list[Row]] = {}
    titles: dict[str, str] = {}
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        missing = finished.missing(tuple(f"{n}|{c}" for n in wanted for c in NAMES), draws)
        waiting = {pool.submit(measure, *key.split("|"), draw): (key, draw) for key, draw in missing}
        for done in concurrent.futures.as_completed(waiting):
            title, row = done.result()
            finished.keep(waiting[done], [title, *map(float, dataclasses.astuple(row))])
    for name in wanted:
        for contender in NAMES:
            of_draws = [finished.draws[f"{name}|{contender}", draw] for draw in range(draws)]
            titles[name], rows[name, contender] = of_draws[0][0], [Row(*of_draw[1:]) for of_draw in of_draws]
    missed = []
    table = ["| | " + " | ".join(titles[n] for n in wanted) + " |", "|---" * (1 + len(wanted)) + "|"]
    for contender in NAMES:
        table.append(f"| {contender} | " + " | ".join(cell(rows[n, contender]) for n in wanted) + " |")
        missed += [(titles[n], contender) for n in wanted if np.mean([r.loss for r in rows[n, contender]]) > TARGET + 1e-9]
    console.print("\n".join(table), markup=False)
    verdict = [f"{title}, {contender}: the mean loss is above {TARGET} points" for title, contender in missed]
    console.print("\n".join(verdict) or f"every mean loss is at most {TARGET} points")
    if write:
        write.write_text("\n".join([*head(draws), *table, "", *(verdict or [WITHIN]), ""]))
    raise SystemExit(1 if missed else 0)


def cell(rows: list[Row]) -> str:
    losses = [r.loss for r in rows]
    adapted, merged, onnx = (np.mean([getattr(r, k) for r in rows]) for k in ("adapted", "merged", "onnx"))
    changed = 100 * np.mean([r.changed for r in rows])
    return f"{adapted:.4f} → {merged:.4f}: {np.mean(losses):+.2f} ± {np.std(losses):.2f} ({changed:.1f} %; ONNX {onnx:.4f})"


def head(draws: int) -> list[str]:
    return [
        "# What merging costs",
        "",
        "    make bench-merge",
        "",
        wrapped(
            f"""{datetime.date.today()}, {draws} draws of the adaptation samples, trained by the generated C on the host as in
            [methods.md](methods.md).
            `kilotune merge` folds an adapter into int8 weights with a new scale for each output channel, and writes a `.tflite` or a QDQ `.onnx`
            file.

            Each cell has the mean score (F1 for ecg, else accuracy) with the adapter → with merged weights, then the loss in points as mean ±
            standard deviation. In brackets: the share of evaluation samples whose class changed, and the score of the .onnx file in onnxruntime.
            The .tflite file gives the same integers in the generated C and in tflite-micro. A bottleneck adapter is not linear and is
            refused."""
        ),
        "",
    ]


if __name__ == "__main__":
    main()
