"""What a user gets who names a number of epochs, by the generated C: with the rest of the recipe, and with a constant rate on all samples.

    make bench-epochs

Biases of every layer. "recipe": `fit(x, y, epochs=N)`, by which the rate falls and a fifth of the samples is held out where there are enough;
where there are not, they judge each epoch themselves. "constant": `fit(x, y, epochs=N, decay="constant", hold_out=0)`, which trains at the default
rate to the end. "held out" is the recipe with `hold_out=0.2` where it would hold out none, for there are few samples. Mean over the draws; 3 to 5
were those by which the rules were chosen. [Few samples](few_samples.md) has what 4 to 200 of them bring.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from prose import wrapped
from scenarios import SCENARIOS, scenario_of

import kilotune as kt
from kilotune.devices.recipe import ENOUGH_SAMPLES

EPOCHS = (1, 3, 10, None)
DEFAULT = ("kws", "usps", "gas", "gas6")
WAYS: dict[str, dict[str, Any]] = {"constant": {"decay": "constant", "hold_out": 0.0}, "recipe": {}, "held out": {"hold_out": 0.2}}


def measure(name: str, draw: int) -> tuple[str, dict[tuple[str, int | None], float]]:
    """The scenario's title, and its score after training in each way; ("before", None): before."""
    scenario = scenario_of(name, draw)
    found: dict[tuple[str, int | None], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        build = kt.build(kt.load(scenario.path), Path(folder) / "build", method=kt.BiasOnly(), calibration=scenario.calibration, measure=False)
        with build.open("host") as device:
            found["before", None] = scenario.score(device.predict(scenario.evaluate))
            for way, options in WAYS.items():
                if way == "held out" and len(scenario.adapt) >= ENOUGH_SAMPLES:
                    continue
                for epochs in EPOCHS:
                    device.reset()
                    device.fit(scenario.adapt, scenario.adapt_labels, epochs=epochs, seed=draw, **options)
                    found[way, epochs] = scenario.score(device.predict(scenario.evaluate))
    return scenario.name, found


@click.command()
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)), default=DEFAULT, show_default=True)
@click.option("--draw", "draws", multiple=True, type=int, default=(0, 1, 2), show_default=True, help="Draws of the adaptation samples.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
def main(names: tuple[str, ...], draws: tuple[int, ...], jobs: int, write: Path | None) -> None:
    """Train with every number of epochs in every way and print the table."""
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        waiting = {(name, draw): pool.submit(measure, name, draw) for name in names for draw in draws}
        found = {key: future.result() for key, future in waiting.items()}
    titles = ["1 epoch", "3", "10", "none named"]
    lines = ["| | | before | " + " | ".join(titles) + " |", "|---" * (3 + len(titles)) + "|"]
    for name in names:
        scores = [found[name, draw][1] for draw in draws]
        before = float(np.mean([s["before", None] for s in scores]))
        for way in [w for w in WAYS if (w, None) in scores[0]]:
            cells = [f"{float(np.mean([s[way, epochs] for s in scores])):.3f}".lstrip("0") for epochs in EPOCHS]
            lines.append(f"| {found[name, draws[0]][0]} | {way} | {before:.3f} | {' | '.join(cells)} |".replace("| 0.", "| ."))
    click.echo("\n".join(lines))
    if write:
        text = f"Printed by `make bench-epochs` on {datetime.date.today()}. {' '.join((__doc__ or '').split('make bench-epochs')[1].split())}"
        write.write_text("\n".join(["# Epochs that the user names", "", wrapped(text), "", *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
