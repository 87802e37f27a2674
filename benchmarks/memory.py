"""Arena bytes of inference beside TensorFlow Lite Micro's, and of training.

    make bench-memory

TFLM's figures: peers.json of the measuring rig (tflm + CMSIS-NN, including its scratch). Ours come from the plan of the build; both
hold activations and scratch, neither the model. Exit code 1 where an inference arena is larger than TFLM's.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import kilotune as kt
from kiloc.peft import Method

SHARED = Path(__file__).resolve().parents[2] / "shared"
DATA = Path(os.environ.get("KILOTUNE_DATA", SHARED / "data"))
PEERS = SHARED / "rig" / "peers.json"

MODELS = (
    ("ResNet-8", "ic_resnet8_int8", "resnet8"),
    ("DS-CNN", "kws_dscnn_int8", "dscnn"),
    ("AD autoencoder", "ad01_int8", "ad"),
    ("mcunet_vww", "mcunet_vww_int8", "mcuvww"),
    ("person_detect", "person_detect_int8", None),
)
TRAININGS: tuple[tuple[str, list[Method]], ...] = (
    ("bias, all layers", [kt.BiasOnly()]),
    ("LoRA r=4, last 2", [kt.LoRA(rank=4, layers="last:2")]),
)


def measure(model: kt.Model, method: list[Method] | None) -> dict[str, Any]:
    loss = "mse" if model.name == "ad01_int8" else "cross_entropy"
    with tempfile.TemporaryDirectory() as folder:
        report = kt.build(model, Path(folder) / "build", method=method, loss=loss).report
    return dict(report["memory"])


def main() -> int:
    peers = json.loads(PEERS.read_text())["inference"]["tflm+cmsis-nn"]["m4"] if PEERS.exists() else {}
    table = Table("model", "TFLM inference", "inference", *(f"{name}: arena + state" for name, _ in TRAININGS), title="bytes")
    worse = False
    for title, file, peer in MODELS:
        model = kt.load(DATA / "models" / f"{file}.tflite")
        ours = measure(model, None)["infer_arena"]
        theirs = peers[peer]["arena_bytes_incl_scratch"] if peer and peer in peers else None
        worse |= theirs is not None and ours > theirs
        cells = []
        for _, method in TRAININGS:
            memory = measure(model, method)
            cells.append(f"{memory['train_arena']:,} + {memory['state']:,}")
        table.add_row(title, f"{theirs:,}" if theirs else "not measured", f"{ours:,}", *cells)
    Console(width=120).print(table)
    return 1 if worse else 0


if __name__ == "__main__":
    raise SystemExit(main())
