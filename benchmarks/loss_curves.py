"""The training loss of the integer engine beside the float engine's, epoch by epoch, on real data.

    make bench-loss

Same samples in the same order, same rate, clipping and decay; float32 under jax starts from the dequantised model. Writes
docs/loss_curves.md with the table and docs/loss_curves.svg.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from float_engine import engine_of
from numpy.typing import NDArray
from prose import wrapped
from scenarios import MAIN, SCENARIOS, Scenario, scenario_of

import kilotune as kt
from kiloc.peft import Method

CASES: dict[str, tuple[list[Method], float]] = {
    "bias": ([kt.BiasOnly()], 0.3),
    "lora": ([kt.BiasOnly(), kt.LoRA(rank=4, layers="all")], 0.1),
}
Curve = NDArray[Any]


def curves(scenario: Scenario, method: str) -> tuple[Curve, Curve]:
    """Mean loss of each epoch: (integer engine, float engine)."""
    model = kt.load(scenario.path)
    methods, rate = CASES[method]
    with tempfile.TemporaryDirectory() as folder:
        build = kt.build(model, Path(folder) / "build", method=methods, optimizer=kt.SGD(lr=rate), calibration=scenario.calibration, measure=False)
        with build.open("host") as device:
            ours = device.fit(scenario.adapt, scenario.adapt_labels, epochs=scenario.epochs, seed=0, decay="linear", hold_out=0.0).losses
    return np.array(ours), engine_of(model, scenario).train(method, rate, scenario.epochs, 0)[1]


def picture(found: dict[str, tuple[Curve, Curve]]) -> str:
    """A small multiple of curves as SVG: integer solid, float dashed."""
    width, height, gap = 260, 150, 40
    parts = []
    for i, (title, (ours, reference)) in enumerate(found.items()):
        left, top = 20 + (i % 2) * (width + gap), 30 + (i // 2) * (height + gap)
        largest = float(max(ours.max(), reference.max()))
        parts.append(f'<text x="{left}" y="{top - 8}" font-size="12">{title} (axis to {largest:.2f})</text>')
        parts.append(f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#ccc"/>')
        for curve, style in ((ours, 'stroke="#06c"'), (reference, 'stroke="#c60" stroke-dasharray="4 3"')):
            steps = max(len(curve) - 1, 1)
            points = " ".join(f"{left + width * k / steps:.1f},{top + height * (1 - v / largest):.1f}" for k, v in enumerate(curve))
            parts.append(f'<polyline points="{points}" fill="none" stroke-width="1.5" {style}/>')
    rows = (len(found) + 1) // 2
    size = f'width="{2 * width + 2 * gap}" height="{rows * (height + gap) + 40}"'
    legend = f'<text x="20" y="{rows * (height + gap) + 28}" font-size="12">solid: integer engine (generated C); dashed: float32 (jax)</text>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">{"".join(parts)}{legend}</svg>\n'


@click.command()
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)), help="Scenario; the README's without it.")
@click.option("--folder", default=Path("docs"), type=click.Path(file_okay=False, path_type=Path), show_default=True)
def main(names: tuple[str, ...], folder: Path) -> None:
    """Train with both engines and write table and picture."""
    found: dict[str, tuple[Curve, Curve]] = {}
    for name in names or MAIN:
        scenario = scenario_of(name, 0)
        for method in CASES:
            found[f"{scenario.name}, {method}"] = curves(scenario, method)
    about = "Made by `make bench-loss`: the mean training loss of an epoch by the integer engine (generated C) / by float32 (jax)."
    lines = ["# Loss curves", "", wrapped(about), ""]
    lines += ["| | first | middle | last | largest difference |", "|---|---|---|---|---|"]
    for title, (ours, reference) in found.items():
        cells = [f"{ours[k]:.3f} / {reference[k]:.3f}" for k in (0, len(ours) // 2, -1)]
        lines.append(f"| {title} | {' | '.join(cells)} | {np.abs(ours - reference).max():.3f} |")
    text = "\n".join([*lines, "", "![loss curves](loss_curves.svg)", ""])
    folder.mkdir(exist_ok=True)
    (folder / "loss_curves.md").write_text(text)
    (folder / "loss_curves.svg").write_text(picture(found))
    click.echo(text)


if __name__ == "__main__":
    main()
