"""What adapting one model costs and brings: in little memory, as parameter-efficient fine-tuning is usually done, and of all weights."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finished import Finished

import kilotune as kt
from kiloc.optim import Optimizer
from kiloc.peft import Method

BOARD, CORE = "qemu:mps2-an386", "cortex-m4"


@dataclass(frozen=True)
class Way:
    """Methods with optimizer and storage, and which of the three kinds they are."""

    kind: str
    name: str
    methods: tuple[Method, ...]
    optimizer: Optimizer
    storage: str = "block16"
    """As in `kt.Training`."""
    accumulate: int | None = None
    """Samples an update; None: the case's."""


LOW, STANDARD, FULL = "low-memory PEFT", "standard PEFT", "full fine-tuning"
WAYS = (
    Way(LOW, "biases, SGD", (kt.BiasOnly(),), kt.SGD()),
    Way(LOW, "scale and shift, SGD", (kt.ScaleShift(),), kt.SGD()),
    Way(LOW, "biases + LoRA r=4, SGD, 8 bits", (kt.BiasOnly(), kt.LoRA(rank=4, layers="all")), kt.SGD(), "block8"),
    Way(STANDARD, "biases + LoRA r=8, Adam", (kt.BiasOnly(), kt.LoRA(rank=8, layers="all")), kt.Adam(), accumulate=16),
    Way(FULL, "all weights, Adam", (kt.Full(),), kt.Adam(), accumulate=16),
)


@dataclass(frozen=True)
class AdaptationCase:
    """A task: score trains a device of the build with the samples of a draw, and says how good it is. sample: what a step is counted with."""

    model: kt.Model
    loss: Any
    accumulate: int
    calibration: Any
    sample: tuple[Any, Any]
    score: Callable[[kt.Device, int], float]
    draws: Sequence[int]
    replay: kt.Replay | None = None


HEADINGS = ("", "", "arena", "state", "arena + state", "instructions a step", "an update of the adapter", "score", "worst draw")


def rows_of(case: AdaptationCase, folder: Path, ways: Sequence[Way] = WAYS, finished: Finished | None = None, name: str = "") -> list[list[str]]:
    """A row a way: bytes, instructions that QEMU counts on a Cortex-M4 for a sample and an update, bytes of the adapter, mean score and worst.

    finished: scores that were taken already, by the name of the case.
    """
    return [_row(case, way, folder / str(number), finished or Finished(None), f"{name}|{way.name}") for number, way in enumerate(ways)]


def _row(case: AdaptationCase, way: Way, folder: Path, finished: Finished, name: str) -> list[str]:
    build = kt.build(
        case.model, folder, method=list(way.methods), optimizer=way.optimizer, loss=case.loss, storage=way.storage, target=CORE,
        accumulate=way.accumulate or case.accumulate, calibration=case.calibration, replay=case.replay, measure=False,
    )  # fmt: skip
    memory = build.report["memory"]
    with build.open("host") as device:
        for draw in case.draws:
            if (name, draw) not in finished.draws:
                device.reset()
                finished.keep((name, draw), float(case.score(device, draw)))
        update = len(device.export_adapter())
    scores = [finished.draws[name, draw] for draw in case.draws]
    with build.open(BOARD, count=True) as device:
        device.train_step(*case.sample)
        step = int(device.stats()["instructions"])
        device.apply()
        step += int(device.stats()["instructions"]) if device.stats()["call"] == "apply" and device.manifest.accumulate > 1 else 0
    cells = [f"{n:,}" for n in (memory["train_arena"], memory["state"], memory["train_total"], step, update)]
    return [way.kind, way.name, *cells, f"{statistics.mean(scores):.3f}", f"{min(scores):.3f}"]


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (list(headings), ["---"] * len(headings), *rows))
