"""Windows without the rows and columns that meet nothing but the border: inference and training give the bits of the whole windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden.reference import Reference, same_training
from gradients.graphs import Maker

import kilotune as kt
from kiloc import pipeline
from kiloc.export import tflite
from kiloc.ir.graph import Graph
from kiloc.ir.text import print_graph
from kiloc.ops._window import Window, same_padding
from kiloc.ops.model.conv_2d import Conv2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.ops.model.mean import Mean
from kiloc.options import Options
from kiloc.peft import BiasOnly, Full, Head, LoRA, Method, ScaleShift
from kiloc.pipeline import Compilation, compile_graph

METHODS: dict[str, Method] = {"biases": BiasOnly(), "head": Head(), "scale": ScaleShift(), "lora": LoRA(rank=2), "full": Full()}


def drawn(seed: int) -> Graph:
    """Two layers with windows that reach beyond a small image, between a pointwise one and a dense one."""
    r = np.random.default_rng([seed, 44])
    size = (int(r.integers(1, 5)), int(r.integers(1, 5)))
    m = Maker("small", (1, *size, 3), seed)
    y = m.conv("input", "front", int(r.integers(2, 9)), Window((1, 1)), "relu")
    for i in range(2):
        _, height, width, channels = m.type(y).shape
        kernel = tuple(int(k) for k in r.choice((1, 3, 5, 7, 2), 2))
        stride, dilation = (1, 1), (int(r.integers(1, 4)), int(r.integers(1, 4)))
        if r.random() < 0.4:
            stride, dilation = (int(r.integers(1, 3)), 2), (1, 1)
        (top, bottom), (left, right) = (same_padding(n, k, s, d) for n, k, s, d in zip((height, width), kernel, stride, dilation, strict=True))
        if r.random() < 0.3:
            top, bottom = top + bottom, 0
        window = Window((kernel[0], kernel[1]), stride, (top, left, bottom, right), dilation)
        y = m.depthwise(y, f"layer_{i}", 1, window, "relu") if r.random() < 0.6 else m.conv(y, f"layer_{i}", channels, window, "relu")
    return m.finish(m.dense(m.op(y, "mean", Mean((1, 2)), (1, m.type(y).shape[3])), "logits", 3))


def taps(graph: Graph) -> dict[str, tuple[int, int]]:
    return {n.name: n.op.window.kernel for n in graph.nodes if isinstance(n.op, Conv2D | DepthwiseConv2D)}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(12))
def test_training_gives_the_bits_of_whole_windows(seed: int, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, options = drawn(seed), Options((METHODS[method],), kt.SGD(lr=0.1), target=("cortex-m4", "cortex-m3", "cortex-m55")[seed % 3])
    cut = compile_graph(graph, options, "0")
    monkeypatch.setattr(pipeline, "without_unmet_taps", lambda g: g)
    whole = compile_graph(graph, options, "0")
    assert print_graph(cut.graph) == print_graph(whole.graph) and cut.context.layout == whole.context.layout
    x = np.random.default_rng(seed).integers(-128, 128, (5, *graph.type("input").shape[1:])).astype(np.int8)
    same_training(Reference(cut), Reference(whole), x)


def count(found: Compilation) -> int:
    return sum(kernel != taps(found.graph)[name] for name, kernel in taps(found.reduced).items() if name in taps(found.graph))


@pytest.mark.parametrize(("method", "some"), [("biases", True), ("head", True), ("scale", True), ("full", False)])
def test_frozen_windows_are_cut_and_trained_ones_are_not(method: str, some: bool) -> None:
    found = [count(compile_graph(drawn(seed), Options((METHODS[method],)), "0")) for seed in range(12)]
    assert (sum(found) > 8) == some and (some or not any(found))


@pytest.mark.parametrize("device", ["host", pytest.param("qemu:mps2-an386", marks=pytest.mark.qemu)])
@pytest.mark.parametrize("seed", [0, 2, 3])
def test_devices_give_the_bits_of_whole_windows(seed: int, device: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if device != "host":
        request.getfixturevalue("qemu")
    graph = drawn(seed)
    (tmp_path / "small.tflite").write_bytes(tflite.write(graph))
    model, r = kt.load(tmp_path / "small.tflite"), np.random.default_rng(seed)
    x = r.integers(-128, 128, (4, *graph.type("input").shape[1:])).astype(np.int8)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(pipeline, "without_unmet_taps", lambda g: g)
        reference = Reference(compile_graph(model.graph, Options((BiasOnly(),), kt.SGD(lr=0.1)), "0"))
    build = kt.build(model, tmp_path / "build", method=BiasOnly(), optimizer=kt.SGD(lr=0.1), target="cortex-m4", measure=False)
    cut = {w["layer"]: tuple(w["left"]) for w in build.report["cut_windows"]}
    assert cut and all(("x".join(map(str, kernel)) in build.report_text()) for kernel in cut.values())
    with build.open(device) as opened:
        for i, sample in enumerate(x):
            assert opened.train_step(sample, i % 3) == reference.train_step(sample, i % 3)
        opened.apply()
        reference.apply()
        assert opened.state() == reference.state()
        assert np.array_equal(opened.infer(x), reference.infer(x)[0])


@pytest.mark.parametrize("seed", range(30))
def test_scattering_is_the_transpose_of_gathering(seed: int) -> None:
    """Also of windows that are moved beyond a border, and leave out rows or columns at the other one."""
    r = np.random.default_rng([seed, 45])
    size, kernel = r.integers(2, 7, 2), r.integers(1, 4, 2)
    first, stride, dilation = r.integers(-2, 4, 2), r.integers(1, 3, 2), r.integers(1, 3, 2)
    reach = (kernel - 1) * dilation + 1
    last = np.maximum(r.integers(-2, 3, 2), reach - size - first)
    window = Window(tuple(kernel.tolist()), tuple(stride.tolist()), (*first.tolist(), *last.tolist()), tuple(dilation.tolist()))
    x = r.integers(-9, 10, (2, *size, 3))
    patches = window.patches(x)
    rows = r.integers(-9, 10, patches.shape)
    assert (window.scatter(rows, x.shape) * x).sum() == (rows * patches).sum()
