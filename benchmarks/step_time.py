"""Instructions of a training step as `kilotune search --time` estimates them, beside what QEMU counts on an emulated Cortex-M4.

    .venv/bin/python benchmarks/step_time.py

One sample and one update, real models and methods; the stack is that of the step. Exit code 1 where an estimate is off by more than a factor of 1.5.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from scenarios import DATA

import kilotune as kt
from kiloc.forecast import forecast, instructions
from kiloc.ir import interp
from kiloc.peft import Method
from kilotune.search.setting import Setting

MODELS = ("gas_mlp_int8", "ecg_cnn_int8", "fsdd_dscnn_int8", "ic_resnet8_int8", "sww_int8", "lenet300_mnist_ptq")
METHODS: dict[str, list[Method]] = {
    "bias all": [kt.BiasOnly()],
    "head": [kt.Head()],
    "LoRA r=4 last:2": [kt.LoRA(rank=4, layers="last:2")],
    "bias and LoRA r=4 all": [kt.BiasOnly(), kt.LoRA(rank=4)],
    "scale-shift all": [kt.ScaleShift()],
    "bias all, adapter w=4 last:2": [kt.BiasOnly(), kt.BottleneckAdapter(width=4, layers="last:2")],
}
LIMIT = 1.5
DEVICE = "qemu:mps2-an386"


def counted(model: kt.Model, methods: list[Method]) -> tuple[int, int]:
    """Instructions of one training step and one update, and the bytes of stack that the step takes."""
    shape = model.graph.type(model.graph.inputs[0]).shape[1:]
    x = np.random.default_rng(0).integers(-128, 128, (1, *shape)).astype(np.int8)
    with tempfile.TemporaryDirectory() as folder:
        build = kt.build(model, Path(folder) / "b", method=methods, measure=False)
        with build.open(DEVICE, count=True) as device:
            device.train_step(x, 0)
            step = device.stats()
            device.apply()
            return int(step["instructions"] + device.stats()["instructions"]), int(step["stack_bytes"])


def estimated(model: kt.Model, methods: list[Method]) -> int:
    sample = {name: np.zeros((1, *model.graph.type(name).shape[1:]), np.int8) for name in model.graph.inputs}
    return instructions(forecast(model.graph, Setting().options(methods), interp.run(model.graph, sample)))


@click.command()
@click.option("--model", "names", multiple=True, type=click.Choice(MODELS), help="Model to measure; all without it.")
def main(names: tuple[str, ...]) -> None:
    """Print the table."""
    console, table, ratios = Console(width=120), Table("model", "method", "counted", "estimated", "ratio", "stack"), []
    for name in names or MODELS:
        model = kt.load(DATA / "models" / f"{name}.tflite")
        for title, methods in METHODS.items():
            (real, stack), guess = counted(model, methods), estimated(model, methods)
            ratios.append(guess / real)
            table.add_row(name, title, f"{real:,}", f"{guess:,}", f"{ratios[-1]:.2f}", f"{stack:,}")
    console.print(table)
    console.print(f"{len(ratios)} builds, ratio {min(ratios):.2f} to {max(ratios):.2f}")
    raise SystemExit(0 if all(1 / LIMIT < r < LIMIT for r in ratios) else 1)


if __name__ == "__main__":
    main()
