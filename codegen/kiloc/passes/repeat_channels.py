"""Depthwise layers with several results of each input channel as a repetition of those channels and a layer with one of each.

The fast kernels of every core, forward and backward, are for one result of each channel. A repetition may lie over what it repeats, and the layer may
be computed in place, so that both take what is repeated: as much as the result, if the layer has no stride, else more.
"""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Node, Value
from ..ir.verify import node_types
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ..ops.model.gather import Gather

LEAST_CHANNELS = 4
"""Of an input that is repeated: of fewer, a convolution that multiplies by zeros takes no longer."""


def with_repeated_channels(graph: Graph) -> Graph:
    """The same function. Layers stay as they are where what is repeated would be the largest activation."""
    most, nodes, values, taken = _largest(graph), list[Node](), dict(graph.values), {*graph.values, *(n.name for n in graph.nodes)}
    for node in graph.nodes:
        if isinstance(node.op, DepthwiseConv2D) and (times := _times(graph, node, most)):
            x = graph.values[node.inputs["x"]]
            name = next(n for i in range(len(taken) + 1) if (n := f"{node.name}.repeated{i or ''}") not in taken)
            shape = (*x.type.shape[:3], times * x.type.shape[3])
            values[name] = Value(name, replace(x.type, shape=shape), "activation")
            indices = tuple(i // times for i in range(shape[3]))
            nodes.append(Node(name, Gather(3, (indices,)), {"x": x.name}, (name,), origin=node.origin))
            node = replace(node, inputs={**node.inputs, "x": name})
            taken.add(name)
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes), values=values) if len(nodes) > len(graph.nodes) else graph


def _times(graph: Graph, node: Node, most: int) -> int:
    """How often the channels of its input are repeated; 0 where they are not."""
    assert isinstance(node.op, DepthwiseConv2D)
    name, times = node.inputs["x"], node.op.multiplier_of_depth(node_types(graph, node))
    x = graph.type(name)
    return times if times > 1 and x.shape[3] >= LEAST_CHANNELS and times * x.bytes <= most else 0


def _largest(graph: Graph) -> int:
    """Bytes of the largest activation: as results may lie over what they are made of, an arena is not much larger."""
    ends = {v for n in graph.nodes for v in (*n.inputs.values(), *n.outputs) if graph.values[v].kind != "constant"}
    return max((graph.type(v).bytes for v in ends), default=0)
