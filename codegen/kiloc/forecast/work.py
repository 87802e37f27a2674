"""What a kernel call has to do, as numbers that its instructions are nearly linear in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..ir.graph import Graph, Node
from ..ir.kernel_call import KernelCall
from ..ir.operator import Op
from ..ir.verify import node_types
from ..ops.backward.parameter_gradient import ParameterGradient
from ..ops.fast.blocked_input_gradient import BlockedInputGradient
from ..ops.fast.merged import Merged
from ..ops.fast.packed_depthwise import PackedDepthwise, is_line, line_axis
from ..ops.fast.packed_depthwise_gradient import PackedDepthwiseInputGradient
from ..ops.fast.triple import TripleLinear
from ..ops.fast.triple_depthwise import TripleDepthwise
from ..plan.paging import pages_of
from ..plan.slice import kernel_call
from .geometry import SINGLE, Geometry, geometry


def work(graph: Graph, node: Node) -> dict[str, float]:
    """Of one call. A result has positions, each of so many channels; a value of it is a sum of `depth` products.

    macs, results, positions, channels, depth; sums: positions x depth (what is laid out once for all channels); weights: channels x depth; inputs:
    values read that no constant holds; rows: of an image; edge: positions next to its border, by channels or by depth; path: results x values of a
    low-rank path; runs: of products whose values lie side by side under a window; chunks: in which a kernel sums them; scratch: bytes, with those of
    weights that are made in front of the call, and own scratch without; made: those bytes, or weights that the call itself makes, as often as it
    does; bands: of rows of the result, each of which is laid out in the own scratch before it is computed. Products of whole vectors and quads carry
    the width in their names: what is left over of a vector takes a whole one. Of windows there is more: `_of_window` and `_of_taps`.
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
    call = kernel_call(graph, node)
    pages = float(pages_of(graph, node)[1])
    own, made = _bytes(call)
    made = float(node.op.made) if isinstance(node.op, BlockedInputGradient) else made
    return {
        "call": 1.0,
        "macs": macs,
        "results": results,
        "runs": macs / run if run else 0.0,
        **_in_chunks(node, results, positions, channels),
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
        **_in_vectors(results, positions, channels, depth),
        "path": results * path,
        "quads of path": results * _whole(path, 4),
        "singles of path": results * (path % 4),
        "weights of path": channels * path,
        "scratch": float(call.scratch if call else 0) + pages,
        "own scratch": own + pages,
        "made": made,
        **_of_bands(node, shape, own, channels),
        "inputs x taps": inputs * area,
        **_of_window(area, positions, channels, depth, shape[0]),
        **_of_taps(graph, node, call, macs, results, channels),
    }


def _in_vectors(results: float, positions: float, channels: float, depth: float) -> dict[str, float]:
    """What is left over of a quad or a vector takes a whole one; and what is left over itself."""
    macs = results * depth
    return {
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
    }


def _in_chunks(node: Node, results: float, positions: float, channels: float) -> dict[str, float]:
    """Of kernels that sum a window in chunks, which they add: once for each result, and laid out six positions at a time."""
    chunks = _whole(float(node.op.length), node.op.chunk) if isinstance(node.op, TripleLinear) and node.op.chunk else 1.0
    panels = _whole(positions, 6) * chunks
    return {"results x chunks": results * chunks, "p/6 x chunks": panels, "p/6 x c x chunks": panels * channels}


def band_of(op: Op) -> int:
    """Rows of the result that a kernel lays out and computes at a time; 0: it knows no bands."""
    banded = _banded(op)
    return banded.rows if banded is not None else 0


def _banded(op: Op) -> PackedDepthwise | PackedDepthwiseInputGradient | None:
    op = op.operator if isinstance(op, Merged) else op
    return op if isinstance(op, PackedDepthwise | PackedDepthwiseInputGradient) else None


def _of_bands(node: Node, shape: tuple[int, ...], own: float, channels: float) -> dict[str, float]:
    """Of a kernel that lays out one band after the other."""
    op = _banded(node.op)
    bands = _bands(op, (shape[1], shape[2])) if op is not None and op.rows else 0.0
    return {"bands": bands, "bands x c": bands * channels, "bands x own scratch": bands * own, "bands x own scratch x c": bands * own * channels}


def _bands(op: PackedDepthwise | PackedDepthwiseInputGradient, image: tuple[int, int]) -> float:
    """Of results, or of a gradient to the input, of so many rows and columns: of each phase of a dilated window; of tiles of one row or one column
    each line."""
    window = op.layer.window
    image = window.output(*op.image) if isinstance(op, PackedDepthwise) else image
    if isinstance(op, TripleDepthwise):
        height, _ = window.largest_view(op.image)
        return len(window.joined(0, op.image)) * len(window.joined(1, op.image)) * _whole(float(height), op.rows)
    if is_line(window):
        axis = line_axis(window)
        return float(image[1 - axis] * window.phases[axis])
    down, across = window.phases
    return down * across * _whole(_whole(float(image[0]), down), op.rows)


def _bytes(call: KernelCall | None) -> tuple[float, float]:
    """Scratch of a call, and bytes of weights that are made behind it."""
    if call is None or call.made is None:
        return float(call.scratch if call else 0), 0.0
    own = min((member.offset for member in call.made.members), default=call.scratch)
    return float(own), float(call.scratch - own)


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


def _of_taps(graph: Graph, node: Node, call: KernelCall | None, macs: float, results: float, channels: float) -> dict[str, float]:
    """The products as kernels go over them: positions p of an image, at each the taps of a window, of each tap so many values t, for so many
    channels c. Of a gradient of weights the positions and channels are those of the layer's results.

    inside: taps that lie inside the image; inner and border: positions whose window does, or reaches over its border.
    """
    weights = isinstance(node.op, ParameterGradient)
    backward = node.phase == "backward" and not weights and "Down" not in type(node.op).__name__
    place = (geometry(call.fields, backward) if call is not None else None) or SINGLE
    if weights and place is not SINGLE:
        shape = graph.type(node.updates[0]).shape if node.updates else (1,)
        depthwise = len(shape) == 4 and shape[0] == 1
        p, c = float(place.positions), float(shape[3] if depthwise else shape[0])
    else:
        p, c = results / channels, channels
    place = place if place.positions == p else _without_window(p)
    beside = sum(graph.type(node.inputs[name]).size for name in ("lora_a", "delta") if backward and name in node.inputs)
    t = max(macs / place.placed - beside, 0.0) / (c * place.area)
    multiplier = call.fields.get("depth_multiplier") if call is not None else None
    taps = _Taps(t, c, p, t * place.area, place)
    return {
        "t": t,
        "multiplier": float(multiplier) if isinstance(multiplier, int) else 1.0,
        **_at_taps(taps),
        **_at_positions(taps),
    }


@dataclass(frozen=True)
class _Taps:
    """What `_of_taps` goes over; depth: values of all taps of a window."""

    t: float
    c: float
    p: float
    depth: float
    place: Geometry


def _at_taps(taps: _Taps) -> dict[str, float]:
    """By the taps that lie inside the image, and by where a window reaches over its border."""
    t, c, depth, place = taps.t, taps.c, taps.depth, taps.place
    inside, runs, inner, border = float(place.taps), float(place.runs), float(place.inner), taps.p - place.inner
    return {
        "inside": inside,
        "inside x c": inside * c,
        "inside x c/4": inside * _whole(c, 4),
        "inside x c/16": inside * _whole(c, 16),
        "inside x c x t": inside * c * t,
        "inside x c x t/4": inside * c * _whole(t, 4),
        "inside x c x t/16": inside * c * _whole(t, 16),
        "inside x c/2 x t": inside * _whole(c, 2) * t,
        "inside x c/3 x t": inside * _whole(c, 3) * t,
        "inside x c/4 x t": inside * _whole(c, 4) * t,
        "inside x c/4 x t/2": inside * _whole(c, 4) * _whole(t, 2),
        "inside x c/4 x t/4": inside * _whole(c, 4) * _whole(t, 4),
        "inside x t": inside * t,
        "runs inside": runs,
        "runs inside x c": runs * c,
        "runs inside x c/4": runs * _whole(c, 4),
        "border": border,
        "border x c": border * c,
        "border x c/4": border * _whole(c, 4),
        "border x depth": border * depth,
        "border x c x depth": border * c * depth,
        "border x c/4 x depth": border * _whole(c, 4) * depth,
        "inner x c": inner * c,
        "inner x c/4": inner * _whole(c, 4),
        "inner x depth": inner * depth,
        "inner x c x depth": inner * c * depth,
        "inner x c/4 x depth": inner * _whole(c, 4) * depth,
    }


def _at_positions(taps: _Taps) -> dict[str, float]:
    """By positions, channels and depth, and how many of them go together."""
    t, c, p, depth, place = taps.t, taps.c, taps.p, taps.depth, taps.place
    rows, columns = float(place.rows), float(place.columns)
    two, four = rows * _whole(columns, 2), rows * _whole(columns, 4)
    return {
        "p": p,
        "p x c": p * c,
        "p x t": p * t,
        "p x depth": p * depth,
        "c": c,
        "c x depth": c * depth,
        "c/4 x depth": _whole(c, 4) * depth,
        "p/2": _whole(p, 2),
        "p/2 x c": _whole(p, 2) * c,
        "p/2 x c/4": _whole(p, 2) * _whole(c, 4),
        "p/2 x depth": _whole(p, 2) * depth,
        "p/2 x c x depth": _whole(p, 2) * c * depth,
        "p/2 x c/4 x depth": _whole(p, 2) * _whole(c, 4) * depth,
        "p/2 x c/4 x depth/2": _whole(p, 2) * _whole(c, 4) * _whole(depth, 2),
        "p/2 x c/2 x depth/2": _whole(p, 2) * _whole(c, 2) * _whole(depth, 2),
        "p/3 x c x depth": _whole(p, 3) * c * depth,
        "p/4 x c": _whole(p, 4) * c,
        "p/4 x c x depth": _whole(p, 4) * c * depth,
        "p/6 x c": _whole(p, 6) * c,
        "p/6 x c x depth": _whole(p, 6) * c * depth,
        "rows x columns/2": two,
        "rows x columns/2 x c/4": two * _whole(c, 4),
        "rows x columns/2 x c x depth": two * c * depth,
        "rows x columns/4 x c": four * c,
        "rows x columns/4 x c x depth": four * c * depth,
        "p x c/2 x depth": p * _whole(c, 2) * depth,
        "p x c/3": p * _whole(c, 3),
        "p x c/3 x depth": p * _whole(c, 3) * depth,
        "p x c/6 x depth": p * _whole(c, 6) * depth,
        "p x c/8": p * _whole(c, 8),
        "p x c/8 x depth": p * _whole(c, 8) * depth,
        "p x c x depth/2": p * c * _whole(depth, 2),
        "p x c x depth/8": p * c * _whole(depth, 8),
        "p x c/4 x depth/4": p * _whole(c, 4) * _whole(depth, 4),
        "p x c/4 x depth/2": p * _whole(c, 4) * _whole(depth, 2),
    }


def _without_window(positions: float) -> Geometry:
    count = int(positions)
    return Geometry(1, count, 1, count, count, count, count)


LONG = 128
"""Products of a sum beyond which some kernels have no room for what they would lay out."""
NARROW = 3
"""Rows of a band that a kernel takes in other ways than more: one at a time, of each of three positions (`ops/fast/triple_depthwise.py`)."""
RANK = 4
"""Of a low-rank path that has loops of its own."""


def form(node: Node, symbol: str, amounts: Mapping[str, float]) -> str:
    """A kernel with what it takes other ways by, in words: the kind of its window, values of a window that have no neighbour, whether it lays
    something out in scratch, lines of tiles, a stride, channels that are no quads, and sums of many products; then a window of one column, one
    position, a rank above or below 4, channels of the input that several of the result read, channels that are chosen, a momentum, and bands of so
    few rows that they have no neighbours. amounts: of its work.

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
        if is_line(window) and "_tiled_" in symbol:
            words.append("line")
        if window.stride != (1, 1):
            words.append("strided")
    if amounts["channels"] % 4:
        words.append("odd")
    if amounts["depth"] > LONG:
        words.append("long")
    if window is not None and window.kernel[0] > window.kernel[1] == 1:
        words.append("column")
    if amounts["macs"] and amounts["p"] == 1:
        words.append("one")
    if amounts["path"] and amounts["path"] != RANK * amounts["results"]:
        words.append("more" if amounts["path"] > RANK * amounts["results"] else "fewer")
    if amounts["multiplier"] > 1:
        words.append("multiplied")
    if "rows" in node.inputs:
        words.append("rows")
    if getattr(node.op, "coefficient", 0):
        words.append("momentum")
    if 0 < band_of(node.op) <= NARROW:
        words.append("narrow")
    return " ".join(words)


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def _whole(values: float, width: int) -> float:
    return float(-(-values // width))
