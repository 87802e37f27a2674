"""Constant channels of the real models: how many are proved, how many go, and that every value that is left is the whole model's.

The generated C without them is compared with TensorFlow Lite Micro by `test_inference_bit_exact.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import kilotune as kt
from kiloc import pipeline
from kiloc.ir import interp
from kiloc.options import Options
from kiloc.passes.channel_bounds import channel_bounds
from kiloc.passes.constant_channels import needed_channels, without_constant_channels
from kiloc.peft import Method
from kiloc.report.channels import constant_channels

FOUND = {
    "mcunet_vww_int8": (344, 328, 6114),
    "person_detect_int8": (2, 0, 2738),  # one of eight twice: fours stay whole
    "hello_world_int8": (4, 4, 33),
    "kws_dscnn_int8": (0, 0, 588),
    "ic_resnet8_int8": (0, 0, 346),
    "ad01_int8": (0, 0, 1672),
}
"""Channels that are constant, that go, that there are. The first counts are those of an independent analysis of the same files."""


@pytest.mark.parametrize("name", FOUND)
def test_counts_and_values(name: str, model_path: Callable[[str], Path]) -> None:
    graph = pipeline.load(model_path(name))
    c = pipeline.compile_graph(graph, Options(), "0")
    report = constant_channels(c)
    assert (report["constant"], report["removed"], report["of"]) == FOUND[name]
    bounds = channel_bounds(graph)
    kept = needed_channels(graph, bounds)
    t = graph.type(graph.inputs[0])
    x = np.random.default_rng(0).integers(-128, 128, (4, *t.shape[1:]))
    x = np.concatenate([x, *(np.full((1, *t.shape[1:]), v) for v in (-128, 127, t.zero_point))]).astype(np.int8)
    before, after = (interp.run(g, {graph.inputs[0]: x}) for g in (graph, without_constant_channels(graph)))
    for value, mask in kept.items():
        rows = before[value].reshape(-1, len(mask))
        assert (rows >= bounds[value].low).all() and (rows <= bounds[value].high).all(), value
        assert np.array_equal(before[value][..., mask], after[value]), value


@pytest.mark.parametrize("methods", [(kt.LoRA(rank=4, layers="last:2"), kt.BiasOnly("last:1")), (kt.BiasOnly(),)], ids=["last layers", "biases"])
def test_training_of_mcunet_keeps_its_bits(methods: tuple[Method, ...], model_path: Callable[[str], Path]) -> None:
    """Fewer channels in front of what is trained, or in trained layers: the state after two samples is the same."""
    graph = pipeline.load(model_path("mcunet_vww_int8"))
    x = np.random.default_rng(1).integers(-128, 128, (2, *graph.type(graph.inputs[0]).shape[1:])).astype(np.int8)
    options = Options(methods=methods, calibration=x)
    c = pipeline.compile_graph(graph, options, "0")
    assert constant_channels(c)["removed"] > 300
    states = []
    for g in (c.graph, c.reduced):
        state = interp.initial_state(g)
        samples = [{g.inputs[0]: x[i : i + 1], "label": np.array([i], np.int32)} for i in range(2)]
        losses = [interp.train_step(g, sample, state)["loss.value"].tobytes() for sample in samples]
        interp.apply(g, state)
        states.append((losses, {k: v.tobytes() for k, v in state.items()}))
    assert states[0] == states[1]
