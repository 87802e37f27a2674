"""A model with channels of small multipliers: its trained biases keep within bounds, with the same bits on every core, and what is held stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden.reference import Reference, samples
from property.dead_channels import mobilenet, with_small_multipliers
from test_elementwise_on_devices import in_step

import kilotune as kt
from kiloc import pipeline
from kiloc.export import tflite
from kiloc.ir import interp
from kiloc.ops.paging.bounded_channels import BoundedChannels
from kiloc.options import Options
from kiloc.passes.merge import merge
from kiloc.passes.slices import inference_slice
from kiloc.peft import Method

BOARDS = {"cortex-m3": "mps2-an385", "cortex-m4": "mps2-an386", "cortex-m55": "mps3-an547"}
METHODS: dict[str, tuple[Method, ...]] = {
    "biases": (kt.BiasOnly(),),
    "scale-shift": (kt.ScaleShift(),),
    "full": (kt.Full("mix_*"), kt.BiasOnly()),
    "lora": (kt.LoRA(2, layers="all"),),
    "lora and biases": (kt.LoRA(4, layers="all"), kt.BiasOnly()),
}


@pytest.fixture
def model(tmp_path: Path) -> kt.Model:
    (tmp_path / "small.tflite").write_bytes(tflite.write(with_small_multipliers(mobilenet(5, "relu"), 2, 0.2)))
    return kt.load(tmp_path / "small.tflite")


@pytest.mark.parametrize("method", METHODS)
def test_on_the_host(model: kt.Model, method: str, tmp_path: Path) -> None:
    in_step(model, METHODS[method], tmp_path / "b", "host", 4)


@pytest.mark.qemu
@pytest.mark.parametrize("core", BOARDS)
@pytest.mark.parametrize("method", METHODS)
def test_on_emulated_cores(model: kt.Model, method: str, core: str, tmp_path: Path, qemu: str) -> None:
    in_step(model, METHODS[method], tmp_path / "b", f"qemu:{BOARDS[core]}", 2, core)


@pytest.mark.parametrize("method", ["biases", "scale-shift", "lora", "lora and biases"])
def test_what_is_held_stays_and_merges_as_layers_read_it(model: kt.Model, method: str) -> None:
    x = samples(model.graph, 24)
    y = np.random.default_rng(0).integers(0, 3, len(x)).astype(np.int32)
    options = Options(methods=METHODS[method], calibration=(x,), calibration_target=y, constant_channels="frozen")
    compiled = pipeline.compile_graph(model.graph, options, kt.__version__)
    reference = Reference(compiled)
    start = {name: array.copy() for name, array in reference.values.items()}
    for sample, label in zip(x[:8], y, strict=False):
        reference.train_step(sample, label)
        reference.apply()
    bounds = [node for node in compiled.graph.nodes if isinstance(node.op, BoundedChannels)]
    held = {n.inputs["x"]: [c for c, low, high in zip(n.op.chosen, n.op.low, n.op.high, strict=True) if low == high] for n in bounds}
    assert sum(map(len, held.values())) >= 4
    assert {name.rpartition(".")[2] for name in held} >= {"biases": {"bias"}, "lora": {"lora_b"}}.get(method, {"bias"})
    for name, channels in held.items():
        np.testing.assert_array_equal(reference.values[name][channels], start[name][channels], name)
        assert (reference.values[name] != start[name]).any(), name
    if method == "biases":  # exact
        state, part = dict(reference.values), inference_slice(compiled.graph)
        for name, channels in held.items():
            state[name] = state[name].copy()
            state[name][channels] = 2**30
        np.testing.assert_array_equal(interp.infer(merge(part, state), x)[0], interp.run(part, {part.inputs[0]: x}, dict(state))[part.outputs[0]])
