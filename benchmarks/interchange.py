"""An adapter trained in float on a server, shipped as a PEFT folder, quantised on import: accuracy before and after, on real data.

    make bench-interchange

The server trains biases and LoRA of rank 4 on every layer of the dequantised model in float32 (jax, as the float rows of methods.md), and writes
safetensors. `import_peft` brings them to int8 codes for an inference-only build; the adaptation samples choose the ranges. Exit code 1 where
quantising costs more than a point of the mean.
"""

from __future__ import annotations

import datetime
import json
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from float_engine import _train, engine_of, trainable, with_lora
from prose import wrapped
from safetensors.numpy import save_file
from scenarios import Scenario, scenario_of

import kilotune as kt
from kiloc.ops.model.fully_connected import FullyConnected
from kilotune.adapters.interchange import CONFIG, PREFIX, WEIGHTS, import_peft

WANTED = ("fsdd", "gas", "ecg", "kws")
RATES = {"fsdd": 0.1, "gas": 0.1, "ecg": 0.1, "kws": 0.03}
"""Of the float LoRA row of methods.md."""
TARGET = 1.0


def server(model: kt.Model, s: Scenario, rate: float, seed: int) -> tuple[float, dict[str, Any], dict[str, Any]]:
    """Score in float, tensors by PEFT's names, config."""
    graph, engine = model.graph, engine_of(model, s)
    rng = np.random.Generator(np.random.PCG64(seed))
    order = np.concatenate([rng.permutation(len(engine.y)) for _ in range(s.epochs)])
    rates = rate * (1 - np.arange(len(order)) / len(order)).astype(np.float32)
    start = with_lora(graph, engine.base, 4, engine.x_original[:64], seed)
    layers, _ = _train(engine._run, start, engine.x[order], engine.y[order], rates, frozenset(trainable(graph, "lora")))
    tensors: dict[str, Any] = {}
    for node in graph.nodes:
        layer = layers.get(node.name, {})
        if "bias" in layer:
            tensors[f"{PREFIX}{node.name}.bias"] = np.array(layer["bias"])
        if "a" in layer:  # [r, kh, kw, in] and [out, r]
            a, b = np.array(layer["a"]), np.array(layer["b"])
            dense = isinstance(node.op, FullyConnected)
            tensors[f"{PREFIX}{node.name}.lora_A.weight"] = np.ascontiguousarray(a.reshape(len(a), -1) if dense else a.transpose(0, 3, 1, 2))
            tensors[f"{PREFIX}{node.name}.lora_B.weight"] = b if dense else b[:, :, None, None]
    return s.score(engine.predicted(layers)), tensors, {"peft_type": "LORA", "r": 4, "lora_alpha": 4, "bias": "all"}


def measure(name: str, draw: int) -> tuple[str, float, float, float, int]:
    """Title; scores before, in float and imported; bytes of the adapter."""
    s = scenario_of(name, draw)
    model = kt.load(s.path)
    score, tensors, config = server(model, s, RATES[name], draw)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "peft"
        folder.mkdir()
        save_file(tensors, folder / WEIGHTS)
        (folder / CONFIG).write_text(json.dumps(config))
        methods = [kt.BiasOnly(), kt.LoRA(rank=4, layers="all")]
        build = kt.build(model, Path(scratch) / "b", method=methods, train=False, calibration=s.original[:256], measure=False)
        adapter = import_peft(build, folder, s.adapt)
        with build.open("host") as device:
            before = s.score(device.predict(s.evaluate))
            device.load_adapter(adapter)
            return s.name, before, score, s.score(device.predict(s.evaluate)), len(adapter)


@click.command()
@click.option("--draws", type=click.IntRange(1, 5), default=3, show_default=True)
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown.")
def main(draws: int, write: Path | None) -> None:
    lines = ["| | before | float, on the server | imported, int8 | loss in points | bytes of the .kta |", "|---" * 6 + "|"]
    missed = False
    for name in WANTED:
        rows = [measure(name, d) for d in range(draws)]
        before, server_score, imported = (np.array([r[k] for r in rows]) for k in (1, 2, 3))
        loss = 100 * (server_score - imported)
        missed |= bool(loss.mean() > TARGET)
        cells = [f"{v.mean():.4f} ± {v.std():.4f}" for v in (before, server_score, imported)]
        lines.append(f"| {rows[0][0]} | {' | '.join(cells)} | {loss.mean():+.2f} ± {loss.std():.2f} | {rows[0][4]:,} |")
        click.echo(lines[-1])
    if write:
        head = [
            "# LoRA trained in float elsewhere",
            "",
            "    make bench-interchange",
            "",
            wrapped(f"{datetime.date.today()}, {draws} draws. {_about()}"),
            "",
        ]
        write.write_text("\n".join([*head, *lines, ""]))
    raise SystemExit(1 if missed else 0)


def _about() -> str:
    return (
        "Biases and LoRA of rank 4 on every layer were trained in float32 (jax) on the dequantised model, written as safetensors with PEFT's names, "
        "quantised by `kilotune adapter import`, and run by the generated C. The score is F1 for ecg, else accuracy."
    )


if __name__ == "__main__":
    main()
