"""Accuracy after on-device training, by the generated C, beside float head-only training.

    make bench-accuracy            all scenarios, five draws
    .venv/bin/python benchmarks/accuracy.py --scenario gas --draws 2

For each scenario: before, float32 SGD on the last layer (batch 1, backbone frozen; best of its rates by mean over the draws),
and each method of ours with its one default rate, linear decay, batch 1. Mean and standard deviation over the draws.
"""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scenarios import DRAWS, SCENARIOS, Scenario

import kilotune as kt
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.peft import Method

Array = NDArray[Any]
FLOAT_RATES = (0.003, 0.01, 0.03, 0.1)

METHODS: dict[str, tuple[list[Method], float]] = {
    "head": ([kt.Head()], 0.3),
    "bias, all layers": ([kt.BiasOnly()], 0.3),
    "bias + LoRA r=4, last 2": ([kt.BiasOnly(), kt.LoRA(rank=4, layers="last:2")], 0.1),
    "bias + LoRA r=4, all": ([kt.BiasOnly(), kt.LoRA(rank=4, layers="all")], 0.1),
}


class FloatHead:
    """The last layer in float32 on features of the INT8 backbone."""

    def __init__(self, graph: Graph, scenario: Scenario, model: kt.Model) -> None:
        node = [n for n in graph.nodes if n.op.mnemonic in ("fully_connected", "conv_2d")][-1]
        features, weights = graph.type(node.inputs["x"]), graph.type(node.inputs["weights"])
        data, bias = graph.values[node.inputs["weights"]].data, graph.values[node.inputs["bias"]].data
        assert data is not None and bias is not None
        scales = np.array(weights.channel_scales)
        self.weights = (data.reshape(data.shape[0], -1) * scales.reshape(-1, 1)).astype(np.float32)
        self.bias = (bias * features.scale * scales).astype(np.float32)

        def take(x: Array) -> Array:
            rows = interp.run(graph, {graph.inputs[0]: model.quantize(x)})[node.inputs["x"]]
            return ((rows.reshape(len(x), -1).astype(np.float32) - features.zero_point) * np.float32(features.scale)).astype(np.float32)

        self.adapt, self.evaluate, self.scenario = take(scenario.adapt), take(scenario.evaluate), scenario

    def train(self, rate: float, seed: int) -> float:
        w, b = self.weights.copy(), self.bias.copy()
        rng, y = np.random.Generator(np.random.PCG64(seed)), self.scenario.adapt_labels
        for _ in range(self.scenario.epochs):
            for i in rng.permutation(len(y)):
                z = self.adapt[i] @ w.T + b
                p = np.exp(z - z.max())
                g = p / p.sum()
                g[y[i]] -= 1
                w -= rate * np.outer(g, self.adapt[i])
                b -= rate * g
        return self.scenario.score((self.evaluate @ w.T + b).argmax(1))


def trained(model: kt.Model, scenario: Scenario, methods: list[Method], rate: float, folder: str, seed: int) -> float:
    """Score after training by the generated C on the host."""
    calibration = (scenario.original[:256], scenario.original_labels[:256])
    build = kt.build(model, Path(folder) / "build", method=methods, optimizer=kt.SGD(lr=rate), calibration=calibration)
    with build.open("host") as device:
        device.fit(scenario.adapt, scenario.adapt_labels, epochs=scenario.epochs, seed=seed, decay="linear")
        return scenario.score(device.predict(scenario.evaluate))


def shuffled(scenario: Scenario) -> Scenario:
    """Original-domain rows in random order, so that any prefix is a fair sample."""
    order = np.random.default_rng(5).permutation(len(scenario.original))
    fields = {**vars(scenario), "original": scenario.original[order], "original_labels": scenario.original_labels[order]}
    return Scenario(**fields)


def measure(make: Callable[[int], Scenario], draws: int, tick: Callable[[], None]) -> tuple[Scenario, dict[str, list[float]]]:
    results: dict[str, list[float]] = {}
    heads: dict[float, list[float]] = {}
    for draw in range(draws):
        scenario = shuffled(make(draw))
        model = kt.load(Path(__file__).parents[2] / "shared" / "data" / "models" / scenario.model)
        outputs = interp.infer(model.graph, model.quantize(scenario.evaluate))[0]
        results.setdefault("before", []).append(scenario.score(outputs.reshape(len(outputs), -1).argmax(1)))
        head = FloatHead(model.graph, scenario, model)
        for rate in FLOAT_RATES:
            heads.setdefault(rate, []).append(head.train(rate, draw))
        tick()
        for name, (methods, rate) in METHODS.items():
            with tempfile.TemporaryDirectory() as folder:
                results.setdefault(name, []).append(trained(model, scenario, methods, rate, folder, draw))
            tick()
    best = max(heads, key=lambda r: float(np.mean(heads[r])))
    ordered = {"before": results.pop("before"), f"float head-only, lr {best:g}": heads[best], **results}
    return scenario, ordered


@click.command()
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)), help="Scenario to run; all without it.")
@click.option("--draws", default=DRAWS, show_default=True, help="Draws of the adaptation samples.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
def main(names: tuple[str, ...], draws: int, write: Path | None) -> None:
    """Train on every scenario and print the table; exit code 1 where no method reaches float head-only."""
    console = Console(width=120)
    columns: list[tuple[Scenario, dict[str, list[float]]]] = []
    wanted = names or tuple(SCENARIOS)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("training", total=len(wanted) * draws * (1 + len(METHODS)))
        for name in wanted:
            columns.append(measure(SCENARIOS[name], draws, lambda: progress.advance(task)))
    missed = report(console, columns, draws, write)
    raise SystemExit(1 if missed else 0)


def report(console: Console, columns: list[tuple[Scenario, dict[str, list[float]]]], draws: int, write: Path | None) -> bool:
    table = Table(title=f"score after training, mean ± standard deviation over {draws} draws")
    lines = ["| scenario | metric | " + " | ".join(_titles(columns[0][1])) + " |", "|---" * (2 + len(columns[0][1])) + "|"]
    table.add_column("")
    for scenario, _ in columns:
        table.add_column(f"{scenario.name}\n({scenario.metric})")
    for i, title in enumerate(_titles(columns[0][1])):
        table.add_row(title, *(_cell(list(results.items())[i]) for _, results in columns))
    missed = False
    for scenario, results in columns:
        lines.append(f"| {scenario.name} | {scenario.metric} | " + " | ".join(_cell(item) for item in results.items()) + " |")
        means = {k: float(np.mean(v)) for k, v in results.items()}
        reference = next(v for k, v in means.items() if k.startswith("float head"))
        ours = max(v for k, v in means.items() if k in METHODS)
        missed |= ours < reference
        console.print(f"{scenario.name}: float head-only {reference:.4f}, best of ours {ours:.4f} {'reached' if ours >= reference else 'MISSED'}")
    console.print(table)
    if write:
        head = f"Made by `make bench-accuracy` on {datetime.date.today()}: {draws} draws, batch 1, trained by the generated C on the host.\n\n"
        write.write_text(head + "\n".join(lines) + "\n")
    return missed


def _titles(results: dict[str, list[float]]) -> list[str]:
    return ["float head-only" if k.startswith("float head") else k for k in results]


def _cell(item: tuple[str, list[float]]) -> str:
    name, values = item
    rate = name.partition(", lr ")[2] if name.startswith("float head") else ""
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}" + (f" (lr {rate})" if rate else "")


if __name__ == "__main__":
    main()
