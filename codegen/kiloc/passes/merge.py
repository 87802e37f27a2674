"""Folds what was trained back into frozen int8 weights: the inference graph with an adapter's state becomes a plain model.

For each layer, in float64: w = (s_w W + delta + alpha / rank B A) gain, b = s_x s_w bias; then a new scale for each channel,

    s_w'[c] = max(max_k |w[c, k]| / 127, |b[c]| / (2^30 s_x)),  W' = round(w / s_w'),  bias' = round(b / (s_x s_w'))

A channel that is all zero keeps its scale; a layer of which only the bias was trained keeps its weights, and is exact. So is one whose delta is
merged in front of each call already (`ops/_merged.py`): these weights become its own. Elsewhere the result
moves by the rounding of W' (half a step of 1/127 of the channel's largest weight) and by what the integer addends rounded and LoRA's inner
tensor saturated. A bottleneck adapter is not linear and cannot be folded. An LSTM has one scale a gate, and others for its recurrent weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import STREAM, Graph, Node, Value
from ..ir.operator import Environment
from ..ir.types import Quantization, TensorType
from ..ir.verify import verify
from ..ops._gain import LARGEST_GAIN, SMALLEST_GAIN
from ..ops._lstm import DELTAS
from ..ops._merged import MERGED, MERGED_OPERANDS, layer_weights
from ..ops.model._linear import Linear
from ..ops.model.bottleneck import BottleneckUp
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ..ops.model.gru import Gru
from ..ops.model.lstm import Lstm
from ..ops.model.svdf import Svdf
from .bounded_biases import bounded_state, without_bounded_biases

Arrays = Mapping[str, NDArray[Any]]
Real = NDArray[np.float64]
LARGEST_BIAS = 2**30
WEIGHT_ADDENDS = ("lora_u", "delta", "gain")
"""What makes weights of another scale; a merged delta beside a gain does, too."""


def merge(graph: Graph, state: Arrays) -> Graph:
    """The frozen graph that computes, to within rounding, what an inference graph computes with this state. Raises CompileError."""
    graph, state = without_bounded_biases(graph), bounded_state(graph, state)
    values: dict[str, Value] = {}
    nodes: list[Node] = []
    for node in graph.phase("forward"):
        if isinstance(node.op, BottleneckUp):
            raise CompileError(node.origin or node.name, "a bottleneck adapter cannot be folded into weights", "merge LoRA, deltas, gains or biases")
        if isinstance(node.op, Linear | DepthwiseConv2D | Lstm | Gru | Svdf):
            node = _folded(graph, node, state, values)
        nodes.append(node)
    needed = _needed(nodes, set(graph.outputs))
    frozen = {k: v for k, v in {**graph.values, **values}.items() if not v.is_state or v.kind == STREAM}
    return verify(replace(graph, values=frozen, parameters=(), inputs=graph.model_inputs).with_nodes(needed))


def _needed(nodes: list[Node], wanted: set[str]) -> list[Node]:
    kept: list[Node] = []
    for node in reversed(nodes):
        if wanted & set(node.outputs):
            kept.append(node)
            wanted = wanted | set(node.inputs.values())
    return kept[::-1]


def _folded(graph: Graph, node: Node, state: Arrays, values: dict[str, Value]) -> Node:
    """The layer with constants only; new constants go into `values`."""
    bias = graph.values[node.inputs["bias"]]
    trained = any(o in node.inputs for o in WEIGHT_ADDENDS)
    if not trained and MERGED not in node.inputs and not bias.is_state:
        return node
    codes = np.asarray(state[bias.name] if bias.is_state else bias.data, np.int64)
    inputs = {o: node.inputs[o] for o in node.op.operands}
    op = replace(node.op, lora_scale=1.0) if isinstance(node.op, Linear | Gru) else node.op
    if trained:
        codes = _fold_weights(graph, node, state, codes, values)
        inputs["weights"] = f"{node.inputs['weights']}.merged"
    elif MERGED in node.inputs:
        weights, data = graph.values[node.inputs["weights"]], _merged_weights(graph, node, state).astype(np.int8)
        inputs["weights"] = f"{weights.name}.merged"
        values[inputs["weights"]] = Value(inputs["weights"], weights.type, "constant", data, weights.origin)
    if "recurrent_delta" in node.inputs:
        _fold_weights(graph, node, state, np.zeros_like(codes), values, "recurrent")
        inputs["recurrent"] = f"{node.inputs['recurrent']}.merged"
    inputs["bias"] = f"{bias.name}.merged"
    data = np.clip(codes, -LARGEST_BIAS, LARGEST_BIAS).astype(np.int32)
    values[inputs["bias"]] = Value(inputs["bias"], TensorType(data.shape, "int32", bias.type.quantization), "constant", data, bias.origin)
    return replace(node, op=op, inputs=inputs, updates=node.updates if isinstance(node.op, Svdf) else ())


def _fold_weights(
    graph: Graph, node: Node, state: Arrays, bias: NDArray[np.int64], values: dict[str, Value], operand: str = "weights"
) -> NDArray[np.int64]:
    """Requantise the weights of a layer; its bias in the new units."""
    weights, x_scale = graph.values[node.inputs[operand]], graph.type(node.inputs["x"]).scale
    axis = 3 if isinstance(node.op, DepthwiseConv2D) else 0
    before = np.broadcast_to(np.array(weights.type.channel_scales, np.float64), (weights.type.shape[axis],))
    real = _real_weights(graph, node, state, operand, axis, before)
    real *= _gain(node, state).reshape(-1, *(1,) * (real.ndim - 1))
    magnitude = np.abs(real.reshape(len(real), -1)).max(1)
    real_bias = bias * before * x_scale
    scales = np.maximum(magnitude / 127, np.abs(real_bias) / (LARGEST_BIAS * x_scale))
    scales = np.where(magnitude > 0, scales, np.maximum(before, scales)).astype(np.float32).astype(np.float64)
    if isinstance(node.op, Lstm | Gru):  # one scale a gate
        gates = 3 if isinstance(node.op, Gru) else 4
        scales = np.repeat(scales.reshape(gates, -1).max(1), len(scales) // gates)
    codes = np.clip(np.rint(real / scales.reshape(-1, *(1,) * (real.ndim - 1))), -127, 127).astype(np.int8)
    type_ = TensorType(weights.type.shape, "int8", Quantization(tuple(float(s) for s in scales), 0, axis))
    name = f"{weights.name}.merged"
    values[name] = Value(name, type_, "constant", np.ascontiguousarray(np.moveaxis(codes, 0, axis)), weights.origin)
    return np.asarray(np.rint(real_bias / (scales * x_scale)).astype(np.int64))


def _real_weights(graph: Graph, node: Node, state: Arrays, operand: str, axis: int, scales: Real) -> Real:
    """Real weights with everything that is added to them, output channels first."""
    data = _merged_weights(graph, node, state) if MERGED in node.inputs else graph.values[node.inputs[operand]].data
    assert data is not None
    real = np.moveaxis(np.asarray(data, np.float64), axis, 0).copy()
    real *= scales.reshape(-1, *(1,) * (real.ndim - 1))
    name = DELTAS.get(operand, "")
    if name in node.inputs:
        delta = np.moveaxis(_scaled(state, node.inputs[name], node.inputs[f"{name}_exponent"]), axis, 0)
        chosen = np.arange(len(real))
        if "delta_rows" in node.inputs:
            chosen = np.flatnonzero(np.asarray(graph.values[node.inputs["delta_rows"]].data) >= 0)
        real[chosen] += delta
    if "lora_u" in node.inputs:
        assert isinstance(node.op, Linear | Gru)
        down = graph.producers()[node.inputs["lora_u"]]
        a = _scaled(state, down.inputs["lora_a"], down.inputs["lora_a_exponent"])
        b = _scaled(state, node.inputs["lora_b"], node.inputs["lora_b_exponent"])
        real += node.op.lora_scale * (b @ a.reshape(len(a), -1)).reshape(real.shape)
    return real


def _merged_weights(graph: Graph, node: Node, state: Arrays) -> NDArray[np.int64]:
    """Those that a layer with a merged delta multiplies with."""
    operands = {o: node.inputs[o] for o in ("weights", *MERGED_OPERANDS) if o in node.inputs}
    arrays = {o: np.asarray(state[v] if graph.values[v].is_state else graph.values[v].data) for o, v in operands.items()}
    environment = Environment({o: graph.type(v) for o, v in operands.items()}, (), arrays)
    return layer_weights(environment, 3 if isinstance(node.op, DepthwiseConv2D) else 0)


def _scaled(state: Arrays, name: str, exponent: str) -> Real:
    return np.asarray(np.asarray(state[name], np.float64) * 2.0 ** float(np.asarray(state[exponent]).reshape(-1)[0]))


def _gain(node: Node, state: Arrays) -> Real:
    """Of each channel, or 1 for all."""
    if "gain" not in node.inputs:
        return np.ones(1)
    return np.clip(1 + _scaled(state, node.inputs["gain"], node.inputs["gain_exponent"]), SMALLEST_GAIN, LARGEST_GAIN)
