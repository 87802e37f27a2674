"""Reversible blocks: trained from what is reconstructed they reach the bits of the same network with saved activations, in memory that does not
depend on their number, in NumPy, on the host and on emulated cores; what is no coupling is kept, with a note."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import Reference
from numpy.typing import NDArray

import kilotune as kt
from kiloc import Convolution, Dense, Reversible, pipeline
from kiloc.export import onnx
from kiloc.frontend.build import GraphBuilder
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.operator import Environment
from kiloc.ir.types import RANGES, Quantization, TensorType, activation, gradient
from kiloc.ir.verify import verify
from kiloc.ops._wide_ranges import intervals
from kiloc.ops.backward.gradient_sum import WITHOUT_TIES, GradientSum
from kiloc.ops.model.requantize import Requantize
from kiloc.ops.model.slice import Slice
from kiloc.ops.wide.elementwise import WideAdd, WideSub
from kiloc.options import Options
from kiloc.passes.recompute import AGAIN
from kiloc.passes.reconstruct import couplings
from kiloc.peft import Method
from kilotune.reversible import write

HALF, INPUTS, CLASSES = 6, 10, 3
PLENTY = 1 << 20
"""Bytes with which nothing has to be reconstructed."""
METHODS: dict[str, tuple[Method, ...]] = {
    "lora": (kt.BiasOnly(), kt.LoRA(rank=2, layers="all")),
    "full": (kt.Full(),),
    "scale-shift": (kt.ScaleShift(),),
    "the first block alone": (kt.BiasOnly(layers="front_0,block_0_f_0"),),
}


def dense(r: np.random.Generator, rows: int, columns: int, relu: bool = False) -> Dense:
    return Dense(r.normal(0, 1 / columns**0.5, (rows, columns)), r.normal(0, 0.1, rows), relu)


def convolution(r: np.random.Generator, rows: int, columns: int, relu: bool = False) -> Convolution:
    return Convolution(r.normal(0, 0.3 / columns**0.5, (rows, 3, 3, columns)), r.normal(0, 0.1, rows), relu)


def network(blocks: int, layer: Any = dense, inputs: int = INPUTS) -> Reversible:
    r = np.random.default_rng(blocks)

    def branch() -> list[Dense | Convolution]:
        return [layer(r, 2 * HALF, HALF, True), layer(r, HALF, 2 * HALF)]

    return Reversible([layer(r, 2 * HALF, inputs)], [(branch(), branch()) for _ in range(blocks)], [dense(r, CLASSES, 2 * HALF)])


def quantized(net: Reversible, shape: tuple[int, ...] = (INPUTS,)) -> tuple[Graph, NDArray[np.int8], NDArray[np.int32]]:
    r = np.random.default_rng(5)
    x = r.normal(0, 1, (24, *shape))
    graph = net.quantized(x)
    codes = np.clip(np.rint(x / graph.type("input").scale), -128, 127).astype(np.int8)
    return graph, codes, r.integers(0, CLASSES, len(x)).astype(np.int32)


def compiled(graph: Graph, x: Any, y: Any, methods: tuple[Method, ...] = METHODS["lora"], **options: Any) -> pipeline.Compilation:
    c = pipeline.compile_graph(graph, Options(methods=methods, optimizer=kt.SGD(lr=0.1), calibration=x, calibration_target=y, **options), "")
    assert c.train is not None
    return c


def computed_again(c: pipeline.Compilation) -> int:
    assert c.train is not None
    return sum(node.name.endswith(".inverse.again") for node in c.train.graph.nodes)


@pytest.mark.parametrize(("method", "accumulate"), [*zip(METHODS, cycle((1, 2)), strict=False)])
def test_the_bits_of_saved_activations(method: str, accumulate: int) -> None:
    graph, x, y = quantized(network(2))
    options: dict[str, Any] = {"methods": METHODS[method], "accumulate": accumulate}
    found = []
    for ram in (None, PLENTY):
        reference = Reference(compiled(graph, x, y, ram=ram, **options))
        for i in range(4):
            loss = reference.train_step(x[i], y[i])
            if i % accumulate == accumulate - 1:
                reference.apply()
        found.append((reference.state(), loss))
        assert (computed_again(reference.c) > 0) == (ram is None)
    assert found[0] == found[1]


def test_sums_of_gradients_on_a_stream_are_rounded_both_ways() -> None:
    """What rounds upwards alone gives a stream a gradient that it does not have: it drifts."""
    graph = compiled(*quantized(network(1))).graph
    sums = {n.name.removesuffix(".dy"): n.op.largest for n in graph.nodes if isinstance(n.op, GradientSum)}
    streams = {name: graph.type(graph.node(name).outputs[0]).dtype == "int16" for name in sums}
    assert any(streams.values()) and sums == {name: WITHOUT_TIES if wide else 1 << 14 for name, wide in streams.items()}
    odd = np.arange(-99, 100, 2).astype(np.int8).reshape(1, -1)
    types = {o: gradient(odd.shape, 1.0) for o in ("g", "other")}
    means = []
    for largest in (1 << 14, WITHOUT_TIES):
        op = GradientSum(largest, shift=15)
        (codes,) = op.evaluate(Environment(types, (types["g"],), {"g": odd, "other": np.zeros_like(odd)}))
        means.append(float(codes.mean()))
    assert means == [0.5, 0.0]


@pytest.mark.parametrize(("layer", "shape"), [(dense, (INPUTS,)), (convolution, (5, 4, 2))], ids=["dense", "convolution"])
def test_memory_does_not_depend_on_the_number_of_blocks(layer: Any, shape: tuple[int, ...]) -> None:
    sizes = []
    for blocks in (2, 5):
        data = quantized(network(blocks, layer, shape[-1]), shape)
        sizes.append([c.train.plan.arena_bytes for c in (compiled(*data), compiled(*data, ram=PLENTY)) if c.train])
    (few, few_saved), (many, many_saved) = sizes
    assert few == many < few_saved < many_saved


def test_a_budget_takes_what_is_cheapest() -> None:
    """With room for saved activations nothing is computed again; with less, something."""
    data = quantized(network(2))
    least = compiled(*data)
    assert least.train is not None
    needed = least.train.plan.arena_bytes + least.context.state_bytes
    tight = compiled(*data, ram=needed)
    assert tight.train is not None and tight.train.plan.arena_bytes <= least.train.plan.arena_bytes
    assert any(AGAIN.search(node.name) for node in tight.train.graph.nodes)


@pytest.mark.parametrize(
    ("layer", "shape", "suffix"), [(dense, (INPUTS,), ".onnx"), (convolution, (5, 4, 2), ".onnx"), (dense, (INPUTS,), ".tflite")]
)
def test_files(layer: Any, shape: tuple[int, ...], suffix: str, tmp_path: Path) -> None:
    """What the exporter writes is read back to the same integers, keeps its couplings, and is the float network but for rounding."""
    net = network(2, layer, shape[-1])
    graph, x, _ = quantized(net, shape)
    read = kt.load(write(net, tmp_path / f"net{suffix}", np.random.default_rng(5).normal(0, 1, (24, *shape)))).graph
    assert np.array_equal(interp.infer(read, x)[0], interp.infer(graph, x)[0])
    assert len(couplings(read)[0]) == 4
    real = net(x * graph.type("input").scale)
    close = interp.infer(graph, x)[0] * graph.type(graph.outputs[0]).scale
    assert np.corrcoef(real.ravel(), close.ravel())[0, 1] > 0.99


def test_onnxruntime_adds_the_same(tmp_path: Path) -> None:
    """Halves of int16, their sum, and int8 of it, with steps so that no result lies between two."""
    runtime = pytest.importorskip("onnxruntime")
    b = GraphBuilder("sums", "sums.onnx")
    x = b.input(activation((1, 8), 0.5, 0), "input")
    step = Quantization((0.25,))
    halves = [b.node(f"half_{i}", Slice.along((1, 8), 1, 4 * i, 4), {"x": x}, activation((1, 4), 0.5, 0), "half") for i in (0, 1)]
    wide = [b.node(f"wide_{i}", Requantize(), {"x": h}, TensorType((1, 4), "int16", step), "wide") for i, h in enumerate(halves)]
    total = b.node("sum", WideAdd(), {"x": wide[0], "other": wide[1]}, TensorType((1, 4), "int16", step), "sum")
    graph = verify(b.finish([b.node("narrow", Requantize(), {"x": total}, activation((1, 4), 0.5, 0), "narrow")]))
    codes = np.random.default_rng(0).integers(-128, 128, (300, 8)).astype(np.int8)
    session = runtime.InferenceSession(onnx.write(graph))
    found = np.concatenate([session.run(None, {"input": row[None]})[0] for row in codes])
    assert np.array_equal(found, interp.infer(graph, codes)[0])


def test_sums_are_undone_whatever_the_codes() -> None:
    """The ranges that the proof relies on hold for every input, at the ends of int8 too, and the inverse gives back each operand."""
    graph, x, _ = quantized(network(6))
    extreme = np.random.default_rng(0).choice(np.array([-128, 127], np.int8), (200, INPUTS))
    arrays = interp.run(graph, {"input": np.concatenate([x, extreme])})
    for name, (low, high) in intervals(graph).items():
        assert low <= arrays[name].min() and arrays[name].max() <= high
    for coupling in couplings(graph)[0]:
        node = coupling.inverse()
        back = node.op.evaluate(interp.environment(graph, node, arrays))[0]
        assert np.array_equal(back, arrays[coupling.operand])


# -- what is no coupling ------------------------------------------------------------------------------
def test_what_is_added_must_not_be_computed_from_it() -> None:
    """A plain residual network of int16 trains, with what it adds to kept."""
    graph, x, y = quantized(network(2))
    sums = {n.name: n for n in graph.nodes if n.op.mnemonic == "wide_add"}
    plain = [replace(n, inputs={"x": sums["block_0_f_sum"].outputs[0]}) if n.name == "block_1_f_in" else n for n in graph.nodes]
    changed = replace(graph, nodes=tuple(plain))
    found, notes = couplings(changed)
    assert len(found) < 4 and any("is kept, not reconstructed" in note for note in notes)
    states = []
    for ram in (None, PLENTY):
        reference = Reference(compiled(changed, x, y, ram=ram))
        reference.train_step(x[0], y[0])
        reference.apply()
        states.append(reference.state())
    assert states[0] == states[1]


def test_other_scales_are_kept_and_train() -> None:
    """What they compute is not undone; their gradient is masked where they may leave int16."""
    graph, x, y = quantized(network(1))
    name = "block_0_g_out"
    q = replace(graph.type(name).quantization, scale=(graph.type(name).scale * 2,))  # type: ignore[type-var]
    other = graph.with_values([replace(graph.values[name], type=replace(graph.type(name), quantization=q))])
    assert "different scales" in couplings(other)[1][0] if couplings(other)[0] else True
    reference = Reference(compiled(other, x, y))
    reference.train_step(x[0], y[0])
    before = reference.state()
    reference.apply()
    assert reference.state() != before
    fine = Quantization((1e-4,))
    sums = [replace(v, type=replace(v.type, quantization=fine)) for n, v in graph.values.items() if n.startswith("block_0_g_sum")]
    may_leave = compiled(graph.with_values(sums), x, y).graph
    masks = [n for n in may_leave.nodes if n.op.mnemonic in ("mask_gradient", "save_mask")]
    assert any(may_leave.type(n.inputs["y"]).dtype == "int16" for n in masks)


def test_many_blocks_may_leave_int16() -> None:
    with pytest.raises(kt.CompileError, match="may leave int16"):
        network(256).quantized(np.ones((2, INPUTS)))
    graph = network(120).quantized(np.ones((2, INPUTS)))
    assert all(RANGES["int16"][0] <= low and high <= RANGES["int16"][1] for low, high in intervals(graph).values())


def test_a_difference_is_a_coupling_too() -> None:
    graph, x, y = quantized(network(2))
    turned = replace(graph, nodes=tuple(replace(n, op=WideSub()) if n.op.mnemonic == "wide_add" else n for n in graph.nodes))
    states = []
    for ram in (None, PLENTY):
        reference = Reference(compiled(turned, x, y, ram=ram))
        reference.train_step(x[0], y[0])
        reference.apply()
        states.append(reference.state())
        assert (computed_again(reference.c) > 0) == (ram is None)
    assert states[0] == states[1]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda n: replace(n, front=[dense(np.random.default_rng(0), 7, INPUTS)]), "no halves"),
        (lambda n: replace(n, head=[dense(np.random.default_rng(0), 3, 5)]), "for \\(1, 12\\)"),
        (lambda n: replace(n, blocks=[([dense(np.random.default_rng(0), HALF, HALF, True)], n.blocks[0][1])]), "ends with a RELU"),
    ],
)
def test_networks_that_make_no_sense_are_refused(change: Any, what: str) -> None:
    with pytest.raises(kt.CompileError, match=what):
        change(network(1)).quantized(np.ones((2, INPUTS)))


# -- devices ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("target", "board"), [("", "host"), ("cortex-m4", "qemu:mps2-an386"), ("cortex-m55", "qemu:mps3-an547")])
def test_devices(target: str, board: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if target:
        request.getfixturevalue("qemu")
    net = network(2)
    _, x, y = quantized(net)
    model, methods = kt.load(write(net, tmp_path / "net.onnx", np.random.default_rng(5).normal(0, 1, (24, INPUTS)))), METHODS["lora"]
    options: dict[str, Any] = {"target": target} if target else {}
    build = kt.build(model, tmp_path / "build", method=list(methods), optimizer=kt.SGD(lr=0.1), calibration=(x, y), measure=False, **options)
    reference = Reference(compiled(model.graph, x, y, methods))
    with build.open(board) as device:
        for i in range(3):
            assert device.train_step(x[i], y[i]) == pytest.approx(reference.train_step(x[i], y[i]), abs=0)
            device.apply()
            reference.apply()
        assert device.state()[-64:] == reference.state()[-64:]
