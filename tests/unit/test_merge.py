"""Merging: trained state folded into frozen weights gives nearly the adapted results, and a model like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradients.graphs import every_operator, residual

from kiloc import frontend, pipeline
from kiloc.errors import CompileError
from kiloc.export.tflite import write
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ops._merged import MERGED
from kiloc.ops.model._linear import Linear
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.optim import SGD
from kiloc.options import Options
from kiloc.passes.merge import merge
from kiloc.peft import BiasOnly, BottleneckAdapter, Full, Head, LoRA, Method, ScaleShift, SparseUpdate

METHODS: dict[str, tuple[Method, ...]] = {
    "bias": (BiasOnly(),),
    "lora": (BiasOnly(), LoRA(rank=2, layers="all", alpha=3.0)),
    "full": (Full(),),
    "sparse": (SparseUpdate(fraction=0.4),),
    "scale-shift": (ScaleShift(),),
    "together": (LoRA(rank=2, layers="all"), SparseUpdate(layers="s*d"), ScaleShift()),
    "new head": (Head(classes=3), BiasOnly()),
}


def adapted(graph: Graph, methods: tuple[Method, ...], stronger: int = 0) -> tuple[pipeline.Compilation, dict[str, Any], Any]:
    """A compilation, a state as training leaves it (weights move by some per cent, times 2^stronger) and samples."""
    rng = np.random.default_rng(4)
    x = rng.integers(-128, 128, (64, *graph.type(graph.inputs[0]).shape[1:])).astype(np.int8)
    c = pipeline.compile_graph(graph, Options(methods=methods, optimizer=SGD(), calibration=x[:32]), "test")
    state = interp.initial_state(c.graph)
    exponents = {"lora_b": -13, "delta": -12, "gain": -10}
    for p in c.graph.parameters:
        value, ending = state[p.values["value"]], p.name.rsplit(".", 1)[-1]
        if p.storage == "int32":
            value += (rng.integers(-200, 201, value.shape) << stronger).astype(np.int32)
        elif ending in exponents:
            value[:] = rng.integers(-90, 91, value.shape)
            state[p.values["exponent"]][:] = exponents[ending] + stronger
    return c, state, x


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [every_operator, residual], ids=lambda f: f.__name__)
def test_results_stay_within_rounding(make: Any, method: str) -> None:
    """Nearly all logits within two steps, none further than six: rounding of every layer's weights, summed over up to eight layers."""
    if method == "together" and make is residual:
        methods: tuple[Method, ...] = (LoRA(rank=2, layers="first,third"), SparseUpdate(layers="second,fourth"), ScaleShift())
    else:
        methods = METHODS[method]
    c, state, x = adapted(make(), methods, stronger=4 if method == "new head" else 3 if make is every_operator else 0)
    merged = merge(c.infer.graph, state)
    assert not merged.parameters and not merged.state()
    logits = c.graph.node("loss").inputs["y"]
    expected = interp.run(c.infer.graph, {"input": x}, state)[logits].astype(int)
    found = interp.run(merged, {"input": x})[logits].astype(int)
    untrained = interp.run(c.infer.graph, {"input": x})[logits].astype(int)
    distance = np.abs(found - expected)
    assert np.abs(untrained - expected).max() >= 5, "the state changes nothing, so the test says nothing"
    assert (distance <= 2).mean() > 0.93 and distance.max() <= 6, (np.bincount(distance.ravel()), method)
    if method == "bias":
        assert distance.max() == 0, "biases merge exactly"


@pytest.mark.parametrize("method", ["lora", "full", "scale-shift"])
def test_one_layer_stays_within_a_step(method: str) -> None:
    """Each merged layer on the same input: the rounding of its weights alone."""
    c, state, x = adapted(every_operator(), METHODS[method])
    merged, exact = merge(c.infer.graph, state), 0
    arrays = interp.run(c.infer.graph, {"input": x}, state)
    for node in merged.nodes:
        if isinstance(node.op, Linear | DepthwiseConv2D):
            operands = {node.inputs["x"]: arrays[node.inputs["x"]]}
            result = node.op.evaluate(interp.environment(merged, node, operands))[0].astype(int)
            distance = np.abs(result - arrays[node.outputs[0]])
            if MERGED in c.infer.graph.node(node.name).inputs:
                assert distance.max() == 0, (node.name, "the layer multiplies with these weights already")
                exact += 1
            assert distance.max() <= 3 and (distance <= 1).mean() > 0.98, (node.name, np.bincount(distance.ravel()))
    assert (exact > 2) == (method == "full")


def test_merged_model_survives_the_file(tmp_path: Path) -> None:
    c, state, x = adapted(residual(), METHODS["lora"])
    merged = merge(c.infer.graph, state)
    path = tmp_path / "merged.tflite"
    path.write_bytes(write(merged))
    loaded = pipeline.simplify(frontend.load(path))
    assert np.array_equal(interp.infer(loaded, x)[0], interp.infer(merged, x)[0])
    scales = [loaded.type(n.inputs["weights"]).channel_scales for n in loaded.nodes if isinstance(n.op, Linear)]
    assert all(len(s) > 1 for s in scales), "scales are per channel"


def test_a_bottleneck_adapter_cannot_be_merged() -> None:
    c, state, _ = adapted(residual(), (BottleneckAdapter(width=2, layers="last:1"),))
    with pytest.raises(CompileError, match="cannot be folded"):
        merge(c.infer.graph, state)


def test_untouched_layers_keep_their_weights() -> None:
    graph = residual()
    c, state, _ = adapted(graph, (LoRA(rank=2, layers="third"), BiasOnly(layers="fourth")))
    merged = merge(c.infer.graph, state)
    for name in ("first", "second", "shortcut", "logits", "fourth"):
        assert merged.node(name).inputs["weights"] == graph.node(name).inputs["weights"]
    assert merged.node("third").inputs["weights"] != graph.node("third").inputs["weights"]
