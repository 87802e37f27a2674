"""What the methods share: choosing layers, and making trainable values."""

from __future__ import annotations

import difflib
import fnmatch
import zlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .. import numerics as nm
from ..errors import CompileError
from ..ir.graph import Graph, Node, Parameter, Value
from ..ir.types import TensorType
from ..ops._sums import exact_matmul
from ..ops.model._linear import Linear
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ..ops.model.gru import Gru
from ..ops.model.lstm import Lstm
from ..ops.model.svdf import Svdf
from ._registry import Layers, Method


def has_weights(node: Node) -> bool:
    return isinstance(node.op, Linear | DepthwiseConv2D | Lstm | Gru | Svdf)


def select(graph: Graph, layers: Layers, method: type[Method]) -> list[Node]:
    """The layers of a method that a selection names, in order. Raises CompileError for names that are not there or do not fit."""
    return named_layers(graph, layers, method.fitting(graph), method.__name__)


def named_layers(graph: Graph, layers: Layers, fitting: list[Node], method: str) -> list[Node]:
    """Those of the fitting layers that a selection names, in order. method: in messages. Raises CompileError."""
    if not fitting:
        raise CompileError(graph.origin, f"{method} finds no layer that it applies to", "kilotune analyze lists the layers")
    wanted = [p.strip() for p in layers.split(",")] if isinstance(layers, str) else list(layers)
    chosen: list[str] = []
    for pattern in wanted:
        chosen += _matching(graph, pattern, fitting, method)
    return [n for n in fitting if n.name in chosen]


def _matching(graph: Graph, pattern: str, fitting: list[Node], method: str) -> list[str]:
    names = [n.name for n in fitting]
    if pattern == "all":
        return names
    if pattern.startswith("last:"):
        count = pattern.removeprefix("last:")
        if not count.isdigit() or int(count) < 1:
            raise CompileError(f"layers={pattern!r}", f"{count!r} is not a count of layers", 'write "last:2"')
        return names[-int(count) :]
    found = fnmatch.filter(names, pattern)
    if found:
        return found
    others = [n.name for n in graph.phase("forward")]
    if fnmatch.filter(others, pattern):
        node = graph.node(fnmatch.filter(others, pattern)[0])
        if has_weights(node) and node.name not in graph.before(graph.outputs[0]):
            what = f"the first output, which the loss reads, does not depend on '{node.name}'"
            raise CompileError(f"layers={pattern!r}", what, f"it depends on {', '.join(names)}")
        raise CompileError(f"layers={pattern!r}", f"{method} does not apply to {node.op.mnemonic.upper()}", f"it applies to {', '.join(names)}")
    near = difflib.get_close_matches(pattern, names, 3, 0.3) or names[-3:]
    raise CompileError(f"layers={pattern!r}", f"no layer of {graph.name} has this name", f"did you mean {', '.join(near)}?")


def replace_node(graph: Graph, node: Node, *before: Node) -> Graph:
    """The graph with a node of the same name replaced, and others put in front of it."""
    nodes: list[Node] = []
    for old in graph.nodes:
        nodes += [*before, node] if old.name == node.name else [old]
    return replace(graph, nodes=tuple(nodes))


def with_trainable_bias(graph: Graph, node: Node, method: str) -> Graph:
    """Turn the bias constant of a layer into an int32 parameter, once."""
    name = node.inputs["bias"]
    if any(p.values["value"] == name for p in graph.parameters):
        return graph
    users = [n.name for n in graph.phase("forward") if name in n.inputs.values()]
    if users != [node.name]:
        raise CompileError(f"layer '{node.name}'", f"its bias is shared with {', '.join(u for u in users if u != node.name)}", "name other layers")
    _check_room(graph, node)
    bias = graph.values[name]
    parameter = Parameter(name, node.name, method, "int32", {"value": name})
    changed = graph.with_values([replace(bias, kind="trainable")])
    return replace(changed, parameters=(*graph.parameters, parameter))


def _check_room(graph: Graph, node: Node) -> None:
    """A trained bias may reach +-2^30, so the frozen sums must stay below: 255 sum |w| < 2^30 for every channel. An addend to the sums over a
    hidden state may, too. Sums of an SVDF saturate or wrap around by themselves."""
    if isinstance(node.op, Svdf):
        return
    for operand in ("weights", "recurrent"):
        weights = graph.values[node.inputs[operand]].data if operand in node.inputs else None
        if weights is None:
            continue
        channels = graph.type(node.inputs["bias"]).size
        magnitude = np.abs(weights.astype(np.int64))
        by_row = weights.shape[0] == channels and not isinstance(node.op, DepthwiseConv2D)
        sums = magnitude.reshape(channels, -1).sum(1) if by_row else magnitude.reshape(-1, channels).sum(0)
        if 255 * sums.max() >= 2**30:
            raise CompileError(f"layer '{node.name}'", "sums over so many weights leave no room in int32 for a trained bias", "name other layers")


def initial_projection(
    rows: NDArray[np.int64], x_scale: float, shape: tuple[int, int], name: str, seed: int, rectified: bool = False
) -> tuple[NDArray[np.int8], int, int]:
    """Codes and exponent of a down-projection A [r, K], and the power of two that holds u = A x with one bit to spare.

    A is uniform, scaled so that u has unit root mean square over the rows x - z_x [..., K] of the calibration samples. rectified: a row is turned
    around where a rectifier would take away more of its u than it lets through, so that no unit starts dead.
    """
    rows = rows.reshape(-1, shape[1])
    a = np.random.Generator(np.random.Philox([seed, zlib.crc32(name.encode())])).uniform(-1, 1, shape)
    size = np.sqrt(((rows @ a.T) ** 2).mean()) * x_scale
    a /= size if size > 0 else np.sqrt(shape[1])  # samples that are all zero say nothing about the scale
    if rectified:
        a *= np.where((rows @ a.T).sum(0) < 0, -1.0, 1.0)[:, None]
    exponent = int(nm.exponent_for(np.float32(np.abs(a).max()), 127.0, -24))
    codes = np.clip(np.floor(a / 2.0**exponent + 0.5), -127, 127).astype(np.int8)
    largest = np.abs(exact_matmul(rows, codes.T)).max() * 2.0**exponent
    reach = int(np.ceil(np.log2(max(largest, 1e-9) / 127.0))) + 1
    return codes, exponent, int(np.clip(reach, -24, 30))


def block16(name: str, codes: NDArray[np.int8], exponent: int) -> tuple[dict[str, str], list[Value]]:
    """State values of a parameter stored in 16 bits with one power of two, from int8 codes."""
    values = [
        Value(name, TensorType(codes.shape, "int8"), "trainable", codes),
        Value(f"{name}.exponent", TensorType((1,), "int8"), "exponent", np.array([exponent], np.int8)),
        Value(f"{name}.remainder", TensorType(codes.shape, "int8"), "remainder", np.zeros_like(codes)),
    ]
    return {"value": name, "exponent": f"{name}.exponent", "remainder": f"{name}.remainder"}, values
