"""What a kernel call has to do, as numbers that its instructions are nearly linear in."""

from __future__ import annotations

from collections.abc import Mapping

from ..ir.graph import Graph, Node
from ..ir.verify import node_types
from ..plan.slice import scratch_bytes


def work(graph: Graph, node: Node) -> dict[str, float]:
    """Of one call. A result has positions, each of so many channels; a value of it is a sum of `depth` products.

    macs, results, positions, channels, depth; sums: positions x depth (what is laid out once for all channels); weights: channels x depth;
    inputs: values read that no constant holds; rows: of an image; edge: positions next to its border, by channels or by depth; path: results x
    values of a low-rank path; runs: of products whose values lie side by side under a window; scratch: bytes. Products of whole vectors and quads
    carry the width in their names: what is left over of a vector takes a whole one. More of windows: `_of_window`.
    """
    shapes = [graph.type(name).shape for name in (node.outputs or node.updates)]
    shape = max(shapes, key=lambda s: _size(s), default=(1,)) or (1,)
    results = float(sum(_size(s) for s in shapes) or 1)
    channels = float(shape[-1])
    positions = results / channels
    macs = float(node.op.macs(node_types(graph, node)))
    depth = macs / results
    rows, edge = (float(shape[1]), 2.0 * (shape[1] + shape[2])) if len(shape) == 4 else (1.0, 1.0)
    window = getattr(node.op, "window", None) or getattr(getattr(node.op, "layer", None), "window", None)
    inputs = float(sum(graph.type(name).size for name in node.inputs.values() if graph.values[name].kind != "constant"))
    run = float(window.kernel[1] * graph.type(node.inputs["x"]).shape[-1]) if window is not None and "x" in node.inputs else 0.0
    area = float(window.kernel[0] * window.kernel[1]) if window is not None else 0.0
    path = next((float(graph.type(node.inputs[name]).shape[-1]) for name in ("lora_u", "lora_du") if name in node.inputs), 0.0)
    return {
        "call": 1.0,
        "macs": macs,
        "results": results,
        "runs": macs / run if run else 0.0,
        "positions": positions,
        "channels": channels,
        "depth": depth,
        "sums": positions * depth,
        "weights": channels * depth,
        "inputs": inputs,
        "rows": rows,
        "rows x channels": rows * channels,
        "edge": edge,
        "edge x channels": edge * channels,
        "edge x depth": edge * depth,
        "quads of channels": positions * _whole(channels, 4),
        "vectors of channels": positions * _whole(channels, 16),
        "vectors of channels x depth": positions * _whole(channels, 16) * depth,
        "quads of channels x depth": positions * _whole(channels, 4) * depth,
        "quads of depth": results * _whole(depth, 4),
        "vectors of depth": results * _whole(depth, 16),
        "singles of channels x depth": positions * (channels % 4) * depth,
        "results, odd channels": results if channels % 4 else 0.0,
        "sums, odd channels": positions * depth if channels % 4 else 0.0,
        "results, odd depth": results if depth % 4 else 0.0,
        "macs, odd depth": macs if depth % 4 else 0.0,
        "path": results * path,
        "quads of path": results * _whole(path, 4),
        "singles of path": results * (path % 4),
        "weights of path": channels * path,
        "scratch": float(scratch_bytes(graph, node)),
        "inputs x taps": inputs * area,
        **_of_window(area, positions, channels, depth, shape[0]),
    }


def _of_window(area: float, positions: float, channels: float, depth: float, first: int) -> dict[str, float]:
    """taps: values of a window, which each position looks at, whether or not they lie inside. area: of the window.

    outer: the first dimension of a gradient of weights in quads, as kernels go over it, for each tap.
    """
    outer = _whole(float(first) if first > 1 else positions, 4) * max(area, 1.0) if depth else 0.0
    return {
        "taps": positions * area,
        "results x taps": positions * channels * area,
        "vectors of channels x taps": positions * _whole(channels, 16) * area,
        "outer": outer,
        "outer x depth": outer * depth,
        "outer x depth x pairs": outer * depth * _whole(channels, 2),
    }


LONG = 128
"""Products of a sum beyond which some kernels have no room for what they would lay out."""


def form(node: Node, symbol: str, amounts: Mapping[str, float]) -> str:
    """A kernel with what it takes other ways by, in words: the kind of its window, values of a window that have no neighbour, whether it lays
    something out in scratch, channels that are no quads, and sums of many products. amounts: of its work.

    Each form has costs of its own; one that was counted too seldom has those of the form without its last word.
    """
    words, layer = [symbol], getattr(node.op, "layer", None)
    window = getattr(node.op, "window", None) or getattr(layer, "window", None)
    if window is not None:
        words.append({(1, 1): "pointwise", (3, 3): "3x3"}.get(window.kernel, "window"))
        if amounts["runs"] and amounts["runs"] == amounts["macs"]:
            words.append("single")
        if amounts["scratch"]:
            words.append("scratch")
        if window.stride != (1, 1):
            words.append("strided")
    if amounts["channels"] % 4:
        words.append("odd")
    if amounts["depth"] > LONG:
        words.append("long")
    return " ".join(words)


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def _whole(values: float, width: int) -> float:
    return float(-(-values // width))
