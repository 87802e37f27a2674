"""Removal of constant channels: what is left computes the same integers, value by value, and what is proved holds for every input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import Reference, same_training
from hypothesis import given
from hypothesis import strategies as st

import kilotune as kt
from kiloc import lowering, pipeline
from kiloc.export import tflite
from kiloc.frontend.build import GraphBuilder
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.operator import Op
from kiloc.ir.text import parse_graph, print_graph
from kiloc.ir.types import Quantization, TensorType, activation
from kiloc.ir.verify import verify
from kiloc.ops._window import Window
from kiloc.ops.model.add import Add
from kiloc.ops.model.average_pool_2d import AveragePool2D
from kiloc.ops.model.conv_2d import Conv2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.ops.model.fully_connected import FullyConnected
from kiloc.ops.model.max_pool_2d import MaxPool2D
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.pad import Pad
from kiloc.ops.model.requantize import Requantize
from kiloc.ops.model.softmax import Softmax
from kiloc.optim import SGD
from kiloc.options import Options
from kiloc.passes import constant_channels
from kiloc.passes.channel_bounds import channel_bounds
from kiloc.passes.constant_channels import needed_channels, without_constant_channels
from kiloc.passes.simplify import simplify
from kiloc.passes.stripes import STRIPE
from kiloc.peft import BiasOnly, Full, Head, LoRA, Method, ScaleShift
from kiloc.pipeline import Compilation, compile_graph
from kiloc.report import figures, render_text

from .dead_channels import extremes, mobilenet, mobilenet_with_dead_channels, with_dead_channels
from .graphs import graphs
from .test_graphs import quick

pytestmark = pytest.mark.filterwarnings("error", r"ignore:os\.fork\(\) was called:RuntimeWarning")  # another module of the run has jax


def check_reduced(graph: Graph, x: np.ndarray) -> int:
    """The graph without its constant channels, compared value by value; how many channels are gone."""
    reduced = verify(without_constant_channels(graph))
    bounds = channel_bounds(graph)
    kept = needed_channels(graph, bounds)
    before, after = (interp.run(g, {graph.inputs[0]: x}) for g in (graph, reduced))
    for name, mask in kept.items():
        rows = before[name].reshape(-1, len(mask))
        assert (rows >= bounds[name].low).all() and (rows <= bounds[name].high).all(), name
        assert np.array_equal(before[name][..., mask], after[name]), name
        assert mask.any() and (len(mask) % 4 or not mask.sum() % 4), name
    for name in (*graph.inputs, *graph.outputs):
        assert kept[name].all() and reduced.values[name] == graph.values[name]
    return sum(int((~mask).sum()) for mask in kept.values())


# -- what is left is the same -------------------------------------------------------------------------
@quick
@given(graphs(), st.integers(0, 1000), st.sampled_from((0.0, 0.3, 0.7)))
def test_every_value_that_is_left_is_the_same(graph: Graph, seed: int, share: float) -> None:
    dead = simplify(with_dead_channels(graph, seed, share))
    check_reduced(dead, extremes(dead, 4))


@pytest.mark.parametrize("seed", range(6))
def test_a_mobilenet_loses_its_dead_channels(seed: int) -> None:
    graph = mobilenet_with_dead_channels(seed)
    assert check_reduced(graph, extremes(graph, 4)) > 100
    reduced = without_constant_channels(graph)
    assert without_constant_channels(reduced) is reduced, "nothing is left to remove"


def test_a_graph_without_constant_channels_is_left_alone() -> None:
    graph = mobilenet()
    assert without_constant_channels(graph) is graph


@pytest.mark.parametrize("wrong", ["_folded", "_reads", "_rounded", "source_channels"])
def test_the_comparison_sees_what_is_done_wrong(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Constants not folded, borders forgotten, counts not rounded, channels of a depthwise layer mixed up."""
    right: Callable[..., Any] = getattr(constant_channels, wrong)

    def folded(*arguments: Any) -> Any:
        return np.zeros_like(right(*arguments))

    def reads(graph: Graph, node: Any, x: Any, known: Any) -> Any:
        return right(graph, node, x, known) & ~x.constant

    def source(graph: Graph, node: Any) -> Any:
        found = right(graph, node)
        return found if found is None or not isinstance(node.op, DepthwiseConv2D) else found[::-1]

    monkeypatch.setattr(
        constant_channels, wrong, {"_folded": folded, "_reads": reads, "_rounded": lambda needed: False, "source_channels": source}[wrong]
    )
    graph = bordered() if wrong == "_reads" else mobilenet_with_dead_channels()
    with pytest.raises((AssertionError, kt.CompileError, ValueError)):
        check_reduced(graph, extremes(graph, 4))


# -- bounds against all inputs ------------------------------------------------------------------------
class Layers:
    """A graph made node by node, with weights and biases drawn."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.b, self.rng = GraphBuilder("layers", "layers.test"), np.random.default_rng(seed)
        self.b.input(activation(shape, 0.05, -3), "input")

    def layer(self, x: str, op: Op, weights: Any, bias: Any, y: TensorType) -> str:
        name, w = f"layer_{len(self.b.nodes)}", np.asarray(weights, np.int8)
        constants = {"weights": (w, Quantization((0.01,))), "bias": (np.asarray(bias, np.int32), None)}
        inputs = {o: self.b.constant(f"{name}.{o}", data, q, name) for o, (data, q) in constants.items()}
        return self.b.node(name, op, {"x": x, **inputs}, y, name)

    def random(self, x: str, op: Op, shape: tuple[int, ...], y: TensorType) -> str:
        return self.layer(x, op, self.rng.integers(-127, 128, shape), self.rng.integers(-3000, 3000, y.shape[-1]), y)

    def finish(self, y: str) -> Graph:
        return verify(self.b.finish([y]))


def single_layers() -> Iterator[tuple[str, Graph]]:
    """Graphs of one operator whose least and greatest results stand at corners of the input, which can all be tried."""
    same = Window((3, 3), (1, 1), (1, 1, 1, 1))
    for act, window in product(("none", "relu6"), (same, Window((2, 3), (2, 1), (0, 1, 1, 1)), Window((2, 2), (1, 1), (1, 0, 0, 1), (2, 1)))):
        out, k = window.output(3, 3), window.kernel
        m = Layers((1, 3, 3, 1))
        yield f"conv {act} {k}", m.finish(m.random("input", Conv2D(act, window=window), (4, *k, 1), activation((1, *out, 4), 0.3, -20)))
        m = Layers((1, 3, 3, 1))
        yield f"depthwise {act} {k}", m.finish(m.random("input", DepthwiseConv2D(window, act), (1, *k, 3), activation((1, *out, 3), 0.3, 7)))
    for rounding in ("twice", "once"):
        m = Layers((1, 6))
        yield f"dense {rounding}", m.finish(m.random("input", FullyConnected(rounding=rounding), (5, 6), activation((1, 5), 0.2, 0)))
    image, pooled = activation((1, 2, 3, 2), 0.05, -3), activation((1, 2, 3, 2), 0.05, -3)
    window = Window((2, 2), (1, 1), (0, 0, 1, 1))
    simple: list[tuple[str, Op, TensorType]] = [
        ("average", AveragePool2D(window, "relu"), pooled),
        ("max", MaxPool2D(window), pooled),
        ("mean", Mean((1, 2)), activation((1, 2), 0.04, 9)),
        ("pad", Pad((1, 0, 0, 1), 100), activation((1, 3, 4, 2), 0.05, -3)),
        ("requantize", Requantize("relu"), activation(image.shape, 0.11, -70)),
    ]
    for name, op, y in simple:
        m = Layers(image.shape)
        yield name, m.finish(m.b.node(name, op, {"x": "input"}, y, name))


@pytest.mark.parametrize(("name", "graph"), list(single_layers()))
def test_bounds_of_a_layer_are_reached(name: str, graph: Graph) -> None:
    """Not only sound, but exact: some corner of all inputs gives each bound."""
    shape = graph.type(graph.inputs[0]).shape
    corners = np.array(list(product((-128, 127), repeat=int(np.prod(shape)))), np.int8).reshape(-1, *shape[1:])
    y = interp.infer(graph, corners)[0].astype(int)
    y = y.reshape(-1, y.shape[-1])
    bounds = channel_bounds(graph)[graph.outputs[0]]
    assert np.array_equal(bounds.low, y.min(0)) and np.array_equal(bounds.high, y.max(0))


def test_bounds_of_every_pair_of_inputs() -> None:
    """A layer behind a layer, with all 65,536 inputs: never outside; a channel called constant is, and where the first layer is constant exact."""
    proved = 0
    pairs = np.stack(np.meshgrid(np.arange(-128, 128), np.arange(-128, 128)), -1).reshape(-1, 2).astype(np.int8)
    for seed in range(12):
        m = Layers((1, 2), seed)
        y = m.random("input", FullyConnected(activation="relu"), (4, 2), activation((1, 4), 0.3, -128))
        y = m.random(y, FullyConnected(activation=("none", "relu")[seed % 2]), (4, 4), activation((1, 4), 0.9, -100))
        graph = with_dead_channels(m.finish(y), seed, 0.5)
        arrays = interp.run(graph, {"input": pairs})
        for node in graph.nodes:
            found, bounds = arrays[node.outputs[0]].astype(int), channel_bounds(graph)[node.outputs[0]]
            assert (found.min(0) >= bounds.low).all() and (found.max(0) <= bounds.high).all()
            proved += int(bounds.constant.sum())
        assert np.array_equal(arrays["layer_0"].min(0), channel_bounds(graph)["layer_0"].low)
    assert proved > 20


def test_a_sum_of_two_inputs_is_bounded_exactly() -> None:
    m = Layers((1, 1, 1, 1))
    other = m.b.input(activation((1, 1, 1, 1), 0.11, 20), "other")
    graph = m.finish(m.b.node("sum", Add("relu6"), {"x": "input", "other": other}, activation((1, 1, 1, 1), 0.09, -40), "sum"))
    a, b = (v.reshape(-1, 1, 1, 1).astype(np.int8) for v in np.meshgrid(np.arange(-128, 128), np.arange(-128, 128)))
    y, bounds = interp.infer(graph, a, b)[0].astype(int), channel_bounds(graph)["sum"]
    assert (y.min(), y.max()) == (bounds.low[0], bounds.high[0])


# -- what goes and what stays -------------------------------------------------------------------------
def bordered(constant: int = 40, pad: int = 1) -> Graph:
    """One of five channels is constant before a convolution with a border."""
    m = Layers((1, 4, 4, 2))
    y = activation((1, 4, 4, 5), 0.05, -3)
    weights = m.rng.integers(-127, 128, (5, 1, 1, 2))
    weights[2] = 0
    bias = m.rng.integers(-500, 500, 5)
    bias[2] = (constant + 3) * 100
    x = m.layer("input", Conv2D(window=Window((1, 1))), weights, bias, y)
    window = Window((3, 3), (1, 1), (pad,) * 4)
    out = window.output(4, 4)
    return m.finish(m.random(x, Conv2D(window=window), (3, 3, 3, 5), activation((1, *out, 3), 2.0, 0)))


@pytest.mark.parametrize(("constant", "pad", "channels"), [(40, 1, 5), (40, 0, 4), (-3, 1, 4)])
def test_a_constant_before_a_border_stays_unless_it_is_the_zero_point(constant: int, pad: int, channels: int) -> None:
    graph = bordered(constant, pad)
    bounds = channel_bounds(graph)["layer_0"]
    assert (bounds.low[2], bounds.high[2]) == (constant, constant)
    assert without_constant_channels(graph).type("layer_0").shape[-1] == channels
    check_reduced(graph, extremes(graph, 4))


def test_what_only_feeds_a_constant_depthwise_channel_goes() -> None:
    """Live channels before a depthwise layer that saturates; behind it a fully connected layer of the flattened image."""
    graph = mobilenet()
    bias = graph.values["spread_2.bias"]
    assert bias.data is not None
    data = np.array(bias.data)
    data[:5] = -(2**24)
    graph = graph.with_values([replace(bias, data=data)])
    reduced = without_constant_channels(graph)
    assert not channel_bounds(graph)["mix_1"].constant.any()
    assert reduced.type("mix_1").shape[-1] == reduced.type("spread_2").shape[-1] == 28  # of 32: five may go, in fours
    check_reduced(graph, extremes(graph, 4))


def test_a_result_that_is_all_constant_keeps_a_channel() -> None:
    graph = with_dead_channels(mobilenet(), 0, 0.0)
    biases = [v for k, v in graph.values.items() if k.startswith("mix_1") and k.endswith("bias")]
    graph = graph.with_values([replace(v, data=np.full_like(v.data, -(2**24))) for v in biases])
    assert without_constant_channels(graph).type("mix_1").shape[-1] == 4
    check_reduced(graph, extremes(graph, 4))


# -- training -----------------------------------------------------------------------------------------
METHODS: dict[str, tuple[Method, ...]] = {
    "head": (Head(),),
    "lora": (LoRA(rank=2, layers="last:2"), BiasOnly("last:1")),
    "bias": (BiasOnly("last:3"),),
    "full": (Full("mix_3"), ScaleShift("logits")),
    "middle": (BiasOnly("spread_2"), LoRA(rank=2, layers="mix_2")),
    "all": (BiasOnly(),),
}


def trained(graph: Graph, method: str, **options: Any) -> Compilation:
    chosen = Options(methods=METHODS[method], optimizer=SGD(lr=0.1, momentum=0.9), calibration=extremes(graph, 6), **options)
    return compile_graph(graph, chosen, "0")


@pytest.mark.parametrize("method", METHODS)
def test_training_gives_the_same_bits(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = mobilenet_with_dead_channels()
    c = trained(graph, method)
    with monkeypatch.context() as m:
        m.setattr(pipeline, "without_constant_channels", lambda g: g)
        whole = trained(graph, method, constant_channels="frozen")
    narrower = sum(c.reduced.type(n.outputs[0]).size < whole.reduced.type(n.outputs[0]).size for n in whole.reduced.phase("forward"))
    assert narrower >= 4
    assert c.context.base_hash == whole.context.base_hash and c.context.layout == whole.context.layout
    assert c.context.adapter is not None and replace(c.context.adapter, limits=()) == whole.context.adapter
    assert print_graph(c.graph) == print_graph(whole.graph)
    assert c.context.state_bytes == whole.context.state_bytes and c.infer.plan.arena_bytes <= whole.infer.plan.arena_bytes
    same_training(Reference(c), Reference(whole), extremes(graph, 4))


@pytest.mark.parametrize("train", [True, False])
def test_nothing_trained_loses_a_channel(train: bool) -> None:
    """Shapes of state, of what trained layers read and make, of what is behind them, and of everything backward."""
    for method in METHODS:
        c = trained(mobilenet_with_dead_channels(), method, train=train, constant_channels="frozen")
        state = {v.name for v in c.graph.state()}
        assert {n: c.reduced.type(n) for n in state} == {n: c.graph.type(n) for n in state}
        behind: set[str] = set(state)
        for before, after in zip(c.graph.nodes, c.reduced.nodes, strict=True):
            if before.phase != "forward" or behind & set(before.inputs.values()):
                assert before == after
                assert all(c.reduced.values[v] == c.graph.values[v] for v in (*before.inputs.values(), *before.outputs))
                behind.update(before.outputs)


@pytest.mark.parametrize("device", ["host", pytest.param("qemu:mps2-an386", marks=pytest.mark.qemu)])
def test_the_device_gives_the_integers_of_the_whole_model(device: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Inference alone and after training: the generated C without the channels, the interpreter with them."""
    if device != "host":
        request.getfixturevalue("qemu")
    graph = mobilenet_with_dead_channels()
    (tmp_path / "mobile.tflite").write_bytes(tflite.write(graph))
    model, x = kt.load(tmp_path / "mobile.tflite"), extremes(graph, 3)
    with kt.build(model, tmp_path / "infer", target="cortex-m4", measure=False).open(device) as opened:
        assert np.array_equal(opened.infer(x), interp.infer(graph, x)[0])
    methods: list[Method] = [kt.LoRA(rank=2, layers="last:2"), kt.BiasOnly("last:1")]
    optimizer = kt.SGD(lr=0.1, momentum=0.9)
    whole = compile_graph(model.graph, Options(tuple(methods), optimizer), "0")
    reference = Reference(replace(whole, infer=replace(whole.infer, graph=lowering.order_inference(whole.graph, "cortex-m4", "caller"))))
    with kt.build(model, tmp_path / "train", method=methods, optimizer=optimizer, target="cortex-m4", measure=False).open(device) as opened:
        for i, sample in enumerate(x):
            assert opened.train_step(sample, i % 3) == reference.train_step(sample, i % 3)
        opened.apply()
        reference.apply()
        assert opened.state() == reference.state()
        assert np.array_equal(opened.infer(x), reference.infer(x)[0])


# -- with the rest of the compiler --------------------------------------------------------------------
def test_stripes_work_on_what_is_left() -> None:
    graph = mobilenet_with_dead_channels()
    usual = compile_graph(graph, Options(), "0")
    tight = compile_graph(graph, Options(ram=3 * usual.infer.plan.arena_bytes // 4), "0")
    x = extremes(graph, 3)
    assert any(STRIPE in n.name for n in tight.infer.graph.nodes) and tight.infer.plan.arena_bytes < usual.infer.plan.arena_bytes
    assert np.array_equal(interp.infer(tight.infer.kernels, x)[0], interp.infer(graph, x)[0])


def test_the_graph_for_merging_is_the_whole_model(tmp_path: Path) -> None:
    """Neither channels nor, where a budget asks for them, stripes change what `kt.merge` reads."""
    graph = mobilenet_with_dead_channels()
    (tmp_path / "mobile.tflite").write_bytes(tflite.write(graph))
    model, method = kt.load(tmp_path / "mobile.tflite"), kt.BiasOnly("last:1")
    builds = [kt.build(model, tmp_path / str(ram), method=method, ram=ram, measure=False) for ram in (None, 500)]
    assert builds[1].report["macs"]["forward"] > builds[0].report["macs"]["forward"], "the budget is met with stripes"
    texts = [(b.directory / "graph.txt").read_text() for b in builds]
    assert texts[0] == texts[1]
    read = parse_graph(texts[0])
    assert all(read.type(n.outputs[0]) == model.graph.type(n.outputs[0]) for n in model.graph.nodes)
    assert all(read.type(n.inputs["weights"]) == model.graph.type(n.inputs["weights"]) for n in read.nodes if "weights" in n.inputs)


def test_the_report_counts_what_is_gone() -> None:
    graph = mobilenet_with_dead_channels()
    c = compile_graph(graph, Options(), "0")
    report = figures(c, None)
    found = report["constant_channels"]
    layers = [n for n in graph.nodes if "weights" in n.inputs]
    removed = {n.name: graph.type(n.outputs[0]).shape[-1] - c.reduced.type(n.outputs[0]).shape[-1] for n in layers}
    assert {e["layer"]: e["removed"] for e in found["layers"]} == {k: v for k, v in removed.items() if v or k == "logits"}
    assert found["removed"] == sum(removed.values()) > 60 and found["of"] == sum(graph.type(n.outputs[0]).shape[-1] for n in layers)
    assert found["macs_after"] == report["macs"]["forward"] < 0.7 * found["macs_before"]
    assert found["weights_before"] - found["weights_after"] == sum(graph.type(n.inputs["weights"]).size for n in layers) - sum(
        c.reduced.type(n.inputs["weights"]).size for n in c.reduced.nodes if "weights" in n.inputs
    )
    line = next(line for line in render_text(report).splitlines() if line.startswith("channels"))
    assert f"{found['removed']:,} removed of {found['of']:,}" in line and f"MACs {found['macs_before']:,} -> {found['macs_after']:,}" in line
    none = figures(compile_graph(mobilenet(), Options(), "0"), None)
    assert none["constant_channels"]["layers"] == [] and "\nchannels" not in render_text(none)


def test_a_softmax_of_constant_classes_is_left_whole() -> None:
    """Results keep their channels, whatever they hold."""
    m = Layers((1, 4))
    y = m.layer("input", FullyConnected(), np.zeros((3, 4)), [5, -9, 300], activation((1, 3), 0.1, 0))
    graph = m.finish(m.b.node("classes", Softmax(), {"x": y}, activation((1, 3), 1 / 256, -128), "classes"))
    assert channel_bounds(graph)[y].constant.all() and without_constant_channels(graph) is graph
