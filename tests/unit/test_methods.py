"""What the training methods make of a graph, and which uses they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradients.graphs import Maker, every_operator, residual

from kiloc import pipeline
from kiloc.errors import CompileError
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ops._window import Window
from kiloc.ops.backward._gradient import RequantizedGradient
from kiloc.ops.model._linear import Linear
from kiloc.optim import SGD
from kiloc.options import Options
from kiloc.peft import BiasOnly, BottleneckAdapter, Calibration, Full, Head, LoRA, Method, ScaleShift, SparseUpdate
from kiloc.peft.sparse import largest_channels

ALONE: dict[str, Method] = {
    "bias": BiasOnly(), "head": Head(), "lora": LoRA(layers="all"), "full": Full(), "sparse": SparseUpdate(fraction=0.5),
    "scale-shift": ScaleShift(), "adapter": BottleneckAdapter(width=2, layers="all"),
}  # fmt: skip


def samples(graph: Graph, count: int = 8) -> Any:
    shape = graph.type(graph.inputs[0]).shape[1:]
    return np.random.default_rng(0).integers(-128, 128, (count, *shape)).astype(np.int8)


def compiled(graph: Graph, *methods: Method, **options: Any) -> pipeline.Compilation:
    return pipeline.compile_graph(graph, Options(methods=methods, optimizer=SGD(), calibration=samples(graph, 32), **options), "test")


@pytest.mark.parametrize("method", ALONE)
@pytest.mark.parametrize("make", [every_operator, residual], ids=lambda f: f.__name__)
def test_identity_at_the_start(make: Any, method: str) -> None:
    graph = make()
    x = samples(graph)
    c = compiled(graph, ALONE[method])
    assert np.array_equal(interp.infer(c.infer.graph, x)[0], interp.infer(graph, x)[0])
    assert c.context.state_bytes > 0


@pytest.mark.parametrize("method", ["full", "sparse", "scale-shift", "adapter"])
def test_what_starts_at_zero_changes_the_result_once_it_moves(method: str) -> None:
    graph = every_operator()
    x, c = samples(graph), compiled(graph, ALONE[method])
    state = interp.initial_state(c.graph)
    for p in c.graph.parameters:
        if p.storage != "int32" and not p.name.endswith("down"):
            state[p.values["value"]][:] = 50
            state[p.values["exponent"]][:] = -7
    assert not np.array_equal(interp.infer(c.infer.graph, x, state=state)[0], interp.infer(graph, x)[0])


# -- combinations -----------------------------------------------------------------------------------------

TOGETHER: list[tuple[Method, ...]] = [
    (BiasOnly(), LoRA(layers="all"), ScaleShift()),
    (BiasOnly(), Full(), ScaleShift(), BottleneckAdapter(width=2, layers="all")),
    (LoRA(layers="stem,dilated,hidden"), Head(), ScaleShift()),
    (SparseUpdate(layers="spread"), LoRA(layers="all"), BiasOnly()),
    (Head(classes=3), BiasOnly(), ScaleShift()),
]


@pytest.mark.parametrize("methods", TOGETHER, ids=lambda m: "+".join(x.describe() for x in m))
def test_allowed_together(methods: tuple[Method, ...]) -> None:
    graph = every_operator()
    c = compiled(graph, *methods)
    if not any(isinstance(m, Head) and m.classes for m in methods):
        assert np.array_equal(interp.infer(c.infer.graph, samples(graph))[0], interp.infer(graph, samples(graph))[0])


REFUSED: list[tuple[tuple[Method, ...], str]] = [
    ((LoRA(layers="all"), Full()), "a trained delta|LoRA"),
    ((Full(), LoRA(layers="last:1")), "a trained delta"),
    ((Head(), Full()), "a trained delta"),
    ((SparseUpdate(), Full(layers="spread")), "a trained delta"),
    ((LoRA(layers="all"), LoRA(layers="last:1")), "LoRA"),
    ((ScaleShift(), ScaleShift(layers="stem")), "ScaleShift"),
    ((BottleneckAdapter(layers="stem"), BottleneckAdapter(layers="all")), "bottleneck adapter"),
    ((LoRA(layers="all"), Head(classes=3)), "LoRA"),
    ((Head(classes=3), Head(classes=4)), "another method"),
]


@pytest.mark.parametrize(("methods", "why"), REFUSED, ids=lambda m: "+".join(x.describe() for x in m) if isinstance(m, tuple) else "")
def test_refused_together(methods: tuple[Method, ...], why: str) -> None:
    with pytest.raises(CompileError, match=why) as caught:
        compiled(every_operator(), *methods)
    assert caught.value.hint


@pytest.mark.parametrize(
    "method",
    [
        SparseUpdate(fraction=0.0), SparseUpdate(fraction=1.5), SparseUpdate(fraction=float("nan")), BottleneckAdapter(width=0), Head(classes=1),
        Full(layers="largest"), ScaleShift(layers="no_such_layer"), SparseUpdate(layers="last:x"),
    ],
    ids=repr,
)  # fmt: skip
def test_arguments_that_make_no_sense(method: Method) -> None:
    with pytest.raises(CompileError) as caught:
        compiled(every_operator(), method)
    assert caught.value.where and caught.value.what and caught.value.hint


# -- sparse updates ---------------------------------------------------------------------------------------


def test_sparse_takes_the_channels_with_the_largest_weights() -> None:
    graph = every_operator()
    for name in ("stem", "spread", "logits"):
        node = graph.node(name)
        value = graph.values[node.inputs["weights"]]
        assert value.data is not None
        codes = np.asarray(value.data, np.float64)
        by_channel = codes.transpose(3, 0, 1, 2) if name == "spread" else codes
        norms = [float(np.linalg.norm(w) * s) for w, s in zip(by_channel, value.type.channel_scales, strict=True)]
        chosen = largest_channels(graph, node, 0.5)
        assert len(chosen) == -(-len(norms) // 2) and list(chosen) == sorted(chosen)
        assert min(norms[c] for c in chosen) >= max(n for c, n in enumerate(norms) if c not in chosen)


def test_sparse_state_shrinks_with_the_fraction() -> None:
    graph = residual()
    sizes = [compiled(graph, SparseUpdate(fraction=f)).context.state_bytes for f in (0.1, 0.5, 1.0)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[2] / 3
    whole = compiled(graph, SparseUpdate(fraction=1.0))
    assert not any("delta_rows" in n.inputs for n in whole.graph.nodes), "all channels need no table"
    assert whole.context.state_bytes == compiled(graph, Full()).context.state_bytes


def test_an_adapter_of_other_channels_is_foreign() -> None:
    """The hash of an adapter covers the table that says which channels its rows belong to, and what reads them."""
    graph = residual()
    node = graph.node("second")
    value = graph.values[node.inputs["weights"]]
    first = compiled(graph, SparseUpdate(layers="second", fraction=0.5)).context.base_hash
    assert first == compiled(graph, SparseUpdate(layers="second", fraction=0.5), seed=3).context.base_hash
    assert value.data is not None
    one, two = (compiled(graph, LoRA(layers="second", rank=2, alpha=a)).context.base_hash for a in (1.0, 2.0))
    assert one != two, "the same A and B under another alpha are another model"


# -- new heads --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_new_head(classes: int) -> None:
    graph = every_operator()
    c = compiled(graph, Head(classes=classes), BiasOnly(layers="stem"))
    y = interp.infer(c.infer.graph, samples(graph))[0]
    assert y.shape == (8, classes) and c.context.classes == classes
    logits = c.graph.type(c.graph.node("loss").inputs["y"])
    assert logits.scale * 127 == pytest.approx(8) and logits.zero_point == 0
    assert c.graph.type(c.graph.outputs[0]).scale == 1 / 256, "the softmax keeps its scale"
    dense = next(n for n in c.graph.nodes if n.name == "logits")
    assert isinstance(dense.op, Linear) and dense.op.activation == "none"
    arrays = interp.run(c.graph, {"input": samples(graph)})
    spread = (arrays[dense.outputs[0]] * logits.scale).std()
    assert 0.05 < spread < 0.6, "logits start near zero, but not at it"
    shifts = [n.op.shift for n in c.graph.phase("backward") if isinstance(n.op, RequantizedGradient)]
    assert shifts and max(shifts) > 0, "shifts before the head were calibrated on zeros"


def test_new_head_needs_a_layer_at_the_end() -> None:
    from gradients.graphs import Maker

    from kiloc.ops.model.add import Add

    m = Maker("late", (1, 6), 3)
    y = m.dense("input", "first", 5)
    graph = m.finish(m.op(y, "twice", Add(), (1, 5), 0.1, 0, other=y))
    with pytest.raises(CompileError, match="ADD stands between"):
        compiled(graph, Head(classes=3))


# -- adapters ---------------------------------------------------------------------------------------------


def test_no_hidden_unit_starts_dead() -> None:
    graph = every_operator()
    c = compiled(graph, BottleneckAdapter(width=3, layers="all"))
    arrays = interp.run(c.graph, {"input": samples(graph, 32)})
    for node in c.graph.nodes:
        if node.op.mnemonic == "bottleneck_down":
            h = arrays[node.outputs[0]].reshape(-1, c.graph.type(node.outputs[0]).shape[-1])
            assert (h > 0).any(0).all(), f"{node.name} has a unit that never passes anything"


def test_width_is_limited_by_the_channels() -> None:
    c = compiled(every_operator(), BottleneckAdapter(width=7, layers="stem,logits"))
    assert c.graph.type("stem.adapter_up").shape == (6, 6) and c.graph.type("logits.adapter_up").shape == (5, 5)
    assert sum("no more channels" in note for note in c.graph.notes) == 2


def test_adapter_on_the_logits_is_not_masked() -> None:
    c = compiled(every_operator(), BottleneckAdapter(width=2, layers="logits"), BiasOnly(layers="logits"))
    masks = [n.name for n in c.graph.phase("backward") if "mask" in n.op.mnemonic]
    assert masks == ["logits.adapter_h.masked"], "a saturated wrong class must still learn"


@pytest.mark.parametrize(("inputs", "lowest", "taken"), [(33_000, -127, True), (33_000, -128, False), (32_896, -128, True), (33_200, -127, False)])
def test_merged_weights_leave_half_of_int32_to_their_bias(inputs: int, lowest: int, taken: bool) -> None:
    """A layer that has a weight of -128 may reach it everywhere: products with 32,897 inputs then leave the half."""
    m = Maker("deep", (1, 4, 2, inputs), 1)
    y = m.conv("input", "layer", 1, Window((1, 1)))
    m.b.values["layer.weights"].data[0, 0, 0, 0] = lowest
    assert (-lowest * 255 * inputs <= 2**30) == taken, "what the layer's sums may reach, and half of int32"
    graph = m.finish(y)
    if taken:
        assert "layer.delta" in Full(layers="all").attach(graph, Calibration({}, 0)).values
    else:
        with pytest.raises(CompileError, match="a trained delta has too many inputs: its sums may leave int32"):
            Full(layers="all").attach(graph, Calibration({}, 0))
