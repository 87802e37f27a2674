"""QDQ files and their TFLite twins: one model in two formats gives one graph's integers.

The QDQ files were converted from the TFLite files, with the same weights, biases and scales. So the front ends must
agree bit for bit; where a file differs, the test says by what. onnxruntime computes the same files in float32 between
QuantizeLinear and DequantizeLinear, so it is near, never equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from kiloc import frontend
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.verify import verify
from kiloc.passes.simplify import simplify

SAMPLES = 120
Find = Callable[[str], Path]

EQUAL = ("ad01", "ecg_cnn", "fsdd_tinytx", "gas_mlp", "ic_resnet8", "kws_dscnn")
WITHOUT_BIAS = ("fsdd_dscnn", "micro_speech")
"""The conversion lost the bias of the last layer: the TFLite file has it, in the QDQ file MatMul has no Add behind it."""

STEPS = {"ad01": 5, "ecg_cnn": 2, "fsdd_dscnn": 5, "gas_mlp": 1, "ic_resnet8": 8, "kws_dscnn": 3, "micro_speech": 1}
"""Bound of the difference to onnxruntime in the last layer with weights, on random inputs.

The first layer differs by one step at most, where float32 and fixed point round a near tie apart, and in one element of a
thousand. Every further layer sums the steps of its inputs and adds its own, so the bound grows with depth and weights:
one step for the two layers of micro_speech and the three of gas_mlp, up to seven for the twelve of ic_resnet8, whose
inputs (random pixels) drive every layer to the ends of its range.
"""

SOFTMAX_STEPS = {"ic_resnet8": 88, "kws_dscnn": 28, "micro_speech": 6}
"""The same behind the softmax: its slope is at most 1/4, so n steps of scale s become n * s / 4 * 256 steps of 1/256
(8 steps of 0.172, 3 of 0.145, 1 of 0.092), and random inputs lie where it is steep."""


def load(path: Path) -> Graph:
    return simplify(verify(frontend.load(path)))


def twins(model_path: Find, name: str) -> tuple[Graph, Graph]:
    return load(model_path(f"{name}_int8_qdq.onnx")), load(model_path(f"{name}_int8.tflite"))


def random_inputs(graph: Graph, seed: int = 0) -> NDArray[np.int8]:
    shape = graph.type(graph.inputs[0]).shape[1:]
    return np.random.default_rng(seed).integers(-128, 128, (SAMPLES, *shape)).astype(np.int8)


def largest(a: NDArray[Any], b: NDArray[Any]) -> int:
    return int(np.abs(a.reshape(SAMPLES, -1).astype(int) - b.reshape(SAMPLES, -1).astype(int)).max())


@pytest.mark.parametrize("name", EQUAL + WITHOUT_BIAS)
def test_the_interface_is_the_twins(model_path: Find, name: str) -> None:
    ours, twin = twins(model_path, name)
    assert [ours.type(v) for v in ours.inputs] == [twin.type(v) for v in twin.inputs]
    assert [ours.type(v) for v in ours.outputs] == [twin.type(v) for v in twin.outputs]


@pytest.mark.parametrize("name", EQUAL)
def test_integers_are_the_twins(model_path: Find, name: str) -> None:
    ours, twin = twins(model_path, name)
    x = random_inputs(ours)
    assert largest(interp.infer(ours, x)[0], interp.infer(twin, x)[0]) == 0


@pytest.mark.parametrize("name", WITHOUT_BIAS)
def test_integers_are_the_twins_but_for_the_lost_bias(model_path: Find, name: str) -> None:
    ours, twin = twins(model_path, name)
    last, other = ([n for n in g.nodes if n.op.mnemonic == "fully_connected"][-1] for g in (ours, twin))
    lost, kept = ours.values[last.inputs["bias"]], twin.values[other.inputs["bias"]]
    assert not np.any(lost.data) and np.any(kept.data), "if the file has its bias, it belongs to EQUAL"
    x = random_inputs(ours)
    assert largest(interp.infer(ours, x)[0], interp.infer(twin, x)[0]) > 0
    repaired = ours.with_values([replace(lost, data=kept.data)])
    assert largest(interp.infer(repaired, x)[0], interp.infer(twin, x)[0]) == 0


@pytest.mark.parametrize("name", EQUAL + WITHOUT_BIAS)
def test_layers_are_the_twins_and_nothing_is_transposed(model_path: Find, name: str) -> None:
    """The file's NCHW leaves no trace: the same operators, whatever the order of independent branches."""
    kinds = [sorted(n.op.mnemonic for n in g.nodes if n.op.mnemonic != "reshape") for g in twins(model_path, name)]
    assert kinds[0] == kinds[1]


def with_last_layer(path: Path) -> bytes:
    """The file with what enters its softmax (or its output again) as a second output."""
    proto = onnx.load(path)
    producers = {name: node for node in proto.graph.node for name in node.output}
    softmax = next((n for n in proto.graph.node if n.op_type == "Softmax"), None)
    name = producers[softmax.input[0]].input[0] if softmax else proto.graph.output[0].name
    proto.graph.node.append(onnx.helper.make_node("Identity", [name], ["last_layer"]))
    proto.graph.output.append(onnx.helper.make_tensor_value_info("last_layer", onnx.TensorProto.INT8, None))
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize("name", STEPS)
def test_onnxruntime_is_near(model_path: Find, name: str, record_property: Callable[[str, object], None]) -> None:
    path = model_path(f"{name}_int8_qdq.onnx")
    graph = load(path)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(with_last_layer(path), options, providers=["CPUExecutionProvider"])
    x = random_inputs(graph)
    port = session.get_inputs()[0].name
    results = [session.run(None, {port: sample[None]}) for sample in x]
    ours = interp.run(graph, {graph.inputs[0]: x})
    last = [n for n in graph.nodes if n.op.mnemonic == "fully_connected"][-1]
    steps = largest(ours[last.outputs[0]], np.concatenate([r[1] for r in results]))
    end = largest(ours[graph.outputs[0]], np.concatenate([r[0] for r in results]))
    record_property("steps", steps)
    record_property("steps_of_output", end)
    print(f"{name}: at most {steps} steps from onnxruntime in the last layer, {end} in the output")
    assert steps <= STEPS[name]
    assert end <= SOFTMAX_STEPS.get(name, STEPS[name])
