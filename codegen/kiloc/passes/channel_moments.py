"""Running moments of every layer with a trained gain, in the state: what a device needs to set them back without labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Graph, Node, Value
from ..ir.types import TensorType
from ..ops._activation import clamp_range
from ..ops.backward.channel_moments import MOST_POSITIONS, ChannelMoments

MOMENTS = "moments"


def with_moments(graph: Graph) -> Graph:
    """A differentiated graph whose training step also adds to the moments of each layer with a trained gain. Raises CompileError where there is none.

    The last layer is left out: what it answers is not to be evened out. The gradient of a gain reads the result of its layer too, so it is there.
    """
    layers = [n for n in graph.phase("forward") if "gain" in n.inputs][:-1]
    if not layers:
        what = "keeps moments of layers with a trained gain, of which there are none in front of the last"
        raise CompileError("moments=True", what, "train with kt.ScaleShift() on several layers")
    nodes: list[Node] = []
    values: list[Value] = []
    for node in layers:
        y, channels = graph.type(node.outputs[0]), graph.type(node.inputs["gain"]).size
        if y.size // channels > MOST_POSITIONS:
            raise CompileError(
                f"'{node.name}'", f"has {y.size // channels} positions, moments are of {MOST_POSITIONS} at most", "leave the layer out"
            )
        kept = Value(f"{node.name}.{MOMENTS}", TensorType((3 * channels + 1,), "int32"), "optimizer", np.zeros(3 * channels + 1, np.int32))
        floor = clamp_range(getattr(node.op, "activation", "none"), y)[0] + 128
        nodes.append(Node(kept.name, ChannelMoments(floor), {"y": node.outputs[0], "moments": kept.name}, (), (kept.name,), "backward"))
        values.append(kept)
    first = next(i for i, n in enumerate(graph.nodes) if n.phase == "backward")
    return replace(graph.with_values(values), nodes=(*graph.nodes[:first], *nodes, *graph.nodes[first:]))


def moments_of(graph: Graph, forward: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.int32]]:
    """By layer, what the moments are after samples whose forward results these are: those of the original domain, before anything is trained."""
    found = {}
    for node in graph.phase("backward"):
        if isinstance(node.op, ChannelMoments):
            fresh = np.zeros(graph.type(node.inputs["moments"]).shape, np.int32)
            found[node.name.removesuffix(f".{MOMENTS}")] = node.op.added(fresh, forward[node.inputs["y"]])
    return found
