"""Channels of which nothing is left: proved to hold one value for every input, and folded into the layers that read them."""

from __future__ import annotations

from typing import Any

from ..ir.graph import Graph, Node
from ..ir.verify import total_macs
from ..ops.model._linear import Linear
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ..passes.channel_bounds import channel_bounds
from ..passes.slices import inference_slice
from ..pipeline import Compilation


def constant_channels(c: Compilation) -> dict[str, Any]:
    """Of the results of convolutions, depthwise and fully connected layers in inference, before and after removal.

    constant: proved; some of them stay (their place in a border, counts in multiples of four, training). removed, of; layers: those that lost
    results, or inputs. MACs of one sample; weights: int8 elements.
    """
    before, after = inference_slice(c.graph), inference_slice(c.reduced)
    parts, sizes = {"before": before, "after": after}, {"macs": total_macs, "weights": _weights}
    bounds, layers = channel_bounds(before), _layers(before)
    entries = []
    for node, narrow in zip(layers, _layers(after), strict=True):
        entry = {"layer": node.name, "channels": _channels(before, node), "removed": _channels(before, node) - _channels(after, narrow)}
        entry |= {"inputs_removed": before.type(node.inputs["x"]).shape[-1] - after.type(narrow.inputs["x"]).shape[-1]}
        entries.append(entry)
    return {
        "constant": sum(int(bounds[n.outputs[0]].constant.sum()) for n in layers),
        "removed": sum(e["removed"] for e in entries),
        "of": sum(e["channels"] for e in entries),
        **{f"{what}_{when}": size(part) for what, size in sizes.items() for when, part in parts.items()},
        "layers": [e for e in entries if e["removed"] or e["inputs_removed"]],
    }


def _layers(graph: Graph) -> list[Node]:
    return [n for n in graph.nodes if isinstance(n.op, Linear | DepthwiseConv2D)]


def _channels(graph: Graph, node: Node) -> int:
    return graph.type(node.outputs[0]).shape[-1]


def _weights(graph: Graph) -> int:
    return sum(graph.type(n.inputs["weights"]).size for n in _layers(graph))
