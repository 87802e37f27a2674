"""Bounds of the stack against what calls take on emulated boards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from golden.reference import image
from stack import BOARDS, fitting, measured

import kilotune as kt
from kiloc.export import tflite

LORA = (kt.BiasOnly(), kt.LoRA(rank=2, layers="all"))
BUILDS: dict[str, dict[str, Any]] = {
    "inference": {},
    "bias": {"method": kt.BiasOnly(), "accumulate": 2, "loss": "mse"},
    "lora": {"method": LORA, "loss": "mse"},
    "full": {"method": (kt.Full(), kt.BiasOnly()), "loss": "mse"},
    "adapters": {"method": LORA, "train": False},
    "fast lora": {"method": LORA, "loss": "mse", "ram": "64K"},
    "fast gains": {"method": (kt.ScaleShift(), kt.BiasOnly()), "loss": "mse", "ram": "64K"},
}
CASES = [
    ("cortex-m0plus", "bias"),
    ("cortex-m0plus", "lora"),
    ("cortex-m0plus", "full"),
    ("cortex-m3", "lora"),
    ("cortex-m3", "adapters"),
    ("rv32imc", "lora"),
    ("rv32imc", "fast lora"),
    ("rv32imc", "fast gains"),
    ("cortex-m3", "fast gains"),
]
CASES += [(core, kind) for core in ("cortex-m4", "cortex-m55") for kind in BUILDS if not kind.startswith("fast")]
UNSEEN = 48
"""Bytes that leave no trace, because the agent's function that paints the stack takes as many."""
MOST = 1.3
"""Bound to measured: what lies between them is never written, or only for other inputs."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> kt.Model:
    path = tmp_path_factory.mktemp("model") / "image.tflite"
    path.write_bytes(tflite.write(image()))
    return kt.load(path)


@pytest.mark.qemu
@pytest.mark.parametrize(("core", "kind"), CASES)
def test_no_call_takes_more_than_its_bound(core: str, kind: str, model: kt.Model, tmp_path: Path, qemu: str, riscv_gcc: str) -> None:
    build = kt.build(model, tmp_path / "b", target=core, **BUILDS[kind])
    board = fitting(build, core)
    assert board in BOARDS[core]
    rows = {row.call: row for row in measured(build, board)}
    assert {"infer", *(("train_step",) if build.manifest["training"] else ())} <= set(rows)
    for row in rows.values():
        assert row.bound is not None, row
        if row.measured is not None:
            assert row.measured <= row.bound <= MOST * row.measured, row
    seen = {call for call, row in rows.items() if row.measured or (row.bound or 0) <= UNSEEN}
    assert seen >= ({"infer", "adapter_export", "adapter_load"} if build.manifest["adapter_bytes"] else {"infer"})
    assert {"infer", *(("train_step",) if build.manifest["training"] else ())} <= {call for call, row in rows.items() if row.measured}
