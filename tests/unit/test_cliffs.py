"""No layer falls off its core's fast kernels without a reason: channels 1 to 300, windows of 1 to 7, every kind of core; and counts of a few layers,
and of LoRA of any rank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cliffs
import pytest
import speed
from gradients.graphs import Maker

import kilotune as kt
from kiloc.cores import CORES
from kiloc.forecast.each_node import instructions_of
from kiloc.ir.operator import Names
from kiloc.ir.verify import node_types
from kiloc.ops._offset_sums import MOST_TAPS, without_columns
from kiloc.ops._window import Window
from kiloc.options import Options
from kiloc.passes.kernels import choose
from kiloc.peft import Method
from kiloc.pipeline import compile_graph

TARGETS = {"cortex-m0plus": "armv6m", "cortex-m3": "armv7m", "cortex-m4": "dsp", "cortex-m55": "mve", "rv32imc": "triple"}
"""A core of each kind of kernels."""

PORTABLE = ("kt_conv2d_s8", "kt_depthwise_conv2d_s8")
"""What a layer of a core without Helium falls back to, and what always runs with Helium."""


def shapes() -> Iterator[cliffs.Layer]:
    """Every number of channels under a 1x1 and a 3x3 window, some of them under the others, and windows along one axis."""
    yield from cliffs.lines()
    for channels in range(1, 301):
        for kernel in range(1, 8) if channels % 50 in (0, 3) else (1, 3):
            yield cliffs.Layer("conv", channels, 4, (kernel, kernel), size=(2, 2))
            if kernel > 1:
                yield cliffs.Layer("depthwise", channels, channels, (kernel, kernel), 1 + channels % 2, (4, 4))
                yield cliffs.Layer("depthwise", channels, channels, (kernel, kernel), 1, (16, 15), 2)


def chosen(layer: cliffs.Layer, target: str) -> tuple[str, str]:
    """Kernel of a layer, and why it is not the fastest."""
    graph = layer.graph("layer")
    choice = choose(graph, graph.nodes[0], target)
    types = node_types(replace(graph, values={**graph.values, **{v.name: v for v in choice.values}}), choice.node)
    call = choice.node.op.kernel_call(types, Names({o: o for o in choice.node.inputs}, ("y",)))
    assert call is not None
    return call.symbol, choice.slow


def test_the_targets_are_of_every_kind() -> None:
    assert {core.kernels for core in CORES.values()} == set(TARGETS.values()) == {CORES[t].kernels for t in TARGETS}


def test_layers_have_fast_kernels_or_a_reason() -> None:
    """Without a reason no kernel is a portable one; the only reason for that is a sum that is too large to be proved, which the DSP extension has
    exact words for."""
    for layer in shapes():
        for target, kind in TARGETS.items():
            symbol, slow = chosen(layer, target)
            if kind == "mve":
                assert symbol in PORTABLE and not slow, (layer.title, slow)
            elif symbol in PORTABLE:
                assert slow.startswith("sums reach"), (layer.title, target, slow)
            elif slow.startswith("sums reach"):  # of exact words
                assert layer.kind != "depthwise" and "exact" in symbol, (layer.title, target, slow)
            elif slow:
                assert layer.kind == "depthwise" and layer.channels % 4 and kind == "dsp", (layer.title, target, slow)


@pytest.mark.parametrize(
    ("window", "size", "channels", "reason"),
    [
        (Window((11, 11), pad=(5, 5, 5, 5)), (9, 9), 8, ""),
        (Window((12, 11), pad=(5, 5, 5, 5)), (12, 12), 8, f"a window of more than {MOST_TAPS} values"),
        (Window((3, 3), (2, 2), (1, 1, 1, 1), (2, 2)), (9, 9), 8, "a dilated window with a stride"),
        (Window((3, 3), (1, 1), (1, 1, 1, 1)), (9, 400), 80, "its weights, or the rows under a window, take more than 65,536 bytes"),
        (Window((7, 1), (2, 1), (3, 0, 3, 0), (2, 1)), (60, 1), 8, "a dilated window with a stride"),
    ],
)
def test_helium_names_depthwise_layers_that_run_slower(window: Window, size: tuple[int, int], channels: int, reason: str) -> None:
    assert without_columns(window, (1, *size, channels), channels) == reason


COUNTED = (
    cliffs.Layer("conv", 144, 32, (3, 3), 1, (4, 4)),
    cliffs.Layer("conv", 300, 24, (3, 3), 1, (3, 3)),
    cliffs.Layer("conv", 3, 16, (3, 3), 2, (24, 24)),
    cliffs.Layer("depthwise", 8, 8, (3, 3), 1, (24, 24)),
    cliffs.Layer("depthwise", 17, 17, (3, 3), 1, (24, 24)),
    cliffs.Layer("depthwise", 64, 64, (5, 5), 1, (8, 8)),
    cliffs.Layer("depthwise", 17, 17, (3, 3), 2, (24, 24)),
    cliffs.Layer("depthwise", 24, 24, (7, 7), 2, (16, 16)),
    cliffs.Layer("depthwise", 3, 24, (3, 3), 1, (24, 24)),
    cliffs.Layer("depthwise", 17, 17, (1, 9), 1, (1, 96)),
    cliffs.Layer("depthwise", 16, 16, (1, 9), 1, (1, 96), 4),
    cliffs.Layer("depthwise", 16, 16, (1, 8), 2, (1, 96)),
    cliffs.Layer("depthwise", 16, 16, (9, 1), 1, (96, 1)),
    cliffs.Layer("depthwise", 16, 16, (9, 1), 1, (100, 1), 3),
    cliffs.Layer("depthwise", 8, 8, (3, 3), 1, (24, 24), 2),
    cliffs.Layer("depthwise", 17, 17, (3, 3), 1, (25, 23), 2),
)

LIMITS = {
    "m4": {"conv": 2.2, "depthwise": 6.5, "depthwise, large": 4.0, "depthwise, several": 5.5, "depthwise, lines": 4.2},
    "m3": {"conv": 2.6, "depthwise": 5.5, "depthwise, large": 4.8, "depthwise, several": 6.5, "depthwise, lines": 7.5},
}
"""Instructions a MAC that the layers may take; of depthwise layers those with windows larger than 3x3, of one row or one column, and with several
results of each input channel, apart."""


def limited(layer: cliffs.Layer) -> str:
    """Which of the limits a layer has."""
    if layer.kind == "depthwise":
        if 1 in layer.kernel:
            return "depthwise, lines"
        return "depthwise, several" if layer.channels < layer.outputs else "depthwise, large" if layer.kernel[0] > 3 else "depthwise"
    return layer.kind


@pytest.mark.parametrize("core", ["m55", "m4", "m3"])
def test_counts_are_within_their_limits(core: str, qemu: str) -> None:
    if not (speed.SHARED / "rig" / "rig.py").is_file():
        pytest.skip("the instruction counter is not there")
    for row in cliffs.counted(COUNTED, core):
        limit = cliffs.most(row.layer) if core == "m55" else LIMITS[core][limited(row.layer)] * row.layer.macs + cliffs.CALL
        assert row.instructions <= limit, (row.layer.title, row.rate, row.kernel, row.slow)


RANKS = (4, 1, 2, 3, 5, 7, 8, 12, 16)
WIDTHS = (128, 129, 300)
FROZEN = ("packed_lora", "conv2d_lora", "path_input_gradient")
"""Kernels that multiply by frozen weights as well."""
SLACK = {"m4": 1.35, "m55": 2.2}
"""How much more than that of rank 4 a multiply-accumulate may take, ranks rounded up to fours where nothing else is multiplied."""
INNER = {"m4": 3.0, "m55": 3.0}
"""Instructions a MAC of the gradient of an inner tensor, whatever the channels are."""


def of_every_rank(folder: Path, core: str) -> kt.Build:
    """A chain of 1x1 layers: 64 channels, each with LoRA of another rank, then rank 4 with other channels."""
    m, one = Maker("ranks", (1, 8, 8, 64), 3), Window((1, 1))
    x = m.conv("input", "first", 64, one, "relu")
    for rank in RANKS:
        x = m.conv(x, f"rank{rank}", 64, one, "relu")
    x = m.conv(x, "smaller", 64, Window((1, 1), (2, 2)), "relu")
    for width in WIDTHS:
        x = m.conv(x, f"width{width}", width, one, "relu")
    (folder / "ranks.test").write_bytes(b"")
    methods = [kt.LoRA(rank=r, layers=f"rank{r}") for r in RANKS] + [
        kt.LoRA(rank=4, layers=name) for name in ("first", *(f"width{w}" for w in WIDTHS))
    ]
    model = kt.Model(folder / "ranks.test", m.finish(m.dense(x, "logits", 4)))
    return kt.build(model, folder / "build", method=methods, target=speed.CORES[core], measure=False)


@pytest.mark.parametrize("core", ["m55", "m4"])
def test_lora_of_any_rank_takes_what_its_macs_take(core: str, qemu: str, tmp_path: Path) -> None:
    if not (speed.SHARED / "rig" / "rig.py").is_file():
        pytest.skip("the instruction counter is not there")
    build = of_every_rank(tmp_path, core)
    regions = [r for r in speed.counted(build, core, speed.counter(core), False) if "train_step" in r.name]
    steps, layers, inner = build.report["kernels"]["train"], Counter[tuple[str, str]](), dict[str, float]()
    calls = iter(regions)
    for step in steps:
        instructions = sum(next(calls).instructions for _ in range(1 + bool(step["makes"])))  # weights that are made have a call of their own
        layer, _, part = step["step"].partition(".")
        if part == "du" and layer.startswith("width"):
            inner[layer] = instructions / (16 * 4 * int(layer.removeprefix("width")))
        elif part != "du":  # of which a second pass depends on the values
            layers[layer, next((kind for kind in (*FROZEN, "down_projection", "weight_gradient") if kind in step["kernel"]), "")] += instructions
    assert next(calls, None) is None
    for kind in {kind for _, kind in layers if kind}:
        rate = {r: layers[f"rank{r}", kind] / (64 + r if kind in FROZEN else -(-r // 4)) for r in RANKS}
        assert min(rate.values()) > 0 and max(rate.values()) <= SLACK[core] * rate[4], (kind, rate)
    assert len(inner) == len(WIDTHS) and max(inner.values()) <= INNER[core], inner


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0plus"])
@pytest.mark.parametrize("name", ["kws_dscnn_int8", "sww_int8"])
@pytest.mark.parametrize("method", [kt.Head(), kt.BiasOnly(layers="last:1")], ids=["head", "bias of the last layer"])
def test_a_small_backward_pass_leaves_inference_its_kernels(name: str, core: str, method: Method, data_dir: Path) -> None:
    """Where a step takes hardly more memory than inference, this takes hardly more instructions than where nothing is trained, and no more memory."""
    graph = kt.load(data_dir / "models" / f"{name}.tflite").graph
    plain, trained = (compile_graph(graph, Options(methods=methods, target=core), "0").infer for methods in ((), (method,)))
    before, after = (instructions_of(part, core) for part in (plain, trained))
    assert after <= 1.05 * before
    assert trained.plan.arena_bytes <= plain.plan.arena_bytes
