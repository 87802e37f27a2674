"""The dequantised model in float32 under jax: what the integer engine is measured against.

Forward without any rounding of activations; SGD with the same per-tensor clipping, decay and batch of one; weights, biases or a
LoRA addend train. Nothing of the compiler's gradients is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray
from scenarios import Scenario

from kiloc.ir import interp
from kiloc.ir.graph import Graph, Node
from kiloc.ir.verify import node_types
from kiloc.ops.model._linear import Linear
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.peft import Calibration, Head, attach_all
from kilotune import Model

Array = NDArray[Any]
Parameters = dict[str, dict[str, Any]]
"""Layer name -> "weights" [OC, KH, KW, IC / groups], "bias", and for LoRA "a" [r, KH, KW, IC] and "b" [OC, r]."""

METHODS = ("head", "bias", "lora", "full")
NEW_HEAD_RATE = 0.3
"""At which a new head learns where the rate of the layers before it is lower."""


def parameters(graph: Graph) -> Parameters:
    """Real weights and biases of every layer."""
    found: Parameters = {}
    for node in graph.nodes:
        if not isinstance(node.op, Linear | DepthwiseConv2D):
            continue
        t = node_types(graph, node)
        scales = np.array(t.type("weights").channel_scales)
        data = np.asarray(graph.values[node.inputs["weights"]].data, np.float64)
        if isinstance(node.op, DepthwiseConv2D):
            weights = (data[0] * scales).transpose(2, 0, 1)[..., None]
        else:
            weights = data.reshape(data.shape[0], *node.op.window_of(t).kernel, -1) * scales.reshape(-1, 1, 1, 1)
        bias = np.asarray(graph.values[node.inputs["bias"]].data, np.float64) * t.type("x").scale * scales
        found[node.name] = {"weights": jnp.asarray(weights, jnp.float32), "bias": jnp.asarray(bias, jnp.float32)}
    return found


def with_lora(graph: Graph, base: Parameters, rank: int, x: Array, seed: int) -> Parameters:
    """LoRA on every convolution and fully connected layer: A uniform with rms(A x) = 1 on the samples x (int8), B zero."""
    rng = np.random.default_rng(seed)
    activations = interp.run(graph, {graph.inputs[0]: x, **interp.initial_state(graph)})
    found = {name: dict(layer) for name, layer in base.items()}
    for node in graph.nodes:
        if not isinstance(node.op, Linear):
            continue
        t = node_types(graph, node)
        shape = found[node.name]["weights"].shape
        r = min(rank, shape[0], int(np.prod(shape[1:])))
        rows = (activations[node.inputs["x"]].astype(np.float64) - t.type("x").zero_point) * t.type("x").scale
        patches = node.op.window_of(t).patches(rows.reshape(len(x), *node.op.images(t)[0])).reshape(-1, int(np.prod(shape[1:])))
        a = rng.uniform(-1, 1, (r, patches.shape[1]))
        a /= np.sqrt(((patches @ a.T) ** 2).mean()) + 1e-12
        found[node.name] |= {"a": jnp.asarray(a.reshape(r, *shape[1:]), jnp.float32), "b": jnp.zeros((shape[0], r), jnp.float32)}
    return found


def forward(graph: Graph, layers: Parameters, x: Any) -> Any:
    """Logits [classes] of one real sample [1, ...]; a trailing softmax is left out."""
    reals: dict[str, Any] = {graph.inputs[0]: x}
    for node in graph.nodes:
        reals[node.outputs[0]] = _OPS[node.op.mnemonic](graph, node, reals, layers)
    return reals[graph.outputs[0]].ravel()


def _activate(y: Any, activation: str) -> Any:
    return {"none": lambda v: v, "relu": jax.nn.relu, "relu6": jax.nn.relu6, "relu_n1_to_1": lambda v: jnp.clip(v, -1, 1)}[activation](y)


def _convolve(x: Any, weights: Any, window: Any, groups: int = 1) -> Any:
    top, left, bottom, right = window.pad
    return lax.conv_general_dilated(
        x, jnp.transpose(weights, (1, 2, 3, 0)), window.stride, ((top, bottom), (left, right)),
        rhs_dilation=window.dilation, dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups,
    )  # fmt: skip


def _layer(graph: Graph, node: Node, reals: Mapping[str, Any], layers: Parameters) -> Any:
    layer, t = layers[node.name], node_types(graph, node)
    if isinstance(node.op, DepthwiseConv2D):
        y = _convolve(reals[node.inputs["x"]], layer["weights"], node.op.window, t.type("x").shape[3])
    else:
        assert isinstance(node.op, Linear)
        window, x = node.op.window_of(t), reals[node.inputs["x"]].reshape(1, *node.op.images(t)[0])
        y = _convolve(x, layer["weights"], window)
        if "a" in layer:
            y = y + _convolve(x, layer["a"], window) @ layer["b"].T
    return _activate(y + layer["bias"], node.op.activation).reshape(t.result().shape)


def _pool(x: Any, window: Any, reducer: Any, start: float) -> Any:
    top, left, bottom, right = window.pad
    return lax.reduce_window(x, start, reducer, (1, *window.kernel, 1), (1, *window.stride, 1), ((0, 0), (top, bottom), (left, right), (0, 0)))


_OPS: dict[str, Any] = {
    "conv_2d": _layer,
    "fully_connected": _layer,
    "depthwise_conv_2d": _layer,
    "add": lambda g, n, r, p: _activate(r[n.inputs["x"]] + r[n.inputs["other"]], n.op.activation),
    "average_pool_2d": lambda g, n, r, p: (
        _pool(r[n.inputs["x"]], n.op.window, lax.add, 0.0) / _pool(jnp.ones_like(r[n.inputs["x"]]), n.op.window, lax.add, 0.0)
    ),
    "max_pool_2d": lambda g, n, r, p: _pool(r[n.inputs["x"]], n.op.window, lax.max, -jnp.inf),
    "mean": lambda g, n, r, p: r[n.inputs["x"]].mean(n.op.axes),
    "requantize": lambda g, n, r, p: _activate(r[n.inputs["x"]], n.op.activation),
    "reshape": lambda g, n, r, p: r[n.inputs["x"]].reshape(n.op.shape),
    "transpose": lambda g, n, r, p: r[n.inputs["x"]].transpose(n.op.permutation),
    "softmax": lambda g, n, r, p: r[n.inputs["x"]],
}


def trainable(graph: Graph, method: str, new_head: bool = False) -> set[tuple[str, str]]:
    """(layer, tensor) pairs that a method trains; a new head is trained with every method."""
    names = list(parameters(graph))
    if new_head and method != "head":
        return trainable(graph, "head") | {pair for pair in trainable(graph, method) if pair[0] != names[-1]}
    kinds = {"bias": ("bias",), "lora": ("bias", "a", "b"), "full": ("weights", "bias"), "head": ("weights", "bias")}[method]
    return {(name, kind) for name in (names[-1:] if method == "head" else names) for kind in kinds}


@partial(jax.jit, static_argnums=(0, 5))
def _train(
    run: Any, layers: Parameters, xs: Any, ys: Any, rates: Any, moves: frozenset[tuple[str, str]], faster: Mapping[str, Any] | None = None
) -> tuple[Parameters, Any]:
    """One SGD step a sample, in order; rates has one entry a step, faster a factor for each layer.

    Returns the parameters and the loss of each step.
    """

    def loss(p: Parameters, x: Any, y: Any) -> Any:
        z = run(p, x)
        return jax.nn.logsumexp(z) - z[y]

    def step(p: Parameters, sample: tuple[Any, Any, Any]) -> tuple[Parameters, Any]:
        x, y, rate = sample
        value, g = jax.value_and_grad(loss)(p, x, y)
        moved = {n: dict(t) for n, t in p.items()}
        for name, kind in moves:
            if kind in p[name]:
                norm = jnp.sqrt((g[name][kind] ** 2).sum())
                share = (faster[name] if faster else 1.0) * jnp.minimum(1.0, 1.0 / jnp.maximum(norm, 1e-12))
                moved[name][kind] = p[name][kind] - rate * share * g[name][kind]
        return moved, value

    return lax.scan(step, layers, (xs, ys, rates))


def engine_of(model: Model, scenario: Scenario) -> FloatEngine:
    """For the adaptation and evaluation samples of a scenario, with its new head."""
    graph, original = model.graph, model.quantize(scenario.original[:256])
    if scenario.new_classes:
        graph = attach_all(graph, [Head(classes=scenario.new_classes)], Calibration(interp.run(graph, {graph.inputs[0]: original[:32]})))
    t = graph.type(graph.inputs[0])

    def real(x: Array) -> Array:
        return (x.astype(np.float32) - t.zero_point) * np.float32(t.scale) if x.dtype == np.int8 else x.astype(np.float32)

    x, x_evaluate = real(scenario.adapt), real(scenario.evaluate)
    return FloatEngine(graph, x, scenario.adapt_labels, x_evaluate, original, bool(scenario.new_classes))


class FloatEngine:
    """Trains one model on one set of samples, method by method. Inputs are real [N, ...]."""

    def __init__(self, graph: Graph, x: Array, y: Array, x_evaluate: Array, x_original: Array, new_head: bool = False) -> None:
        t = graph.type(graph.inputs[0])
        self.graph, self.y = graph, y
        self.shape = t.shape
        low, high = (-128 - t.zero_point) * t.scale, (127 - t.zero_point) * t.scale
        self.x, self.x_evaluate = (np.clip(v.reshape(-1, *t.shape).astype(np.float32), low, high) for v in (x, x_evaluate))
        self.x_original, self.new_head = x_original, new_head
        self.base = parameters(graph)
        self._run = lambda p, v: forward(graph, p, v)
        self._infer = jax.jit(jax.vmap(self._run, (None, 0)))

    def predicted(self, layers: Parameters) -> Array:
        parts = [np.asarray(self._infer(layers, self.x_evaluate[i : i + 256])) for i in range(0, len(self.x_evaluate), 256)]
        return np.concatenate(parts).argmax(1)

    def train(self, method: str, rate: float, epochs: int, seed: int, head_rate: float = NEW_HEAD_RATE) -> tuple[Array, Array]:
        """Predictions for the evaluation inputs after training, and the mean loss of each epoch. head_rate: of a new head, at least."""
        layers = self.base
        if method == "lora":
            layers = with_lora(self.graph, layers, 4, self.x_original[:64], seed)
        rng = np.random.Generator(np.random.PCG64(seed))
        order = np.concatenate([rng.permutation(len(self.y)) for _ in range(epochs)])
        rates = rate * (1 - np.arange(len(order)) / len(order)).astype(np.float32)
        moves = frozenset(trainable(self.graph, method, self.new_head))
        faster = dict.fromkeys(layers, 1.0)
        if self.new_head:
            faster[list(layers)[-1]] = max(1.0, head_rate / rate)
        layers, losses = _train(self._run, layers, self.x[order], self.y[order], rates, moves, faster)
        return self.predicted(layers), np.asarray(losses).reshape(epochs, -1).mean(1)
