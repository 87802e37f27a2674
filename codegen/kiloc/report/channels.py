"""Channels of which nothing is left: proved to hold one value for every input, and folded into the layers that read them; windows that are cut; and
channels whose trained biases keep within bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..ir.graph import Graph, Node
from ..ir.verify import total_macs
from ..ops._merged import MERGED
from ..ops.model._linear import Linear
from ..ops.model.conv_2d import Conv2D
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ..passes.bounded_biases import bounds_of, without_bounded_biases
from ..passes.channel_bounds import channel_bounds, read_by_a_loss
from ..passes.narrowed_training import why_channels_stay
from ..passes.slices import inference_slice
from ..passes.unmet_taps import without_unmet_taps
from ..pipeline import Compilation


def constant_channels(c: Compilation) -> dict[str, Any]:
    """Of the results of convolutions, depthwise and fully connected layers in inference, before and after removal.

    constant: proved; some of them stay (their place in a border, counts in multiples of four, training). removed, of; layers: those that lost
    results, or inputs. MACs of one sample; weights: int8 elements. limited: channels that an adapter may not move. stay: layers with channels that
    are constant in the frozen model and not removed, and why.
    """
    before, after = (inference_slice(without_bounded_biases(graph)) for graph in (c.graph, c.reduced))
    before = without_unmet_taps(before) if not c.options.by_position else before
    decays = c.options.train and bool(c.options.methods) and c.options.optimizer.weight_decay > 0
    parts, sizes = {"before": before, "after": after}, {"macs": total_macs, "weights": _weights}
    bounds, layers = channel_bounds(before, decays), _layers(before)
    entries = list[dict[str, Any]]()
    for node, narrow in zip(layers, _layers(after), strict=True):
        entry = {"layer": node.name, "channels": _channels(before, node), "removed": _channels(before, node) - _channels(after, narrow)}
        entry |= {"inputs_removed": before.type(node.inputs["x"]).shape[-1] - after.type(narrow.inputs["x"]).shape[-1]}
        entries.append(entry)
    return {
        "constant": sum(int(bounds[n.outputs[0]].constant.sum()) for n in layers),
        "removed": sum(e["removed"] for e in entries),
        "of": sum(e["channels"] for e in entries),
        **{f"{what}_{when}": size(part) for what, size in sizes.items() for when, part in parts.items()},
        "limited": len({(limit.layer, channel) for limit in c.limits for channel in limit.channels}),
        "layers": [e for e in entries if e["removed"] or e["inputs_removed"]],
        "stay": list(
            _stay(c, before, {n.name: int(bounds[n.outputs[0]].constant.sum()) for n in layers}, {e["layer"]: e["removed"] for e in entries})
        ),
    }


def cut_windows(c: Compilation) -> list[dict[str, Any]]:
    """Layers whose windows have rows or columns that meet nothing but the border, and what is left of them."""
    after = {n.name: n.op.window.kernel for n in _layers(c.reduced) if isinstance(n.op, Conv2D | DepthwiseConv2D)}
    windows = {n.name: n.op.window.kernel for n in _layers(c.graph) if n.name in after and isinstance(n.op, Conv2D | DepthwiseConv2D)}
    return [{"layer": name, "kernel": list(kernel), "left": list(after[name])} for name, kernel in windows.items() if kernel != after[name]]


def bounded_biases(c: Compilation) -> list[dict[str, Any]]:
    """Layers of which some trained biases keep within bounds or rows of LoRA's B at 0, and how many of these biases are held where training
    starts."""
    found = list[dict[str, Any]]()
    for node in _layers(c.reduced):
        bias, rows = (bounds_of(c.reduced, node.inputs[o]) if o in node.inputs else None for o in ("bias", "lora_b"))
        if bias or rows:
            held = sum(low == high for low, high in zip(bias.low, bias.high, strict=True)) if bias else 0
            found.append({"layer": node.name, "biases": len(bias.chosen) if bias else 0, "held": held, "rows": len(rows.chosen) if rows else 0})
    return found


def _stay(c: Compilation, graph: Graph, proved: Mapping[str, int], removed: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Layers that keep constant channels. proved: how many of each layer are constant in training, too."""
    frozen, unmasked = channel_bounds(c.base), read_by_a_loss(graph)
    for node in _layers(c.base):
        constant = int(frozen[node.outputs[0]].constant.sum())
        if node.name not in removed or constant <= removed[node.name]:
            continue
        layer = graph.node(node.name)
        trained = [o for o, v in layer.inputs.items() if graph.values[v].is_state]
        if trained and why_channels_stay(c.options):
            why = why_channels_stay(c.options)
        elif trained and layer.outputs[0] in unmasked:
            why = "a loss reads them, whose gradient is not masked"
        elif any(o in trained for o in ("delta", MERGED)):
            why = "a delta of the weights is trained, which may move them"
        elif trained and graph.type(layer.outputs[0]).size == _channels(graph, layer):
            why = "a trained layer with one position keeps its channels, for updates without a gradient in memory"
        elif proved[node.name] < constant:
            why = "training may move them, or what comes before them"
        else:
            why = "what reads them needs them: a border, trained values, the largest scale, or a count in fours"
        yield {"layer": node.name, "constant": constant, "removed": removed[node.name], "why": why}


def _layers(graph: Graph) -> list[Node]:
    return [n for n in graph.nodes if isinstance(n.op, Linear | DepthwiseConv2D)]


def _channels(graph: Graph, node: Node) -> int:
    return graph.type(node.outputs[0]).shape[-1]


def _weights(graph: Graph) -> int:
    return sum(graph.type(n.inputs["weights"]).size for n in _layers(graph))
