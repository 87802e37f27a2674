"""Accuracy of a fleet against what it gives away of one client: updates bounded and noised by the generated C, epsilon by dp-accounting.

    make bench-privacy

Digits come with scikit-learn; gas sensors need KILOTUNE_DATA (../shared/data), and are left out where they are not.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from finished import Finished
from numpy.typing import NDArray
from prose import wrapped
from scenarios import DATA, gas

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples/digits"))

from data import change_sensor, digits, quantized
from sklearn.datasets import load_digits

import kilotune as kt
from kilotune.federated import Spent, epsilon_of, update_of, with_sum

ROUNDS, EPOCHS, ROWS, DELTA = 6, 2, 12, 1e-5
FIRST_DRAW = 11
NOISES = (0.5, 1.0, 2.0, 4.0, 8.0)
CLIENTS = (10, 100, 1000)
MANY, NOISES_OF_MANY = 1000, (0.0, 1.0, 8.0)
"""Fleets of this size take minutes a run: only digits with LoRA, at these levels."""
DIGITS = Path(__file__).resolve().parents[1] / "examples/digits/digits.tflite"
Method = Callable[[], list[Any]]
METHODS: dict[str, Method] = {"biases": lambda: [kt.BiasOnly()], "biases and LoRA": lambda: [kt.BiasOnly(), kt.LoRA(rank=4, layers="all")]}
CLIPS = {"biases": 16384, "biases and LoRA": 32768}
"""Of those that CHOSEN_FROM names the one that was best at a noise of 1 with 100 clients, on draw 3 of the digits (--choose)."""
CHOSEN_FROM = (2048, 4096, 8192, 16384, 32768, 65536)


@dataclass
class Data:
    """x, y: samples that clients get; judged: those that the shared adapter is scored by."""

    title: str
    model: Path
    calibration: Any
    x: NDArray[Any]
    y: NDArray[Any]
    judged: NDArray[Any]
    judged_labels: NDArray[Any]


def of_digits(draw: int, clients: int) -> Data:
    """All digits but the 307 that judge, through the changed sensor; where clients need more, the same again with noise of their own."""
    found = digits()
    images, labels = load_digits(return_X_y=True)
    judged = {row.tobytes() for row in found.changed.x}
    images = images.reshape(-1, 8, 8).astype(np.float64)
    mine = np.array([row.tobytes() not in judged for row in quantized(change_sensor(images))])
    rng = np.random.default_rng(draw)
    order = np.concatenate([rng.permutation(np.flatnonzero(mine)) for _ in range(-(-clients * ROWS // int(mine.sum())))])[: clients * ROWS]
    x = quantized(change_sensor(images[order]))  # the sensor's noise is by position
    return Data("digits", DIGITS, found.base.x[:32], x, labels[order].astype(np.int32), found.changed.x, found.changed.y)


def of_gas(draw: int, clients: int) -> Data:
    """Batch 6 of the drifted sensors, 1,800 samples for clients and the others to judge by; where clients need more, the same samples again."""
    s = gas(0, 6)
    x, y = np.concatenate([s.adapt, s.evaluate]), np.concatenate([s.adapt_labels, s.evaluate_labels])
    order = np.random.default_rng(0).permutation(len(x))
    given, judged = order[:1800], order[1800:]
    rng = np.random.default_rng(draw)
    rows = np.concatenate([rng.permutation(given) for _ in range(-(-clients * ROWS // len(given)))])[: clients * ROWS]
    return Data("gas sensors", s.path, s.calibration, x[rows], y[rows], x[judged], y[judged])


SETS: dict[str, Callable[[int, int], Data]] = {"digits": of_digits, "gas": of_gas}


class Fleet:
    """One host device that is each client in turn."""

    def __init__(self, data: Data, method: str, folder: Path) -> None:
        options = kt.AdapterOptions(private_updates=True)
        build = kt.build(kt.load(data.model), folder, method=METHODS[method](), calibration=data.calibration, adapters=options, measure=False)
        self.device = build.open()
        self.start = self.device.export_adapter()

    def score(self, data: Data, adapter: kt.Adapter) -> float:
        self.device.load_adapter(adapter)
        return float((self.device.predict(data.judged, progress=False) == data.judged_labels).mean())

    def run(self, data: Data, clients: int, clip: int, noise: float) -> list[float]:
        """Score before the first round and after the last. clip 0: updates as they are."""
        shared, device = self.start, self.device
        sigma = int(np.ceil(noise * clip / np.sqrt(clients)))
        for number in range(ROUNDS):
            total = np.zeros(device.manifest.private_updates, np.int64)
            for client in range(clients):
                rows = slice(client * ROWS, (client + 1) * ROWS)
                device.reset()
                device.load_adapter(shared)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", kt.DataWarning)  # that a client lacks classes is what others are for
                    device.fit(data.x[rows], data.y[rows], epochs=EPOCHS, seed=number, hold_out=0, progress=False)
                total += device.private_update(shared, clip, sigma) if sigma else update_of(device.export_adapter(), shared)
            shared = with_sum(shared, total, clients, self.start)
        return [self.score(data, self.start), self.score(data, shared)]


def levels(name: str, method: str, clients: int) -> tuple[float, ...]:
    """Noises that are tried."""
    if clients < MANY:
        return (0.0, *NOISES)
    return NOISES_OF_MANY if (name, method) == ("digits", "biases and LoRA") else ()


def cell(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def page(found: dict[tuple[str, str, int, float], list[list[float]]]) -> str:
    """Tables of what was measured."""
    spent = {noise: epsilon_of([Spent(noise)] * ROUNDS, DELTA) for noise in NOISES}
    draws = max(len(runs) for runs in found.values())
    lines = ["# Privacy of a fleet", "", wrapped(HEAD), "", wrapped(HOW.format(draws=draws)), ""]
    for name in SETS:
        mine = {key: runs for key, runs in found.items() if key[0] == name}
        if not mine:
            continue
        lines += [f"## {'Digits' if name == 'digits' else 'Gas sensors'}", "", wrapped(SETS[name].__doc__ or ""), ""]
        before = np.mean([run[0] for runs in mine.values() for run in runs])
        lines += [f"The model before: {before:.3f}.", ""]
        lines += ["| trained | clients | no bound, no noise | " + " | ".join(f"noise {n:g}, epsilon {spent[n]:.1f}" for n in NOISES) + " |"]
        lines += ["|---|---:|" + "---|" * (1 + len(NOISES))]
        for method in METHODS:
            for clients in CLIENTS:
                cells = [
                    cell([run[1] for run in mine[name, method, clients, n]]) if (name, method, clients, n) in mine else "" for n in (0.0, *NOISES)
                ]
                if any(cells):
                    lines.append(f"| {method} | {clients:,} | {' | '.join(cells)} |")
        lines.append("")
    lines += ["## What it says", "", *(wrapped(line, "- ") for line in says(found, spent)), ""]
    lines += [
        "## Clients that are asked by chance",
        "",
        wrapped(CHANCE),
        "",
        "| asked | of | noise | epsilon, all known | epsilon, asked by chance |",
    ]
    lines.append("|---:|---:|---:|---:|---:|")
    for asked, of in ((100, 100), (100, 1000), (100, 10_000)):
        for noise in (1.0, 2.0):
            rounds = [Spent(noise, asked, of)] * ROUNDS
            lines.append(f"| {asked} | {of:,} | {noise:g} | {epsilon_of(rounds, DELTA, False):.2f} | {epsilon_of(rounds, DELTA):.2f} |")
    return "\n".join([*lines, ""])


def says(found: dict[tuple[str, str, int, float], list[list[float]]], spent: dict[float, float]) -> Iterator[str]:
    """What the tables show, by their figures: where noise still leaves most of what the fleet learns, and where it leaves nothing."""
    sizes = sorted({(name, clients) for name, _, clients, noise in found if noise}, key=lambda pair: (pair[0], pair[1]))
    for name, clients in sizes:
        rows = {(m, n): np.mean([r[1] for r in runs]) for (d, m, c, n), runs in found.items() if (d, c) == (name, clients)}
        before = np.mean([r[0] for (d, _, c, _), runs in found.items() if (d, c) == (name, clients) for r in runs])
        best = max(score for (_, noise), score in rows.items() if noise == 0)
        kept = [(noise, method, score) for (method, noise), score in rows.items() if noise and score - before >= 0.9 * (best - before)]
        title = f"{'Digits' if name == 'digits' else 'Gas sensors'}, {clients:,} clients"
        if kept:
            noise, method, score = max(kept)
            yield (
                f"{title}: nine tenths of the gain without noise ({before:.3f} to {best:.3f}) remain down to epsilon {spent[noise]:.1f} "
                f"({method}, {score:.3f})."
            )
        else:
            noise, method, score = min((noise, method, score) for (method, noise), score in rows.items() if noise)
            what = f"{method}, {score:.3f}, of {best:.3f} without noise"
            yield f"{title}: even epsilon {spent[noise]:.1f} costs more than a tenth of the gain ({what})."
        lost = [noise for noise in NOISES if all(s <= before for (_, n), s in rows.items() if n == noise) and any(n == noise for _, n in rows)]
        if lost:
            yield f"{title}: from epsilon {spent[lost[0]]:.1f} down the shared adapter is no better than none ({before:.3f})."


HEAD = """`make bench-privacy` printed this page. What is guaranteed to whom: [many devices, one model](how_to/federated.md); what a device
does is `kt/private_update.h`."""
HOW = f"""Accuracy of the shared adapter after {ROUNDS} rounds of {EPOCHS} epochs; each client has {ROWS} samples, dealt at random, trains with the
generated C, and its update is clipped and noised there. Mean and range of {{draws}} draws. Noise is the standard deviation of all noise in the sum
of a round, over the clip; every client adds its share. Epsilon, at delta {DELTA:g}, is that of all rounds together for one client whose update is
there or is zero, to someone who sees the sums: the adapters, or the server of a secure aggregation. It depends on noise and rounds alone; what more
clients bring is that their mean drowns the same noise. Clips, {CLIPS["biases"]:,} for biases and {CLIPS["biases and LoRA"]:,} with LoRA in units of
2^-16, were chosen on another draw of the digits with 100 clients at a noise of 1, and not again for other sizes or for the sensors."""
CHANCE = """Who does not know which clients a round has asked, such as who gets the adapters, learns less of each. The server knows. Six rounds:"""


@click.command()
@click.option("--draws", default=3, show_default=True)
@click.option("--clients", default=CLIENTS, multiple=True, type=int, help="Sizes of fleets; several times.")
@click.option("--choose", is_flag=True, help="Only try clips, on draw 3 of the digits.")
@click.option("--finished", type=click.Path(path_type=Path), help="A file that keeps finished runs: stopped, it goes on where it was.")
@click.option("--write", type=click.Path(path_type=Path))
def main(draws: int, clients: Sequence[int], choose: bool, finished: Path | None, write: Path | None) -> None:
    """Measure, and write the page."""
    kept, fleets = Finished(finished), dict[tuple[str, str], Fleet]()
    with tempfile.TemporaryDirectory() as folder:

        def fleet_of(name: str, method: str, data: Data) -> Fleet:
            if (name, method) not in fleets:
                fleets[name, method] = Fleet(data, method, Path(folder) / f"{name}-{len(fleets)}")
            return fleets[name, method]

        if choose:
            data = of_digits(3, 100)
            for method in METHODS:
                for clip in CHOSEN_FROM:
                    print(method, clip, fleet_of("digits", method, data).run(data, 100, clip, 1.0), flush=True)
            return
        for count in clients:
            for name in SETS if DATA.is_dir() else ("digits",):
                for draw in range(FIRST_DRAW, FIRST_DRAW + draws):
                    data = SETS[name](draw, count)
                    for method in METHODS:
                        for noise in levels(name, method, count):
                            key = f"{name}|{method}|{count}|{noise}"
                            if (key, draw) not in kept.draws:
                                result = fleet_of(name, method, data).run(data, count, CLIPS[method] if noise else 0, noise)
                                kept.keep((key, draw), {"scores": result})
                                print(key, draw, result, flush=True)
    found: dict[tuple[str, str, int, float], list[list[float]]] = {}
    for (key, _), outcome in sorted(kept.draws.items()):
        name, method, count, noise = key.split("|")
        found.setdefault((name, method, int(count), float(noise)), []).append(outcome["scores"])
    text = page(found)
    print(text)
    if write:
        write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
