"""Removes channels that hold the same value for every input, and channels that nothing reads. The results keep their bits.

What a layer would compute from a constant channel goes into its bias, if it is the same wherever its window stands: without a border, or where
the constant is the zero point, which a border reads as. Else the channel stays. From the results backwards, a channel is needed

- by a convolution or a fully connected layer whose needed results have weights for it that cannot go into the bias,
- by an operator that works channel by channel, if that channel of its result is needed,
- by any other operator, by backward nodes, and by everything that trained values are part of or come before.

So only layers change that no trained value reaches and no gradient crosses; `narrowed_training.py` goes further, on a graph that has no
gradients yet, with the `quiet` channels. A channel that is not needed goes, with its weights and its share of what makes it, but counts that
are multiples of four stay such, for kernels that compute four channels at a time.

A bias stays within int32: it takes |x - z| |w| <= 255 |w| of a bound |b| + 255 sum |w| that its layer keeps (`pipeline`), and the sum loses |w|.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import Graph, Node, Value
from ..ir.types import TensorType
from ..ir.verify import node_types
from ..ops.fast._packing import QUAD
from ..ops.model._elementwise import Elementwise
from ..ops.model._linear import Linear
from ..ops.model.average_pool_2d import AveragePool2D
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ..ops.model.lora import LoRADown
from ..ops.model.max_pool_2d import MaxPool2D
from ..ops.model.mean import Mean
from ..ops.model.pad import Pad
from ..ops.model.requantize import Requantize
from ..ops.model.reshape import Reshape
from ..ops.model.transpose import Transpose
from ..ops.paging.some_channels import MOST_CHANNELS
from .channel_bounds import Bounds, channel_bounds, is_narrowable, parts_inside, tap_weights

Mask = NDArray[np.bool_]
"""One for each channel: the last axis of a value."""


def without_constant_channels(graph: Graph) -> Graph:
    """The same function of the same interface and state, on fewer channels; the graph itself where all are needed."""
    bounds = channel_bounds(graph)
    return on_fewer_channels(graph, bounds, needed_channels(graph, bounds))


def on_fewer_channels(graph: Graph, bounds: Mapping[str, Bounds], kept: Mapping[str, Mask]) -> Graph:
    """The graph on the channels that are kept, constants included; the graph itself where all are. Trained tensors stay whole."""
    if all(mask.all() for mask in kept.values()):
        return graph
    values: dict[str, Value] = {}
    nodes = []
    for node in graph.nodes:
        whole = all(kept[v].all() for v in (*node.inputs.values(), *node.outputs) if v in kept)
        nodes.append(node if whole else _narrowed(graph, node, bounds, kept, values))
    for name, mask in kept.items():
        value = graph.values[name]
        values[name] = replace(value, type=replace(value.type, shape=(*value.type.shape[:-1], int(mask.sum()))))
    return graph.with_values(values.values()).with_nodes(nodes)


# -- which channels are needed ------------------------------------------------------------------------
@dataclass(frozen=True)
class _Step:
    """A node that can do with fewer channels.

    reads: of a convolution or a fully connected layer, [results, channels of x] that the bias cannot take over; else None.
    source: of an operator that works channel by channel, the channel of its operands that each of its result is made of.
    """

    operands: tuple[str, ...]
    result: str
    reads: Mask | None = None
    source: NDArray[np.int64] | None = None


def needed_channels(
    graph: Graph, bounds: Mapping[str, Bounds], quiet: Mapping[str, Mask] | None = None, also: Iterable[tuple[str, int]] = ()
) -> dict[str, Mask]:
    """Of every value of the bounds: the channels that cannot go.

    quiet: of a graph that is trained and has no gradients yet, the channels whose gradient changes nothing. also: channels that stay.
    """
    steps = list(_steps(graph, bounds, quiet))
    needed = {name: np.ones(len(b.low), bool) for name, b in bounds.items()}
    for step in steps:
        needed[step.result][:] = step.result in graph.outputs
    for name, channel in also:
        needed[name][channel] = True
    reduced = {(step.result, v) for step in steps for v in step.operands}
    for node in graph.nodes:
        for v in node.inputs.values():
            if v in needed and not any((out, v) in reduced for out in node.outputs):
                needed[v][:] = True
    while True:
        before = sum(int(mask.sum()) for mask in needed.values())
        for step in reversed(steps):
            _spread(step, needed)
        if before == sum(int(mask.sum()) for mask in needed.values()) and not _rounded(needed):
            return needed


def _spread(step: _Step, needed: Mapping[str, Mask]) -> None:
    """What a node's needed results need of its operands; operands and result of an operator that works channel by channel have the same channels."""
    result = needed[step.result]
    for operand in step.operands:
        if step.reads is not None:
            needed[operand][:] |= step.reads[result].any(0)
        elif step.source is not None:
            needed[operand][step.source[result]] = True
            result |= needed[operand][step.source]


def _rounded(needed: Mapping[str, Mask]) -> bool:
    """Whether a count was no multiple of four as its value's own is, or zero: then the first channels that were not needed are."""
    changed = False
    for mask in needed.values():
        step = QUAD if len(mask) % QUAD == 0 else 1
        count = int(mask.sum())
        missing = max(-(-count // step), 1) * step - count
        mask[np.flatnonzero(~mask)[:missing]] = True
        changed |= missing > 0
    return changed


def _is_stopped(graph: Graph, node: Node, trained: Collection[str], quiet: Mapping[str, Mask] | None) -> bool:
    """Whether what is trained keeps a node's channels."""
    held = any(graph.values[v].is_state for v in node.inputs.values())
    if quiet is None:
        return bool(node.updates) or held or any(v in trained for v in node.inputs.values())
    return (bool(node.updates) or held) and not isinstance(node.op, LoRADown) and not is_narrowable(graph, node)


def _steps(graph: Graph, bounds: Mapping[str, Bounds], quiet: Mapping[str, Mask] | None) -> Iterator[_Step]:
    """The nodes of the forward phase that can do with fewer channels: neither trained nor behind something trained, or with the quiet channels
    known."""
    trained: set[str] = set()
    for node in graph.phase("forward"):
        if _is_stopped(graph, node, trained, quiet):
            trained.update(node.outputs)
        elif isinstance(node.op, Linear | LoRADown):
            x, y = node.inputs["x"], node.outputs[0]
            if isinstance(node.op, LoRADown) or graph.type(y).shape[-1] == graph.type(node.inputs["weights"]).shape[0]:
                known = bounds[x].constant & (True if quiet is None else quiet[x])
                yield _Step(
                    (x,),
                    y,
                    reads=_read_by_lora(graph, node, bounds[x], known) if isinstance(node.op, LoRADown) else _reads(graph, node, bounds[x], known),
                )
        else:
            source = source_channels(graph, node)
            if source is not None:
                operands = tuple(dict.fromkeys(v for o, v in node.inputs.items() if o in ("x", "other")))
                yield _Step(operands, node.outputs[0], source=source)


def _read_by_lora(graph: Graph, node: Node, x: Bounds, known: Mask) -> Mask:
    """The same of LoRA's A, whose values and their gradients are multiplied by x minus its zero point."""
    t = node_types(graph, node)
    rank, depth, channels = t.type("lora_a").shape[0], t.type("lora_a").shape[1], len(x.low)
    reads = np.ones((rank, channels), bool)
    if depth % channels == 0 and depth <= MOST_CHANNELS:
        reads[:, known & (x.low == t.type("x").zero_point)] = False
    return reads


def _reads(graph: Graph, node: Node, x: Bounds, known: Mask) -> Mask:
    """[results, channels of x]: where the product of a channel is not the same in every position and for every input; known: constant, and
    its gradient changes nothing."""
    weights, channels = tap_weights(graph, node), len(x.low)
    if weights.shape[2] != channels:
        return np.ones((len(weights), channels), bool)
    reads = np.asarray((weights != 0).any(1))
    reads[:, known & (x.low == graph.type(node.inputs["x"]).zero_point)] = False
    chosen = np.flatnonzero(known & reads.any(0))
    if not len(chosen) or graph.values[node.inputs["bias"]].is_state:
        return reads
    products = np.einsum("pt,oti->poi", parts_inside(graph, node), weights[:, :, chosen])
    reads[:, chosen] &= (products != products[:1]).any(0)
    return reads


def source_channels(graph: Graph, node: Node) -> NDArray[np.int64] | None:
    """Of each channel of the result, the one channel of the operands that it is made of; None where there are others."""
    t, op = node_types(graph, node), node.op
    if "x" not in node.inputs or not node.outputs:
        return None
    x, y = t.type("x").shape, t.result().shape
    if isinstance(op, DepthwiseConv2D):
        return np.arange(y[-1]) // op.multiplier_of_depth(t)
    if isinstance(op, Reshape):
        return np.arange(y[-1]) % x[-1] if y[-1] % x[-1] == 0 else None
    if isinstance(op, Transpose):
        kept = op.permutation[-1] == len(x) - 1
    elif isinstance(op, Mean):
        kept = op.axes[-1] < len(x) - 1 and y[-1] == x[-1]
    elif isinstance(op, Elementwise):
        kept = all(graph.values[v].data is None and graph.type(v).shape[-1] == y[-1] for v in node.inputs.values())
    else:
        kept = isinstance(op, AveragePool2D | MaxPool2D | Pad | Requantize) and y[-1] == x[-1]
    return np.arange(y[-1]) if kept else None


# -- layers on fewer channels -------------------------------------------------------------------------
def _narrowed(graph: Graph, node: Node, bounds: Mapping[str, Bounds], kept: Mapping[str, Mask], values: dict[str, Value]) -> Node:
    """The node on the channels that are kept; `values` takes its constants, which have names of their own."""
    y = kept[node.outputs[0]]
    if isinstance(node.op, Reshape):
        return replace(node, op=Reshape((*node.op.shape[:-1], int(y.sum()))))
    if isinstance(node.op, LoRADown):
        x_image = (*node.op.x_image[:2], int(kept[node.inputs["x"]].sum()) * node.op.x_image[2] // len(kept[node.inputs["x"]]))
        return replace(node, op=replace(node.op, x_image=x_image))
    if not isinstance(node.op, Linear | DepthwiseConv2D):
        return node
    weights, bias = (graph.values[node.inputs[o]] for o in ("weights", "bias"))
    assert weights.data is not None and bias.data is not None
    if isinstance(node.op, DepthwiseConv2D):
        parts = {"weights": some_channels(weights, y, 3), "bias": some_channels(bias, y, 0)}
    else:
        x = kept[node.inputs["x"]]
        total = (bias.data.astype(np.int64) + _folded(graph, node, bounds[node.inputs["x"]], x)).astype(np.int32)
        parts = {"bias": some_channels(replace(bias, data=total), y, 0), "weights": some_channels(weights, y, 0)}
        depth = weights.type.shape[-1] // len(x)
        parts["weights"] = some_channels(parts["weights"], np.tile(x, depth), weights.data.ndim - 1)
    if bias.is_state:  # all its channels are in the state
        del parts["bias"]
    inputs = dict(node.inputs)
    for operand, value in parts.items():
        inputs[operand] = graph.fresh(f"{value.name}.kept", values)
        values[inputs[operand]] = replace(value, name=inputs[operand])
    return replace(node, inputs=inputs)


def _folded(graph: Graph, node: Node, x: Bounds, kept: Mask) -> NDArray[np.int64]:
    """What the channels that are not kept add to each sum: the same in every part of a window, so the first one tells."""
    value = np.where(kept | ~x.constant, 0, x.low - graph.type(node.inputs["x"]).zero_point)
    return np.asarray(np.einsum("t,oti,i->o", parts_inside(graph, node)[0], tap_weights(graph, node), value))


def some_channels(value: Value, mask: Mask, axis: int) -> Value:
    """The constant at some indices of an axis, its scales too."""
    assert value.data is not None
    data = np.ascontiguousarray(np.compress(mask, value.data, axis))
    quantization = value.type.quantization
    if quantization is not None and quantization.axis == axis and len(quantization.scale) == len(mask):
        quantization = replace(quantization, scale=tuple(s for s, keep in zip(quantization.scale, mask, strict=True) if keep))
    return replace(value, data=data, type=TensorType(data.shape, value.type.dtype, quantization))
