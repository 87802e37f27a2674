"""Real models under budgets: what stripes and recomputation build computes the same bits as the usual build, on host and board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kilotune as kt
from kiloc.peft import Method

CASES: dict[str, tuple[str, list[Method], float]] = {
    "recompute": ("kws_dscnn_int8", [kt.LoRA(rank=4, layers="last:4")], 0.6),
    "rows of masks": ("ic_resnet8_int8", [kt.BiasOnly()], 0.9),
    "rows": ("kws_dscnn_int8", [kt.LoRA(rank=4, layers="last:2")], 0.72),
    "stripes": ("person_detect_int8", [kt.BiasOnly(layers="last:1")], 0.75),
}
"""Model, methods, and the share of the usual memory that they get."""


def build(case: str, data_dir: Path, folder: Path, ram: int | None) -> kt.Build:
    model, methods, _ = CASES[case]
    return kt.build(kt.load(data_dir / "models" / f"{model}.tflite"), folder, method=methods, ram=ram, name="model", measure=False)


def trained(build: kt.Build, device: str) -> tuple[bytes, list[float], Any]:
    manifest = build.manifest
    shape, classes = manifest["inputs"][0]["shape"][1:], manifest["classes"]
    rng = np.random.default_rng(0)
    x, y = rng.integers(-128, 128, (4, *shape)).astype(np.int8), rng.integers(0, classes, 4)
    with build.open(device) as opened:
        history = opened.fit(x, y, epochs=5, shuffle=False)
        return opened.state(), history.losses, opened.infer(x[:2])


@pytest.mark.parametrize("case", CASES)
def test_the_same_bits_in_less_memory(case: str, data_dir: Path, tmp_path: Path) -> None:
    share = CASES[case][2]
    usual = build(case, data_dir, tmp_path / "usual", None)
    ram = int(share * usual.report["memory"]["train_total"])
    tight = build(case, data_dir, tmp_path / "tight", ram)
    assert tight.report["memory"]["train_total"] <= ram
    before, after = (sum(b.report["macs"].values()) for b in (usual, tight))
    # Stripes compute nothing twice; usual counts have the taps in borders, which stripes leave out.
    assert 0.99 * before < after <= before if case.startswith("rows") else before < after < 1.7 * before
    expected, found = trained(usual, "host"), trained(tight, "host")
    assert found[:2] == expected[:2] and np.array_equal(found[2], expected[2])


@pytest.mark.qemu
@pytest.mark.parametrize("case", ["recompute", "rows"])
def test_host_and_emulated_board(case: str, data_dir: Path, tmp_path: Path, qemu: Any) -> None:
    usual = build(case, data_dir, tmp_path / "usual", None)
    tight = build(case, data_dir, tmp_path / "tight", int(CASES[case][2] * usual.report["memory"]["train_total"]))
    host, board = trained(tight, "host"), trained(tight, "qemu:mps2-an386")
    assert host[:2] == board[:2] and np.array_equal(host[2], board[2])


def test_a_budget_that_cannot_be_met_names_the_least_and_what_would_help(data_dir: Path, tmp_path: Path) -> None:
    model = kt.load(data_dir / "models" / "kws_dscnn_int8.tflite")
    options: dict[str, Any] = {"method": [kt.LoRA(rank=4, layers="last:4"), kt.BiasOnly()], "optimizer": kt.SGD(momentum=0.9)}
    with pytest.raises(kt.BudgetError) as caught:
        kt.build(model, tmp_path / "b", ram="10K", **options)
    assert list(tmp_path.iterdir()) == []
    least = int(str(caught.value.what).split("at least ")[1].split(" bytes")[0].replace(",", ""))
    assert kt.build(model, tmp_path / "b", ram=least, measure=False, **options).report["memory"]["train_total"] <= least
    assert caught.value.hint.count(" bytes") == 3


def test_more_memory_costs_no_more_work(data_dir: Path, tmp_path: Path) -> None:
    """Kernels that take more scratch have to leave it to values where that saves more: fast ones alone compute twice as much at 26,000 bytes."""
    model, found = kt.load(data_dir / "models" / "kws_dscnn_int8.tflite"), []
    for ram in (25_200, 26_000, 27_000):
        folder = tmp_path / str(ram)
        report = kt.build(model, folder, method=kt.LoRA(rank=4, layers="last:4"), target="cortex-m4", ram=ram, measure=False).report
        assert report["memory"]["train_total"] <= ram
        found.append(sum(report["macs"].values()))
    assert found == sorted(found, reverse=True)
