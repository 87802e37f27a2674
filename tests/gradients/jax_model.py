"""The dequantised model in jax (float64) with straight-through clamps: an outside oracle of gradients.

Each operator computes in real numbers from its real operands; its result then takes the exact integer forward value, and the
gradient passes where the clamp was not active. Only `jax.grad` differentiates: no gradient rule of the compiler is used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

# A graph is compiled for a few samples: to compile it well takes longer than it runs. Read when jax computes first.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

import jax
import jax.numpy as jnp
import numpy as np
from cases import JAX
from cases._parts import Meaning
from jax import lax

from kiloc.ir.graph import Graph, Node
from kiloc.ir.interp import environment
from kiloc.ir.types import RANGES
from kiloc.ir.verify import node_types
from kiloc.ops._activation import clamp_range
from kiloc.ops._gru import steps as gru_steps
from kiloc.ops._lstm import DELTAS, GATE_SCALE
from kiloc.ops._merged import MERGED, ROWS
from kiloc.ops.model._linear import Linear
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.ops.model.gru import Gru
from kiloc.ops.model.lora import DownProjection
from kiloc.ops.model.lstm import Lstm
from kiloc.ops.model.svdf import Svdf

jax.config.update("jax_enable_x64", True)
Arrays = Mapping[str, Any]


def parameter_values(graph: Graph, state: Arrays) -> dict[str, np.ndarray[Any, Any]]:
    """Real values of every parameter, by parameter name."""
    found = {}
    for p in graph.parameters:
        value = np.asarray(state[p.values["value"]], np.float64)
        if p.storage == "int32":
            found[p.name] = value * _bias_unit(graph, graph.node(p.layer))
        else:
            found[p.name] = value * 2.0 ** float(state[p.values["exponent"]][0])
    return found


def _bias_unit(graph: Graph, node: Node) -> np.ndarray[Any, Any]:
    if isinstance(node.op, Svdf):
        return np.array(graph.type(node.inputs["state"]).scale * graph.type(node.inputs["time"]).scale)
    return graph.type(node.inputs["x"]).scale * np.array(graph.type(node.inputs["weights"]).channel_scales, np.float64)


def loss(parameters: dict[str, Any], graph: Graph, forward: Arrays, state: Arrays, target: Any) -> Any:
    """Loss of one sample as a function of the real parameter values. forward: exact int8 activations of that sample."""
    reals: dict[str, Any] = {}
    for name in graph.inputs:
        if graph.type(name).dtype == "int8":
            reals[name] = _dequantized(graph, forward, name)
    reals.update((name, value) for name, value in forward.items() if name.endswith(STEPS))
    loss_node = graph.node("loss")
    for node in graph.phase("forward"):
        if node.op.mnemonic == "save_mask":
            continue
        exact = _exact(graph, forward, node, state)
        pre = _real(node, graph, reals, parameters, state)
        if "bias" in node.inputs and node.op.mnemonic not in ("lstm", "gru"):
            pre = _scaled_and_shifted(pre, node, graph, parameters, exact)
        if node.op.mnemonic == "softmax":
            pre = _softmax_at(reals[node.inputs["x"]], exact)
        if node.op.mnemonic == "log_softmax":
            pre = _log_softmax_at(reals[node.inputs["x"]], exact)
        free = _unclamped(graph, forward, node, is_logits=_reads(graph, loss_node.inputs["y"], node.outputs[0]))
        kept = pre.reshape(exact.shape) * free
        reals[node.outputs[0]] = kept + lax.stop_gradient(exact - kept)
    return loss_of(loss_node, reals[loss_node.inputs["y"]], target)


def _real(node: Node, graph: Graph, reals: Arrays, parameters: Arrays, state: Arrays) -> Any:
    """The result of a node in real numbers, before a clamp."""
    if node.op.mnemonic in MEANINGS:
        operands = (node.inputs[operand] for operand in node.op.required(node.inputs))
        return MEANINGS[node.op.mnemonic].compute(node.op, *(reals[v] if v in reals else _dequantized_constant(graph, v) for v in operands))
    return _OPS[node.op.mnemonic](node, graph, reals, parameters, state)


def loss_of(node: Node, y: Any, target: Any) -> Any:
    """Loss of the real results y of one sample, by textbook formulas."""
    y, op = y.ravel(), node.op
    if op.mnemonic == "softmax_cross_entropy":
        classes, weights = y.size, op.weights or (1.0,) * y.size  # type: ignore[attr-defined]
        aim = (1 - op.smoothing) * jax.nn.one_hot(target, classes) + op.smoothing / classes  # type: ignore[attr-defined]
        return -jnp.asarray(weights)[target] * (aim * jax.nn.log_softmax(y)).sum()
    if op.mnemonic == "information_maximisation":
        return _unsure_and_crowded(op, y)
    t = jnp.asarray(target, jnp.float64).ravel()
    if op.mnemonic == "soft_cross_entropy":
        aim = (1 - op.smoothing) * t + op.smoothing / y.size  # type: ignore[attr-defined]
        return -(jnp.asarray(op.weights or (1.0,) * y.size) * t).sum() * (aim * jax.nn.log_softmax(y)).sum()  # type: ignore[attr-defined]
    if op.mnemonic == "binary_cross_entropy":
        t, w = (1 - op.smoothing) * t + op.smoothing / 2, jnp.asarray(op.positive_weights or 1.0)  # type: ignore[attr-defined]
        return -(w * t * jax.nn.log_sigmoid(y) + (1 - t) * jax.nn.log_sigmoid(-y)).mean()
    if op.mnemonic == "huber":
        d = jnp.abs(y - t)
        return jnp.where(d <= op.delta, d * d / 2, op.delta * (d - op.delta / 2)).mean()  # type: ignore[attr-defined]
    return jnp.mean((y - t) ** 2)


def _unsure_and_crowded(op: Any, y: Any) -> Any:
    """Entropy of a prediction plus its mean log crowding, by the running mean that starts evenly, takes it in, and is held."""
    log_p = jax.nn.log_softmax(y)
    mean = lax.stop_gradient(1 / y.size + op.rate * (jnp.exp(log_p) - 1 / y.size))
    prior = jnp.asarray(op.prior or (1.0,) * y.size)
    return (jnp.exp(log_p) * (op.diversity * (jnp.log(mean) - jnp.log(prior)) - log_p)).sum()


def loss_gradients(node: Node, y: Any, targets: Any) -> Any:
    """Gradient of the loss of each sample with respect to its results y [N, values]."""
    return np.asarray(jax.vmap(jax.grad(lambda v, t: loss_of(node, v, t)))(jnp.asarray(y), jnp.asarray(targets)))


def _dequantized(graph: Graph, forward: Arrays, name: str) -> Any:
    t = graph.type(name)
    return (jnp.asarray(forward[name], jnp.float64) - t.zero_point) * t.scale


def _dequantized_constant(graph: Graph, name: str) -> Any:
    t = graph.type(name)
    return (jnp.asarray(graph.values[name].data, jnp.float64) - t.zero_point) * t.scale


def _exact(graph: Graph, forward: Arrays, node: Node, state: Arrays) -> Any:
    if isinstance(node.op, DownProjection):
        unit = graph.type(node.inputs["x"]).scale * 2.0 ** float(state[node.inputs[node.op.operands[3]]][0])
        return jnp.asarray(forward[node.outputs[0]], jnp.float64) * unit
    return _dequantized(graph, forward, node.outputs[0])


def _reads(graph: Graph, name: str, other: str) -> bool:
    producers = graph.producers()
    while name != other:
        if name not in producers or not (producers[name].op.view or producers[name].op.mnemonic == "bottleneck_up"):
            return False
        name = producers[name].inputs["x"]
    return True


def _unclamped(graph: Graph, forward: Arrays, node: Node, is_logits: bool) -> Any:
    """1 where the integer result lies strictly inside its clamp range."""
    q = jnp.asarray(forward[node.outputs[0]])
    mnemonic = node.op.mnemonic
    clamps = mnemonic in ("conv_2d", "fully_connected", "depthwise_conv_2d", "bottleneck_down", "bottleneck_up", "svdf")
    clamps = clamps or (mnemonic in MEANINGS and MEANINGS[mnemonic].clamps(node.op))
    if is_logits or not clamps:
        return jnp.ones(q.shape)
    if mnemonic == "bottleneck_down":
        return ((q > 0) & (q < 127)).astype(jnp.float64)
    low, high = clamp_range(getattr(node.op, "activation", "none"), graph.type(node.outputs[0]))
    if mnemonic == "bottleneck_up":
        low, high = node.op.low, node.op.high  # type: ignore[attr-defined]
    return ((q > low) & (q < high)).astype(jnp.float64)


def gradients(parameters: dict[str, Any], graph: Graph, forward: Arrays, state: Arrays, targets: Any) -> dict[str, Any]:
    """Gradient of the loss of each sample, [N, ...] by parameter name. forward: exact activations [N, ...]."""
    batched = {k: jnp.asarray(v)[:, None] for k, v in forward.items() if k not in state}
    for node in graph.phase("forward"):
        if isinstance(node.op, Lstm | Gru):
            batched[f"{node.name}{STEPS}"] = _steps(graph, node, {**forward, **state})

    def one(p: dict[str, Any], f: Arrays, target: Any) -> Any:
        return loss(p, graph, f, state, target)

    # In one piece: by themselves its operations would be compiled one by one, which takes three times as long.
    return jax.jit(jax.vmap(jax.grad(one), (None, 0, 0)))(parameters, batched, jnp.asarray(targets))  # type: ignore[no-any-return]


def _softmax_at(x: Any, p: Any) -> Any:
    """softmax whose derivative is taken at the quantised probabilities, which are all that a device has kept.

    They do not sum to one exactly: they are shares of the sum that they have.
    """
    u = p * jnp.exp(x - lax.stop_gradient(x))
    total = p.sum(-1, keepdims=True)
    return u / jnp.where(total > 0, u.sum(-1, keepdims=True) / total, 1.0)


def _log_softmax_at(x: Any, y: Any) -> Any:
    """log softmax whose derivative is taken at the probabilities that the quantised result stands for."""
    change = x - lax.stop_gradient(x)
    return y + change - (jnp.exp(y) * change).sum(-1, keepdims=True)


# -- operators in real numbers ------------------------------------------------------------------------
def _convolve(x: Any, weights: Any, window: Any, groups: int = 1) -> Any:
    """x [1, H, W, C], weights [OC, KH, KW, IC / groups]."""
    top, left, bottom, right = window.pad
    return lax.conv_general_dilated(
        x, jnp.transpose(weights, (1, 2, 3, 0)), window.stride, ((top, bottom), (left, right)),
        rhs_dilation=window.dilation, dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups,
    )  # fmt: skip


def _linear(node: Node, graph: Graph, reals: Arrays, parameters: Arrays, state: Arrays) -> Any:
    assert isinstance(node.op, Linear)
    t = node_types(graph, node)
    window, (x_image, _) = node.op.window_of(t), node.op.images(t)
    x = reals[node.inputs["x"]].reshape(1, *x_image)
    data = np.asarray(graph.values[node.inputs["weights"]].data, np.float64)
    scales = np.array(t.type("weights").channel_scales)
    weights = jnp.asarray(data.reshape(data.shape[0], *window.kernel, -1) * scales.reshape(-1, 1, 1, 1))
    if "delta" in node.inputs:
        chosen = _delta_channels(node, graph, weights.shape[0])
        weights = weights.at[chosen].add(parameters[node.inputs["delta"]].reshape(len(chosen), *weights.shape[1:]))
    if MERGED in node.inputs:
        chosen = _delta_channels(node, graph, weights.shape[0], ROWS)
        trained = weights.at[chosen].add(parameters[node.inputs[MERGED]].reshape(len(chosen), *weights.shape[1:]))
        weights = _merged(trained, scales.reshape(-1, 1, 1, 1))
    y = _convolve(x, weights, window)
    if "lora_u" in node.inputs:
        u = reals[node.inputs["lora_u"]].reshape(*y.shape[:3], -1)
        y = y + node.op.lora_scale * u @ parameters[node.inputs["lora_b"]].T
    return y


def _delta_channels(node: Node, graph: Graph, channels: int, rows: str = "delta_rows") -> Any:
    if rows not in node.inputs:
        return np.arange(channels)
    return np.flatnonzero(np.asarray(graph.values[node.inputs[rows]].data) >= 0)


def _merged(weights: Any, scales: Any) -> Any:
    """What a layer multiplies with: real weights rounded to its scales, through which gradients pass straight."""
    rounded = jnp.clip(jnp.floor(weights / scales + 0.5), -127, 127) * scales
    return weights + lax.stop_gradient(rounded - weights)


def _scaled_and_shifted(acc: Any, node: Node, graph: Graph, parameters: Arrays, exact: Any) -> Any:
    """acc (1 + s) + b. The derivative to s is taken at the sum that follows from the quantised result: all that a device keeps."""
    bias = _bias(node, graph, parameters)
    if "gain" in node.inputs:
        factor = 1 + parameters[node.inputs["gain"]]
        at = (exact.reshape(acc.shape) - bias) / factor
        acc = (acc + lax.stop_gradient(at - acc)) * factor
    return acc + bias


def _bias(node: Node, graph: Graph, parameters: Arrays) -> Any:
    name = node.inputs["bias"]
    if name in parameters:
        return parameters[name]
    return jnp.asarray(np.asarray(graph.values[name].data, np.float64) * _bias_unit(graph, node))


def _down_projection(node: Node, graph: Graph, reals: Arrays, parameters: Arrays, state: Arrays) -> Any:
    assert isinstance(node.op, DownProjection)
    x = reals[node.inputs["x"]].reshape(1, *node.op.x_image)
    a = parameters[node.inputs[node.op.operands[1]]].reshape(node.op.u_image[2], *node.op.window.kernel, -1)
    return _convolve(x, a, node.op.window)


def _depthwise(node: Node, graph: Graph, reals: Arrays, parameters: Arrays, state: Arrays) -> Any:
    assert isinstance(node.op, DepthwiseConv2D)
    t = node_types(graph, node)
    data = np.asarray(graph.values[node.inputs["weights"]].data, np.float64)[0] * np.array(t.type("weights").channel_scales)
    weights = jnp.asarray(data)
    if MERGED in node.inputs:
        trained = weights.at[..., _delta_channels(node, graph, data.shape[2], ROWS)].add(parameters[node.inputs[MERGED]][0])
        weights = _merged(trained, np.array(t.type("weights").channel_scales))
    return _convolve(reals[node.inputs["x"]], weights.transpose(2, 0, 1)[..., None], node.op.window, t.type("x").shape[3])


def _bottleneck_up(node: Node, graph: Graph, reals: Arrays, parameters: Arrays, state: Arrays) -> Any:
    y, up = reals[node.inputs["x"]], parameters[node.inputs["up"]]
    return y + (reals[node.inputs["h"]].reshape(-1, up.shape[1]) @ up.T).reshape(y.shape)


def _steps(graph: Graph, node: Node, arrays: Arrays) -> Any:
    """What an LSTM is at each step of its exact integer run, [N, steps, 7, units]: gates i, f, g, o, the cell, its tanh and the result. Of a GRU,
    [N, steps, 6, units]: gates z, r, n, what r multiplies, the state and the result."""
    t, found = graph.type(node.outputs[0]), []
    if isinstance(node.op, Gru):
        for turn in gru_steps(environment(graph, node, arrays), node.op.lora_scale):
            gates = [gate * 2.0**-15 for gate in turn.gates]
            found.append([*gates, turn.inner * GATE_SCALE, turn.state * 2.0**-15, (turn.hidden - t.zero_point) * t.scale])
        return jnp.asarray(found).transpose(2, 0, 1, 3)
    assert isinstance(node.op, Lstm)
    for step in node.op.memory.steps(environment(graph, node, arrays)):
        gates = [gate * 2.0**-15 for gate in step.gates]
        found.append([*gates, step.cell * 2.0**node.op.memory.cell_power, step.tanh * 2.0**-15, (step.hidden - t.zero_point) * t.scale])
    return jnp.asarray(found).transpose(2, 0, 1, 3)


def _at(function: Any, inverse: Any, x: Any, value: Any) -> Any:
    """function(x), derived where its value is the quantised one."""
    return function(x + lax.stop_gradient(inverse(value) - x))


def _lstm(node: Node, graph: Graph, reals: Arrays, parameters: Arrays, state: Arrays) -> Any:
    """The textbook's steps, each result taken at its quantised value."""
    assert isinstance(node.op, Lstm)
    t = node_types(graph, node)
    w, u = (_scaled(graph, node.inputs[operand]) for operand in DELTAS)
    if "delta" in node.inputs:
        chosen = _delta_channels(node, graph, len(w))
        w, u = (m.at[chosen].add(parameters[node.inputs[delta]]) for m, delta in zip((w, u), DELTAS.values(), strict=True))
    x, bias = reals[node.inputs["x"]].reshape(-1, w.shape[1]), _bias(node, graph, parameters)
    low, high = ((end - t.result().zero_point) * t.result().scale for end in (-128, 127))
    limit = (node.op.memory.cell_clip or 2**15 - 1) * 2.0**node.op.memory.cell_power
    h = c = jnp.zeros(u.shape[1])
    rows = []
    for row, exact in zip(x, reals[f"{node.name}{STEPS}"], strict=True):
        z = jnp.split(w @ row + u @ h + bias, 4)
        i, f, o = (_at(jax.nn.sigmoid, jax.scipy.special.logit, z[k], jnp.clip(exact[k], 1e-12, 1 - 1e-12)) for k in (0, 1, 3))
        c = f * c + i * _at(jnp.tanh, jnp.arctanh, z[2], jnp.clip(exact[2], -1 + 1e-12, 1 - 1e-12))
        c = _held(c, exact[4], jnp.abs(exact[4]) < limit)
        h = o * _at(jnp.tanh, jnp.arctanh, c, jnp.clip(exact[5], -1 + 1e-12, 1 - 1e-12))
        h = _held(h, exact[6], (exact[6] > low + 1e-9) & (exact[6] < high - 1e-9))
        rows.append(h)
    return jnp.stack(rows)


def _svdf(node: Node, graph: Graph, reals: Arrays, parameters: Arrays, state: Arrays) -> Any:
    """What the newest features add to the results, which are otherwise given. A feature has the range of the state's type."""
    assert isinstance(node.op, Svdf)
    w, time = (_dequantized_constant(graph, node.inputs[operand]) for operand in ("weights", "time"))
    kept = graph.type(node.inputs["state"])
    low, high = (end * kept.scale for end in RANGES[kept.dtype])
    return (jnp.clip(w @ reals[node.inputs["x"]].ravel(), low, high) * time[:, -1]).reshape(-1, node.op.rank).sum(1)


def _gru(node: Node, graph: Graph, reals: Arrays, parameters: Arrays, state: Arrays) -> Any:
    """The textbook's steps, each result taken at its quantised value; the product reads the state as it was rounded."""
    t = node_types(graph, node)
    w, u = (_scaled(graph, node.inputs[operand]) for operand in ("weights", "recurrent"))
    x, bias = reals[node.inputs["x"]].reshape(-1, w.shape[1]), _bias(node, graph, parameters)
    inner = _dequantized_constant(graph, node.inputs["inner"])
    low, high = ((end - t.result().zero_point) * t.result().scale for end in (-128, 127))
    h = y = jnp.zeros(u.shape[1])
    rows = []
    added = jnp.zeros((len(x), 1))
    if "lora_u" in node.inputs:
        added = node.op.lora_scale * reals[node.inputs["lora_u"]].reshape(len(x), -1) @ parameters[node.inputs["lora_b"]].T  # type: ignore[attr-defined]
    for row, more, exact in zip(x, added, reals[f"{node.name}{STEPS}"], strict=True):
        a, b = jnp.split(w @ row + bias + more, 3), jnp.split(u @ y, 3)
        z, r = (_at(jax.nn.sigmoid, jax.scipy.special.logit, a[k] + b[k], jnp.clip(exact[k], 1e-12, 1 - 1e-12)) for k in (0, 1))
        v = _held(b[2] + inner, exact[3], 1.0)
        n = _at(jnp.tanh, jnp.arctanh, a[2] + r * v, jnp.clip(exact[2], -1 + 1e-12, 1 - 1e-12))
        h = _held(n + z * (h - n), exact[4], 1.0)
        y = _held(h, exact[5], (exact[5] > low + 1e-9) & (exact[5] < high - 1e-9))
        rows.append(y)
    return jnp.stack(rows)


def lstm_bias_gradients(graph: Graph, lstm: str, dense: str, forward: Arrays, labels: Any) -> Any:
    """Of the biases of an LSTM in front of a last layer, [N, 4 units]: scanned in real numbers from the exact input of each sample."""
    node, last = graph.node(lstm), graph.node(dense)
    w, u, v = (_scaled(graph, name) for name in (node.inputs["weights"], node.inputs["recurrent"], last.inputs["weights"]))
    end = jnp.asarray(np.asarray(graph.values[last.inputs["bias"]].data) * _bias_unit(graph, last))
    bias = jnp.asarray(np.asarray(graph.values[node.inputs["bias"]].data) * _bias_unit(graph, node))
    x = _dequantized(graph, forward, node.inputs["x"]).reshape(len(labels), -1, w.shape[1])

    def step(carried: Any, row: Any) -> Any:
        h, c, b = carried
        i, f, g, o = jnp.split(w @ row + u @ h + b, 4)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c, b), h

    def one(b: Any, rows: Any, label: Any) -> Any:
        zero = jnp.zeros(u.shape[1])
        logits = v @ lax.scan(step, (zero, zero, b), rows)[1].ravel() + end
        return -jax.nn.log_softmax(logits)[label]

    return np.asarray(jax.vmap(jax.grad(one), (None, 0, 0))(bias, x, jnp.asarray(labels)))


def _held(x: Any, exact: Any, free: Any) -> Any:
    """The quantised value; the gradient goes on where it is free."""
    return exact + free * (x - lax.stop_gradient(x))


def _scaled(graph: Graph, name: str) -> Any:
    """Weights in real numbers, a scale a row."""
    return jnp.asarray(np.asarray(graph.values[name].data, np.float64) * np.array(graph.type(name).channel_scales)[:, None])


STEPS = ".steps"
"""Behind the name of an LSTM: what it is at each step."""

_OPS: dict[str, Any] = {
    "lstm": _lstm,
    "svdf": _svdf,
    "gru": _gru,
    "conv_2d": _linear,
    "fully_connected": _linear,
    "depthwise_conv_2d": _depthwise,
    "lora_down": _down_projection,
    "bottleneck_down": _down_projection,
    "bottleneck_up": _bottleneck_up,
    "softmax": lambda n, g, r, p, s: None,
    "log_softmax": lambda n, g, r, p, s: None,
}
"""Operators with trainable values, whose meaning is about more than their operands."""

MEANINGS: dict[str, Meaning] = dict(JAX)
"""All others: from their cases."""
