"""Gradients to inputs that share their weights with inference: the same training in less flash, all of them or as many as a budget asks for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import kilotune as kt
from kiloc.ir import interp
from kiloc.ir.verify import total_macs
from kiloc.lowering.kernels import REPACKING, REPEATING, transposed_again
from kiloc.ops.fast.blocked_input_gradient import BlockedInputGradient
from kiloc.options import Options
from kiloc.peft import Method
from kiloc.pipeline import Compilation, compile_graph
from kilotune.cli import main

CASES: dict[str, tuple[str, list[Method]]] = {
    "pointwise and fully connected": ("kws_dscnn_int8", [kt.BiasOnly()]),
    "windows, strides, skips": ("ic_resnet8_int8", [kt.BiasOnly()]),
    "LoRA": ("fsdd_dscnn_int8", [kt.BiasOnly(), kt.LoRA(rank=4, layers="last:3")]),
    "one position": ("ad01_int8", [kt.BiasOnly()]),
    "LoRA of DS-CNN": ("kws_dscnn_int8", [kt.LoRA(rank=4, layers="last:4")]),
}
SHARED, IN_BLOCKS = "kt_shared_", "kt_blocked_input_gradient_s8"


def model(name: str, data_dir: Path) -> kt.Model:
    return kt.load(data_dir / "models" / f"{name}.tflite")


def build(case: str, data_dir: Path, folder: Path, **options: Any) -> kt.Build:
    name, methods = CASES[case]
    loss = kt.MeanSquaredError(target="input") if name == "ad01_int8" else "cross_entropy"
    return kt.build(model(name, data_dir), folder, method=methods, loss=loss, name="model", **options)


def gradients(build: kt.Build) -> dict[str, dict[str, str]]:
    """Steps of the gradients to inputs of convolutions and fully connected layers."""
    return {s["step"]: s for s in build.report["kernels"]["train"] if s["operator"] == "linear_input_gradient"}


def in_blocks(build: kt.Build) -> list[str]:
    """Those that transpose a part of their weights at a time."""
    return [step for step, s in gradients(build).items() if s["kernel"] == IN_BLOCKS]


def trained(build: kt.Build, device: str, count: int = 3) -> tuple[bytes, bytes]:
    """State before and after training."""
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (count, *build.manifest["inputs"][0]["shape"][1:])).astype(np.int8)
    with build.open(device) as opened:
        start = opened.state()
        for i in range(count):
            opened.train_step(x[i : i + 1], None if build.manifest["targets"] == "input" else i % build.manifest["classes"])
        return start, opened.state()


@pytest.mark.parametrize("case", CASES)
def test_the_same_bits_with_one_copy_of_the_weights(case: str, data_dir: Path, tmp_path: Path) -> None:
    twice, once = (build(case, data_dir, tmp_path / way, backward_weights=way) for way in ("transposed", "shared"))
    assert all(s["kernel"].startswith(SHARED) for s in gradients(once).values())
    assert all("shares" in s["slow"] or step.startswith("dense") for step, s in gradients(once).items())
    assert not any(s["slow"] for step, s in gradients(once).items() if step.startswith("dense")), "of one position it takes no longer"
    assert not any(s["kernel"].startswith(SHARED) for s in gradients(twice).values())
    ways = [b.report["kernels"]["backward_weights"] for b in (twice, once)]
    assert ways[0]["shared"] == ways[1]["twice"] == {"gradients": 0, "flash": 0}
    assert ways[0]["twice"] == ways[1]["shared"] and ways[0]["twice"]["gradients"] == len(gradients(once))
    saved = twice.report["flash"]["weights"] - once.report["flash"]["weights"]
    assert abs(saved - ways[0]["twice"]["flash"]) < 100 * len(gradients(once))
    before, after = (b.report["memory"] for b in (twice, once))
    assert after["infer_arena"] <= before["infer_arena"] and after["train_arena"] <= 1.01 * before["train_arena"]
    expected, found = trained(twice, "host"), trained(once, "host")
    assert found == expected and found[0] != found[1]


@pytest.mark.parametrize("case", [case for case in CASES if case != "one position"])
def test_weights_are_transposed_again_where_memory_has_room(case: str, data_dir: Path, tmp_path: Path) -> None:
    """The same bits in hardly more memory and less flash; the C makes as many streams as the report says."""
    usual, found = (build(case, data_dir, tmp_path / way, backward_weights=way) for way in ("transposed", "auto"))
    ways = found.report["kernels"]["backward_weights"]
    saved = usual.report["flash"]["weights"] - found.report["flash"]["weights"]
    assert ways["repacked"]["gradients"] > 0 and abs(saved - ways["repacked"]["flash"]) < 100 * len(gradients(found))
    assert sum(way["gradients"] for way in ways.values()) == usual.report["kernels"]["backward_weights"]["twice"]["gradients"]
    sources = "".join(path.read_text() for path in (tmp_path / "auto").rglob("*.c") if "/kt/" not in str(path))
    named = [step for step, s in gradients(found).items() if s["makes"].startswith("kt_repack_")]
    assert len(re.findall(r"kt_repack_\w+\(&", sources)) == len(named)
    assert sources.count(f"{IN_BLOCKS}(&") == len(in_blocks(found)) == ways["repacked"]["gradients"] - len(named)
    before, after = (b.report["memory"] for b in (usual, found))
    assert after["infer_arena"] <= before["infer_arena"] and after["train_arena"] <= 1.01 * before["train_arena"]
    expected, trained_so = trained(usual, "host"), trained(found, "host")
    assert trained_so == expected and expected[0] != expected[1]


def test_layers_of_few_positions_transpose_as_far_as_a_step_hardly_takes_longer(data_dir: Path) -> None:
    """The weights that are transposed again are a small part of a step's MACs; of one position none are, where sharing takes no longer."""
    for name, loss in (("person_detect_int8", "cross_entropy"), ("ad01_int8", kt.MeanSquaredError(target="input"))):
        c = compile_graph(model(name, data_dir).graph, Options(methods=(kt.BiasOnly(),), target="cortex-m4", loss=loss), "0")
        assert c.train is not None
        made = [transposed_again(n.op) for n in c.train.kernels.nodes]
        assert sum(made) <= REPACKING * total_macs(c.train.graph)
        assert any(made) == (name == "person_detect_int8")
        parts = [n.op for n in c.train.kernels.nodes if isinstance(n.op, BlockedInputGradient)]
        assert bool(parts) == (name == "person_detect_int8"), "where memory has no room for all of a layer's weights at once"
        assert not any(op.repeats for op in parts)


@pytest.mark.qemu
@pytest.mark.parametrize(("case", "board"), [("pointwise and fully connected", "mps2-an386"), ("windows, strides, skips", "mps2-an500")])
def test_host_and_emulated_core(case: str, board: str, data_dir: Path, tmp_path: Path, qemu: Any) -> None:
    target = "cortex-m7" if board == "mps2-an500" else "cortex-m4"
    once = build(case, data_dir, tmp_path / "b", backward_weights="shared", target=target)
    assert trained(once, f"qemu:{board}", 1) == trained(once, "host", 1)
    again = build(case, data_dir, tmp_path / "c", target=target)
    assert again.report["kernels"]["backward_weights"]["repacked"]["gradients"] and trained(again, f"qemu:{board}", 1) == trained(once, "host", 1)


def test_kernels_mean_what_the_step_means(data_dir: Path) -> None:
    """The graph of kernels, computed from the stream of inference."""
    options = Options(methods=(kt.BiasOnly(), kt.LoRA(rank=2, layers="last:3")), backward_weights="shared")
    c = compile_graph(model("kws_dscnn_int8", data_dir).graph, options, "0")
    assert c.train is not None
    states = [interp.initial_state(c.graph) for _ in range(2)]
    for i, x in enumerate(np.random.default_rng(4).integers(-128, 128, (2, *c.graph.type(c.graph.inputs[0]).shape[1:])).astype(np.int8)):
        for part, state in zip((c.train.graph, c.train.kernels), states, strict=True):
            interp.train_step(part, {"input": x[None], "label": np.array([i], np.int32)}, state)
    assert all(np.array_equal(states[0][k], states[1][k]) for k in states[0])


def test_helium_leaves_the_transposed_copy_out(data_dir: Path, tmp_path: Path) -> None:
    case = "pointwise and fully connected"
    twice, once = (build(case, data_dir, tmp_path / way, backward_weights=way, target="cortex-m55") for way in ("transposed", "shared"))
    cost = twice.report["kernels"]["backward_weights"]["twice"]
    assert cost["gradients"] == 5 and once.report["kernels"]["backward_weights"]["shared"] == cost
    assert twice.report["flash"]["weights"] - once.report["flash"]["weights"] >= cost["flash"]
    assert all("shares" in s["slow"] for s in gradients(once).values())
    assert trained(once, "host") == trained(twice, "host")


def test_what_cannot_share_keeps_its_copy_and_says_why(data_dir: Path, tmp_path: Path) -> None:
    shared = {"backward_weights": "shared", "measure": False}
    full = kt.build(model("kws_dscnn_int8", data_dir), tmp_path / "full", method=[kt.Full(), kt.BiasOnly()], **shared)
    reasons = {s["slow"] for s in gradients(full).values()}
    assert reasons == {"", "its weights are in flash twice: weights or gains of its layer are trained"}, "merged weights are made, and in flash once"
    fast = kt.build(model("ic_resnet8_int8", data_dir), tmp_path / "fast", method=kt.BiasOnly(), speed=True, **shared)
    reasons = {s["slow"] for s in gradients(fast).values() if not s["kernel"].startswith(SHARED)}
    assert reasons == {"its weights are in flash twice: inference reads no stream of pairs"}
    assert "shares" in fast.report_text() and "twice" in fast.report_text()


def test_as_many_share_as_the_flash_budget_asks_for(data_dir: Path, tmp_path: Path) -> None:
    """Those first that save most for a MAC; none without need; those last that make their weights; what cannot be met names the least."""
    case, totals, counts = "windows, strides, skips", [], []
    usual, least = (build(case, data_dir, tmp_path / way, backward_weights=way).report["flash"]["total"] for way in ("auto", "shared"))
    for budget in (usual, usual - 1, (usual + least) // 2, least):
        found = build(case, data_dir, tmp_path / "b", flash=budget)
        ways = found.report["kernels"]["backward_weights"]
        totals.append(found.report["flash"]["total"])
        counts.append(ways["shared"]["gradients"])
        assert totals[-1] <= budget and sum(way["gradients"] for way in ways.values()) == 9
        assert sorted(s for s, g in gradients(found).items() if g["kernel"].startswith(SHARED)) == found.manifest["options"]["sharing"]
    assert counts[0] == 0 < counts[1] <= counts[2] <= counts[3] == 9 and totals[3] == least
    with pytest.raises(kt.BudgetError, match=f"{least:,} bytes of flash"):
        build(case, data_dir, tmp_path / "b", flash=least - 1)
    with pytest.raises(kt.BudgetError, match="bytes of flash"):
        build(case, data_dir, tmp_path / "b", flash=usual, backward_weights="transposed")


def test_a_flash_budget_has_weights_transposed_again_before_they_are_shared(data_dir: Path, tmp_path: Path) -> None:
    """Block by block where memory has no room for all at once: the same bits in the same memory, and a step takes a small part longer."""
    case = "pointwise and fully connected"
    usual = build(case, data_dir, tmp_path / "usual")
    found = build(case, data_dir, tmp_path / "found", flash=usual.report["flash"]["total"] - 1)
    ways = found.report["kernels"]["backward_weights"]
    assert ways["repacked"]["gradients"] == 5 and not in_blocks(usual) and len(in_blocks(found)) == 5
    assert [s["slow"] for step, s in gradients(found).items() if step in ("conv2d_4.dx", "conv2d_3.dx")] == ["faster kernels take more memory"] * 2
    assert found.report["flash"]["total"] < usual.report["flash"]["total"] - 2000
    assert found.report["memory"]["train_arena"] <= 1.01 * usual.report["memory"]["train_arena"]
    assert trained(found, "host") == trained(usual, "host")
    c = compile_graph(model("kws_dscnn_int8", data_dir).graph, Options(methods=(kt.BiasOnly(),), target="cortex-m4", flash=1), "0", measure=flash_of)
    assert c.train is not None
    assert 0 < sum(transposed_again(n.op) for n in c.train.kernels.nodes) <= REPEATING * total_macs(c.train.graph)
    shared = build(case, data_dir, tmp_path / "shared", backward_weights="shared")
    least = min(b.report["flash"]["total"] for b in (found, shared))
    with pytest.raises(kt.BudgetError, match=f"needs {least:,} bytes of flash"):
        build(case, data_dir, tmp_path / "b", flash=least - 1)


def flash_of(compilation: Compilation) -> int:
    """A measure that a budget of one byte meets once weights are transposed in blocks."""
    assert compilation.train is not None
    return 1 if any(isinstance(n.op, BlockedInputGradient) and n.op.repeats for n in compilation.train.kernels.nodes) else 2


def test_sharing_within_a_memory_budget(data_dir: Path, tmp_path: Path) -> None:
    """What is computed again to meet `ram` reads the same stream."""
    case = "LoRA of DS-CNN"
    usual = build(case, data_dir, tmp_path / "usual", backward_weights="shared", measure=False)
    ram = int(0.7 * usual.report["memory"]["train_total"])
    tight = build(case, data_dir, tmp_path / "tight", backward_weights="shared", ram=ram, measure=False)
    assert tight.report["memory"]["train_total"] <= ram and sum(tight.report["macs"].values()) > sum(usual.report["macs"].values())
    assert all(s["kernel"].startswith(SHARED) for s in gradients(tight).values())
    assert trained(tight, "host") == trained(usual, "host")


def test_the_option_on_the_command_line_and_wrong_values(data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / "models" / "kws_dscnn_int8.tflite"
    arguments = ["build", str(path), "-o", str(tmp_path / "b"), "--method", "bias", "--backward-weights", "shared"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "5 gradients share the weights of inference, 17,152 bytes of flash less" in " ".join(result.output.split())
    usual = kt.build(kt.load(path), tmp_path / "usual", method=kt.BiasOnly(), measure=False)
    text = " ".join(usual.report_text().split())
    made = "5 gradients transpose the weights of inference in each step, 13,056 bytes of flash less, some in part: of others they read a second copy"
    assert f"{made}, 4,096 bytes of flash" in text
    with pytest.raises(kt.CompileError, match="unknown backward_weights") as caught:
        kt.build(kt.load(path), tmp_path / "c", method=kt.BiasOnly(), backward_weights="share")
    assert caught.value.where == "backward_weights='share'" and "did you mean 'shared'" in caught.value.hint


@pytest.mark.parametrize(("core", "count"), [("cortex-m4", 9), ("cortex-m7", 1)])
def test_sharing_where_it_takes_no_longer(core: str, count: int, data_dir: Path, tmp_path: Path) -> None:
    """Without a budget: all layers of one position where loads take a word, elsewhere the one for whose faster form memory has no room."""
    found = build("one position", data_dir, tmp_path / core, target=core, measure=False)
    assert found.report["kernels"]["backward_weights"]["shared"]["gradients"] == count
    assert gradients(found)["dense_9.dx"]["kernel"].startswith(SHARED)
