"""Which kernels a build takes: by target, by the memory and flash there is, and what the report says of it; the bits stay the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import kilotune as kt
from kiloc.errors import BudgetError
from kiloc.forecast import instructions_of
from kiloc.ir import interp
from kiloc.lowering import kernels as choice
from kiloc.options import Options
from kiloc.pipeline import compile_graph

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits.tflite"
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "models"


def real(name: str) -> kt.Model:
    path = DATA / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"no {path.name}")
    return kt.load(path)


def inputs(model: kt.Model, count: int = 3) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    shape = model.graph.type(model.graph.inputs[0]).shape[1:]
    return np.random.default_rng(4).integers(-128, 128, (count, *shape)).astype(np.int8)


@pytest.mark.parametrize("name", ["kws_dscnn_int8", "ic_resnet8_int8", "person_detect_int8", "ad01_int8", "sww_int8"])
def test_what_is_emitted_means_what_the_model_means(name: str) -> None:
    """The graph of kernels, computed from its packed constants."""
    model = real(name)
    for speed in (False, True):
        c = compile_graph(model.graph, Options(speed=speed), "0")
        assert [n.name for n in c.infer.kernels.nodes] == [n.name for n in c.infer.graph.nodes]
        x = inputs(model)
        assert np.array_equal(interp.infer(c.infer.kernels, x)[0], interp.infer(model.graph, x)[0])


def test_kernels_of_a_training_step_mean_what_the_step_means() -> None:
    model = real("kws_dscnn_int8")
    c = compile_graph(model.graph, Options(methods=(kt.BiasOnly(), kt.LoRA(rank=2, layers="last:3"))), "0")
    assert c.train is not None
    states = [interp.initial_state(c.graph) for _ in range(2)]
    for i, x in enumerate(inputs(model, 2)):
        for part, state in zip((c.train.graph, c.train.kernels), states, strict=True):
            interp.train_step(part, {"input": x[None], "label": np.array([i], np.int32)}, state)
    assert all(np.array_equal(states[0][k], states[1][k]) for k in states[0])
    assert any(np.any(states[0][k] != v) for k, v in interp.initial_state(c.graph).items() if k.endswith(".bias"))


@pytest.mark.parametrize(("target", "kernel"), [("cortex-m4", "kt_packed_"), ("cortex-m33", "kt_packed_"), ("cortex-m3", "kt_triple_")])
def test_each_target_has_its_kernels(target: str, kernel: str, tmp_path: Path) -> None:
    report = kt.build(real("kws_dscnn_int8"), tmp_path / "b", target=target, measure=False).report
    steps = report["kernels"]["infer"]
    assert [s["step"] for s in steps][:3] == ["conv2d", "depthwise_conv2d", "conv2d_1"] and steps[2]["kernel"].startswith(kernel)
    assert report["kernels"]["train"] == [] and not any(s["slow"] for s in steps)


def test_speed_costs_flash_and_is_left_where_the_budget_is_short(tmp_path: Path) -> None:
    model = real("ic_resnet8_int8")
    usual, fast = (kt.build(model, tmp_path / f"b{speed}", speed=speed) for speed in (False, True))
    cost = fast.report["kernels"]["speed"]
    assert usual.report["kernels"]["speed"] == {"layers": 0, "flash": 0, "scratch": 0} and cost["layers"] >= 3
    assert any("winograd" in s["kernel"] for s in fast.report["kernels"]["infer"]) and "Winograd" in fast.report_text()
    grown = fast.report["flash"]["weights"] - usual.report["flash"]["weights"]
    assert abs(grown - cost["flash"]) < 200 and cost["flash"] > 100_000
    assert fast.report["memory"]["infer_arena"] <= 36_000
    budget = (usual.report["flash"]["total"] + fast.report["flash"]["total"]) // 2
    short = kt.build(model, tmp_path / "short", speed=True, flash=budget)
    assert short.report["kernels"]["speed"]["layers"] == 0 and short.report["flash"]["total"] <= budget
    assert "no room for faster kernels" in short.report["model"]["notes"][-1] and not fast.report["model"]["notes"]
    left = [s["step"] for s in fast.report["kernels"]["infer"] if s["slow"] == "Winograd's transform takes more memory"]
    roomy = kt.build(model, tmp_path / "roomy", speed=True, ram="64K", measure=False).report["kernels"]
    assert roomy["speed"]["layers"] == cost["layers"] + len(left) and not any(s["slow"] for s in roomy["infer"])
    with pytest.raises(BudgetError, match="flash"):
        kt.build(model, tmp_path / "none", speed=True, flash=usual.report["flash"]["total"] // 2)
    x = inputs(model, 1)
    expected = interp.infer(model.graph, x)[0]
    for device in ("host", "qemu:mps2-an386"):
        with fast.open(device) as opened:
            assert np.array_equal(opened.infer(x).ravel(), expected.ravel())


def test_faster_kernels_stay_within_the_arena_that_portable_ones_need(tmp_path: Path) -> None:
    """Training may take a hundredth more, and a budget is used: with room for it no form is given up."""
    model = real("person_detect_int8")
    method = kt.LoRA(rank=4, layers="last:2")
    least = kt.build(model, tmp_path / "least", method=method, target="cortex-m3", measure=False).report["memory"]["train_arena"]
    usual = kt.build(model, tmp_path / "usual", method=method, measure=False)
    assert usual.report["memory"]["train_arena"] <= 1.01 * least
    slow = [s for s in usual.report["kernels"]["infer"] if s["slow"]]
    assert slow and all(s["slow"] == "faster kernels take more memory" for s in slow)
    roomy = kt.build(model, tmp_path / "roomy", method=method, ram="128K", measure=False).report
    assert not any(s["slow"] for s in roomy["kernels"]["infer"]) and roomy["memory"]["train_total"] <= 128 * 1024


def test_memory_is_taken_where_kernels_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the share of speed for the share of memory, at least; what a budget allows is all there is."""
    graph, options = kt.load(DIGITS).graph, Options(methods=(kt.LoRA(rank=2, layers="all"),))
    more = compile_graph(graph, options, "0")
    monkeypatch.setattr(choice, "MORE_MEMORY", (0.0,))
    less = compile_graph(graph, options, "0")
    assert more.train is not None and less.train is not None
    arenas = [c.train.plan.arena_bytes for c in (less, more) if c.train]
    share = (arenas[1] - arenas[0]) / choice.LEAST_MEMORY
    times = [[instructions_of(part, "cortex-m4") for part in (c.infer, c.train) if part] for c in (less, more)]
    faster = max(usual / taken for usual, taken in zip(*times, strict=True)) - 1
    assert 0 < share <= 0.5 and faster > choice.WORTH * share
    monkeypatch.undo()
    state = sum(value.type.bytes for value in more.graph.state())
    within = compile_graph(graph, replace(options, ram=arenas[0] + state + 64), "0")
    assert within.train is not None and within.train.plan.arena_bytes < arenas[1]


def test_code_of_each_kernel_is_in_the_report(tmp_path: Path) -> None:
    build = kt.build(real("kws_dscnn_int8"), tmp_path / "b", method=kt.LoRA(rank=4, layers="last:2"))
    flash = build.report["flash"]
    if flash["code"] is None:
        pytest.skip("no cross compiler")
    assert flash["kernels"]["kt_product_half_up"] > 500 and sum(flash["kernels"].values()) < flash["code"]
    assert flash["total"] <= 86 * 1024, "training words in 86 KB of flash"
